//! Inodes: what a file is, apart from its names.
//!
//! A file system implements [`Inode`] for each of its kinds of object and keeps the attributes every object has in an [`InodeBase`].
//! `vfs` does the permission checks, the read-only checks and the locking before it calls an operation:
//!
//! ```text
//! InodeBase::lock of the parent directory (of two parents: see `rename`)
//!   InodeBase::lock of the object itself
//!     spin locks of the file system, InodeBase::times
//! ```
//!
//! Directory operations run with the directory's lock held; `set_attr` and writes to regular files with the file's own.
//! Sources: inode(7), path_resolution(7).

use crate::attr::{Attr, FileType, SetAttr, Timespec};
use crate::caller::Caller;
use crate::clock;
use crate::cred::{Cap, Cred};
use crate::fileops::FileOps;
use crate::ns::Namespace;
use crate::path::Path;
pub use crate::permission::{generic_permission, may, without_setid};
use crate::rare::Rare;
use crate::superblock::SuperBlock;
use crate::user_ns::IdKind;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::stat::S_IALLUGO;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use machine::sync::{Once, SpinLock};
use mm::pagecache::PageCache;

/// The four times of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Last access.
    pub atime: Timespec,
    /// Last change of the contents.
    pub mtime: Timespec,
    /// Last change of the attributes.
    pub ctime: Timespec,
    /// Birth.
    pub btime: Timespec,
}

/// Attributes and locks every inode has.
pub struct InodeBase {
    ino: u64,
    sb: Arc<SuperBlock>,
    kind: FileType,
    rdev: u32,
    mode: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    nlink: AtomicU32,
    /// Open writers if positive; programs being executed from it (writes denied) if negative.
    writers: AtomicI32,
    /// It is known to have no `security.capability` attribute.
    no_caps: AtomicBool,
    /// Size of what has no page cache (directories, symbolic links).
    size: AtomicU64,
    times: SpinLock<Times>,
    rare: Once<Box<Rare>>,
    /// Orders changes: of the entries for a directory, of contents and attributes for a file. Sleeping lock.
    pub lock: sched::Mutex<()>,
}

static NEXT_INO: AtomicU64 = AtomicU64::new(2);

/// An inode number no other caller got (for file systems that have none of their own).
pub fn next_ino() -> u64 {
    NEXT_INO.fetch_add(1, Ordering::Relaxed)
}

impl InodeBase {
    /// A new object: `mode` with its type bits, the times are the present, one link (two for a directory).
    pub fn new(sb: &Arc<SuperBlock>, ino: u64, mode: u32, uid: u32, gid: u32, rdev: u32) -> InodeBase {
        let now = clock::now();
        let times = Times { atime: now, mtime: now, ctime: now, btime: now };
        let kind = FileType::from_mode(mode);
        InodeBase {
            ino,
            sb: sb.clone(),
            kind,
            rdev,
            mode: AtomicU32::new(mode),
            uid: AtomicU32::new(uid),
            gid: AtomicU32::new(gid),
            nlink: AtomicU32::new(if kind == FileType::Directory { 2 } else { 1 }),
            writers: AtomicI32::new(0),
            no_caps: AtomicBool::new(false),
            size: AtomicU64::new(0),
            times: SpinLock::new(times),
            rare: Once::new(),
            lock: sched::Mutex::new(()),
        }
    }
    /// With attributes read from elsewhere (a server, a lower layer). The type comes from `attr.mode`.
    pub fn from_attr(sb: &Arc<SuperBlock>, attr: &Attr) -> InodeBase {
        let base = InodeBase::new(sb, attr.ino, attr.mode, attr.uid, attr.gid, attr.rdev);
        base.update(attr);
        base
    }
    /// Takes over attributes read from elsewhere (all but type, inode and device number).
    pub fn update(&self, attr: &Attr) {
        self.mode.store(self.kind.mode() | attr.mode & S_IALLUGO, Ordering::Relaxed);
        self.uid.store(attr.uid, Ordering::Relaxed);
        self.gid.store(attr.gid, Ordering::Relaxed);
        self.nlink.store(attr.nlink, Ordering::Relaxed);
        self.size.store(attr.size, Ordering::Relaxed);
        *self.times.lock() = Times { atime: attr.atime, mtime: attr.mtime, ctime: attr.ctime, btime: attr.btime };
    }
    /// Inode number.
    #[inline]
    pub fn ino(&self) -> u64 {
        self.ino
    }
    /// The instance it belongs to.
    #[inline]
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }
    /// Its type.
    #[inline]
    pub fn kind(&self) -> FileType {
        self.kind
    }
    /// Device number of a device file.
    #[inline]
    pub fn rdev(&self) -> u32 {
        self.rdev
    }
    /// Type and permission bits.
    #[inline]
    pub fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }
    /// Changes the permission, set-id and sticky bits.
    pub fn set_mode(&self, mode: u32) {
        self.mode.store(self.kind.mode() | mode & S_IALLUGO, Ordering::Relaxed);
    }
    /// Owner.
    #[inline]
    pub fn uid(&self) -> u32 {
        self.uid.load(Ordering::Relaxed)
    }
    /// Group.
    #[inline]
    pub fn gid(&self) -> u32 {
        self.gid.load(Ordering::Relaxed)
    }
    /// Number of names.
    #[inline]
    pub fn nlink(&self) -> u32 {
        self.nlink.load(Ordering::Relaxed)
    }
    /// Sets the number of names.
    pub fn set_nlink(&self, n: u32) {
        self.nlink.store(n, Ordering::Relaxed);
    }
    /// One name more.
    pub fn inc_nlink(&self) {
        self.nlink.fetch_add(1, Ordering::Relaxed);
    }
    /// One name less (never below zero); returns what is left.
    pub fn dec_nlink(&self) -> u32 {
        let n = self.nlink.load(Ordering::Relaxed).saturating_sub(1);
        self.nlink.store(n, Ordering::Relaxed);
        n
    }
    /// Size of an object without a page cache.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }
    /// Sets the size of an object without a page cache.
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }
    /// The times.
    #[inline]
    pub fn times(&self) -> Times {
        *self.times.lock()
    }
    /// Changes the times under their lock.
    pub fn with_times<R>(&self, f: impl FnOnce(&mut Times) -> R) -> R {
        f(&mut self.times.lock())
    }
    /// The contents changed now.
    pub fn touch_mtime(&self) {
        let now = clock::now();
        let mut t = self.times.lock();
        t.mtime = now;
        t.ctime = now;
    }
    /// The attributes changed now.
    pub fn touch_ctime(&self) {
        let now = clock::now();
        self.times.lock().ctime = now;
    }
    /// The contents were read: access time by the rules of `relatime` (only if it is not newer than the last change, or a day
    /// old) or always.
    #[inline]
    pub fn touch_atime(&self, strict: bool) {
        const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
        let mut t = self.times.lock();
        let age = sched::clock::realtime_ns() as i64 - t.atime.sec.saturating_mul(1_000_000_000);
        if strict || t.atime <= t.mtime || t.atime <= t.ctime || age >= DAY_NS {
            t.atime = clock::now();
        }
    }
    /// Attributes with the given size and 512-byte blocks.
    #[inline]
    pub fn attr_with(&self, size: u64, blocks: u64) -> Attr {
        let times = self.times();
        Attr {
            dev: self.sb.dev(),
            ino: self.ino,
            mode: self.mode(),
            nlink: self.nlink(),
            uid: self.uid(),
            gid: self.gid(),
            rdev: self.rdev,
            size,
            blksize: 4096,
            blocks,
            atime: times.atime,
            mtime: times.mtime,
            ctime: times.ctime,
            btime: times.btime,
        }
    }
    /// Applies all of `set` but the size.
    pub fn apply(&self, set: &SetAttr) {
        if let Some(mode) = set.mode {
            self.set_mode(mode);
        }
        if let Some(uid) = set.uid {
            self.uid.store(uid, Ordering::Relaxed);
        }
        if let Some(gid) = set.gid {
            self.gid.store(gid, Ordering::Relaxed);
        }
        let mut t = self.times.lock();
        t.atime = set.atime.unwrap_or(t.atime);
        t.mtime = set.mtime.unwrap_or(t.mtime);
        t.ctime = set.ctime.unwrap_or(t.ctime);
    }
    /// What few inodes need: locks, watches, the state of a FIFO or socket. Made on first use.
    pub fn rare(&self) -> &Rare {
        self.rare.get_or_init(|| Box::new(Rare::new()))
    }
    /// The same if it was made.
    #[inline]
    pub fn rare_if_any(&self) -> Option<&Rare> {
        self.rare.get().map(|r| &**r)
    }
    /// It is known to have no `security.capability` attribute.
    #[inline]
    pub fn has_no_caps(&self) -> bool {
        self.no_caps.load(Ordering::Relaxed)
    }
    /// Notes whether that is known; whoever sets the attribute takes it back.
    pub fn note_no_caps(&self, none: bool) {
        self.no_caps.store(none, Ordering::Relaxed);
    }
    /// Counts a writer; ETXTBSY while a program is executed from the file.
    pub fn get_write_access(&self) -> Result<(), Errno> {
        self.writers
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n >= 0).then(|| n.saturating_add(1)))
            .map(drop)
            .map_err(|_| Errno::ETXTBSY)
    }
    /// Ends [`InodeBase::get_write_access`].
    pub fn put_write_access(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }
    /// Denies writers while a program runs from the file; ETXTBSY if there are any.
    pub fn deny_write_access(&self) -> Result<(), Errno> {
        self.writers
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n <= 0).then(|| n.saturating_sub(1)))
            .map(drop)
            .map_err(|_| Errno::ETXTBSY)
    }
    /// Ends [`InodeBase::deny_write_access`].
    pub fn allow_write_access(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }
    /// Open descriptors that may write (for leases, seals and fs-verity-like checks).
    pub fn writer_count(&self) -> i32 {
        self.writers.load(Ordering::Acquire).max(0)
    }
}

/// An object of a file system. `name` arguments are single components of 1 to 255 bytes without `/`.
pub trait Inode: Send + Sync + Any {
    /// The common attributes.
    fn base(&self) -> &InodeBase;
    /// For downcasts by the file system that made it.
    fn as_any(&self) -> &dyn Any;

    /// The attributes now.
    fn attr(&self) -> Result<Attr, Errno> {
        let base = self.base();
        Ok(match self.cache() {
            Some(cache) => base.attr_with(cache.size(), cache.nr_pages() * 8),
            None => base.attr_with(base.size(), 0),
        })
    }
    /// Changes attributes (checked by the caller). File systems that keep them elsewhere override this.
    fn set_attr(&self, set: &SetAttr) -> Result<(), Errno> {
        if set.size.is_some() {
            return Err(Errno::EINVAL);
        }
        self.base().apply(set);
        Ok(())
    }
    /// Length of the contents.
    #[inline]
    fn size(&self) -> u64 {
        match self.cache() {
            Some(cache) => cache.size(),
            None => self.base().size(),
        }
    }
    /// Permission check by mode bits and capabilities; file systems with rules of their own override it. Search permission of a
    /// directory whose mode lets everybody search is not asked for.
    fn permission(&self, cred: &Cred, mask: u32) -> Result<(), Errno> {
        generic_permission(self.base(), cred, mask)
    }

    /// The namespace that a file of nsfs stands for.
    fn namespace(&self) -> Option<&Arc<dyn Namespace>> {
        None
    }
    /// Finds an entry of this directory; ENOENT if there is none.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::ENOTDIR)
    }
    /// A cached dentry of this inode is about to be used (only with `SbFlags::REVALIDATE`): false drops it.
    fn revalidate(&self) -> bool {
        true
    }
    /// Makes a regular file, a directory or a special file; `mode` has the type bits and is past the umask, `rdev` is 0 but for
    /// devices.
    fn create(&self, _name: &[u8], _mode: u32, _rdev: u32, _cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EPERM)
    }
    /// Makes a symbolic link.
    fn symlink(&self, _name: &[u8], _target: &[u8], _cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EPERM)
    }
    /// Adds a name for `target`, an inode of the same instance that is no directory.
    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    /// Removes the name of something that is no directory.
    fn unlink(&self, _name: &[u8], _victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    /// Removes an empty directory; ENOTEMPTY if it is not.
    fn rmdir(&self, _name: &[u8], _victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    /// Moves an entry; see [`Rename`].
    fn rename(&self, _how: &Rename<'_>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    /// Makes a regular file without a name.
    fn tmpfile(&self, _mode: u32, _cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Target of a symbolic link.
    fn readlink(&self) -> Result<Arc<[u8]>, Errno> {
        Err(Errno::EINVAL)
    }
    /// The place a magic link (`/proc/PID/exe`, `cwd`, `root`, `fd/N`) leads to, which no text names; `None` for ordinary links.
    fn magic_link(&self, _cred: &Cred) -> Option<Result<Path, Errno>> {
        None
    }

    /// Opens the object. Regular files and directories give operations of their own; device files, FIFOs and sockets are found
    /// by [`crate::devices::open_special`], which this default calls.
    fn open(self: Arc<Self>, path: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        crate::devices::open_special(self.base(), path, flags, caller)
    }
    /// The pages of a regular file.
    fn cache(&self) -> Option<&Arc<PageCache>> {
        None
    }

    /// Value of an extended attribute; ENODATA if there is none.
    fn get_xattr(&self, _name: &[u8]) -> Result<Vec<u8>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Sets one; `flags` as in setxattr(2).
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Their names, each ended by a NUL.
    fn list_xattr(&self) -> Result<Vec<u8>, Errno> {
        Ok(Vec::new())
    }
    /// Removes one; ENODATA if there is none.
    fn remove_xattr(&self, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Seals of a memfd; EINVAL for other files.
    fn seals(&self) -> Result<u32, Errno> {
        Err(Errno::EINVAL)
    }
    /// Adds seals.
    fn add_seals(&self, _seals: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
    /// Next data (`hole` false) or hole from `off` on; ENXIO past the end. The default sees one run of data.
    fn seek_data(&self, off: u64, hole: bool) -> Result<u64, Errno> {
        let size = self.size();
        if off >= size {
            return Err(Errno::ENXIO);
        }
        Ok(if hole { size } else { off })
    }
}

/// A rename inside one instance. Both directory locks are held; rules of rename(2) on types, emptiness of the victim apart, were
/// checked.
pub struct Rename<'a> {
    /// Name in this directory.
    pub old_name: &'a [u8],
    /// What it names.
    pub old: &'a Arc<dyn Inode>,
    /// The directory it goes to (possibly this one).
    pub new_dir: &'a Arc<dyn Inode>,
    /// Name there.
    pub new_name: &'a [u8],
    /// What is replaced (or exchanged) there. A directory must be empty: the file system answers ENOTEMPTY.
    pub victim: Option<&'a Arc<dyn Inode>>,
    /// `RENAME_EXCHANGE` and `RENAME_WHITEOUT`.
    pub flags: u32,
    /// Owner of a whiteout.
    pub cred: &'a Cred,
}

impl dyn Inode {
    /// Device and inode number: the identity of a file in user space's eyes.
    pub fn identity(&self) -> (u32, u64) {
        (self.base().sb().dev(), self.base().ino())
    }
    /// The instance it belongs to.
    #[inline]
    pub fn sb(&self) -> &Arc<SuperBlock> {
        self.base().sb()
    }
    /// Its type.
    #[inline]
    pub fn kind(&self) -> FileType {
        self.base().kind()
    }
    /// Whether it is a directory.
    #[inline]
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }
    /// [`Inode::permission`] after the checks every file system shares: nothing is written on a read-only instance.
    pub fn check(&self, cred: &Cred, mask: u32) -> Result<(), Errno> {
        if mask & may::WRITE != 0
            && self.sb().is_readonly()
            && matches!(self.kind(), FileType::Regular | FileType::Directory | FileType::Symlink)
        {
            return Err(Errno::EROFS);
        }
        self.permission(cred, mask)
    }
    /// Search permission of a directory; decided without a further call when everybody may search.
    #[inline]
    pub fn may_search(&self, cred: &Cred) -> Result<(), Errno> {
        if self.base().mode() & 0o111 == 0o111 { Ok(()) } else { self.permission(cred, may::EXEC) }
    }
    /// Whether `cred` owns the inode or has CAP_FOWNER where the owner has a name.
    pub fn owner_or_capable(&self, cred: &Cred) -> bool {
        self.base().uid() == cred.fsuid
            || cred.cap_effective.has(Cap::Fowner) && cred.user_ns.up(IdKind::Uid, self.base().uid()).is_some()
    }
}
