//! Taking pages away: truncation, holes, invalidation.

use super::{PAGE_SIZE, PageCache, Slot, page_of};
use arrayvec::ArrayVec;
use core::sync::atomic::Ordering;

impl PageCache {
    /// Sets the size. When it shrinks: zeroes the tail, drops the pages past it and unmaps them everywhere. When it grows: bytes
    /// that a mapping left behind the old end are zeroed. The caller holds the inode lock.
    pub fn truncate(&self, size: u64) {
        let ahead = self.fill.lock();
        let old = self.size.swap(size, Ordering::AcqRel);
        let edge = old.min(size);
        let within = (edge % PAGE_SIZE as u64) as usize;
        if within != 0
            && let Some(frame) = self.lookup(page_of(edge))
        {
            frame.zero_range(within, PAGE_SIZE - within);
        }
        if size < old {
            self.drop_pages(size.div_ceil(PAGE_SIZE as u64), u64::MAX);
        }
        drop(ahead);
    }
    /// Makes `[start, end)` a hole: whole pages are dropped, edges zeroed. For caches without backing, or together with a
    /// file system's own hole. The caller holds the inode lock.
    pub fn punch(&self, start: u64, end: u64) {
        let ahead = self.fill.lock();
        let (first, last) = (start.div_ceil(PAGE_SIZE as u64), page_of(end));
        let zero = |from: u64, to: u64| {
            if from < to
                && let Some(frame) = self.lookup_dirty(page_of(from))
            {
                frame.zero_range((from % PAGE_SIZE as u64) as usize, (to - from) as usize);
            }
        };
        zero(start, end.min(first.saturating_mul(PAGE_SIZE as u64)));
        if first <= last {
            zero(last * PAGE_SIZE as u64, end);
        }
        if first < last {
            self.drop_pages(first, last);
        }
        drop(ahead);
    }
    fn drop_pages(&self, first: u64, end: u64) {
        loop {
            let mut batch = ArrayVec::<Slot, 32>::new();
            let mut tree = self.tree.lock();
            while !batch.is_full()
                && let Some((_, slot)) = tree.pages.pop_in(first, end)
            {
                batch.push(slot);
            }
            let dirty = batch.iter().filter(|s| s.dirty).count() as u64;
            tree.dirty -= dirty;
            drop(tree);
            if batch.is_empty() {
                break;
            }
            self.forget(batch.len() as u64, dirty);
        }
        // Faults that looked a page up before now find the generation changed after they mapped it.
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.unmap_everywhere(first, end);
    }
    /// Drops clean, unmapped pages of `[first, end)` (POSIX_FADV_DONTNEED). Nothing to do for a cache that is the file.
    pub fn invalidate(&self, first: u64, end: u64) {
        if self.backing.is_none() {
            return;
        }
        let mut index = first;
        loop {
            let mut batch = ArrayVec::<Slot, 32>::new();
            let mut tree = self.tree.lock();
            let mut seen = 0;
            while seen < 64
                && let Some((i, slot)) = tree.pages.next(index).filter(|(i, _)| *i < end)
            {
                seen += 1;
                index = i + 1;
                let idle = !slot.dirty && slot.frame.refs() == 1;
                if idle && let Some(slot) = tree.pages.remove(i) {
                    batch.push(slot);
                    if batch.is_full() {
                        break;
                    }
                }
            }
            drop(tree);
            self.forget(batch.len() as u64, 0);
            if seen == 0 {
                return;
            }
        }
    }
}
