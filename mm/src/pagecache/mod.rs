//! The pages of a file, shared by read, write and every mapping of it.
//!
//! A cache with a backing holds copies of what a file system stores: pages are read in on demand with read-ahead, marked dirty,
//! written back, and dropped by reclaim when clean and unmapped. A cache without one *is* the file (tmpfs, shared
//! memory): holes read as zero, pages stay until truncated.
//!
//! Data flow: `read`/`write` (`rw`) and faults look pages up in the radix tree under a spin lock and work on a counted
//! [`Frame`] outside it; a miss goes through `fill`, one reader-in at a time. `links` is the reverse map to the address
//! spaces that map the file; truncation, write-back and reclaim use it to take translations away. A fault that races with
//! truncation sees [`PageCache::generation`] change and starts again.

mod fill;
mod links;
pub mod reclaim;
mod rw;
mod shrink;
#[cfg(test)]
mod tests;
mod writeback;

pub(crate) use links::Link;
use links::Links;

use crate::frames::{self, USAGE};
use abi::Errno;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering, Ordering::Relaxed};
use machine::PAGE_SIZE;
use machine::mem::{Frame, OutOfFrames};
use machine::sync::SpinLock;
use radix::{GROUP, Radix};
use sched::Mutex;

/// Where the pages of a cache come from and go to: implemented by file systems.
pub trait PageBacking: Send + Sync {
    /// Fills one page (zero past the end of the file).
    fn read_page(&self, index: u64, into: &Frame) -> Result<(), Errno>;
    /// Fills consecutive pages; returns how many (at least one unless it fails).
    fn read_pages(&self, first: u64, into: &[Frame]) -> Result<usize, Errno> {
        for (index, frame) in (first..).zip(into) {
            self.read_page(index, frame)?;
        }
        Ok(into.len())
    }
    /// Stores the first `len` bytes of one page.
    fn write_page(&self, index: u64, from: &Frame, len: usize) -> Result<(), Errno>;
}

/// Limits the pages of caches that have no backing (tmpfs `size=`).
pub trait PageQuota: Send + Sync {
    /// `pages` more are wanted; ENOSPC.
    fn charge(&self, pages: u64) -> Result<(), Errno>;
    /// `pages` were given back.
    fn uncharge(&self, pages: u64);
}

struct Slot {
    frame: Frame,
    dirty: bool,
    /// Looked up since reclaim last came by.
    used: bool,
}

struct Tree {
    pages: Radix<Slot>,
    dirty: u64,
}

/// The pages of one file or shared-memory object.
pub struct PageCache {
    size: AtomicU64,
    tree: SpinLock<Tree>,
    backing: Option<Arc<dyn PageBacking>>,
    quota: Option<Arc<dyn PageQuota>>,
    generation: AtomicU64,
    fill: Mutex<fill::Ahead>,
    links: SpinLock<Links>,
    /// Shared mappings that may be written; -1: none may be made any more.
    shared_writers: AtomicI64,
    id: u64,
    /// Reclaim knows of this cache.
    listed: AtomicBool,
    this: Weak<PageCache>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn no_memory(_: OutOfFrames) -> Errno {
    Errno::ENOMEM
}

/// Index of the page that holds byte `off`.
const fn page_of(off: u64) -> u64 {
    off / PAGE_SIZE as u64
}

impl PageCache {
    /// An empty cache. Without a backing the cache is the file (tmpfs, shared memory): holes read as zero, pages stay.
    pub fn new(backing: Option<Arc<dyn PageBacking>>) -> Arc<PageCache> {
        Self::build(backing, None)
    }
    /// A cache that is the file, its pages counted against `quota`.
    pub fn with_quota(quota: Arc<dyn PageQuota>) -> Arc<PageCache> {
        Self::build(None, Some(quota))
    }
    fn build(backing: Option<Arc<dyn PageBacking>>, quota: Option<Arc<dyn PageQuota>>) -> Arc<PageCache> {
        Arc::new_cyclic(|this| PageCache {
            size: AtomicU64::new(0),
            tree: SpinLock::new(Tree { pages: Radix::new(), dirty: 0 }),
            backing,
            quota,
            generation: AtomicU64::new(0),
            fill: Mutex::new(fill::Ahead::default()),
            links: SpinLock::new(Links::default()),
            shared_writers: AtomicI64::new(0),
            id: NEXT_ID.fetch_add(1, Relaxed),
            listed: AtomicBool::new(false),
            this: this.clone(),
        })
    }
    /// A number no other cache ever has.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// File size in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }
    /// Sets the size without touching pages (a file system learned it).
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }
    /// Pages held.
    pub fn nr_pages(&self) -> u64 {
        self.tree.lock().pages.len()
    }
    /// Dirty pages held.
    pub fn nr_dirty(&self) -> u64 {
        self.tree.lock().dirty
    }
    /// Pages are this cache's only home (no file system behind it).
    pub fn is_memory(&self) -> bool {
        self.backing.is_none()
    }
    /// Changes whenever pages are taken away; a fault that maps a page checks that it did not while it worked.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
    /// The page at `index` lies wholly or partly inside the file.
    pub(crate) fn has_index(&self, index: u64) -> bool {
        index < self.size().div_ceil(PAGE_SIZE as u64)
    }

    /// The page, if it is here.
    #[inline]
    pub fn lookup(&self, index: u64) -> Option<Frame> {
        let mut tree = self.tree.lock();
        let slot = tree.pages.get_mut(index)?;
        slot.used = true;
        Some(slot.frame.clone())
    }
    /// The page is here (not counted as a use).
    pub fn contains(&self, index: u64) -> bool {
        self.tree.lock().pages.get(index).is_some()
    }
    /// The page is here and has no other home, or one that is older.
    pub fn is_dirty(&self, index: u64) -> bool {
        self.tree.lock().pages.get(index).is_some_and(|slot| slot.dirty || self.backing.is_none())
    }
    /// Fills `out` with the pages from `first` that are here. The range may not cross a multiple of 64 pages (what is past it
    /// is left out).
    pub fn find_run(&self, first: u64, out: &mut [Option<Frame>]) {
        let tree = self.tree.lock();
        let group = tree.pages.group(first).map_or(&[][..], |g| g.get(first as usize % GROUP..).unwrap_or_default());
        for (to, slot) in out.iter_mut().zip(group) {
            *to = slot.as_ref().map(|s| s.frame.clone());
        }
    }
    /// The page, read in if need be. A hole of a cache without backing is made a zero page.
    #[inline]
    pub fn get(&self, index: u64) -> Result<Frame, Errno> {
        match self.lookup(index) {
            Some(frame) => Ok(frame),
            None => self.bring_in(index, 1),
        }
    }
    /// The page for writing, marked dirty; `whole`: the caller overwrites all of it, so it need not be read.
    pub fn get_for_write(&self, index: u64, whole: bool) -> Result<Frame, Errno> {
        loop {
            if let Some(frame) = self.lookup_dirty(index) {
                return Ok(frame);
            }
            if whole {
                self.insert(index, frames::alloc_zeroed().map_err(no_memory)?)?;
            } else {
                self.bring_in(index, 1)?;
            }
        }
    }
    /// The page if it is here, marked dirty.
    #[inline]
    fn lookup_dirty(&self, index: u64) -> Option<Frame> {
        let mut tree = self.tree.lock();
        let slot = tree.pages.get_mut(index)?;
        slot.used = true;
        let frame = slot.frame.clone();
        if self.backing.is_some() && !slot.dirty {
            slot.dirty = true;
            tree.dirty += 1;
            USAGE.dirty.fetch_add(1, Relaxed);
        }
        Some(frame)
    }
    /// Adds a page; the one that was there first wins and is returned.
    fn insert(&self, index: u64, frame: Frame) -> Result<Frame, Errno> {
        if let Some(quota) = &self.quota {
            quota.charge(1)?;
        }
        let mut tree = self.tree.lock();
        if let Some(slot) = tree.pages.get(index) {
            let there = slot.frame.clone();
            drop(tree);
            if let Some(quota) = &self.quota {
                quota.uncharge(1);
            }
            return Ok(there);
        }
        tree.pages.insert(index, Slot { frame: frame.clone(), dirty: false, used: true });
        drop(tree);
        USAGE.cached.fetch_add(1, Relaxed);
        if self.backing.is_none() {
            USAGE.shmem.fetch_add(1, Relaxed);
        } else if !self.listed.load(Relaxed) {
            self.enlist();
        }
        Ok(frame)
    }
    #[cold]
    fn enlist(&self) {
        if !self.listed.swap(true, Relaxed) {
            reclaim::enlist(self.this.clone());
        }
    }
    /// Counts pages that left the tree, `dirty` of them dirty.
    fn forget(&self, pages: u64, dirty: u64) {
        USAGE.cached.fetch_sub(pages as i64, Relaxed);
        USAGE.dirty.fetch_sub(dirty as i64, Relaxed);
        if self.backing.is_none() {
            USAGE.shmem.fetch_sub(pages as i64, Relaxed);
        }
        if let Some(quota) = &self.quota {
            quota.uncharge(pages);
        }
    }
    /// First page at or after `index` that is here (SEEK_DATA of tmpfs).
    pub fn next_page(&self, index: u64) -> Option<u64> {
        self.tree.lock().pages.next(index).map(|(i, _)| i)
    }
    /// Makes zero pages for the whole range (fallocate of tmpfs).
    pub fn preallocate(&self, first: u64, end: u64) -> Result<(), Errno> {
        for index in first..end {
            if !self.contains(index) {
                self.insert(index, frames::alloc_zeroed().map_err(no_memory)?)?;
            }
        }
        Ok(())
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        let tree = self.tree.get_mut();
        let (pages, dirty) = (tree.pages.len(), tree.dirty);
        if pages > 0 {
            self.forget(pages, dirty);
        }
    }
}
