//! nullfs: one empty directory that nothing can be put into. It lies at the bottom of the mount tree, so that the real root is a
//! mount like any other and pivot_root(2) can replace it.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::stat::magic;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use vfs::{
    Attr, Caller, DirSink, File, FileOps, Inode, InodeBase, MntFlags, Mount, Path, SbFlags, SetAttr, StatFs,
    SuperBlock, SuperOps, emit_dots,
};

struct Super;

impl SuperOps for Super {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: magic::NULLFS, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
}

struct Root {
    base: InodeBase,
}

impl Inode for Root {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.base.attr_with(0, 0))
    }
    fn set_attr(&self, _set: &SetAttr) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::ENOENT)
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self)
    }
}

impl FileOps for Root {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _f: &File, _dst: &mut vfs::Dst<'_>, _off: u64) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        Ok(emit_dots(f, pos, sink).unwrap_or(pos))
    }
}

fn new_root() -> Arc<dyn Inode> {
    let sb = SuperBlock::new("nullfs", SbFlags::RDONLY | SbFlags::EMPTY, Box::new(Super));
    Arc::new(Root { base: InodeBase::new(&sb, 1, 0o040555, 0, 0, 0) })
}

/// The bottom of a mount tree.
pub fn mount() -> Arc<Mount> {
    let root = new_root();
    Mount::new(root.sb().root_dentry(&root), b"none", MntFlags::RDONLY)
}
