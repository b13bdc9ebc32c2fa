//! Objects without a place in the tree: pipes, sockets, and the anonymous inodes behind epoll, eventfd, timerfd and their like.
//!
//! Each kind has an instance of its own that user space cannot mount, so that `st_dev` and `/proc/PID/fd` look as programs
//! expect: `pipe:[1234]`, `socket:[1234]`, `anon_inode:[eventpoll]`.

use crate::attr::{Attr, SetAttr};
use crate::cred::Cred;
use crate::dentry::Dentry;
use crate::file::File;
use crate::fileops::FileOps;
use crate::inode::{Inode, InodeBase, next_ino};
use crate::mount::{MntFlags, Mount};
use crate::path::Path;
use crate::superblock::{Export, SbFlags, StatFs, SuperBlock, SuperOps};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::stat::magic;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use machine::sync::Once;

struct PseudoOps {
    magic: u64,
    export: Option<&'static dyn Export>,
}

impl SuperOps for PseudoOps {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: self.magic, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
    fn export(&self) -> Option<&dyn Export> {
        self.export
    }
}

/// An instance that only the kernel uses.
pub struct PseudoFs {
    sb: Arc<SuperBlock>,
    mnt: Arc<Mount>,
}

impl PseudoFs {
    /// A new one.
    pub fn new(name: &'static str, magic: u64) -> PseudoFs {
        PseudoFs::build(name, PseudoOps { magic, export: None })
    }
    /// A new one whose inodes have file handles and can be bind-mounted.
    pub fn exported(name: &'static str, magic: u64, export: &'static dyn Export) -> PseudoFs {
        PseudoFs::build(name, PseudoOps { magic, export: Some(export) })
    }
    fn build(name: &'static str, ops: PseudoOps) -> PseudoFs {
        let kind = if ops.export.is_some() { SbFlags::BINDABLE } else { SbFlags::INTERNAL };
        let sb = SuperBlock::new(name, kind | SbFlags::NODEV | SbFlags::NOEXEC, Box::new(ops));
        let root: Arc<dyn Inode> = Arc::new(AnonInode::new(&sb, 0o040555));
        let mnt = Mount::new(sb.root_dentry(&root), name.as_bytes(), MntFlags::INTERNAL | MntFlags::NOATIME);
        PseudoFs { sb, mnt }
    }
    /// The instance, for the inodes that live in it.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }
    /// Its root.
    pub fn root(&self) -> Path {
        Path { mnt: self.mnt.clone(), dentry: self.mnt.root().clone() }
    }
    /// A place for `inode`. `numbered`: shown as `name:[inode number]`, else as `name`.
    pub fn place(&self, inode: Arc<dyn Inode>, name: &[u8], numbered: bool) -> Path {
        Path { mnt: self.mnt.clone(), dentry: Dentry::detached(inode, name, numbered) }
    }
}

/// The instance of pipes.
pub fn pipefs() -> &'static PseudoFs {
    static FS: Once<PseudoFs> = Once::new();
    FS.get_or_init(|| PseudoFs::new("pipefs", magic::PIPEFS))
}

/// The instance of sockets.
pub fn sockfs() -> &'static PseudoFs {
    static FS: Once<PseudoFs> = Once::new();
    FS.get_or_init(|| PseudoFs::new("sockfs", magic::SOCKFS))
}

fn anon_inodefs() -> &'static (PseudoFs, Arc<dyn Inode>) {
    static FS: Once<(PseudoFs, Arc<dyn Inode>)> = Once::new();
    FS.get_or_init(|| {
        let fs = PseudoFs::new("anon_inodefs", magic::ANON_INODE);
        let inode: Arc<dyn Inode> = Arc::new(SharedInode(AnonInode::new(fs.sb(), 0o600)));
        (fs, inode)
    })
}

/// The one inode of all anonymous files; nobody may change what the others see.
struct SharedInode(AnonInode);

impl Inode for SharedInode {
    fn base(&self) -> &InodeBase {
        self.0.base()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        self.0.attr()
    }
    fn set_attr(&self, _set: &SetAttr) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// An inode with nothing but attributes.
pub struct AnonInode {
    base: InodeBase,
}

impl AnonInode {
    /// With these type and permission bits, owned by root.
    pub fn new(sb: &Arc<SuperBlock>, mode: u32) -> AnonInode {
        AnonInode { base: InodeBase::new(sb, next_ino(), mode, 0, 0, 0) }
    }
}

impl Inode for AnonInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.base.attr_with(0, 0))
    }
}

/// An open file on the shared anonymous inode, shown as `anon_inode:NAME` (`name` with its brackets: `[eventfd]`).
pub fn anon_file(name: &'static str, ops: Arc<dyn FileOps>, flags: OpenFlags, cred: &Arc<Cred>) -> Arc<File> {
    let (fs, inode) = anon_inodefs();
    let mut text = Box::<[u8]>::from(*b"anon_inode:").into_vec();
    text.extend_from_slice(name.as_bytes());
    File::new(fs.place(inode.clone(), &text, false), ops, flags, cred.clone())
}
