//! Overlay inodes: one object of the merged tree, and which layers it comes from.
//!
//! An inode starts with what lookup found: an upper object, lower ones, or both (a merged directory). Copy-up gives a lower
//! object an upper one once and for all. Reading goes to the *real* object (upper if there is one): opening a file gives the real
//! file's operations, and the page cache is the real one's, so nothing is added to reads, writes and faults.
//!
//! Modes, owners and link counts are copied into the overlay's own [`InodeBase`], on which `vfs` checks permissions. Times may be
//! touched in either; the later one counts, and the upper object gets them back when the overlay inode goes.

use crate::copyup::Contents;
use crate::dir::{self, Listing};
use crate::fs::Fs;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU8, Ordering};
use machine::sync::{Once, SpinLock};
use mm::pagecache::PageCache;
use smallvec::SmallVec;
use vfs::{Attr, Caller, Cred, FileOps, FileType, Inode, InodeBase, Path, Rename, SetAttr, Times};

/// An object of a lower layer.
#[derive(Clone)]
pub struct Lower {
    /// Index of the layer, 0 is the topmost.
    pub layer: usize,
    /// The object.
    pub inode: Arc<dyn Inode>,
}

/// What a lookup found: at most one upper object, and the lower ones below it (several only for directories).
#[derive(Default)]
pub struct Found {
    /// The upper object.
    pub upper: Option<Arc<dyn Inode>>,
    /// The lower ones, topmost first.
    pub lowers: SmallVec<[Lower; 1]>,
}

/// Whether a lower layer has something under a name that an upper object covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Covers {
    /// Nobody has looked yet.
    Unknown = 0,
    /// Nothing: removing the name needs no whiteout.
    Nothing = 1,
    /// Something.
    Something = 2,
}

/// An inode of the merged tree.
pub struct Node {
    /// This inode, for children that must find their directory.
    pub(crate) me: Weak<Node>,
    pub(crate) base: InodeBase,
    pub(crate) fs: Arc<Fs>,
    pub(crate) upper: Once<Arc<dyn Inode>>,
    pub(crate) lowers: SmallVec<[Lower; 1]>,
    /// Directory and name to copy up to, until that has happened.
    pub(crate) place: SpinLock<Option<(Arc<Node>, Vec<u8>)>>,
    /// Held while the object is copied up.
    pub(crate) copying: sched::Mutex<()>,
    covers: AtomicU8,
    /// The merged listing, until the directory changes.
    pub(crate) listing: SpinLock<Option<Arc<Listing>>>,
}

impl Node {
    /// The inode of what was found under `name` of `parent` (`None` for the root and for new objects).
    pub fn new(
        fs: &Arc<Fs>,
        found: Found,
        place: Option<(Arc<Node>, Vec<u8>)>,
        covers: Covers,
    ) -> Result<Arc<Node>, Errno> {
        let Found { upper, lowers } = found;
        let real = upper.as_ref().or(lowers.first().map(|l| &l.inode)).ok_or(Errno::EIO)?;
        let mut attr = real.attr()?;
        attr.ino = match (&upper, lowers.first()) {
            (_, Some(lower)) => Fs::lower_ino(lower.layer, lower.inode.base().ino()),
            (Some(upper), None) => fs.origin(upper).unwrap_or(Fs::upper_ino(attr.ino)),
            (None, None) => return Err(Errno::EIO),
        };
        let base = InodeBase::from_attr(&fs.sb()?, &attr);
        let slot = Once::new();
        let place = if upper.is_some() { None } else { place };
        if let Some(upper) = upper {
            let _ = slot.set(upper);
        }
        Ok(Arc::new_cyclic(|me| Node {
            me: me.clone(),
            base,
            fs: fs.clone(),
            upper: slot,
            lowers,
            place: SpinLock::new(place),
            copying: sched::Mutex::new(()),
            covers: AtomicU8::new(covers as u8),
            listing: SpinLock::new(None),
        }))
    }
    /// An inode as the overlay's own type; EXDEV for those of others.
    pub fn of(inode: &Arc<dyn Inode>) -> Result<&Node, Errno> {
        inode.as_any().downcast_ref().ok_or(Errno::EXDEV)
    }
    /// The object that is read: upper, or the topmost lower one.
    #[inline]
    pub fn real(&self) -> Option<&Arc<dyn Inode>> {
        self.upper.get().or(self.lowers.first().map(|l| &l.inode))
    }
    /// What is known about lower objects of the same name.
    pub fn covers(&self) -> Covers {
        match self.covers.load(Ordering::Relaxed) {
            1 => Covers::Nothing,
            2 => Covers::Something,
            _ => Covers::Unknown,
        }
    }
    /// Records it.
    pub fn set_covers(&self, covers: Covers) {
        self.covers.store(covers as u8, Ordering::Relaxed);
    }
    /// The directory's entries changed: forgets the listing and takes over what the change did to the upper directory.
    pub fn entries_changed(&self) {
        let old = self.listing.lock().take();
        drop(old);
        if let Some(upper) = self.upper.get() {
            self.base.set_nlink(upper.base().nlink());
            self.base.touch_mtime();
        }
    }
    /// The later of the overlay's and the real object's times.
    fn times(&self, real: &Attr) -> Times {
        let own = self.base.times();
        Times {
            atime: own.atime.max(real.atime),
            mtime: own.mtime.max(real.mtime),
            ctime: own.ctime.max(real.ctime),
            btime: real.btime,
        }
    }
    fn is_mark(&self, name: &[u8]) -> bool {
        name.starts_with(self.fs.mark_prefix().as_bytes())
    }
    /// Merged from several directories: its own link count says nothing.
    fn is_merged(&self) -> bool {
        self.base.kind() == FileType::Directory && self.lowers.len() + usize::from(self.upper.get().is_some()) > 1
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(upper) = self.upper.get() else { return };
        let own = self.base.times();
        upper.base().with_times(|times| {
            times.atime = times.atime.max(own.atime);
            times.mtime = times.mtime.max(own.mtime);
            times.ctime = times.ctime.max(own.ctime);
        });
        self.fs.unshare(upper, self);
    }
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn cache(&self) -> Option<&Arc<PageCache>> {
        self.real()?.cache()
    }
    fn attr(&self) -> Result<Attr, Errno> {
        let real = self.real().ok_or(Errno::EIO)?.attr()?;
        let times = self.times(&real);
        Ok(Attr {
            dev: self.base.sb().dev(),
            ino: self.base.ino(),
            mode: self.base.mode(),
            nlink: if self.is_merged() { 1 } else { self.base.nlink() },
            uid: self.base.uid(),
            gid: self.base.gid(),
            atime: times.atime,
            mtime: times.mtime,
            ctime: times.ctime,
            ..real
        })
    }
    fn set_attr(&self, change: &SetAttr) -> Result<(), Errno> {
        // A file cut to nothing need not be copied first.
        let contents = if change.size == Some(0) { Contents::Empty } else { Contents::Whole };
        let upper = self.copy_up(contents)?;
        {
            let _guard = upper.base().lock.lock();
            upper.set_attr(change)?;
        }
        self.base.apply(change);
        Ok(())
    }
    fn size(&self) -> u64 {
        self.real().map_or(0, |real| real.size())
    }
    fn revalidate(&self) -> bool {
        self.real().is_some_and(|real| real.revalidate())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        self.find(name)
    }
    fn create(&self, name: &[u8], mode: u32, rdev: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        // A whiteout made through the overlay would vanish at once.
        if FileType::from_mode(mode) == FileType::CharDevice && rdev == 0 {
            return Err(Errno::EPERM);
        }
        self.make(name, cred, |dir, name| dir.create(name, mode, rdev, cred))
    }
    fn symlink(&self, name: &[u8], target: &[u8], cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        self.make(name, cred, |dir, name| dir.symlink(name, target, cred))
    }
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.add_link(name, target)
    }
    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.remove(name, Node::of(victim)?)
    }
    fn rmdir(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        let victim = Node::of(victim)?;
        victim.clear_for_removal()?;
        self.remove(name, victim)
    }
    fn rename(&self, how: &Rename<'_>) -> Result<(), Errno> {
        self.move_entry(how)
    }
    fn tmpfile(&self, mode: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        let upper = self.copy_up(Contents::Whole)?.tmpfile(mode, cred)?;
        let found = Found { upper: Some(upper.clone()), lowers: SmallVec::new() };
        let node = Node::new(&self.fs, found, None, Covers::Nothing)?;
        // It may get a name, and then names, later.
        self.fs.share(&upper, &node);
        Ok(node)
    }

    fn readlink(&self) -> Result<Arc<[u8]>, Errno> {
        self.real().ok_or(Errno::EIO)?.readlink()
    }
    fn open(self: Arc<Self>, path: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        match self.base.kind() {
            FileType::Regular => {
                if flags.wants_write() || flags.contains(OpenFlags::TRUNC) {
                    let cut = flags.contains(OpenFlags::TRUNC);
                    self.copy_up(if cut { Contents::Empty } else { Contents::Whole })?;
                }
                self.real().ok_or(Errno::EIO)?.clone().open(path, flags, caller)
            }
            FileType::Directory => Ok(dir::open(self)),
            _ => vfs::devices::open_special(&self.base, path, flags, caller),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if self.is_mark(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.real().ok_or(Errno::EIO)?.get_xattr(name)
    }
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        if self.is_mark(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        let upper = self.copy_up(Contents::Whole)?;
        let _guard = upper.base().lock.lock();
        upper.set_xattr(name, value, flags)?;
        // Access-control lists change the mode.
        self.base.set_mode(upper.base().mode());
        self.base.touch_ctime();
        Ok(())
    }
    fn list_xattr(&self) -> Result<Vec<u8>, Errno> {
        let mut all = self.real().ok_or(Errno::EIO)?.list_xattr()?;
        let shown: usize = names(&all).filter(|name| !self.is_mark(name)).map(|name| name.len() + 1).sum();
        if shown != all.len() {
            let kept: Vec<u8> = names(&all)
                .filter(|name| !self.is_mark(name))
                .flat_map(|name| name.iter().copied().chain([0]))
                .collect();
            all = kept;
        }
        Ok(all)
    }
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        if self.is_mark(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        let upper = self.copy_up(Contents::Whole)?;
        let _guard = upper.base().lock.lock();
        upper.remove_xattr(name)?;
        self.base.touch_ctime();
        Ok(())
    }
    fn seek_data(&self, off: u64, hole: bool) -> Result<u64, Errno> {
        self.real().ok_or(Errno::EIO)?.seek_data(off, hole)
    }
}

/// The names in a list of NUL-ended names.
pub fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == 0).filter(|name| !name.is_empty())
}
