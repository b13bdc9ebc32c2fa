//! tmpfs: files in memory (tmpfs(5)). Also the root file system of boot and the home of memfds.
//!
//! Directories hold their entries and these hold the inodes, so the tree does not depend on the dentry cache. The contents of a
//! regular file are its page cache, which has no backing; it is made when the file first gets contents.
//!
//! Lock order: the inode locks of `vfs`, then one of the spin locks here (entries of a directory, attribute list); they are never
//! held together or over a copy.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod dir;
mod file;
mod memfd;
mod node;
mod options;
mod space;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use memfd::{MemfdKind, memfd};
pub use options::Asked;

use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use options::{Options, RamOptions};
use space::Space;
use vfs::{Configure, FsType, Inode, MntFlags, Mount, SbFlags, SuperBlock, UserNamespace};

/// The type mount(2) knows as `tmpfs`.
pub struct TmpFs;

/// The type mount(2) knows as `ramfs`: the same without limits.
pub struct RamFs;

fn new_root(name: &'static str, flags: SbFlags, options: &Options, user_ns: &Arc<UserNamespace>) -> Arc<dyn Inode> {
    let space = Space::new(options);
    let sb = SuperBlock::owned(name, flags, Box::new(space::Super(space.clone())), user_ns.clone());
    dir::Dir::root(&sb, &space, options.mode, options.uid, options.gid)
}

impl FsType for TmpFs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Asked::default()))
    }
}

impl FsType for RamFs {
    fn name(&self) -> &'static str {
        "ramfs"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(RamOptions(0o755)))
    }
}

/// The root file system of boot, shown as `rootfs`: limited like a mounted instance.
pub fn rootfs() -> Arc<Mount> {
    let root =
        new_root("rootfs", SbFlags::empty(), &Options { mode: 0o755, ..Options::limited() }, UserNamespace::first());
    Mount::new(root.sb().root_dentry(&root), b"rootfs", MntFlags::RELATIME)
}

/// An unlimited instance made in code, for file systems that are a tmpfs with prepared contents (devtmpfs): its root, to be
/// handed to every mount of it.
pub fn new_instance(fs_name: &'static str, mode: u32, flags: SbFlags) -> Arc<dyn Inode> {
    new_root(fs_name, flags, &Options { mode, ..Options::unlimited() }, UserNamespace::first())
}

/// Registers `tmpfs` and `ramfs`.
pub fn init() {
    vfs::register_fs(&TmpFs);
    vfs::register_fs(&RamFs);
}
