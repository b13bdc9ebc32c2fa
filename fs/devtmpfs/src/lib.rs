//! devtmpfs: the one instance of a tmpfs that the kernel fills with device nodes, and the devices that need no driver.
//!
//! [`init`] makes the nodes of the memory devices; drivers add theirs by [`add_node`]. Every mount of `devtmpfs` shows the same
//! tree. Directories such as /dev/shm and links such as /dev/fd are user space's business, as on Linux.
//! Sources: null(4), full(4), random(4), Linux's Documentation/ABI/testing/dev-kmsg.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod kmsg;
mod mem;
mod nodes;
#[cfg(test)]
mod tests;

pub use nodes::add_node;

use alloc::sync::Arc;
use vfs::attr::makedev;

/// Registers the file system and the memory devices. Called once at boot.
pub fn init() {
    vfs::register_char(mem::MAJOR, 1..=255, "mem", Arc::new(mem::MemDevices));
    vfs::register_fs(&nodes::DevTmpFs);
    let nodes = [
        ("null", 0o666, mem::minor::NULL),
        ("zero", 0o666, mem::minor::ZERO),
        ("full", 0o666, mem::minor::FULL),
        ("random", 0o666, mem::minor::RANDOM),
        ("urandom", 0o666, mem::minor::URANDOM),
        ("kmsg", 0o644, mem::minor::KMSG),
    ];
    for (name, mode, minor) in nodes {
        add_node(name, mode, makedev(mem::MAJOR, minor));
    }
}
