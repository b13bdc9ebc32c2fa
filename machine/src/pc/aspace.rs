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
use super::segments::Local;
use super::tables::Table;
use super::{tlb, x86};
use crate::addr::{Pfn, USER_MAX, VirtAddr};
use crate::aspace::{AddressSpace, Prot};
use crate::mem::OutOfFrames;
use crate::segment::Descriptor;
use crate::sync::{Once, SpinGuard, SpinLock};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// Accessed: a page is mapped because it is about to be used, so the CPU need not set it.
pub(super) const ACCESSED: u64 = 0x20;
/// Accessed and dirty, set from the start; nothing looks at the latter.
const AD: u64 = 0x40 | ACCESSED;
/// Pending entry is a table.
pub(super) const TABLE: u32 = 1 << 31;
pub(super) const PENDING: usize = 60;
/// Lists up to this long are copied apart, to keep single-page changes cheap.
const FEW: usize = 4;

/// What waits for a flush.
pub(super) struct Pending {
    pub(super) list: [u32; PENDING],
    pub(super) len: usize,
    /// Pages to flush: `[lo, hi)`.
    pub(super) lo: u64,
    pub(super) hi: u64,
}

impl Pending {
    const EMPTY: Pending = Pending { list: [0; PENDING], len: 0, lo: u64::MAX, hi: 0 };

    pub(super) fn touch(&mut self, lo: u64, hi: u64) {
        self.lo = self.lo.min(lo);
        self.hi = self.hi.max(hi);
    }
    pub(super) fn is_empty(&self) -> bool {
        self.hi == 0
    }
}

pub struct RawSpace {
    pub(super) root: Table,
    pub(super) pending: SpinLock<Pending>,
    active: CpuSet,
    flushing: AtomicU32,
    tables: AtomicU32,
    /// Leaves present; changed under the lock.
    resident: AtomicU32,
    pub(super) local: Local,
}

/// The root entries every space has, as (index, value).
static KERNEL_HALF: Once<Vec<(u64, u64)>> = Once::new();

pub(super) fn kernel_half() -> &'static [(u64, u64)] {
    KERNEL_HALF.get_or_init(|| {
        let root = Table::of(paging::root());
        let used = paging::KERNEL_ENTRIES.map(|i| (i as u64, root.get(i as u64)));
        used.filter(|(_, e)| e & P != 0).collect()
    })
}

pub(super) fn leaf(pfn: u32, prot: Prot) -> u64 {
    let rights = if prot.write { W } else { 0 } | if prot.exec { 0 } else { NX };
    u64::from(pfn) << 12 | P | U | AD | rights
}

fn prot_of(entry: u64) -> Prot {
    Prot { write: entry & W != 0, exec: entry & NX == 0 }
}

pub(super) fn pfn_of(entry: u64) -> u32 {
    ((entry & ADDR) >> 12) as u32
}

/// Pages of `[va, va + pages)` below the end of user space, as page numbers.
pub(super) fn clip(va: VirtAddr, pages: u64) -> core::ops::Range<u64> {
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
    // After the CPU is in the set: see `Local::install`.
    if raw.local.number() != cpu.ldt.get() {
        raw.local.load(cpu);
    }
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
            local: Local::new(),
        })
    }

    /// This CPU has the space loaded.
    #[inline]
    pub fn is_active(&self) -> bool {
        cpu::current().space.get().cast::<RawSpace>() == core::ptr::from_ref(self)
    }

    /// Unloads the space if this CPU has it loaded.
    pub fn leave(&self) {
        if self.is_active() {
            deactivate();
        }
    }

    /// The last-level table for `page`, if there is one.
    #[inline]
    pub(super) fn find(&self, page: u64) -> Option<Table> {
        let e = self.root.get(page >> 27);
        let e = if e & P != 0 { Table::of(e).get(page >> 18) } else { return None };
        let e = if e & P != 0 { Table::of(e).get(page >> 9) } else { return None };
        (e & P != 0).then(|| Table::of(e))
    }

    /// The last-level table for `page`, made if need be. The lock is held.
    #[inline]
    pub(super) fn make(&self, page: u64) -> Result<Table, OutOfFrames> {
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
    pub(super) fn retire<'a>(
        &'a self,
        mut guard: SpinGuard<'a, Pending>,
        what: u32,
        lo: u64,
        hi: u64,
    ) -> SpinGuard<'a, Pending> {
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

    pub(super) fn flush(&self, mut guard: SpinGuard<'_, Pending>) {
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

    /// Counts leaves that came (or, negative, went). The lock is held.
    #[inline]
    pub(super) fn count(&self, change: i32) {
        let n = self.resident.load(Ordering::Relaxed);
        self.resident.store(n.wrapping_add_signed(change), Ordering::Relaxed);
    }

    pub fn set_descriptor(&self, index: usize, d: Descriptor) -> Result<(), OutOfFrames> {
        self.local.write(index, d, &self.active)
    }
    pub fn copy_descriptors(&self, from: &RawSpace) -> Result<(), OutOfFrames> {
        self.local.copy_from(&from.local)
    }
    pub fn descriptor_count(&self) -> usize {
        self.local.len()
    }
    pub fn descriptors(&self, out: &mut [u64]) {
        self.local.read(out);
    }

    pub fn resident_pages(&self) -> u32 {
        self.resident.load(Ordering::Relaxed)
    }

    pub fn table_pages(&self) -> u32 {
        self.tables.load(Ordering::Relaxed)
    }
}
