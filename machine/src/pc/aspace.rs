//! User page tables.
//!
//! Every present leaf owns one reference to its frame. Entries that are replaced or removed go to the pending list with the
//! range to flush; `commit` (or a full list) shoots the range down on the CPUs that have the space active and only then drops the
//! references and empty tables. The lock is never held while waiting for other CPUs; `flushing` lets a committer whose
//! entries another one took wait for them.
//!
//! Locks: one spin lock a space; `share_from` takes two in address order.

use super::cpu::{self, CpuSet};
use super::mem::RawFrame;
use super::paging::{self, ADDR, NX, P, U, W};
use super::tables::Table;
use super::{tlb, x86};
use crate::addr::{Pfn, USER_MAX, VirtAddr};
use crate::aspace::{AddressSpace, Prot};
use crate::mem::{Frame, OutOfFrames};
use crate::sync::{Once, SpinGuard, SpinLock};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, Ordering};

/// Accessed and dirty, set from the start: nothing looks at them, and the CPU need not.
const AD: u64 = 0x60;
/// Pending entry is a table.
const TABLE: u32 = 1 << 31;
const PENDING: usize = 60;
/// Lists up to this long are copied apart, to keep single-page changes cheap.
const FEW: usize = 4;

/// What waits for a flush.
struct Pending {
    list: [u32; PENDING],
    len: usize,
    /// Pages to flush: `[lo, hi)`.
    lo: u64,
    hi: u64,
}

impl Pending {
    const EMPTY: Pending = Pending { list: [0; PENDING], len: 0, lo: u64::MAX, hi: 0 };

    fn touch(&mut self, lo: u64, hi: u64) {
        self.lo = self.lo.min(lo);
        self.hi = self.hi.max(hi);
    }
    fn is_empty(&self) -> bool {
        self.hi == 0
    }
}

pub struct RawSpace {
    root: Table,
    pending: SpinLock<Pending>,
    active: CpuSet,
    flushing: AtomicU32,
    tables: AtomicU32,
    /// Leaves present; changed under the lock.
    resident: AtomicU32,
}

/// The root entries every space has, as (index, value).
static KERNEL_HALF: Once<Vec<(u64, u64)>> = Once::new();

fn kernel_half() -> &'static [(u64, u64)] {
    KERNEL_HALF.get_or_init(|| {
        let root = Table::of(paging::root());
        let used = paging::KERNEL_ENTRIES.map(|i| (i as u64, root.get(i as u64)));
        used.filter(|(_, e)| e & P != 0).collect()
    })
}

fn leaf(pfn: u32, prot: Prot) -> u64 {
    let rights = if prot.write { W } else { 0 } | if prot.exec { 0 } else { NX };
    u64::from(pfn) << 12 | P | U | AD | rights
}

fn prot_of(entry: u64) -> Prot {
    Prot { write: entry & W != 0, exec: entry & NX == 0 }
}

fn pfn_of(entry: u64) -> u32 {
    ((entry & ADDR) >> 12) as u32
}

/// Pages of `[va, va + pages)` below the end of user space, as page numbers.
fn clip(va: VirtAddr, pages: u64) -> core::ops::Range<u64> {
    let end = USER_MAX >> 12;
    let first = va.page().min(end);
    first..first.saturating_add(pages).min(end)
}

pub fn activate(space: &Arc<AddressSpace>) {
    let p = Arc::as_ptr(space);
    let cpu = cpu::current();
    if cpu.space.get() == p {
        return;
    }
    let old = cpu.space.replace(Arc::into_raw(space.clone()));
    let raw = space.raw();
    raw.active.insert(cpu.id.get());
    // SAFETY: the root holds the kernel's entries; the CPU's reference keeps the tables alive while they are loaded.
    unsafe { x86::write_cr3(raw.root.phys()) };
    release(cpu, old);
}

pub fn deactivate() {
    let cpu = cpu::current();
    let old = cpu.space.replace(core::ptr::null());
    if !old.is_null() {
        // SAFETY: the kernel's own root maps all that the kernel uses.
        unsafe { x86::write_cr3(paging::root()) };
        release(cpu, old);
    }
}

fn release(cpu: &cpu::Cpu, old: *const AddressSpace) {
    if !old.is_null() {
        // SAFETY: `activate` stored the pointer with a reference of its own, taken back here once.
        let old = unsafe { Arc::from_raw(old) };
        old.raw().active.remove(cpu.id.get());
    }
}

/// Remembers the last-level table of a walk, so that neighbours need none.
struct Walk {
    base: u64,
    table: Option<Table>,
}

impl RawSpace {
    pub fn new() -> Result<RawSpace, OutOfFrames> {
        let root = Table::new()?;
        for (i, e) in kernel_half() {
            root.set(*i, *e);
        }
        Ok(RawSpace {
            root,
            pending: SpinLock::new(Pending::EMPTY),
            active: CpuSet::new(),
            flushing: AtomicU32::new(0),
            tables: AtomicU32::new(1),
            resident: AtomicU32::new(0),
        })
    }

    /// This CPU has the space loaded.
    #[inline]
    pub fn is_active(&self) -> bool {
        cpu::current().space.get().cast::<RawSpace>() == core::ptr::from_ref(self)
    }

    /// The last-level table for `page`, if there is one.
    #[inline]
    fn find(&self, page: u64) -> Option<Table> {
        let e = self.root.get(page >> 27);
        let e = if e & P != 0 { Table::of(e).get(page >> 18) } else { return None };
        let e = if e & P != 0 { Table::of(e).get(page >> 9) } else { return None };
        (e & P != 0).then(|| Table::of(e))
    }

    /// The last-level table for `page`, made if need be. The lock is held.
    #[inline]
    fn make(&self, page: u64) -> Result<Table, OutOfFrames> {
        if let Some(t) = self.find(page) {
            return Ok(t);
        }
        let mut t = self.root;
        for shift in [27, 18, 9] {
            let e = t.get(page >> shift);
            t = if e & P != 0 { Table::of(e) } else { self.grow(t, page >> shift)? };
        }
        Ok(t)
    }

    #[cold]
    fn grow(&self, parent: Table, index: u64) -> Result<Table, OutOfFrames> {
        let t = Table::new()?;
        self.tables.fetch_add(1, Ordering::Relaxed);
        parent.set_new(index, t.phys() | P | W | U | AD);
        Ok(t)
    }

    /// Puts an old leaf or table on the pending list; a full list is flushed first, without the lock.
    fn retire<'a>(&'a self, mut guard: SpinGuard<'a, Pending>, what: u32, lo: u64, hi: u64) -> SpinGuard<'a, Pending> {
        while guard.len == PENDING {
            self.flush(guard);
            guard = self.pending.lock();
        }
        let at = guard.len;
        guard.list[at] = what;
        guard.len += 1;
        guard.touch(lo, hi);
        guard
    }

    fn flush(&self, mut guard: SpinGuard<'_, Pending>) {
        let (lo, hi, len) = (guard.lo, guard.hi, guard.len);
        (guard.lo, guard.hi, guard.len) = (u64::MAX, 0, 0);
        self.flushing.fetch_add(1, Ordering::SeqCst);
        if len <= FEW {
            let mut few = [0; FEW];
            for (to, from) in few.iter_mut().zip(&guard.list[..len]) {
                *to = *from;
            }
            drop(guard);
            self.finish(lo, hi, &few[..len]);
        } else {
            let all = guard.list;
            drop(guard);
            self.finish(lo, hi, &all[..len.min(PENDING)]);
        }
        self.flushing.fetch_sub(1, Ordering::Release);
    }

    /// Flushes the range, then lets go of what was mapped there.
    fn finish(&self, lo: u64, hi: u64, retired: &[u32]) {
        tlb::shoot_user(&self.active, lo << 12, hi - lo);
        for what in retired {
            if what & TABLE != 0 {
                self.tables.fetch_sub(1, Ordering::Relaxed);
                Table::from_pfn(what & !TABLE).free();
            } else {
                // SAFETY: the removed entry owned this reference.
                drop(unsafe { RawFrame::from_pfn(*what) });
            }
        }
    }

    pub fn commit(&self) {
        let guard = self.pending.lock();
        if !guard.is_empty() {
            return self.flush(guard);
        }
        drop(guard);
        while self.flushing.load(Ordering::Acquire) != 0 {
            crate::cpu::relax();
        }
    }

    pub fn map(&self, va: VirtAddr, frames: &[Frame], prot: Prot) -> Result<(), OutOfFrames> {
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
            let first = range.start.max(base) - base >> shift;
            let last = (end - base >> shift).min(511);
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
                at = (at >> 27) + 1 << 27;
                continue;
            }
            let e = Table::of(e).get(at >> 18);
            if e & P == 0 {
                at = (at >> 18) + 1 << 18;
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

    pub fn query(&self, va: VirtAddr) -> Option<(Pfn, Prot)> {
        if va.0 >= USER_MAX {
            return None;
        }
        let _guard = self.pending.lock();
        let e = self.find(va.page())?.get(va.page());
        (e & P != 0).then(|| (Pfn(pfn_of(e)), prot_of(e)))
    }

    /// A reference to the frame at `va`, if it is mapped with the wanted right.
    pub fn frame_at(&self, va: VirtAddr, write: bool) -> Option<RawFrame> {
        if va.0 >= USER_MAX {
            return None;
        }
        let _guard = self.pending.lock();
        let e = self.find(va.page())?.get(va.page());
        // SAFETY: the entry owns a reference, and the lock keeps the entry.
        (e & P != 0 && (e & W != 0 || !write)).then(|| unsafe { RawFrame::share(pfn_of(e)) })
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

    /// Counts leaves that came (or, negative, went). The lock is held.
    #[inline]
    fn count(&self, change: i32) {
        let n = self.resident.load(Ordering::Relaxed);
        self.resident.store(n.wrapping_add_signed(change), Ordering::Relaxed);
    }

    pub fn resident_pages(&self) -> u32 {
        self.resident.load(Ordering::Relaxed)
    }

    pub fn table_pages(&self) -> u32 {
        self.tables.load(Ordering::Relaxed)
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
