//! A bitmap with summary levels: bit `i` of a level says that word `i` of the level below is not zero.

use alloc::vec;
use alloc::vec::Vec;

const WORD: usize = u64::BITS as usize;

pub struct Bits {
    levels: Vec<Vec<u64>>,
    len: usize,
    count: usize,
}

impl Bits {
    /// `len` clear bits.
    pub fn new(len: usize) -> Bits {
        let mut levels = Vec::new();
        let mut n = len.max(1);
        loop {
            n = n.div_ceil(WORD);
            levels.push(vec![0; n]);
            if n == 1 {
                return Bits { levels, len, count: 0 };
            }
        }
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn count(&self) -> usize {
        self.count
    }
    #[inline]
    pub fn test(&self, i: usize) -> bool {
        self.levels.first().and_then(|l| l.get(i / WORD)).is_some_and(|w| w >> (i % WORD) & 1 == 1)
    }
    /// Sets a clear bit.
    pub fn set(&mut self, mut i: usize) {
        self.count += 1;
        for level in &mut self.levels {
            let Some(w) = level.get_mut(i / WORD) else { return };
            let was = *w;
            *w |= 1 << (i % WORD);
            if was != 0 {
                return;
            }
            i /= WORD;
        }
    }
    /// Clears a set bit.
    pub fn clear(&mut self, mut i: usize) {
        self.count -= 1;
        for level in &mut self.levels {
            let Some(w) = level.get_mut(i / WORD) else { return };
            *w &= !(1 << (i % WORD));
            if *w != 0 {
                return;
            }
            i /= WORD;
        }
    }
    /// The lowest set bit.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        let mut i = 0;
        for level in self.levels.iter().rev() {
            let w = *level.get(i)?;
            if w == 0 {
                return None;
            }
            i = i * WORD + w.trailing_zeros() as usize;
        }
        Some(i)
    }
}
