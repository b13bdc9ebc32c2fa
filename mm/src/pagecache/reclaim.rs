//! Reclaim: clean pages of cached files go back when memory is short.
//!
//! A clock over all caches that have a backing: a page used since the hand last came by gets another round, a clean one that
//! nobody holds is dropped. When that is not enough, the translations of one mapped file after another are taken away (they are
//! only a cache), so that its pages are idle.

use super::{PageCache, Slot};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::SpinLock;

static CACHES: SpinLock<Vec<Weak<PageCache>>> = SpinLock::new(Vec::new());
static HAND: AtomicUsize = AtomicUsize::new(0);
/// Frees up to so many objects; returns how many.
pub type Shrinker = fn(usize) -> usize;

static SHRINKERS: SpinLock<Vec<Shrinker>> = SpinLock::new(Vec::new());

/// Makes a cache known to the clock.
pub(super) fn enlist(cache: Weak<PageCache>) {
    let mut caches = CACHES.lock();
    if caches.len() == caches.capacity() {
        caches.retain(|c| c.strong_count() > 0);
    }
    caches.push(cache);
}

/// Registers another holder of memory (dentries, inodes): called with the number of objects to free, returns how many it freed.
/// Called without spin locks; it must not wait for locks that are held while user pages are allocated.
pub fn register_shrinker(shrink: Shrinker) {
    SHRINKERS.lock().push(shrink);
}

/// How far reclaim goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Only pages that nobody has used or maps.
    Gentle,
    /// Mapped pages too.
    Full,
}

/// Frees up to `target` pages; returns how many.
pub(crate) fn shrink(target: usize, effort: Effort) -> usize {
    let mut freed = 0;
    let rounds = if effort == Effort::Gentle { 2 } else { 3 };
    for round in 0..rounds {
        let caches = CACHES.lock().len();
        for _ in 0..caches {
            if freed >= target {
                return freed;
            }
            if let Some(cache) = next_cache() {
                if round == 2 && cache.is_mapped() {
                    cache.unmap_everywhere(0, u64::MAX);
                }
                freed += cache.shrink(target - freed, round == 2);
            }
        }
        let others: ArrayVec<Shrinker, 8> = SHRINKERS.lock().iter().copied().take(8).collect();
        for shrinker in others {
            freed += shrinker(target);
        }
    }
    freed
}

/// Writes the dirty pages of all caches back (sync(2), memory getting short). Errors stay with the pages.
pub fn write_back_all() {
    let nth = |i: usize| CACHES.lock().get(i).map(Weak::upgrade);
    for cache in (0..).map_while(nth).flatten().filter(|c| c.nr_dirty() > 0) {
        let _ = cache.writeback();
    }
}

fn next_cache() -> Option<Arc<PageCache>> {
    let caches = CACHES.lock();
    let at = HAND.fetch_add(1, Relaxed).checked_rem(caches.len())?;
    caches.get(at)?.upgrade()
}

impl PageCache {
    /// Drops up to `target` clean idle pages; those used lately only if `hard`.
    fn shrink(&self, target: usize, hard: bool) -> usize {
        let (mut freed, mut from) = (0, 0);
        while freed < target {
            let mut batch = ArrayVec::<Slot, 32>::new();
            let mut tree = self.tree.lock();
            let mut seen = 0;
            while seen < 64
                && !batch.is_full()
                && let Some(index) = tree.pages.next(from).map(|(i, _)| i)
            {
                seen += 1;
                from = index.saturating_add(1);
                let Some(slot) = tree.pages.get_mut(index) else { break };
                if slot.used && !hard {
                    slot.used = false;
                } else if !slot.dirty
                    && slot.frame.refs() == 1
                    && let Some(slot) = tree.pages.remove(index)
                {
                    batch.push(slot);
                }
            }
            drop(tree);
            self.forget(batch.len() as u64, 0);
            freed += batch.len();
            if seen == 0 {
                break;
            }
        }
        freed
    }
}
