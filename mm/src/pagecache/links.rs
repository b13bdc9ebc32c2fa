//! The reverse map: which address spaces map a cache, and where.
//!
//! A link says that page `i` of the file, when mapped through it, is at `i * PAGE_SIZE + delta` in its address space. All areas
//! that come from one mmap call by splitting share a link; so does what they grow into. A link may therefore cover addresses
//! that are mapped otherwise by now: taking translations away there is harmless, because translations are only a cache.

use super::{PageCache, Weak};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, Ordering::Relaxed};
use machine::aspace::AddressSpace;
use machine::{PAGE_SIZE, VirtAddr};
use smallvec::SmallVec;

/// One mapping of a cache.
pub(crate) struct Link {
    aspace: Arc<AddressSpace>,
    /// Address minus file offset (wrapping).
    delta: u64,
    first: AtomicU64,
    end: AtomicU64,
    cache: Weak<PageCache>,
    /// Counted in the cache's `shared_writers`.
    writer: bool,
}

impl Link {
    /// Address minus file offset.
    pub fn delta(&self) -> u64 {
        self.delta
    }
    /// Pages up to `end` (an index) are mapped through this link as well.
    pub fn extend(&self, first: u64, end: u64) {
        self.first.fetch_min(first, Ordering::SeqCst);
        self.end.fetch_max(end, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(cache) = self.cache.upgrade() else { return };
        if self.writer {
            cache.shared_writers.fetch_sub(1, Relaxed);
        }
        cache.links.lock().lost_one();
    }
}

/// Links of a cache. Those that are gone hold their memory until they are swept out, which is when they are many.
#[derive(Default)]
pub(super) struct Links {
    list: Vec<Weak<Link>>,
    gone: usize,
}

impl Links {
    /// Links that may be gone without a sweep, however few there are beside them.
    const GONE: usize = 16;

    /// Links, with those that are gone and were not swept out.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn lost_one(&mut self) {
        self.gone += 1;
        if self.gone > Self::GONE && self.gone > self.list.len() / 2 {
            self.list.retain(|link| link.strong_count() > 0);
            self.gone = 0;
        }
    }
}

impl PageCache {
    /// Registers a mapping of `pages` pages from `index` at `va`. `writer`: shared, and may become writable; EPERM when the file is
    /// sealed against that.
    pub(crate) fn link(
        &self,
        aspace: &Arc<AddressSpace>,
        va: u64,
        index: u64,
        pages: u64,
        writer: bool,
    ) -> Result<Arc<Link>, Errno> {
        if writer {
            self.shared_writers
                .fetch_update(Relaxed, Relaxed, |n| if n < 0 { None } else { Some(n + 1) })
                .map_err(|_| Errno::EPERM)?;
        }
        let link = Arc::new(Link {
            aspace: aspace.clone(),
            delta: va.wrapping_sub(index.wrapping_mul(PAGE_SIZE as u64)),
            first: AtomicU64::new(index),
            end: AtomicU64::new(index.saturating_add(pages)),
            cache: self.this.clone(),
            writer,
        });
        self.links.lock().list.push(Arc::downgrade(&link));
        Ok(link)
    }
    /// Runs `f(space, address, pages)` for each place where pages of `[first, end)` may be mapped, then commits.
    fn each_place(&self, first: u64, end: u64, f: impl Fn(&AddressSpace, VirtAddr, u64)) {
        let mut places: SmallVec<[Arc<Link>; 8]> = SmallVec::new();
        places.extend(self.links.lock().list.iter().filter_map(Weak::upgrade));
        for link in places {
            let from = link.first.load(Ordering::SeqCst).max(first);
            let to = link.end.load(Ordering::SeqCst).min(end);
            if from < to {
                f(&link.aspace, VirtAddr(from.wrapping_mul(PAGE_SIZE as u64).wrapping_add(link.delta)), to - from);
                link.aspace.commit();
            }
        }
    }
    /// Takes the translations of `[first, end)` away; the next access faults.
    pub(super) fn unmap_everywhere(&self, first: u64, end: u64) {
        self.each_place(first, end, AddressSpace::unmap);
    }
    /// Takes write rights to `[first, end)` away; the next store faults.
    pub(super) fn write_protect_everywhere(&self, first: u64, end: u64) {
        self.each_place(first, end, AddressSpace::write_protect);
    }
    /// Some address space may map the cache.
    pub fn is_mapped(&self) -> bool {
        self.links.lock().list.iter().any(|l| l.strong_count() > 0)
    }
    /// Refuses new shared writable mappings for good (F_SEAL_WRITE); EBUSY while there are some.
    pub fn deny_shared_writes(&self) -> Result<(), Errno> {
        self.shared_writers
            .fetch_update(Relaxed, Relaxed, |n| if n > 0 { None } else { Some(-1) })
            .map(|_| ())
            .map_err(|_| Errno::EBUSY)
    }
}
