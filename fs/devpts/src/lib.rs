//! devpts: the nodes of pseudoterminals (pts(4), Linux's Documentation/filesystems/devpts.rst).
//!
//! Each mount is an instance with indices of its own. Opening `ptmx` (the node in the instance, or /dev/ptmx beside a directory
//! `pts` where one is mounted) makes a pty: its master is the open file, its slave the node `N`, which goes when the master is
//! closed. Cached dentries of gone nodes are dropped by [`vfs::Inode::revalidate`].
//!
//! Lock order: `Instance::ptys` (spin) alone.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod instance;
pub mod limits;
mod options;
mod ptmx;
mod root;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use vfs::makedev;

/// Registers the file system and /dev/ptmx. Called once at boot.
pub fn init() {
    vfs::register_fs(&instance::DevPts);
    vfs::register_char(ptmx::MAJOR, ptmx::MINOR..=ptmx::MINOR, "/dev/ptmx", Arc::new(ptmx::Ptmx));
    devtmpfs::add_node("ptmx", 0o666, makedev(ptmx::MAJOR, ptmx::MINOR));
}
