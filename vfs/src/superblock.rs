//! File-system instances and file-system types.
//!
//! A [`SuperBlock`] is one mounted instance (a tmpfs, a 9p share); every inode refers to it. A [`FsType`] makes them in a
//! [`crate::config::MountContext`]. Sources: mount(2), statfs(2), proc_filesystems(5).

use crate::attr::makedev;
use crate::config::{Configure, Plain};
use crate::cred::Cred;
use crate::dentry::Dentry;
use crate::file::File;
use crate::inode::Inode;
use crate::path::Path;
use crate::user_ns::UserNamespace;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use machine::sync::SpinLock;

bitflags! {
    /// Properties of an instance. The low word can be changed by a remount, the high one is fixed by the file system.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SbFlags: u32 {
        /// Nothing may be written.
        const RDONLY = 1;
        /// Writes are synchronous.
        const SYNCHRONOUS = 1 << 1;
        /// Directory changes are synchronous.
        const DIRSYNC = 1 << 2;
        /// Times are written lazily.
        const LAZYTIME = 1 << 3;
        /// Cached dentries ask [`Inode::revalidate`] before each use.
        const REVALIDATE = 1 << 16;
        /// Names found missing are remembered: for file systems whose lookups are slow and that nobody else changes.
        const CACHE_NEGATIVE = 1 << 17;
        /// Cannot be mounted by user space (pipes, sockets, anonymous inodes).
        const INTERNAL = 1 << 18;
        /// Device files never work here.
        const NODEV = 1 << 19;
        /// Programs never run from here.
        const NOEXEC = 1 << 20;
        /// Set-id bits never count here.
        const NOSUID = 1 << 21;
        /// Its files can be bind-mounted although no tree shows them (namespaces, pidfds).
        const BINDABLE = 1 << 22;
        /// Its directories are empty for good: names are not even looked for to be made.
        const EMPTY = 1 << 24;
        /// It shows less than others of its type, so who may not see those may see it.
        const RESTRICTED = 1 << 23;
    }
}

impl SbFlags {
    /// What a remount can change.
    pub const REMOUNTABLE: SbFlags = SbFlags::RDONLY.union(SbFlags::SYNCHRONOUS).union(SbFlags::LAZYTIME);
}

/// Space and limits of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StatFs {
    pub magic: u64,
    pub bsize: u32,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub namelen: u32,
}

/// What a file system does for an instance as a whole.
pub trait SuperOps: Send + Sync + Any {
    /// Space and limits.
    fn statfs(&self) -> Result<StatFs, Errno>;
    /// Writes everything back.
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// Mount options for /proc/mounts, each with its leading comma (`,size=1024k`).
    fn show_options(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
    /// What takes the parameters of a remount.
    fn configure(&self) -> Box<dyn Configure> {
        Box::new(Plain(|_| Err(Errno::EINVAL)))
    }
    /// The last mount is gone.
    fn shutdown(&self) {}
    /// How its inodes become file handles and back, if they do.
    fn export(&self) -> Option<&dyn Export> {
        None
    }
}

/// Bytes of the largest file handle (`MAX_HANDLE_SZ`).
pub const MAX_HANDLE: usize = 128;

/// A file handle: a name for an inode that outlives its paths and descriptors (name_to_handle_at(2)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handle {
    kind: i32,
    bytes: arrayvec::ArrayVec<u8, MAX_HANDLE>,
}

impl Handle {
    /// A handle of the file system's own kind; bytes beyond [`MAX_HANDLE`] are left out.
    pub fn new(kind: i32, bytes: &[u8]) -> Handle {
        Handle { kind, bytes: bytes.iter().copied().take(MAX_HANDLE).collect() }
    }
    /// Its kind (`handle_type`).
    pub fn kind(&self) -> i32 {
        self.kind
    }
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// File handles of one instance.
pub trait Export: Send + Sync {
    /// The handle of an inode; `None` when it has none.
    fn encode(&self, inode: &Arc<dyn Inode>) -> Option<Handle>;
    /// Who may open handles with these flags; `None` for the general rule (CAP_DAC_READ_SEARCH).
    fn permission(&self, _flags: OpenFlags) -> Option<Result<(), Errno>> {
        None
    }
    /// The place a handle names; `None` when it is no longer (or never was) valid.
    fn decode(&self, handle: &Handle) -> Option<Path>;
    /// Opens what a handle led to in a way of its own.
    fn open(&self, _path: &Path, _flags: OpenFlags, _cred: &Arc<Cred>) -> Option<Arc<File>> {
        None
    }
}

/// One instance of a file system.
pub struct SuperBlock {
    fs_name: &'static str,
    dev: u32,
    flags: AtomicU32,
    ops: Box<dyn SuperOps>,
    user_ns: Arc<UserNamespace>,
    root: SpinLock<Weak<Dentry>>,
    /// Mounts that show (a part of) it.
    mounts: AtomicU32,
    /// Files open for writing through any of them.
    writers: AtomicI32,
}

static NEXT_ANON_MINOR: AtomicU32 = AtomicU32::new(1);

impl SuperBlock {
    /// An instance without a device: it gets a device number of its own with major 0.
    pub fn new(fs_name: &'static str, flags: SbFlags, ops: Box<dyn SuperOps>) -> Arc<SuperBlock> {
        SuperBlock::owned(fs_name, flags, ops, UserNamespace::first().clone())
    }
    /// The same for an instance that somebody mounted in `user_ns`: its ids must have names there, and it has no device files.
    pub fn owned(
        fs_name: &'static str,
        mut flags: SbFlags,
        ops: Box<dyn SuperOps>,
        user_ns: Arc<UserNamespace>,
    ) -> Arc<SuperBlock> {
        if !user_ns.is_first() {
            flags |= SbFlags::NODEV;
        }
        let dev = makedev(0, NEXT_ANON_MINOR.fetch_add(1, Ordering::Relaxed));
        Arc::new(SuperBlock {
            fs_name,
            dev,
            flags: AtomicU32::new(flags.bits()),
            ops,
            user_ns,
            root: SpinLock::new(Weak::new()),
            mounts: AtomicU32::new(0),
            writers: AtomicI32::new(0),
        })
    }
    /// Name of its type.
    pub fn fs_name(&self) -> &'static str {
        self.fs_name
    }
    /// `st_dev` of its files.
    #[inline]
    pub fn dev(&self) -> u32 {
        self.dev
    }
    /// Its flags now.
    #[inline]
    pub fn flags(&self) -> SbFlags {
        SbFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    /// Changes the flags in `mask` to those in `value`.
    pub fn set_flags(&self, mask: SbFlags, value: SbFlags) {
        let _ = self
            .flags
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |f| Some(f & !mask.bits() | value.bits() & mask.bits()));
    }
    /// The user namespace it was mounted in.
    #[inline]
    pub fn user_ns(&self) -> &Arc<UserNamespace> {
        &self.user_ns
    }
    /// Whether nothing may be written.
    #[inline]
    pub fn is_readonly(&self) -> bool {
        self.flags().contains(SbFlags::RDONLY)
    }
    /// The file system's operations.
    pub fn ops(&self) -> &dyn SuperOps {
        &*self.ops
    }
    /// The dentry of the root inode, shared by all mounts of this instance.
    pub fn root_dentry(&self, root: &Arc<dyn Inode>) -> Arc<Dentry> {
        let mut slot = self.root.lock();
        if let Some(dentry) = slot.upgrade() {
            return dentry;
        }
        let dentry = Dentry::new_root(root.clone());
        *slot = Arc::downgrade(&dentry);
        dentry
    }
}

impl SuperBlock {
    /// Forgets the entry `name` of the root directory and all below it: what it stood for is gone for good. Only for file systems
    /// whose entries are never mounted on once they are gone.
    pub fn forget_name(&self, name: &[u8]) {
        let root = self.root.lock().upgrade();
        if let Some(root) = root {
            root.forget_name(name);
        }
    }
    /// The dentry of its root, if its tree is seen anywhere.
    pub fn root(&self) -> Option<Arc<Dentry>> {
        self.root.lock().upgrade()
    }
    /// Files are open for writing through any mount.
    pub(crate) fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }
    pub(crate) fn count_writer(&self, by: i32) {
        self.writers.fetch_add(by, Ordering::AcqRel);
    }
    pub(crate) fn mounted(&self) {
        self.mounts.fetch_add(1, Ordering::AcqRel);
    }
    /// A mount is gone; with the last one the cached names go, which are what keeps the inodes.
    pub(crate) fn unmounted(&self) {
        if self.mounts.fetch_sub(1, Ordering::AcqRel) == 1 {
            let root = self.root.lock().upgrade();
            if let Some(root) = root {
                root.prune();
            }
        }
    }
}

impl Drop for SuperBlock {
    fn drop(&mut self) {
        self.ops.shutdown();
    }
}

/// A kind of file system that mount(2) can name.
pub trait FsType: Sync {
    /// Its name in mount(2) and /proc/filesystems.
    fn name(&self) -> &'static str;
    /// It needs no block device.
    fn nodev(&self) -> bool {
        true
    }
    /// Who is in charge of a user namespace other than the first may mount it.
    fn in_user_ns(&self) -> bool {
        false
    }
    /// The directory of the instance that the running thread may see as its root, if not the real one.
    fn shown_root(&self) -> Option<Vec<u8>> {
        None
    }
    /// Mounts of it by who is in charge of a user namespace only are limited to what a mount that can be seen already shows in full.
    fn reveals(&self) -> bool {
        false
    }
    /// What takes the parameters of a new instance and makes it.
    fn configure(&self) -> Result<Box<dyn Configure>, Errno>;
}

static TYPES: SpinLock<Vec<&'static dyn FsType>> = SpinLock::new(Vec::new());

/// Makes a kind of file system known to mount(2).
pub fn register_fs(fs: &'static dyn FsType) {
    TYPES.lock().push(fs);
}

/// The kind with this name.
pub fn find_fs(name: &[u8]) -> Option<&'static dyn FsType> {
    TYPES.lock().iter().copied().find(|t| t.name().as_bytes() == name)
}

/// Calls `f` with each registered kind, oldest first.
pub fn for_each_fs(mut f: impl FnMut(&'static dyn FsType)) {
    let types: Vec<_> = TYPES.lock().clone();
    types.into_iter().for_each(&mut f);
}
