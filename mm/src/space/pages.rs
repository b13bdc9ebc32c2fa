//! The page map: the private pages of an address space, by page number.
//!
//! A page is here from its first write on: anonymous memory, and pages of private file mappings that were written. Each page has
//! one reference from here and one from its translation, if it has one; more mean that it is shared with another address
//! space since fork and must be copied before a write.

use crate::frames::USAGE;
use alloc::boxed::Box;
use core::cell::Cell;
use core::sync::atomic::Ordering::Relaxed;
use machine::mem::Frame;
use sortmap::{Pos, SortMap};

/// Pages in a leaf.
pub const LEAF: usize = 64;
const SHIFT: u32 = 6;

/// An aligned group of pages.
#[derive(Clone)]
pub struct Leaf {
    /// Bit `i`: page `i` is present.
    pub present: u64,
    slots: [Option<Frame>; LEAF],
}

impl Leaf {
    fn new() -> Box<Leaf> {
        Box::new(Leaf { present: 0, slots: [const { None }; LEAF] })
    }
    /// Runs of present pages as (first slot, frames).
    pub fn each_run(&self, mut f: impl FnMut(usize, &[Option<Frame>])) {
        let mut left = self.present;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            let n = (left >> at).trailing_ones() as usize;
            f(at, self.slots.get(at..at + n).unwrap_or_default());
            left = if at + n >= LEAF { 0 } else { left & (u64::MAX << (at + n)) };
        }
    }
    fn take(&mut self, mask: u64) -> Option<Box<Leaf>> {
        let mut left = self.present & mask;
        if left == 0 {
            return None;
        }
        let mut out = Leaf::new();
        out.present = left;
        self.present &= !mask;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            if let (Some(to), Some(from)) = (out.slots.get_mut(at), self.slots.get_mut(at)) {
                *to = from.take();
            }
            left &= left - 1;
        }
        Some(out)
    }
}

/// Bits of a leaf for pages `[from, to)`, all inside or at the end of it.
fn mask(from: u64, to: u64, base: u64) -> u64 {
    let low = from.saturating_sub(base);
    let high = to - base;
    let upper = if high >= LEAF as u64 { u64::MAX } else { (1 << high) - 1 };
    if low >= LEAF as u64 { 0 } else { upper & (u64::MAX << low) }
}

/// The map.
pub struct PageMap {
    leaves: SortMap<Box<Leaf>>,
    count: u64,
    /// Where the leaf used last is, if it still is: faults come in runs.
    recent: Cell<Pos>,
}

impl PageMap {
    pub const fn new() -> PageMap {
        PageMap { leaves: SortMap::new(), count: 0, recent: Cell::new(Pos::START) }
    }
    /// Pages held.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// The place of the leaf for `vpn`.
    #[inline]
    fn find(&self, vpn: u64) -> Option<Pos> {
        let (key, recent) = (vpn >> SHIFT, self.recent.get());
        if self.leaves.key_at(recent) == Some(key) {
            return Some(recent);
        }
        let pos = self.leaves.floor(key).filter(|p| self.leaves.key_at(*p) == Some(key))?;
        self.recent.set(pos);
        Some(pos)
    }
    #[inline]
    fn leaf(&self, vpn: u64) -> Option<&Leaf> {
        self.leaves.at(self.find(vpn)?).map(|(_, leaf)| &**leaf)
    }
    #[inline]
    pub fn get(&self, vpn: u64) -> Option<&Frame> {
        self.leaf(vpn)?.slots.get(vpn as usize % LEAF)?.as_ref()
    }
    /// Which of the pages of the leaf around `vpn` are present.
    #[inline]
    pub fn present(&self, vpn: u64) -> u64 {
        self.leaf(vpn).map_or(0, |l| l.present)
    }
    /// Puts a page; returns the one it replaces.
    #[inline]
    pub fn insert(&mut self, vpn: u64, frame: Frame) -> Option<Frame> {
        let pos = match self.find(vpn) {
            Some(pos) => pos,
            None => {
                self.leaves.insert(vpn >> SHIFT, Leaf::new());
                self.find(vpn)?
            }
        };
        let leaf = self.leaves.at_mut(pos)?;
        leaf.present |= 1 << (vpn as usize % LEAF);
        let old = leaf.slots.get_mut(vpn as usize % LEAF)?.replace(frame);
        if old.is_none() {
            self.count += 1;
            USAGE.anon.fetch_add(1, Relaxed);
        }
        old
    }
    /// Takes out the first leaf's worth of pages in `[from, to)`: (number of its first slot, pages). Call again until `None`; the caller
    /// drops what it gets outside the lock.
    pub fn take(&mut self, from: u64, to: u64) -> Option<(u64, Box<Leaf>)> {
        let mut pos = self.leaves.after((from >> SHIFT).wrapping_sub(1));
        if from >> SHIFT == 0 {
            pos = self.leaves.first();
        }
        loop {
            let (key, _) = self.leaves.at(pos)?;
            let base = key << SHIFT;
            if base >= to {
                return None;
            }
            let mask = mask(from, to, base);
            let leaf = self.leaves.at_mut(pos)?;
            let out = if leaf.present & !mask == 0 {
                self.leaves.remove_at(pos).map(|(_, leaf)| leaf).filter(|l| l.present != 0)
            } else {
                leaf.take(mask)
            };
            if let Some(out) = out {
                let n = u64::from(out.present.count_ones());
                self.count -= n;
                USAGE.anon.fetch_sub(n as i64, Relaxed);
                return Some((base, out));
            }
            pos = self.leaves.next(pos);
        }
    }
    /// Puts a leaf's pages, taken out by [`PageMap::take`], back `delta` pages further (wrapping).
    pub fn put_leaf(&mut self, base: u64, leaf: &Leaf, delta: u64) {
        leaf.each_run(|at, run| {
            for (vpn, frame) in (base + at as u64..).zip(run.iter().flatten()) {
                self.insert(vpn.wrapping_add(delta), frame.clone());
            }
        });
    }
    /// Some page of `[from, to)` is here.
    pub fn has_any(&self, from: u64, to: u64) -> bool {
        self.next_group(from, to).is_some()
    }
    /// The first group of pages with one in `[from, to)`, by its first page number.
    pub fn next_group(&self, from: u64, to: u64) -> Option<u64> {
        let bases = self.leaves.iter_from(from >> SHIFT).map(|(key, leaf)| (key << SHIFT, leaf));
        let mut near = bases.take_while(|(base, _)| *base < to);
        near.find(|(base, leaf)| leaf.present & mask(from, to, *base) != 0).map(|(base, _)| base)
    }
    /// A copy that shares every page.
    pub fn share(&self) -> PageMap {
        let mut leaves = SortMap::new();
        for (key, leaf) in self.leaves.iter() {
            leaves.push(key, leaf.clone());
        }
        USAGE.anon.fetch_add(self.count as i64, Relaxed);
        PageMap { leaves, count: self.count, recent: Cell::new(Pos::START) }
    }
}

impl Drop for PageMap {
    fn drop(&mut self) {
        USAGE.anon.fetch_sub(self.count as i64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_a_range_leaves_its_neighbours() {
        crate::testing::init();
        let mut map = PageMap::new();
        for vpn in 60..200 {
            map.insert(vpn, Frame::alloc().expect("the mock has frames"));
        }
        let mut n = 0;
        while let Some((base, leaf)) = map.take(70, 130) {
            leaf.each_run(|at, run| {
                assert!(base + at as u64 >= 70 && base + ((at + run.len()) as u64) <= 130);
                n += run.len();
            });
        }
        assert_eq!((n, map.count()), (60, 80));
        assert!(map.get(69).is_some() && map.get(70).is_none() && map.get(129).is_none() && map.get(130).is_some());
        assert!(map.has_any(0, 70) && !map.has_any(70, 130) && map.has_any(100, 131));
    }
}
