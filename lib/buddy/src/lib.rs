//! A buddy allocator over page numbers, kept in bitmaps.
//!
//! One bitmap an order says which blocks of that size are free; each bitmap carries summary levels, so the lowest free block is
//! found in a few steps whatever the size of memory. Taking the lowest first keeps high memory in large blocks. The allocator
//! never touches the pages it manages and needs a quarter of a byte for each.
//!
//! Algorithm: Knuth, The Art of Computer Programming, volume 1, 2.5.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod bits;

use alloc::vec::Vec;
use bits::Bits;

/// Number of block sizes: 1 page to 1024 pages (4 MiB).
pub const ORDERS: usize = 11;

/// The free blocks of a range of page numbers `0..extent`.
pub struct Buddy {
    free: Vec<Bits>,
    pages: u64,
}

impl Buddy {
    /// All of `0..extent` taken; free pages are added with [`Buddy::add`].
    pub fn new(extent: u32) -> Buddy {
        Buddy { free: (0..ORDERS).map(|o| Bits::new((extent as usize >> o) + 1)).collect(), pages: 0 }
    }
    /// Nothing managed yet.
    pub const fn empty() -> Buddy {
        Buddy { free: Vec::new(), pages: 0 }
    }
    /// Free pages.
    #[inline]
    pub fn free_pages(&self) -> u64 {
        self.pages
    }
    /// Free blocks of one order.
    pub fn free_blocks(&self, order: usize) -> usize {
        self.free.get(order).map_or(0, Bits::count)
    }
    /// Gives a run of pages to the allocator.
    pub fn add(&mut self, start: u32, count: u32) {
        let (mut at, mut left) = (start, count);
        while left > 0 {
            let align = if at == 0 { ORDERS as u32 - 1 } else { at.trailing_zeros() };
            let order = align.min(left.ilog2()).min(ORDERS as u32 - 1);
            self.free(at, order as u8);
            at += 1 << order;
            left -= 1 << order;
        }
    }
    /// Takes the lowest block of `2^order` pages.
    pub fn alloc(&mut self, order: u8) -> Option<u32> {
        let order = order as usize;
        let (found, block) = (order..ORDERS).find_map(|o| Some((o, self.free.get(o)?.first()?)))?;
        self.free.get_mut(found)?.clear(block);
        // Give the upper halves back until the block has the size asked for.
        for o in (order..found).rev() {
            self.free.get_mut(o)?.set((block << (found - o)) + 1);
        }
        self.pages -= 1 << order;
        u32::try_from(block << found).ok()
    }
    /// Takes up to `out.len()` single pages, cut from as few blocks as there are; returns how many.
    pub fn alloc_pages(&mut self, out: &mut [u32]) -> usize {
        let mut done = 0;
        while let Some(left) = (out.len() - done).checked_ilog2() {
            let largest = left.min(ORDERS as u32 - 1) as u8;
            let block = (0..=largest).rev().find_map(|order| Some((order, self.alloc(order)?)));
            let Some((order, start)) = block else { break };
            for (slot, page) in out.iter_mut().skip(done).zip(start..start + (1 << order)) {
                *slot = page;
            }
            done += 1 << order;
        }
        done
    }
    /// Gives a block back, joining it with its free neighbours. A block that is free already or out of range is ignored.
    pub fn free(&mut self, page: u32, order: u8) {
        let mut order = order as usize;
        let mut block = page as usize >> order;
        if self.free.get(order).is_none_or(|b| b.test(block) || block >= b.len()) {
            return;
        }
        self.pages += 1 << order;
        while order + 1 < ORDERS
            && let Some(bits) = self.free.get_mut(order)
            && bits.test(block ^ 1)
        {
            bits.clear(block ^ 1);
            block >>= 1;
            order += 1;
        }
        if let Some(bits) = self.free.get_mut(order) {
            bits.set(block);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn freed_neighbours_join_into_the_block_they_came_from() {
        let mut b = Buddy::new(4096);
        b.add(1, 4095);
        assert_eq!(b.free_pages(), 4095);
        let before: Vec<usize> = (0..ORDERS).map(|o| b.free_blocks(o)).collect();
        let pages: Vec<u32> = (0..500).filter_map(|_| b.alloc(0)).collect();
        assert_eq!(pages.first(), Some(&1));
        for p in pages {
            b.free(p, 0);
        }
        assert_eq!((0..ORDERS).map(|o| b.free_blocks(o)).collect::<Vec<_>>(), before);
    }

    proptest! {
        #[test]
        fn blocks_are_aligned_disjoint_and_all_come_back(
            start in 0u32..70, count in 1u32..3000, ops in prop::collection::vec((any::<bool>(), 0u8..6, any::<u16>()), 1..300)
        ) {
            let mut b = Buddy::new(start + count);
            b.add(start, count);
            let mut used = std::vec![false; (start + count) as usize];
            let mut held: Vec<(u32, u8)> = Vec::new();
            for (take, order, pick) in ops {
                if take {
                    if let Some(p) = b.alloc(order) {
                        prop_assert_eq!(p % (1 << order), 0);
                        for i in p..p + (1 << order) {
                            prop_assert!(i >= start && i < start + count && !used[i as usize]);
                            used[i as usize] = true;
                        }
                        held.push((p, order));
                    }
                } else if !held.is_empty() {
                    let (p, order) = held.swap_remove(pick as usize % held.len());
                    used[p as usize..(p + (1 << order)) as usize].fill(false);
                    b.free(p, order);
                }
                prop_assert_eq!(b.free_pages(), used.iter().filter(|u| !**u).count() as u64 - start as u64);
            }
            for (p, order) in held {
                b.free(p, order);
            }
            prop_assert_eq!(b.free_pages(), count as u64);
            let mut all = std::vec![0; count as usize + 1];
            prop_assert_eq!(b.alloc_pages(&mut all), count as usize);
        }
    }
}
