//! System calls by family: each is one function that takes the caller's [`task::Cx`] and typed arguments, checks them in
//! Linux's order, and hands over to the subsystem that does the work. The table in the kernel crate names them all.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod barrier;
pub mod cred;
pub mod event;
pub mod exec;
pub mod futex;
pub mod mem;
pub mod misc;
pub mod prctl;
pub mod pipe;
pub mod process;
pub mod sched;
pub mod signal;
