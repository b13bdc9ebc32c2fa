//! Dentries: the names under which inodes are reachable, as a cached tree.
//!
//! A dentry always has an inode and keeps it for life; a missing name is a *negative child* of its directory, not a dentry. A
//! directory's dentry holds the hash table of its known children; a child holds its parent. That cycle is what keeps unused
//! dentries cached; [`crate::dcache`] breaks it for those that nobody else refers to when there are too many, and unlink,
//! rename and unmount break it at once.
//!
//! Lock order (all spin locks, held for a few instructions):
//!
//! ```text
//! Dentry::children of the parent
//!   Dentry::link of the child
//! ```

use crate::attr::FileType;
use crate::dcache;
use crate::inode::Inode;
use crate::name::same;
pub use crate::name::{Name, hash_name};
use crate::superblock::{SbFlags, SuperBlock};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use hashbrown::HashTable;
use machine::sync::SpinLock;
use smallvec::SmallVec;

/// Most negative children a directory remembers; past it all of them are forgotten.
const MAX_NEGATIVE: u32 = 512;

struct Link {
    parent: Option<Arc<Dentry>>,
    name: Name,
    hash: u64,
}

enum Child {
    Positive(Arc<Dentry>),
    Negative(Box<(u64, Name)>),
}

#[derive(Default)]
struct Children {
    table: HashTable<Child>,
    negative: u32,
    /// The subdirectory looked up last with the hash of its name: most walks go the way of the one before.
    recent: Option<(u64, Arc<Dentry>)>,
}

impl Children {
    /// The dentry for `name`, or that it is known not to exist, or neither.
    #[inline]
    fn find(&mut self, name: &[u8], hash: u64) -> Cached {
        if let Some((h, d)) = &self.recent
            && *h == hash
            && same(&d.link.lock().name, name)
        {
            return Cached::Positive(d.clone());
        }
        match self.table.find(hash, |c| c.is(name)) {
            Some(Child::Positive(d)) => {
                if d.kind == FileType::Directory {
                    self.recent = Some((hash, d.clone()));
                }
                Cached::Positive(d.clone())
            }
            Some(Child::Negative(_)) => Cached::Negative,
            None => Cached::Unknown,
        }
    }
}

/// A name in the tree and the inode it leads to.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    kind: FileType,
    revalidate: bool,
    /// Shown as `name:[inode number]` (pipes, sockets) when set.
    pseudo: bool,
    state: AtomicU32,
    /// Mounts that have this dentry as their mount point.
    mounted: AtomicU32,
    /// Place in the ring of [`dcache`].
    pub(crate) slot: AtomicU32,
    link: SpinLock<Link>,
    children: SpinLock<Children>,
}

/// The dentry was reached since the shrinker last passed.
pub(crate) const REFERENCED: u32 = 1;
/// Removed from its directory (unlinked, replaced or found stale).
const UNHASHED: u32 = 2;
/// Unlinked for good: paths show ` (deleted)`.
const DELETED: u32 = 4;
/// An unnamed file that linkat(2) may give a name.
const LINKABLE: u32 = 8;

/// What a directory knows of a name.
pub(crate) enum Cached {
    /// It leads here.
    Positive(Arc<Dentry>),
    /// It does not exist.
    Negative,
    /// Not known: ask the file system.
    Unknown,
}

impl Child {
    fn hash(&self) -> u64 {
        match self {
            Child::Positive(d) => d.link.lock().hash,
            Child::Negative(n) => n.0,
        }
    }
    fn is(&self, name: &[u8]) -> bool {
        match self {
            Child::Positive(d) => same(&d.link.lock().name, name),
            Child::Negative(n) => same(&n.1, name),
        }
    }
}

impl Dentry {
    fn alloc(inode: Arc<dyn Inode>, parent: Option<Arc<Dentry>>, name: &[u8], hash: u64, pseudo: bool) -> Arc<Dentry> {
        let (kind, revalidate) = {
            let base = inode.base();
            (base.kind(), base.sb().flags().contains(SbFlags::REVALIDATE))
        };
        Arc::new(Dentry {
            inode,
            kind,
            revalidate,
            pseudo,
            state: AtomicU32::new(UNHASHED),
            mounted: AtomicU32::new(0),
            slot: AtomicU32::new(dcache::NO_SLOT),
            link: SpinLock::new(Link { parent, name: Name::from_slice(name), hash }),
            children: SpinLock::new(Children::default()),
        })
    }
    /// The root of an instance's tree.
    pub(crate) fn new_root(inode: Arc<dyn Inode>) -> Arc<Dentry> {
        Dentry::alloc(inode, None, b"/", 0, false)
    }
    /// A dentry outside any tree: pipes, sockets, anonymous inodes (`pseudo` shows the inode number).
    pub fn detached(inode: Arc<dyn Inode>, name: &[u8], pseudo: bool) -> Arc<Dentry> {
        Dentry::alloc(inode, None, name, 0, pseudo)
    }
    /// A dentry outside any tree that shows as deleted from the start (memfds).
    pub fn unlinked(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Dentry> {
        let d = Dentry::detached(inode, name, false);
        d.state.fetch_or(DELETED, Ordering::Relaxed);
        d
    }
    /// A dentry with a parent that is never entered into the parent's table: an unnamed temporary file. `linkable`: linkat(2) may
    /// name it.
    pub(crate) fn unhashed(inode: Arc<dyn Inode>, parent: &Arc<Dentry>, name: &[u8], linkable: bool) -> Arc<Dentry> {
        let d = Dentry::alloc(inode, Some(parent.clone()), name, 0, false);
        d.state.fetch_or(if linkable { DELETED | LINKABLE } else { DELETED }, Ordering::Relaxed);
        d
    }
    /// It was opened with `O_TMPFILE` and may get a name.
    pub(crate) fn is_linkable(&self) -> bool {
        self.state.load(Ordering::Relaxed) & LINKABLE != 0
    }
    /// The inode it leads to.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }
    /// Type of that inode.
    #[inline]
    pub fn kind(&self) -> FileType {
        self.kind
    }
    /// The instance it belongs to.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        self.inode.sb()
    }
    /// The directory it lies in; `None` for a root or a detached dentry.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.link.lock().parent.clone()
    }
    /// Calls `f` with its name.
    pub fn with_name<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&self.link.lock().name)
    }
    /// Its parent and a copy of its name.
    pub(crate) fn parent_and_name(&self) -> (Option<Arc<Dentry>>, Name) {
        let link = self.link.lock();
        (link.parent.clone(), link.name.clone())
    }
    /// Shown as `name:[inode number]`.
    pub fn is_pseudo(&self) -> bool {
        self.pseudo
    }
    /// It was unlinked.
    pub fn is_deleted(&self) -> bool {
        self.state.load(Ordering::Acquire) & DELETED != 0
    }
    /// Something is mounted on it, in some mount.
    #[inline]
    pub fn is_mountpoint(&self) -> bool {
        self.mounted.load(Ordering::Acquire) != 0
    }
    pub(crate) fn add_mount(&self) {
        self.mounted.fetch_add(1, Ordering::AcqRel);
    }
    pub(crate) fn remove_mount(&self) {
        self.mounted.fetch_sub(1, Ordering::AcqRel);
    }
    pub(crate) fn take_referenced(&self) -> bool {
        self.state.fetch_and(!REFERENCED, Ordering::Relaxed) & REFERENCED != 0
    }
    /// Whether `self` is `other` or lies below it.
    pub fn is_below(self: &Arc<Dentry>, other: &Arc<Dentry>) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at, other) {
                return true;
            }
            match at.parent() {
                Some(up) => at = up,
                None => return false,
            }
        }
    }

    /// What this directory knows of `name`.
    #[inline]
    pub(crate) fn cached(self: &Arc<Dentry>, name: &[u8], hash: u64) -> Cached {
        let found = match self.children.lock().find(name, hash) {
            Cached::Positive(found) => found,
            other => return other,
        };
        if found.revalidate && !found.is_mountpoint() && !found.inode.revalidate() {
            self.forget(&found);
            return Cached::Unknown;
        }
        if found.state.load(Ordering::Relaxed) & REFERENCED == 0 {
            found.state.fetch_or(REFERENCED, Ordering::Relaxed);
        }
        Cached::Positive(found)
    }

    /// Enters a child for `inode`, replacing what was known of the name. The directory's inode lock is held.
    pub(crate) fn add_child(
        self: &Arc<Dentry>,
        name: &[u8],
        hash: u64,
        inode: Arc<dyn Inode>,
    ) -> Result<Arc<Dentry>, Errno> {
        let dentry = Dentry::alloc(inode, Some(self.clone()), name, hash, false);
        self.insert(hash, name, Child::Positive(dentry.clone()))?;
        dentry.state.fetch_and(!UNHASHED, Ordering::AcqRel);
        dcache::enter(&dentry);
        Ok(dentry)
    }

    /// Remembers that `name` does not exist. The directory's inode lock is held.
    pub(crate) fn add_negative(&self, name: &[u8], hash: u64) {
        let mut children = self.children.lock();
        if children.negative >= MAX_NEGATIVE {
            children.table.retain(|c| matches!(c, Child::Positive(_)));
            children.negative = 0;
        }
        if children.table.try_reserve(1, Child::hash).is_ok() {
            children.table.insert_unique(hash, Child::Negative(Box::new((hash, Name::from_slice(name)))), Child::hash);
            children.negative += 1;
        }
    }

    fn insert(&self, hash: u64, name: &[u8], child: Child) -> Result<(), Errno> {
        let old = {
            let mut children = self.children.lock();
            let old = Self::take(&mut children, hash, |c| c.is(name));
            children.table.try_reserve(1, Child::hash).map_err(|_| Errno::ENOMEM)?;
            children.table.insert_unique(hash, child, Child::hash);
            old
        };
        // Dropped after the lock: a dentry's last reference may free an inode.
        drop(old);
        Ok(())
    }

    fn take(children: &mut Children, hash: u64, eq: impl FnMut(&Child) -> bool) -> Option<Child> {
        let (child, _) = children.table.find_entry(hash, eq).ok()?.remove();
        if children.recent.as_ref().is_some_and(|(h, _)| *h == hash) {
            children.recent = None;
        }
        if matches!(child, Child::Negative(_)) {
            children.negative = children.negative.saturating_sub(1);
        }
        Some(child)
    }

    /// Takes `child` out of this directory's table.
    pub(crate) fn forget(&self, child: &Arc<Dentry>) {
        let hash = child.link.lock().hash;
        let taken =
            Self::take(&mut self.children.lock(), hash, |c| matches!(c, Child::Positive(d) if Arc::ptr_eq(d, child)));
        if taken.is_some() {
            child.state.fetch_or(UNHASHED, Ordering::AcqRel);
            dcache::leave(child);
        }
    }

    /// Forgets what is cached under `name` and below it.
    pub(crate) fn forget_name(self: &Arc<Dentry>, name: &[u8]) {
        let found = self.children.lock().find(name, hash_name(name));
        if let Cached::Positive(found) = found {
            self.forget(&found);
            found.prune();
        }
    }

    /// `child` was unlinked: out of the table, shown as deleted from now on.
    pub(crate) fn delete_child(&self, child: &Arc<Dentry>) {
        self.forget(child);
        child.state.fetch_or(DELETED, Ordering::AcqRel);
    }

    /// Moves `child` of this directory to `name` in `to`; a dentry known there is forgotten (deleted if `replaced`). Both directory
    /// inode locks are held.
    pub(crate) fn move_child(
        &self,
        child: &Arc<Dentry>,
        to: &Arc<Dentry>,
        name: &[u8],
        hash: u64,
    ) -> Result<(), Errno> {
        self.forget(child);
        {
            let mut link = child.link.lock();
            link.name = Name::from_slice(name);
            link.hash = hash;
            let old = link.parent.replace(to.clone());
            drop(link);
            drop(old);
        }
        to.insert(hash, name, Child::Positive(child.clone()))?;
        child.state.fetch_and(!UNHASHED, Ordering::AcqRel);
        dcache::enter(child);
        Ok(())
    }

    /// Drops a child that nobody but the table refers to. Returns whether it went.
    pub(crate) fn drop_unused(self: &Arc<Dentry>) -> bool {
        let Some(parent) = self.parent() else { return false };
        let hash = self.link.lock().hash;
        let taken = {
            let mut children = parent.children.lock();
            // The table's references and the caller's; new ones can only come through the table, which is locked.
            let recent = children.recent.as_ref().is_some_and(|(_, d)| Arc::ptr_eq(d, self));
            if Arc::strong_count(self) > 2 + usize::from(recent) || self.is_mountpoint() {
                return false;
            }
            Self::take(&mut children, hash, |c| matches!(c, Child::Positive(d) if Arc::ptr_eq(d, self)))
        };
        self.state.fetch_or(UNHASHED, Ordering::AcqRel);
        dcache::leave(self);
        taken.is_some()
    }

    /// Forgets every child that is not in use, deepest first (unmount).
    pub(crate) fn prune(self: &Arc<Dentry>) {
        // An explicit stack: the tree may be deeper than the kernel stack allows.
        let mut stack: SmallVec<[Arc<Dentry>; 8]> = SmallVec::new();
        stack.push(self.clone());
        while let Some(dir) = stack.pop() {
            let taken = core::mem::take(&mut *dir.children.lock());
            for child in taken.table {
                if let Child::Positive(d) = child {
                    d.state.fetch_or(UNHASHED, Ordering::AcqRel);
                    dcache::leave(&d);
                    stack.push(d);
                }
            }
        }
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        dcache::leave(self);
        // Parents are dropped in a loop: a chain of last references must not recurse down the kernel stack.
        let mut next = self.link.get_mut().parent.take();
        while let Some(parent) = next {
            next = match Arc::into_inner(parent) {
                Some(mut dead) => dead.link.get_mut().parent.take(),
                None => None,
            };
        }
    }
}
