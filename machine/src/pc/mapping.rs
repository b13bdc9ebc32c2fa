//! Changes of user mappings: map, unmap, rights, moving, sharing for fork, and taking a space apart.
//!
//! All run under the space's lock; what they remove or narrow goes to the pending list (see `aspace`).

use super::aspace::{ACCESSED, RawSpace, TABLE, clip, kernel_half, leaf, pfn_of};
use super::mem::{self, RawFrame};
use super::paging::{NX, P, W};
use super::tables::Table;
use crate::addr::{Pfn, USER_MAX, VirtAddr};
use crate::aspace::{Mapped, Prot};
use crate::mem::{Frame, OutOfFrames};
use core::ops::ControlFlow;

/// Remembers the last-level table of a walk, so that neighbours need none.
struct Walk {
    base: u64,
    table: Option<Table>,
}

impl RawSpace {
    pub fn map(&self, va: VirtAddr, frames: &[Frame], prot: Prot) -> Result<(), OutOfFrames> {
        if let [frame] = frames
            && va.0 < USER_MAX
        {
            // One page where nothing was: the common fault.
            let guard = self.pending.lock();
            let (page, table) = (va.page(), self.make(va.page())?);
            if table.get(page) == 0 {
                table.set_new(page, leaf(frame.raw().clone().into_pfn(), prot));
                self.count(1);
                return Ok(());
            }
            drop(guard);
        }
        self.map_run(va, frames, prot)
    }

    fn map_run(&self, va: VirtAddr, frames: &[Frame], prot: Prot) -> Result<(), OutOfFrames> {
        let range = clip(va, frames.len() as u64);
        let mut guard = self.pending.lock();
        let mut walk = Walk { base: u64::MAX, table: None };
        for (page, frame) in range.zip(frames) {
            let table = match walk.table {
                Some(t) if walk.base == page >> 9 => t,
                _ => self.make(page)?,
            };
            walk = Walk { base: page >> 9, table: Some(table) };
            let new = leaf(frame.pfn().0, prot);
            let old = table.get(page);
            if old & P == 0 {
                frame.raw().clone().into_pfn();
                table.set_new(page, new);
                self.count(1);
            } else if pfn_of(old) == frame.pfn().0 {
                table.set(page, new);
                if old & !new & W != 0 || new & !old & NX != 0 {
                    guard.touch(page, page + 1);
                }
            } else {
                frame.raw().clone().into_pfn();
                table.set(page, new);
                guard = self.retire(guard, pfn_of(old), page, page + 1);
                walk.table = None; // the lock may have been given up
            }
        }
        Ok(())
    }

    pub fn map_absent(&self, va: VirtAddr, frames: &[Option<Frame>], prot: Prot) -> Result<(), OutOfFrames> {
        let _guard = self.pending.lock();
        let mut walk = Walk { base: u64::MAX, table: None };
        for (page, frame) in clip(va, frames.len() as u64).zip(frames) {
            let Some(frame) = frame else { continue };
            let table = match walk.table {
                Some(t) if walk.base == page >> 9 => t,
                _ => self.make(page)?,
            };
            walk = Walk { base: page >> 9, table: Some(table) };
            if table.get(page) & P == 0 {
                table.set_new(page, leaf(frame.raw().clone().into_pfn(), prot));
                self.count(1);
            }
        }
        Ok(())
    }

    /// Calls `f(first page of the table, table, first, last)` for each last-level table that the range touches, until it
    /// says stop.
    fn each_table(
        &self,
        range: core::ops::Range<u64>,
        mut f: impl FnMut(u64, Table, u64, u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(end) = range.end.checked_sub(1).filter(|e| range.start <= *e) else {
            return ControlFlow::Continue(());
        };
        if range.start >> 9 == end >> 9 {
            return match self.find(range.start) {
                Some(table) => f(range.start & !511, table, range.start & 511, end & 511),
                None => ControlFlow::Continue(()),
            };
        }
        let part = |level: u32, base: u64| {
            // First and last index of the range within the table that covers pages from `base`.
            let shift = 9 * level;
            let first = (range.start.max(base) - base) >> shift;
            let last = ((end - base) >> shift).min(511);
            (first, last)
        };
        let (a, b) = part(3, 0);
        self.root.try_each(a, b, |i, e| {
            let base = i << 27;
            let (a, b) = part(2, base);
            Table::of(e).try_each(a, b, |i, e| {
                let base = base + (i << 18);
                let (a, b) = part(1, base);
                Table::of(e).try_each(a, b, |i, e| {
                    let base = base + (i << 9);
                    let (a, b) = part(0, base);
                    f(base, Table::of(e), a, b)
                })
            })
        })
    }

    pub fn unmap(&self, va: VirtAddr, pages: u64) {
        let range = clip(va, pages);
        let mut at = range.start;
        // A full pending list ends a pass; the next goes on behind what is gone.
        while at < range.end {
            let mut guard = self.pending.lock();
            let pending = &mut *guard;
            let stopped = self.each_table(at..range.end, |base, table, first, last| {
                table.try_each(first, last, |i, e| {
                    let page = base + i;
                    let Some(place) = pending.list.get_mut(pending.len) else {
                        at = page;
                        return ControlFlow::Break(());
                    };
                    table.set(i, 0);
                    *place = pfn_of(e);
                    pending.len += 1;
                    pending.touch(page, page + 1);
                    self.count(-1);
                    ControlFlow::Continue(())
                })
            });
            if stopped.is_continue() {
                break;
            }
            self.flush(guard);
        }
        if range.end - range.start >= 512 {
            self.free_tables(range);
        }
    }

    /// Retires the last-level tables that lie wholly in the range, all of whose entries were just removed.
    fn free_tables(&self, range: core::ops::Range<u64>) {
        let mut at = range.start.next_multiple_of(512);
        while at + 512 <= range.end {
            let mut guard = self.pending.lock();
            let e = self.root.get(at >> 27);
            if e & P == 0 {
                at = ((at >> 27) + 1) << 27;
                continue;
            }
            let e = Table::of(e).get(at >> 18);
            if e & P == 0 {
                at = ((at >> 18) + 1) << 18;
                continue;
            }
            let middle = Table::of(e);
            let e = middle.get(at >> 9);
            if e & P != 0 {
                let table = Table::of(e);
                let mut empty = true;
                table.each(0, 511, |_, _| empty = false);
                if empty {
                    middle.set(at >> 9, 0);
                    // Any address of the table makes the CPUs forget the cached upper entry.
                    guard = self.retire(guard, table.pfn() | TABLE, at, at + 1);
                }
            }
            drop(guard);
            at += 512;
        }
    }

    fn change(&self, va: VirtAddr, pages: u64, new: impl Fn(u64) -> u64) {
        let mut guard = self.pending.lock();
        let _ = self.each_table(clip(va, pages), |base, table, first, last| {
            table.each(first, last, |i, old| {
                let new = new(old);
                if new != old {
                    table.set(i, new);
                    if old & !new & W != 0 || new & !old & NX != 0 {
                        guard.touch(base + i, base + i + 1);
                    }
                }
            });
            ControlFlow::Continue(())
        });
    }

    pub fn protect(&self, va: VirtAddr, pages: u64, prot: Prot) {
        self.change(va, pages, |old| leaf(pfn_of(old), prot));
    }

    pub fn write_protect(&self, va: VirtAddr, pages: u64) {
        self.change(va, pages, |old| old & !W);
    }

    pub fn each_mapped(&self, va: VirtAddr, pages: u64, f: &mut dyn FnMut(Mapped) -> ControlFlow<()>) {
        let _guard = self.pending.lock();
        let _ = self.each_table(clip(va, pages), |base, table, first, last| {
            table.try_each(first, last, |i, e| {
                let refs = mem::meta(pfn_of(e)).map_or(0, mem::Meta::state);
                f(Mapped { page: base + i, pfn: Pfn(pfn_of(e)), refs, accessed: e & ACCESSED != 0 })
            })
        });
    }

    pub fn forget_accesses(&self, va: VirtAddr, pages: u64) {
        let mut guard = self.pending.lock();
        let _ = self.each_table(clip(va, pages), |base, table, first, last| {
            table.each(first, last, |i, old| {
                if old & ACCESSED != 0 {
                    table.set(i, old & !ACCESSED);
                    guard.touch(base + i, base + i + 1);
                }
            });
            ControlFlow::Continue(())
        });
    }

    pub fn move_range(&self, from: VirtAddr, to: VirtAddr, pages: u64) -> Result<(), OutOfFrames> {
        let source = clip(from, pages);
        let room = clip(to, source.end - source.start);
        let mut guard = self.pending.lock();
        for (s, d) in source.zip(room) {
            let Some(table) = self.find(s) else { continue };
            let e = table.get(s);
            if e & P == 0 {
                continue;
            }
            let target = self.make(d)?;
            let old = target.get(d);
            table.set(s, 0);
            target.set_new(d, e);
            guard.touch(s, s + 1);
            if old & P != 0 {
                self.count(-1);
                guard = self.retire(guard, pfn_of(old), d, d + 1);
            }
        }
        Ok(())
    }

    pub fn share_from(&self, src: &RawSpace, va: VirtAddr, pages: u64, read_only: bool) -> Result<(), OutOfFrames> {
        if core::ptr::eq(self, src) {
            return Ok(());
        }
        let first_self = core::ptr::from_ref(self) < core::ptr::from_ref(src);
        let first = if first_self { &self.pending } else { &src.pending }.lock();
        let second = if first_self { &src.pending } else { &self.pending }.lock();
        let (_mine, mut theirs) = if first_self { (first, second) } else { (second, first) };
        let mut result = Ok(());
        let _ = src.each_table(clip(va, pages), |base, table, first, last| {
            let mut target = None;
            table.try_each(first, last, |i, e| {
                let to = match target {
                    Some(t) => t,
                    None => match self.make(base) {
                        Ok(t) => *target.insert(t),
                        Err(short) => {
                            result = Err(short);
                            return ControlFlow::Break(());
                        }
                    },
                };
                if to.get(i) & P != 0 {
                    return ControlFlow::Continue(());
                }
                let new = if read_only { e & !W } else { e };
                if new != e {
                    table.set(i, new);
                    theirs.touch(base + i, base + i + 1);
                }
                // SAFETY: the source entry owns a reference, and the source's lock keeps the entry.
                unsafe { RawFrame::share(pfn_of(e)) }.into_pfn();
                to.set_new(i, new);
                self.count(1);
                ControlFlow::Continue(())
            })
        });
        result
    }

    /// Frees everything. No CPU has the space loaded any more: each holds a reference while it does.
    pub fn destroy(&mut self) {
        let guard = self.pending.lock();
        if !guard.is_empty() {
            self.flush(guard);
        } else {
            drop(guard);
        }
        fn clear(table: Table, level: u32) {
            table.each(0, if level == 3 { 255 } else { 511 }, |i, e| {
                table.set(i, 0);
                if level == 0 {
                    // SAFETY: the entry owned this reference.
                    drop(unsafe { RawFrame::from_pfn(pfn_of(e)) });
                } else {
                    clear(Table::of(e), level - 1);
                }
            });
            if level == 3 {
                for (i, _) in kernel_half() {
                    table.set(*i, 0);
                }
            }
            table.free();
        }
        clear(self.root, 3);
    }
}
