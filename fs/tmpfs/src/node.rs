//! Symbolic links, devices, FIFOs and sockets: inodes without contents; and what all inodes of an instance share.

use crate::space::Space;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use vfs::xattrs::Xattrs;
use vfs::{Attr, Inode, InodeBase, SuperBlock, next_ino};

/// The part every inode has. Dropping it gives the inode back to the instance's count.
pub struct Common {
    pub base: InodeBase,
    pub space: Arc<Space>,
    pub xattrs: Xattrs,
}

impl Common {
    pub fn new(
        sb: &Arc<SuperBlock>,
        space: &Arc<Space>,
        mode: u32,
        uid: u32,
        gid: u32,
        rdev: u32,
    ) -> Result<Common, Errno> {
        space.take_inode()?;
        let base = InodeBase::new(sb, next_ino(), mode, uid, gid, rdev);
        Ok(Common { base, space: space.clone(), xattrs: Xattrs::new() })
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        self.space.give_inode();
    }
}

/// Forwards the extended-attribute operations of [`Inode`] to the `common` field.
macro_rules! xattr_ops {
    () => {
        fn get_xattr(&self, name: &[u8]) -> Result<alloc::vec::Vec<u8>, abi::Errno> {
            self.common.xattrs.get(name)
        }
        fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), abi::Errno> {
            self.common.xattrs.set(name, value, flags)
        }
        fn list_xattr(&self) -> Result<alloc::vec::Vec<u8>, abi::Errno> {
            self.common.xattrs.list()
        }
        fn remove_xattr(&self, name: &[u8]) -> Result<(), abi::Errno> {
            self.common.xattrs.remove(name)
        }
    };
}
pub(crate) use xattr_ops;

/// A device, FIFO or socket.
pub struct Special {
    pub common: Common,
}

impl Inode for Special {
    fn base(&self) -> &InodeBase {
        &self.common.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.common.base.attr_with(0, 0))
    }
    xattr_ops!();
}

/// A symbolic link.
pub struct Symlink {
    pub common: Common,
    target: Arc<[u8]>,
}

impl Symlink {
    pub fn new(common: Common, target: &[u8]) -> Result<Symlink, Errno> {
        let mut text = Vec::new();
        text.try_reserve_exact(target.len()).map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(target);
        common.base.set_size(target.len() as u64);
        Ok(Symlink { common, target: text.into() })
    }
}

impl Inode for Symlink {
    fn base(&self) -> &InodeBase {
        &self.common.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readlink(&self) -> Result<Arc<[u8]>, Errno> {
        self.common.base.touch_atime(false);
        Ok(self.target.clone())
    }
    xattr_ops!();
}
