//! The list of areas: finding, splitting, joining, placing, and the sums that limits are checked against.

use super::types::{Layout, Limits};
use super::vma::{Object, VmFlags, Vma};
use crate::commit;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use machine::{PAGE_SIZE, USER_MAX};
use smallvec::SmallVec;
use sortmap::{Pos, SortMap};

const PAGE: u64 = PAGE_SIZE as u64;
/// `vm.max_map_count`.
pub const MAX_AREAS: usize = 65530;
/// `vm.mmap_min_addr`.
pub const MIN_ADDR: u64 = 65536;
/// Kept free below an area that grows down (256 pages, as Linux).
pub const STACK_GAP: u64 = 256 * PAGE;

/// What areas that went away held: objects, labels. Dropped after the lock is released, because closing a file may take other locks.
pub type Dead = SmallVec<[Arc<dyn Any + Send + Sync>; 4]>;

/// Everything the lock of an address space protects.
pub struct Areas {
    pub map: SortMap<Vma>,
    /// Pages: all, their peak, data, stack, text, locked, promised.
    pub total: u64,
    pub peak: u64,
    pub data: u64,
    pub stack: u64,
    pub text: u64,
    pub locked: u64,
    pub committed: u64,
    pub layout: Layout,
    /// Top of the area where mappings are placed.
    pub base: u64,
    /// Flags every new area gets (mlockall(MCL_FUTURE)).
    pub def_flags: VmFlags,
    pub randomize: bool,
    /// Nothing becomes executable after it was mapped (PR_SET_MDWE), and whether children are free of that.
    pub mdwe: (bool, bool),
    /// No hole of `hint.0` bytes or more lies between `hint.1` and `base`.
    hint: (u64, u64),
}

impl Areas {
    pub fn new() -> Areas {
        Areas {
            map: SortMap::new(),
            total: 0,
            peak: 0,
            data: 0,
            stack: 0,
            text: 0,
            locked: 0,
            committed: 0,
            layout: Layout::default(),
            base: USER_MAX,
            def_flags: VmFlags::empty(),
            randomize: false,
            mdwe: (false, false),
            hint: (u64::MAX, USER_MAX),
        }
    }
    /// The area that contains `addr`.
    #[inline]
    pub fn find(&self, addr: u64) -> Option<(u64, &Vma)> {
        self.map.at(self.map.floor(addr)?).filter(|(_, v)| v.end > addr)
    }
    /// The first area that ends after `addr`.
    pub fn overlap(&self, addr: u64) -> Pos {
        match self.map.floor(addr) {
            Some(p) if self.map.at(p).is_some_and(|(_, v)| v.end > addr) => p,
            _ => self.map.after(addr),
        }
    }
    /// The first area that overlaps `[start, end)`.
    pub fn first_in(&self, start: u64, end: u64) -> Option<(u64, &Vma)> {
        self.map.at(self.overlap(start)).filter(|(s, _)| *s < end)
    }
    /// Adds or removes an area's pages from the sums.
    fn account(&mut self, start: u64, vma: &Vma, add: bool) {
        let n = vma.pages(start);
        let apply = |sum: &mut u64| *sum = if add { sum.saturating_add(n) } else { sum.saturating_sub(n) };
        apply(&mut self.total);
        if vma.is_data() {
            apply(&mut self.data);
        }
        if vma.flags.is(VmFlags::GROWSDOWN) {
            apply(&mut self.stack);
        }
        if vma.flags & (VmFlags::EXEC | VmFlags::WRITE) == VmFlags::EXEC && !vma.is_anon() {
            apply(&mut self.text);
        }
        if vma.flags.is(VmFlags::LOCKED) {
            apply(&mut self.locked);
        }
        self.peak = self.peak.max(self.total);
    }
    /// RLIMIT_AS and RLIMIT_DATA allow `pages` more of an area with these flags.
    pub fn may_grow(&self, limits: &Limits, flags: VmFlags, pages: u64) -> bool {
        let fits = |have: u64, limit: u64| have.saturating_add(pages) <= limit / PAGE;
        let data = flags & (VmFlags::WRITE | VmFlags::SHARED | VmFlags::GROWSDOWN) == VmFlags::WRITE;
        fits(self.total, limits.address_space) && (!data || fits(self.data, limits.data))
    }
    /// Promises memory for an area, if it is of a kind that is counted.
    pub fn charge(&mut self, pages: u64) -> Result<(), Errno> {
        commit::charge(pages)?;
        self.committed += pages;
        Ok(())
    }
    pub fn uncharge(&mut self, pages: u64) {
        commit::uncharge(pages);
        self.committed = self.committed.saturating_sub(pages);
    }
    /// Adds an area where there is none, joined with its neighbours if they allow.
    pub fn place(&mut self, start: u64, vma: Vma, dead: &mut Dead) {
        self.account(start, &vma, true);
        let end = vma.end;
        let below = start.checked_sub(1).and_then(|a| self.map.floor(a));
        if let Some(pos) = below
            && let Some((s, prev)) = self.map.at(pos)
            && prev.end == start
            && prev.joins(s, &vma)
        {
            extend_link(&vma, start, prev);
            if let Some(prev) = self.map.at_mut(pos) {
                prev.end = end;
            }
            vma.bury(dead);
            self.join_next(pos, dead);
            return;
        }
        let above = below.map_or(self.map.first(), |p| self.map.next(p));
        if let Some((s, next)) = self.map.at(above)
            && s == end
            && vma.joins(start, next)
        {
            extend_link(&vma, start, next);
            self.map.set_key(above, start);
            if let Some(next) = self.map.at_mut(above) {
                next.pgoff = vma.pgoff;
            }
            vma.bury(dead);
            return;
        }
        self.map.insert(start, vma);
    }
    /// Adds an area above all others, as it is (fork).
    pub fn append(&mut self, start: u64, vma: Vma) {
        self.account(start, &vma, true);
        self.map.push(start, vma);
    }
    /// Joins the area at `pos` with the one behind it if they allow; says whether it did.
    pub fn join_next(&mut self, pos: Pos, dead: &mut Dead) -> bool {
        let next = self.map.next(pos);
        let (Some((s, a)), Some((t, b))) = (self.map.at(pos), self.map.at(next)) else { return false };
        if a.end != t || !a.joins(s, b) {
            return false;
        }
        extend_link(b, t, a);
        let end = b.end;
        if let Some((_, gone)) = self.map.remove_at(next) {
            gone.bury(dead);
        }
        // The removal was behind `pos`, which still names the same area.
        if let Some(a) = self.map.at_mut(pos) {
            a.end = end;
        }
        true
    }
    /// Joins the area at `pos` with both its neighbours if they allow.
    pub fn join_around(&mut self, pos: Pos, dead: &mut Dead) {
        self.join_next(pos, dead);
        if let Some(prev) = self.map.prev(pos) {
            self.join_next(prev, dead);
        }
    }
    /// Cuts the area at `pos` in two at `at`, which lies inside; returns the place of the upper half.
    pub fn split(&mut self, pos: Pos, at: u64) -> Result<Pos, Errno> {
        if self.map.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let Some((start, vma)) = self.map.at(pos) else { return Err(Errno::ENOMEM) };
        let mut upper = vma.clone();
        if upper.object.is_some() {
            upper.pgoff = vma.index(start, at);
        }
        if let Some(lower) = self.map.at_mut(pos) {
            lower.end = at;
        }
        self.map.insert(at, upper);
        self.map.floor(at).ok_or(Errno::ENOMEM)
    }
    /// Changes the flags of a whole area.
    pub fn set_flags(&mut self, pos: Pos, flags: VmFlags) {
        let Some((start, vma)) = self.map.at(pos) else { return };
        let mut vma = vma.clone();
        self.account(start, &vma, false);
        vma.flags = flags;
        self.account(start, &vma, true);
        if let Some(slot) = self.map.at_mut(pos) {
            slot.flags = flags;
        }
    }
    /// Makes areas begin at `start` and end at `end`, where one crosses them. Returns the place of the first area in the range.
    pub fn cut(&mut self, start: u64, end: u64) -> Result<Pos, Errno> {
        let mut pos = self.overlap(start);
        if let Some((s, _)) = self.map.at(pos)
            && s < start
        {
            pos = self.split(pos, start)?;
        }
        if let Some(last) = end.checked_sub(1).and_then(|a| self.map.floor(a))
            && let Some((s, v)) = self.map.at(last)
            && s < end
            && v.end > end
        {
            self.split(last, end)?;
            pos = self.overlap(start);
        }
        Ok(pos)
    }
    /// Takes the areas of `[start, end)` out. Returns the pages whose promise ended.
    pub fn remove(&mut self, start: u64, end: u64, dead: &mut Dead) -> Result<(), Errno> {
        let mut pos = self.cut(start, end)?;
        while self.map.at(pos).is_some_and(|(s, _)| s < end) {
            let Some((s, vma)) = self.map.remove_at(pos) else { break };
            self.account(s, &vma, false);
            if vma.flags.is(VmFlags::ACCOUNT) {
                self.uncharge(vma.pages(s));
            }
            vma.bury(dead);
            pos = self.map.here(pos);
        }
        if end > self.hint.1 {
            self.hint.1 = self.map.at(pos).map_or(self.base, |(s, _)| s).min(self.base).max(self.hint.1);
        }
        Ok(())
    }
    /// The highest hole of `len` bytes in `[low, high)`.
    pub fn hole(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let mut top = high;
        let mut pos = self.map.floor(high.checked_sub(1)?);
        while let Some((start, vma)) = pos.and_then(|p| self.map.at(p)) {
            if top.checked_sub(vma.end.max(low)).is_some_and(|room| room >= len) {
                return Some(top - len);
            }
            top = top.min(lower_edge(start, vma));
            pos = pos.and_then(|p| self.map.prev(p));
        }
        top.checked_sub(low).filter(|room| *room >= len).map(|_| top - len)
    }
    /// Where a new mapping of `len` bytes goes.
    pub fn place_for(&mut self, len: u64) -> Option<u64> {
        let top = if len >= self.hint.0 { self.hint.1 } else { self.base };
        let found = self.hole(len, MIN_ADDR, top).or_else(|| self.hole(len, MIN_ADDR, USER_MAX))?;
        if found < self.base {
            self.hint = (len, found + len);
        }
        Some(found)
    }
    /// Forgets what is known of holes.
    pub fn reset_hint(&mut self) {
        self.hint = (u64::MAX, self.base);
    }
    /// `[start, end)` is free, gaps below growing areas included.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        match self.map.at(self.overlap(start)) {
            Some((s, v)) => lower_edge(s, v) >= end,
            None => true,
        }
    }
}

/// The lowest address an area claims: its start, less the gap below it if it grows down.
fn lower_edge(start: u64, vma: &Vma) -> u64 {
    if vma.flags.is(VmFlags::GROWSDOWN) { start.saturating_sub(STACK_GAP) } else { start }
}

/// `into` is about to cover the pages of `from` too: its link must know.
fn extend_link(from: &Vma, start: u64, into: &Vma) {
    if let Some(Object::File { link, .. }) = into.object.as_deref() {
        link.extend(from.pgoff, from.pgoff.saturating_add(from.pages(start)));
    }
}
