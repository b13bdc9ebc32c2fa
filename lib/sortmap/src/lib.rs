//! An ordered map from `u64` to small values, kept as a list of short sorted runs.
//!
//! Made for areas of an address space: a few dozen entries as a rule (then it is one or two arrays: a lookup is a binary
//! search over one cache line or two, an insertion moves a few hundred bytes), tens of thousands at most. A [`Pos`] names a
//! place; it is valid until the next insertion or removal.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

const RUN: usize = 16;

struct Chunk<V> {
    keys: ArrayVec<u64, RUN>,
    vals: ArrayVec<V, RUN>,
}

impl<V> Chunk<V> {
    fn new() -> Box<Self> {
        Box::new(Chunk { keys: ArrayVec::new(), vals: ArrayVec::new() })
    }
    /// Number of keys at or below `key`.
    #[inline]
    fn rank(&self, key: u64) -> usize {
        self.keys.partition_point(|k| *k <= key)
    }
    fn insert(&mut self, at: usize, key: u64, value: V) {
        // Callers make room first; a full chunk would drop the pair, which the debug build reports.
        let done = self.keys.try_insert(at, key).is_ok() && self.vals.try_insert(at, value).is_ok();
        debug_assert!(done);
    }
}

/// A place in the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pos {
    chunk: usize,
    slot: usize,
}

impl Pos {
    /// The first place.
    pub const START: Pos = Pos { chunk: 0, slot: 0 };
}

/// The map.
pub struct SortMap<V> {
    chunks: Vec<Box<Chunk<V>>>,
    len: usize,
}

impl<V> Default for SortMap<V> {
    fn default() -> Self {
        SortMap::new()
    }
}

impl<V> SortMap<V> {
    /// An empty map.
    pub const fn new() -> Self {
        SortMap { chunks: Vec::new(), len: 0 }
    }
    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The chunk whose range `key` falls in: the last whose first key is at or below it.
    #[inline]
    fn chunk_of(&self, key: u64) -> usize {
        if self.chunks.len() <= 1 {
            return 0;
        }
        self.chunks.partition_point(|c| c.keys.first().is_some_and(|k| *k <= key)).saturating_sub(1)
    }
    /// The last entry with a key at or below `key`.
    #[inline]
    pub fn floor(&self, key: u64) -> Option<Pos> {
        let chunk = self.chunk_of(key);
        let slot = self.chunks.get(chunk)?.rank(key).checked_sub(1)?;
        Some(Pos { chunk, slot })
    }
    /// The first entry with a key above `key` (or the end).
    #[inline]
    pub fn after(&self, key: u64) -> Pos {
        let chunk = self.chunk_of(key);
        let slot = self.chunks.get(chunk).map_or(0, |c| c.rank(key));
        self.settle(Pos { chunk, slot })
    }
    /// The first entry with a key at or above `key` (or the end).
    pub fn at_or_after(&self, key: u64) -> Pos {
        match key.checked_sub(1) {
            Some(below) => self.after(below),
            None => self.first(),
        }
    }
    /// The first place.
    pub fn first(&self) -> Pos {
        Pos { chunk: 0, slot: 0 }
    }
    /// The last entry.
    pub fn last(&self) -> Option<Pos> {
        let chunk = self.chunks.len().checked_sub(1)?;
        let slot = self.chunks.get(chunk)?.keys.len().checked_sub(1)?;
        Some(Pos { chunk, slot })
    }
    #[inline]
    fn settle(&self, pos: Pos) -> Pos {
        match self.chunks.get(pos.chunk) {
            Some(c) if pos.slot >= c.keys.len() => Pos { chunk: pos.chunk + 1, slot: 0 },
            _ => pos,
        }
    }
    /// The place after `pos`.
    #[inline]
    pub fn next(&self, pos: Pos) -> Pos {
        self.settle(Pos { chunk: pos.chunk, slot: pos.slot + 1 })
    }
    /// The entry before `pos`.
    #[inline]
    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        if let Some(slot) = pos.slot.checked_sub(1) {
            return Some(Pos { chunk: pos.chunk, slot });
        }
        let chunk = pos.chunk.checked_sub(1)?;
        Some(Pos { chunk, slot: self.chunks.get(chunk)?.keys.len().checked_sub(1)? })
    }
    /// The entry at `pos`; `None` at the end.
    #[inline]
    pub fn at(&self, pos: Pos) -> Option<(u64, &V)> {
        let c = self.chunks.get(pos.chunk)?;
        Some((*c.keys.get(pos.slot)?, c.vals.get(pos.slot)?))
    }
    /// The key at `pos`; `None` at the end or past it, so that a stale place can be checked.
    #[inline]
    pub fn key_at(&self, pos: Pos) -> Option<u64> {
        self.chunks.get(pos.chunk)?.keys.get(pos.slot).copied()
    }
    /// The value at `pos`, to change it.
    #[inline]
    pub fn at_mut(&mut self, pos: Pos) -> Option<&mut V> {
        self.chunks.get_mut(pos.chunk)?.vals.get_mut(pos.slot)
    }
    /// Changes the key at `pos`; the caller keeps the order.
    pub fn set_key(&mut self, pos: Pos, key: u64) {
        if let Some(k) = self.chunks.get_mut(pos.chunk).and_then(|c| c.keys.get_mut(pos.slot)) {
            *k = key;
        }
    }
    /// The value with exactly this key.
    #[inline]
    pub fn get(&self, key: u64) -> Option<&V> {
        let (k, v) = self.at(self.floor(key)?)?;
        (k == key).then_some(v)
    }
    /// The value with exactly this key, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let pos = self.floor(key)?;
        let c = self.chunks.get_mut(pos.chunk)?;
        if *c.keys.get(pos.slot)? != key {
            return None;
        }
        c.vals.get_mut(pos.slot)
    }
    /// Adds an entry; if the key is there already, replaces its value and returns the old one.
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        let at = self.chunk_of(key);
        let Some(c) = self.chunks.get_mut(at) else {
            let mut c = Chunk::new();
            c.insert(0, key, value);
            self.chunks.push(c);
            self.len += 1;
            return None;
        };
        let slot = c.rank(key);
        if let Some(i) = slot.checked_sub(1)
            && c.keys.get(i) == Some(&key)
        {
            return c.vals.get_mut(i).map(|v| core::mem::replace(v, value));
        }
        self.len += 1;
        if !c.keys.is_full() {
            c.insert(slot, key, value);
            return None;
        }
        // Full: an append starts a new run (growing maps stay dense), anything else splits in the middle.
        let keep = if slot == RUN { RUN } else { RUN / 2 };
        let mut upper = Chunk::new();
        upper.keys.extend(c.keys.drain(keep..));
        upper.vals.extend(c.vals.drain(keep..));
        if slot < keep || (slot == keep && keep < RUN) {
            c.insert(slot, key, value);
        } else {
            upper.insert(slot - keep, key, value);
        }
        self.chunks.insert(at + 1, upper);
        None
    }
    /// Removes the entry at `pos`; `pos` settled again (see [`SortMap::here`]) then names its successor.
    pub fn remove_at(&mut self, pos: Pos) -> Option<(u64, V)> {
        let c = self.chunks.get_mut(pos.chunk)?;
        let key = c.keys.pop_at(pos.slot)?;
        let value = c.vals.pop_at(pos.slot)?;
        self.len -= 1;
        if c.keys.is_empty() {
            self.chunks.remove(pos.chunk);
        }
        Some((key, value))
    }
    /// `pos` after a removal there: the entry that took its place.
    pub fn here(&self, pos: Pos) -> Pos {
        self.settle(pos)
    }
    /// Removes the entry with exactly this key.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        let pos = self.floor(key).filter(|p| self.at(*p).is_some_and(|(k, _)| k == key))?;
        self.remove_at(pos).map(|(_, v)| v)
    }
    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.chunks.iter().flat_map(|c| c.keys.iter().copied().zip(&c.vals))
    }
    /// All entries in order, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut V)> {
        self.chunks.iter_mut().flat_map(|c| c.keys.iter().copied().zip(&mut c.vals))
    }
    /// Entries from the first with a key at or above `key`.
    pub fn iter_from(&self, key: u64) -> impl Iterator<Item = (u64, &V)> {
        let mut pos = self.at_or_after(key);
        core::iter::from_fn(move || {
            let hit = self.at(pos)?;
            pos = self.next(pos);
            Some(hit)
        })
    }
    /// Adds an entry whose key is above all others.
    pub fn push(&mut self, key: u64, value: V) {
        self.len += 1;
        match self.chunks.last_mut() {
            Some(c) if !c.keys.is_full() => {
                let end = c.keys.len();
                c.insert(end, key, value);
            }
            _ => {
                let mut c = Chunk::new();
                c.insert(0, key, value);
                self.chunks.push(c);
            }
        }
    }
    /// Removes everything.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn agrees_with_a_btree(ops in prop::collection::vec((0u8..4, 0u64..300, any::<u32>()), 1..600)) {
            let mut m = SortMap::new();
            let mut model = BTreeMap::new();
            for (op, key, value) in ops {
                match op {
                    0 | 1 => prop_assert_eq!(m.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(m.remove(key), model.remove(&key)),
                    _ => {
                        let up = m.after(key);
                        let want = model.range(key + 1..).next().map(|(k, v)| (*k, *v));
                        prop_assert_eq!(m.at(up).map(|(k, v)| (k, *v)), want);
                        let down = m.floor(key).and_then(|p| m.at(p)).map(|(k, v)| (k, *v));
                        prop_assert_eq!(down, model.range(..=key).next_back().map(|(k, v)| (*k, *v)));
                        let before = m.prev(up).and_then(|p| m.at(p)).map(|(k, v)| (k, *v));
                        prop_assert_eq!(before, model.range(..=key).next_back().map(|(k, v)| (*k, *v)));
                    }
                }
                prop_assert_eq!(m.len(), model.len());
            }
            prop_assert!(m.iter().map(|(k, v)| (k, *v)).eq(model.iter().map(|(k, v)| (*k, *v))));
            prop_assert!(m.iter_from(100).map(|(k, _)| k).eq(model.range(100..).map(|(k, _)| *k)));
            while let Some(p) = m.floor(150) {
                let here = m.remove_at(p).map(|(k, _)| k);
                prop_assert_eq!(here, model.range(..=150).next_back().map(|(k, _)| *k));
                model.remove(&here.unwrap_or(0));
                let next = m.at(m.here(p)).map(|(k, _)| k);
                prop_assert_eq!(next, model.range(here.unwrap_or(0)..).next().map(|(k, _)| *k));
            }
        }
    }
}
