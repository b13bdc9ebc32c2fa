//! A binary min-heap whose values know where they sit, so that one can be taken out of the middle in O(log n).
//!
//! Run queues and timer queues need both ends of that: the least key fast, and removal of a given element (a cancelled timeout, a
//! thread whose affinity changed). Each value keeps its index in a cell of its own ([`Seat`]); the heap updates it on every move.
//! A value may sit in one heap at a time for each seat it has. Not synchronised: the owner locks.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::vec::Vec;

/// The seat of a value that is in no heap.
pub const NOWHERE: usize = usize::MAX;

/// Remembers the index of a value inside its heap.
pub trait Seat {
    /// The index last stored, [`NOWHERE`] if in no heap.
    fn seat(&self) -> usize;
    /// Stores the index.
    fn set_seat(&self, at: usize);
}

/// The heap: least key first; among equal keys the order is unspecified.
pub struct PosHeap<V> {
    entries: Vec<(u64, V)>,
}

impl<V: Seat> PosHeap<V> {
    /// An empty heap; allocates at the first push.
    pub const fn new() -> PosHeap<V> {
        PosHeap { entries: Vec::new() }
    }
    /// Number of values.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The least key.
    #[inline]
    pub fn least(&self) -> Option<u64> {
        self.entries.first().map(|e| e.0)
    }
    /// Keys and values in no order.
    pub fn iter(&self) -> impl Iterator<Item = &(u64, V)> {
        self.entries.iter()
    }
    /// Makes room for one more value ahead of a push that must not allocate.
    pub fn try_reserve(&mut self) -> Result<(), alloc::collections::TryReserveError> {
        self.entries.try_reserve(1)
    }
    /// Adds a value.
    #[inline]
    pub fn push(&mut self, key: u64, value: V) {
        let at = self.entries.len();
        value.set_seat(at);
        self.entries.push((key, value));
        if at != 0 {
            self.sift_up(at);
        }
    }
    /// Takes out the value with the least key.
    #[inline]
    pub fn pop(&mut self) -> Option<(u64, V)> {
        self.take(0)
    }
    /// Puts in a value and takes out the least of all, which may be that value.
    #[inline]
    pub fn push_pop(&mut self, key: u64, value: V) -> (u64, V) {
        match self.entries.first_mut() {
            Some(top) if top.0 < key => {
                value.set_seat(0);
                let least = core::mem::replace(top, (key, value));
                least.1.set_seat(NOWHERE);
                self.sift_down(0);
                least
            }
            _ => (key, value),
        }
    }
    /// Takes out the value that sits at `seat`; `None` if nothing does.
    pub fn take(&mut self, seat: usize) -> Option<(u64, V)> {
        if seat >= self.entries.len() {
            return None;
        }
        let out = self.entries.swap_remove(seat);
        out.1.set_seat(NOWHERE);
        if let Some(moved) = self.entries.get(seat) {
            moved.1.set_seat(seat);
            self.sift_up(seat);
            self.sift_down(seat);
        }
        Some(out)
    }

    fn key(&self, at: usize) -> u64 {
        self.entries.get(at).map_or(u64::MAX, |e| e.0)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.entries.swap(a, b);
        self.entries[a].1.set_seat(a);
        self.entries[b].1.set_seat(b);
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.key(parent) <= self.key(at) {
                break;
            }
            self.swap(parent, at);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.entries.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.entries.len() && self.key(right) < self.key(left) { right } else { left };
            if self.key(at) <= self.key(child) {
                break;
            }
            self.swap(at, child);
            at = child;
        }
    }
}

impl<V: Seat> Default for PosHeap<V> {
    fn default() -> Self {
        PosHeap::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicUsize, Ordering};

    struct Item(AtomicUsize);
    impl Seat for Arc<Item> {
        fn seat(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
        fn set_seat(&self, at: usize) {
            self.0.store(at, Ordering::Relaxed)
        }
    }
    fn item() -> Arc<Item> {
        Arc::new(Item(AtomicUsize::new(NOWHERE)))
    }

    #[test]
    fn values_come_out_in_key_order_and_know_their_seats() {
        let mut heap = PosHeap::new();
        let mut x = 12345u64;
        let mut kept = Vec::new();
        for _ in 0..500 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let v = item();
            heap.push(x >> 40, v.clone());
            kept.push((x >> 40, v));
        }
        for (i, (key, v)) in kept.iter().enumerate().filter(|(i, _)| i % 3 == 0) {
            let (k, out) = heap.take(v.seat()).expect("it is seated");
            assert!(k == *key && Arc::ptr_eq(&out, v), "element {i}");
            assert_eq!(v.seat(), NOWHERE);
        }
        let mut last = 0;
        while let Some((k, v)) = heap.pop() {
            assert!(k >= last);
            assert_eq!(v.seat(), NOWHERE);
            last = k;
        }
    }

    #[test]
    fn push_pop_gives_back_the_least_of_all() {
        let mut heap = PosHeap::new();
        assert_eq!(heap.push_pop(7, item()).0, 7);
        heap.push(5, item());
        heap.push(9, item());
        assert_eq!(heap.push_pop(7, item()).0, 5);
        assert_eq!(heap.push_pop(1, item()).0, 1);
        assert_eq!((heap.pop().map(|e| e.0), heap.pop().map(|e| e.0)), (Some(7), Some(9)));
    }
}
