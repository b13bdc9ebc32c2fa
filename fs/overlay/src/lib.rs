//! One tree made of several: a writable upper directory over read-only lower ones.
//!
//! - [`options`] and [`mount`] make an instance ([`fs`]) of layers;
//! - [`node`] is an inode of the merged tree, [`lookup`] finds what it is made of, [`dir`] lists directories;
//! - [`copyup`] copies a lower object to the upper layer before its first change; [`change`] makes, removes and moves names and
//!   leaves whiteouts where a lower object would show.
//!
//! Files are opened as the real file of their layer and share its page cache: the overlay costs nothing on reads, writes and
//! page faults.
//!
//! Lock order: see [`fs`]. Source: Linux `Documentation/filesystems/overlayfs.rst`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod change;
pub mod copyup;
pub mod dir;
pub mod fs;
pub mod lookup;
pub mod mount;
pub mod node;
pub mod options;
#[cfg(test)]
mod tests;

/// Makes `overlay` known to mount(2).
pub fn init() {
    vfs::register_fs(&mount::OverlayType);
}
