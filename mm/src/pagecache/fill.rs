//! Reading pages in, with read-ahead.
//!
//! One thread at a time reads into a cache; the others that miss wait for it and then find the page. A miss right behind the
//! last window doubles the next one (sequential reading), any other starts with the aligned neighbourhood of the page, which
//! is what programs faulting their text in want.

use super::{PageCache, no_memory};
use crate::frames;
use abi::Errno;
use alloc::vec::Vec;
use machine::mem::Frame;

const SMALLEST: u64 = 32;
const LARGEST: u64 = 128;

/// The read-ahead state of a file.
#[derive(Default)]
pub(super) struct Ahead {
    /// The page after the last window.
    next: u64,
    window: u64,
}

impl PageCache {
    /// Brings in the page at `index`, knowing that `want` pages from there are asked for.
    #[cold]
    pub(super) fn bring_in(&self, index: u64, want: u64) -> Result<Frame, Errno> {
        let Some(backing) = &self.backing else {
            return self.insert(index, frames::alloc_zeroed().map_err(no_memory)?);
        };
        let mut ahead = self.fill.lock();
        if let Some(frame) = self.lookup(index) {
            return Ok(frame);
        }
        let end = super::page_of(self.size().saturating_add(super::PAGE_SIZE as u64 - 1));
        if index >= end {
            return Err(Errno::EIO);
        }
        let sequential = index == ahead.next || index == 0 && want > 1;
        let first = if sequential {
            ahead.window = (ahead.window * 2).clamp(SMALLEST, LARGEST).max(want.min(LARGEST));
            index
        } else {
            ahead.window = SMALLEST;
            self.gap_start(index & !(SMALLEST - 1), index)
        };
        let wanted = first.saturating_add(ahead.window).max(index.saturating_add(want.min(LARGEST))).min(end);
        let last = self.gap_end(index, wanted);
        let mut batch: Vec<Frame> = Vec::new();
        batch.try_reserve_exact((last - first) as usize).map_err(|_| Errno::ENOMEM)?;
        for i in first..last {
            // Pages up to the one that is needed are worth reclaiming for, the rest only if memory is at hand.
            let frame = if i <= index { frames::alloc() } else { Frame::alloc() };
            match frame {
                Ok(frame) => batch.push(frame),
                Err(_) if i > index => break,
                Err(e) => return Err(no_memory(e)),
            }
        }
        let got = backing.read_pages(first, &batch)?;
        batch.truncate(got);
        let mut found = None;
        for (i, frame) in (first..).zip(batch) {
            let frame = self.insert(i, frame)?;
            if i == index {
                found = Some(frame);
            }
        }
        ahead.next = first.saturating_add(got as u64);
        if let Some(frame) = found {
            return Ok(frame);
        }
        // The backing stopped short of the page: ask for it alone.
        let frame = frames::alloc().map_err(no_memory)?;
        backing.read_page(index, &frame)?;
        self.insert(index, frame)
    }
    /// The first index of the run of missing pages that ends at `index`, not below `low`.
    fn gap_start(&self, low: u64, index: u64) -> u64 {
        let tree = self.tree.lock();
        let mut first = index;
        while first > low && tree.pages.get(first - 1).is_none() {
            first -= 1;
        }
        first
    }
    /// The end of the run of missing pages that starts at `index`, not above `high`.
    fn gap_end(&self, index: u64, high: u64) -> u64 {
        self.tree.lock().pages.next(index).map_or(high, |(i, _)| i.min(high))
    }
    /// Starts reading `[first, end)` (MADV_WILLNEED, readahead(2), POSIX_FADV_WILLNEED).
    pub fn read_ahead(&self, first: u64, end: u64) -> Result<(), Errno> {
        if self.backing.is_none() {
            return Ok(());
        }
        let mut index = first;
        while index < end && self.has_index(index) {
            if !self.contains(index) {
                self.bring_in(index, end - index)?;
            }
            index += 1;
        }
        Ok(())
    }
}
