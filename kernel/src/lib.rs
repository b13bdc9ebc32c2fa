//! The image: the order of boot, the table of system calls, the vDSO. Composition only; every mechanism lives on a lower floor.
//!
//! Open [`table`] to find a system call, [`boot`] to follow the machine from the first instruction of the kernel proper to `/init`.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

mod boot;
mod lkdtm;
mod rootfs;
pub mod table;
pub mod trace;
mod vdso;

pub use boot::main;
