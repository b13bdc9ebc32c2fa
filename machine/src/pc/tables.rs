//! Pages of user page tables: taken zeroed, given back zeroed, cached per CPU.
//!
//! A table's metadata links hold one bit for each group of eight entries that was ever used, so that clearing or searching a
//! sparse table touches only those groups.

use super::entry::DIRECT_BASE;
use super::{cpu, mem, paging};
use crate::mem::OutOfFrames;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};

const CACHED: usize = 32;

/// Zeroed tables of one CPU.
pub struct TableCache {
    list: [u32; CACHED],
    len: usize,
}

impl TableCache {
    pub const fn new() -> TableCache {
        TableCache { list: [0; CACHED], len: 0 }
    }
}

/// A page-table page that this floor owns, by physical address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Table(u64);

impl Table {
    /// An all-zero table.
    pub fn new() -> Result<Table, OutOfFrames> {
        // SAFETY: only this CPU touches its cache, never from an interrupt, and nothing here switches threads.
        let cache = unsafe { &mut *cpu::current().tables.get() };
        if let Some(last) = cache.len.checked_sub(1)
            && let Some(pfn) = cache.list.get(last)
        {
            cache.len = last;
            return Ok(Table::from_pfn(*pfn));
        }
        let pfn = mem::take_kind(0, mem::KIND_TABLE).ok_or(OutOfFrames)?;
        mem::TABLE_PAGES.fetch_add(1, Ordering::Relaxed);
        let t = Table::from_pfn(pfn);
        // SAFETY: a fresh page of our own.
        unsafe { core::ptr::write_bytes(t.slot(0), 0, 512) };
        t.used().store(0, Ordering::Relaxed);
        Ok(t)
    }

    /// Gives back a table whose entries are all zero again.
    pub fn free(self) {
        self.used().store(0, Ordering::Relaxed);
        // SAFETY: as in `new`.
        let cache = unsafe { &mut *cpu::current().tables.get() };
        if let Some(place) = cache.list.get_mut(cache.len) {
            *place = self.pfn();
            cache.len += 1;
            return;
        }
        mem::TABLE_PAGES.fetch_sub(1, Ordering::Relaxed);
        mem::give_kind(self.pfn(), 0, mem::KIND_TABLE);
    }

    /// The table an entry points to.
    #[inline]
    pub fn of(entry: u64) -> Table {
        Table(entry & paging::ADDR)
    }

    /// The table in a page.
    #[inline]
    pub fn from_pfn(pfn: u32) -> Table {
        Table(u64::from(pfn) << 12)
    }

    /// Its page.
    #[inline]
    pub fn pfn(self) -> u32 {
        (self.0 >> 12) as u32
    }

    /// Physical address.
    #[inline]
    pub fn phys(self) -> u64 {
        self.0
    }

    /// Address of entry `index` in the direct map.
    #[inline]
    fn slot(self, index: u64) -> *mut u64 {
        (DIRECT_BASE + self.0 + 8 * (index & 511)) as *mut u64
    }

    /// Reads an entry.
    #[inline]
    pub fn get(self, index: u64) -> u64 {
        // SAFETY: inside a table page; the space's lock orders writers, hardware only sets A and D bits.
        unsafe { self.slot(index).read_volatile() }
    }

    /// Writes an entry that was unused.
    #[inline]
    pub fn set_new(self, index: u64, value: u64) {
        self.set(index, value);
        let used = self.used();
        used.store(used.load(Ordering::Relaxed) | 1 << ((index & 511) / 8), Ordering::Relaxed);
    }

    /// Writes a used entry.
    #[inline]
    pub fn set(self, index: u64, value: u64) {
        // SAFETY: as in `get`.
        unsafe { self.slot(index).write_volatile(value) }
    }

    /// The groups in use, one bit each.
    #[inline]
    fn used(self) -> &'static AtomicU64 {
        // SAFETY: a live table page.
        unsafe { mem::meta_of(self.pfn()) }.link_word()
    }

    /// Calls `f(index, entry)` for each present entry in `[first, last]` until it says stop.
    #[inline]
    pub fn try_each(self, first: u64, last: u64, mut f: impl FnMut(u64, u64) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut groups =
            self.used().load(Ordering::Relaxed) & (u64::MAX << (first / 8)) & (u64::MAX >> (63 - last / 8));
        while groups != 0 {
            let g = u64::from(groups.trailing_zeros());
            groups &= groups - 1;
            for i in (g * 8).max(first)..=(g * 8 + 7).min(last) {
                let e = self.get(i);
                if e & paging::P != 0 {
                    f(i, e)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Calls `f(index, entry)` for each present entry in `[first, last]`.
    #[inline]
    pub fn each(self, first: u64, last: u64, mut f: impl FnMut(u64, u64)) {
        let _ = self.try_each(first, last, |i, e| {
            f(i, e);
            ControlFlow::Continue(())
        });
    }
}
