//! Writing dirty pages back to the file system.

use super::{PAGE_SIZE, PageCache};
use crate::frames::USAGE;
use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;
use machine::mem::Frame;

impl PageCache {
    /// Writes all dirty pages back. The first error is returned; its page stays dirty.
    pub fn writeback(&self) -> Result<(), Errno> {
        self.writeback_range(0, u64::MAX)
    }
    /// Writes the dirty pages of `[first, end)` back.
    pub fn writeback_range(&self, first: u64, end: u64) -> Result<(), Errno> {
        let Some(backing) = &self.backing else { return Ok(()) };
        if self.nr_dirty() == 0 {
            return Ok(());
        }
        let mut from = first;
        while let Some((index, frame)) = self.take_dirty(from, end) {
            // The mark goes first, then write rights, then the bytes: a store before the rights went is in the bytes, one after
            // them faults and marks the page again.
            if self.is_mapped() {
                self.write_protect_everywhere(index, index + 1);
            }
            let len = self.size().saturating_sub(index.saturating_mul(PAGE_SIZE as u64)).min(PAGE_SIZE as u64);
            if len > 0
                && let Err(e) = backing.write_page(index, &frame, len as usize)
            {
                self.lookup_dirty(index);
                return Err(e);
            }
            from = index + 1;
        }
        Ok(())
    }
    /// The first dirty page of `[from, end)`, no longer marked dirty.
    fn take_dirty(&self, mut from: u64, end: u64) -> Option<(u64, Frame)> {
        let mut tree = self.tree.lock();
        while tree.dirty > 0 {
            let (index, slot) = tree.pages.next(from).filter(|(i, _)| *i < end)?;
            if slot.dirty {
                let slot = tree.pages.get_mut(index)?;
                slot.dirty = false;
                let frame = slot.frame.clone();
                tree.dirty -= 1;
                USAGE.dirty.fetch_sub(1, Relaxed);
                return Some((index, frame));
            }
            from = index.checked_add(1)?;
        }
        None
    }
}
