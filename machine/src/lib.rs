//! The lowest floor: CPU, physical memory, page tables, traps, user-mode entry, context switch, time, devices.
//!
//! One API, one implementation picked at compile time: `pc` on bare x86-64, `mock` on a host (for the upper floors'
//! unit tests). This is the only crate of the kernel that contains `unsafe`; everything it exports is safe to call
//! with any arguments. Nothing above it may assume ring 0, a page-table format, port I/O, or where memory lies.
#![cfg_attr(target_os = "none", no_std)]
extern crate alloc;

pub mod addr;
pub mod aspace;
pub mod boot;
pub mod console;
pub mod cpu;
pub mod debug;
pub mod entropy;
pub mod irq;
pub mod log;
pub mod mem;
pub mod oops;
pub mod power;
pub mod rwlock;
pub mod segment;
pub mod sync;
pub mod thread;
pub mod time;
pub mod user;
pub mod vdso;
pub mod virtio;

#[cfg(not(target_os = "none"))]
#[path = "mock/mod.rs"]
mod imp;
#[cfg(target_os = "none")]
#[path = "pc/mod.rs"]
mod imp;

pub use addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, USER_MAX, VirtAddr};

/// Names the kernel's `fn main() -> !`: the bare-metal boot path ends in a call to it. Used once, by the kernel image.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the one definition of the symbol that `machine` declares with this signature.
        #[unsafe(no_mangle)]
        extern "Rust" fn ochre_kernel_main() -> ! {
            $main()
        }
    };
}
