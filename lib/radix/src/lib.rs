//! A radix tree from page index to value, built of 64-way nodes: sparse, ordered, cheap to walk in runs.
//!
//! The height grows with the largest index, so that a file of up to 64 pages is one node. Empty nodes are given back.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::boxed::Box;

const BITS: u32 = 6;
/// Values in a leaf: aligned groups of this many indices lie together.
pub const GROUP: usize = 1 << BITS;
const MASK: u64 = GROUP as u64 - 1;

struct Node<T> {
    used: u8,
    slots: [Option<T>; GROUP],
}

impl<T> Node<T> {
    fn new() -> Box<Self> {
        Box::new(Node { used: 0, slots: [const { None }; GROUP] })
    }
    #[inline]
    fn slot(&self, i: u64) -> Option<&T> {
        self.slots.get((i & MASK) as usize)?.as_ref()
    }
    #[inline]
    fn slot_mut(&mut self, i: u64) -> Option<&mut T> {
        self.slots.get_mut((i & MASK) as usize)?.as_mut()
    }
    fn put(&mut self, i: u64, value: T) -> Option<T> {
        let old = self.slots.get_mut((i & MASK) as usize)?.replace(value);
        self.used += old.is_none() as u8;
        old
    }
    fn take(&mut self, i: u64) -> Option<T> {
        let old = self.slots.get_mut((i & MASK) as usize)?.take();
        self.used -= old.is_some() as u8;
        old
    }
}

enum Tree<V> {
    Leaf(Box<Node<V>>),
    Inner(Box<Node<Tree<V>>>),
}

/// The map. `V` should have a niche (`Option<V>` no larger than `V`), as owned page references do.
pub struct Radix<V> {
    root: Option<Tree<V>>,
    /// Levels of inner nodes above the leaves.
    height: u32,
    len: u64,
}

impl<V> Default for Radix<V> {
    fn default() -> Self {
        Radix::new()
    }
}

impl<V> Radix<V> {
    /// An empty map.
    pub const fn new() -> Self {
        Radix { root: None, height: 0, len: 0 }
    }
    /// Values held.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    #[inline]
    fn covers(&self, index: u64) -> bool {
        let bits = BITS * (self.height + 1);
        bits >= u64::BITS || index >> bits == 0
    }
    #[inline]
    fn leaf(&self, index: u64) -> Option<&Node<V>> {
        if !self.covers(index) {
            return None;
        }
        let mut shift = BITS * self.height;
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Tree::Leaf(leaf) => return Some(leaf),
                Tree::Inner(inner) => node = inner.slot(index >> shift)?,
            }
            shift = shift.wrapping_sub(BITS);
        }
    }
    fn leaf_mut(&mut self, index: u64) -> Option<&mut Node<V>> {
        if !self.covers(index) {
            return None;
        }
        let mut shift = BITS * self.height;
        let mut node = self.root.as_mut()?;
        loop {
            match node {
                Tree::Leaf(leaf) => return Some(leaf),
                Tree::Inner(inner) => node = inner.slot_mut(index >> shift)?,
            }
            shift = shift.wrapping_sub(BITS);
        }
    }
    /// The value at `index`.
    #[inline]
    pub fn get(&self, index: u64) -> Option<&V> {
        self.leaf(index)?.slot(index)
    }
    /// The value at `index`, to change it.
    #[inline]
    pub fn get_mut(&mut self, index: u64) -> Option<&mut V> {
        self.leaf_mut(index)?.slot_mut(index)
    }
    /// The slots of the aligned group of [`GROUP`] indices around `index`, if any of them is in use.
    #[inline]
    pub fn group(&self, index: u64) -> Option<&[Option<V>; GROUP]> {
        self.leaf(index).map(|leaf| &leaf.slots)
    }
    /// Puts a value; returns the one it replaces.
    pub fn insert(&mut self, index: u64, value: V) -> Option<V> {
        while !self.covers(index) {
            if let Some(root) = self.root.take() {
                let mut top = Node::new();
                top.put(0, root);
                self.root = Some(Tree::Inner(top));
            }
            self.height += 1;
        }
        let mut level = self.height;
        let fresh = |level| if level == 0 { Tree::Leaf(Node::new()) } else { Tree::Inner(Node::new()) };
        let mut node = self.root.get_or_insert_with(|| fresh(level));
        loop {
            match node {
                Tree::Leaf(leaf) => {
                    let old = leaf.put(index, value);
                    self.len += old.is_none() as u64;
                    return old;
                }
                Tree::Inner(inner) => {
                    let at = index >> (BITS * level);
                    level -= 1;
                    if inner.slot(at).is_none() {
                        inner.put(at, fresh(level));
                    }
                    // The slot was filled just above.
                    match inner.slot_mut(at) {
                        Some(next) => node = next,
                        None => return None,
                    }
                }
            }
        }
    }
    /// Takes a value out.
    pub fn remove(&mut self, index: u64) -> Option<V> {
        if !self.covers(index) {
            return None;
        }
        let old = Self::take(self.root.as_mut()?, index, self.height)?;
        self.len -= 1;
        if self.len == 0 {
            self.root = None;
            self.height = 0;
        }
        Some(old)
    }
    fn take(node: &mut Tree<V>, index: u64, level: u32) -> Option<V> {
        match node {
            Tree::Leaf(leaf) => leaf.take(index),
            Tree::Inner(inner) => {
                let at = index >> (BITS * level);
                let child = inner.slot_mut(at)?;
                let old = Self::take(child, index, level - 1)?;
                let empty = match child {
                    Tree::Leaf(n) => n.used == 0,
                    Tree::Inner(n) => n.used == 0,
                };
                if empty {
                    inner.take(at);
                }
                Some(old)
            }
        }
    }
    /// The first value at or after `from`.
    pub fn next(&self, from: u64) -> Option<(u64, &V)> {
        if !self.covers(from) {
            return None;
        }
        Self::find(self.root.as_ref()?, from, 0, self.height)
    }
    fn find(node: &Tree<V>, from: u64, base: u64, level: u32) -> Option<(u64, &V)> {
        let shift = BITS * level;
        let start = from.saturating_sub(base) >> shift;
        for at in start..GROUP as u64 {
            let index = base | (at << shift);
            match node {
                Tree::Leaf(leaf) => {
                    if let Some(v) = leaf.slot(at) {
                        return Some((index, v));
                    }
                }
                Tree::Inner(inner) => {
                    if let Some(child) = inner.slot(at)
                        && let Some(hit) = Self::find(child, from.max(index), index, level - 1)
                    {
                        return Some(hit);
                    }
                }
            }
        }
        None
    }
    /// Takes out the first value at or after `from` and before `end`.
    pub fn pop_in(&mut self, from: u64, end: u64) -> Option<(u64, V)> {
        let index = self.next(from).map(|(i, _)| i).filter(|i| *i < end)?;
        self.remove(index).map(|v| (index, v))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_whole_index_range_can_be_used() {
        let mut r = Radix::new();
        for i in [0, 63, 64, 4095, 4096, 1 << 40, u64::MAX] {
            assert_eq!(r.insert(i, i), None);
        }
        assert_eq!(r.next(4097), Some((1 << 40, &(1 << 40))));
        assert_eq!(r.next((1 << 40) + 1), Some((u64::MAX, &u64::MAX)));
        assert_eq!(r.remove(u64::MAX), Some(u64::MAX));
        assert_eq!(r.next((1 << 40) + 1), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_btree(ops in prop::collection::vec((0u8..3, 0u64..9000, any::<u32>()), 1..400)) {
            let mut r = Radix::new();
            let mut model = BTreeMap::new();
            for (op, index, value) in ops {
                match op {
                    0 => prop_assert_eq!(r.insert(index, value), model.insert(index, value)),
                    1 => prop_assert_eq!(r.remove(index), model.remove(&index)),
                    _ => prop_assert_eq!(r.next(index).map(|(i, v)| (i, *v)), model.range(index..).next().map(|(i, v)| (*i, *v))),
                }
                prop_assert_eq!(r.get(index), model.get(&index));
                prop_assert_eq!(r.len(), model.len() as u64);
            }
        }
    }
}
