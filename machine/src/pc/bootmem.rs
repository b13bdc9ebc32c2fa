//! Memory before there is a frame source: the free ranges that the memory map leaves, taken from the front.

use super::mem;
use crate::sync::IrqLock;

/// A range of page numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u32,
    pub end: u32,
}

const MAX: usize = 32;

/// A few free ranges, in no order.
pub struct Ranges {
    list: [Range; MAX],
    len: usize,
}

impl Ranges {
    pub const fn new() -> Ranges {
        Ranges { list: [Range { start: 0, end: 0 }; MAX], len: 0 }
    }
    pub fn iter(&self) -> core::slice::Iter<'_, Range> {
        self.list[..self.len].iter()
    }
    /// Adds free pages; a range too many is lost, not misused.
    pub fn add(&mut self, start: u32, end: u32) {
        if start < end && self.len < MAX {
            self.list[self.len] = Range { start, end };
            self.len += 1;
        }
    }
    /// Takes pages out wherever they are listed.
    pub fn remove(&mut self, start: u32, end: u32) {
        let mut i = 0;
        while i < self.len {
            let r = self.list[i];
            if end <= r.start || start >= r.end {
                i += 1;
                continue;
            }
            self.len -= 1;
            self.list[i] = self.list[self.len];
            self.add(r.start, r.end.min(start));
            self.add(r.start.max(end), r.end);
            i = 0;
        }
    }
    /// Takes `count` pages, aligned to `align` pages, all below `limit`.
    pub fn take(&mut self, count: u32, align: u32, limit: u32) -> Option<u32> {
        let fits = |r: &Range| {
            let at = r.start.next_multiple_of(align);
            (at.checked_add(count)? <= r.end.min(limit)).then_some(at)
        };
        // Low memory is kept for the other CPUs' start code; the largest range serves first.
        let at = self.list[..self.len]
            .iter()
            .filter(|r| fits(r).is_some())
            .max_by_key(|r| r.end - r.start)
            .and_then(fits)?;
        self.remove(at, at + count);
        Some(at)
    }
}

static FREE: IrqLock<Ranges> = IrqLock::new(Ranges::new());

/// Sets the free ranges at boot.
pub fn init(ranges: Ranges) {
    *FREE.lock() = ranges;
}

/// Takes pages below `limit`, unmarked: for use before there is metadata, or as memory that stays reserved.
pub fn take(count: u32, limit: u32) -> Option<u32> {
    FREE.lock().take(count, 1, limit)
}

/// Takes a block for the ordinary allocation paths.
pub fn take_early(order: u8) -> Option<u32> {
    FREE.lock().take(1 << order, 1 << order, u32::MAX)
}

/// Gives a block back.
pub fn give_early(pfn: u32, order: u8) {
    FREE.lock().add(pfn, pfn + (1 << order));
}

/// Marks everything that is not free as reserved, once the metadata array exists.
pub fn mark_reserved(extent: u32) {
    let free = FREE.lock();
    let mut at = 0;
    while at < extent {
        // The free range that covers `at`, or the next one above it.
        let Some(next) = free.iter().filter(|r| r.end > at).min_by_key(|r| r.start) else {
            mem::mark(at, extent, mem::KIND_RESERVED);
            break;
        };
        if next.start > at {
            mem::mark(at, next.start, mem::KIND_RESERVED);
        }
        at = next.end;
    }
}

/// Hands all free ranges over.
pub fn drain(give: &mut dyn FnMut(u32, u32)) {
    let all = core::mem::replace(&mut *FREE.lock(), Ranges::new());
    for r in all.iter() {
        give(r.start, r.end);
    }
}
