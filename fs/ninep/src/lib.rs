//! A client of the 9P2000.L file protocol: how a host shares directories with the guest.
//!
//! From the bottom up:
//! - [`wire`] turns requests into bytes and bytes into replies, and trusts no reply;
//! - [`transport`] is what carries them (a virtio device; a server in the same process in tests);
//! - [`tags`] and [`client`] let many threads have requests in flight and let fids clunk themselves;
//! - [`session`], [`content`] and [`node`] are a mounted share, the data and the inodes of its files;
//! - [`file`] and [`dir`] are open files; [`mount`] is the file-system type, [`options`] its options.
//!
//! File data moves between the device and the page cache without a copy in the guest.
//!
//! Lock order: inode locks of `vfs` and `PageCache::fill` (sleeping) are taken before anything here; requests are sent with
//! no spin lock held; every lock of this crate is a leaf.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod client;
pub mod content;
pub mod dir;
pub mod file;
pub mod mount;
pub mod node;
pub mod options;
pub mod session;
pub mod tags;
#[cfg(test)]
mod tests;
pub mod transport;
pub mod virtio;
pub mod wire;

static BUS: virtio::VirtioBus = virtio::VirtioBus::new();
static TYPE: mount::NineP = mount::NineP::new(&&BUS);

/// Makes `9p` over virtio known to mount(2).
pub fn init() {
    vfs::register_fs(&TYPE);
}
