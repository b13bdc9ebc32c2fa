//! Sets of CPUs: affinity masks, and the atomic sets of CPUs that are online or idle.

use core::sync::atomic::{AtomicU64, Ordering};
use machine::cpu::CpuId;

const WORDS: usize = machine::cpu::MAX_CPUS.div_ceil(64);

/// A set of CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuSet([u64; WORDS]);

impl CpuSet {
    /// No CPU.
    pub const fn empty() -> CpuSet {
        CpuSet([0; WORDS])
    }
    /// Every CPU that could exist.
    pub const fn all() -> CpuSet {
        CpuSet([u64::MAX; WORDS])
    }
    /// One CPU.
    pub fn single(cpu: CpuId) -> CpuSet {
        let mut set = CpuSet::empty();
        set.insert(cpu);
        set
    }
    /// The first words of the mask, as sched_setaffinity(2) passes it; what lies beyond is ignored.
    pub fn from_words(words: &[u64]) -> CpuSet {
        let mut set = CpuSet::empty();
        set.0.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
        set
    }
    /// The mask in words.
    pub fn words(&self) -> &[u64] {
        &self.0
    }
    /// Adds a CPU.
    pub fn insert(&mut self, cpu: CpuId) {
        if let Some(word) = self.0.get_mut(cpu.0 as usize / 64) {
            *word |= 1 << (cpu.0 % 64);
        }
    }
    /// Whether the CPU is in the set.
    #[inline]
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0.get(cpu.0 as usize / 64).is_some_and(|word| word & (1 << (cpu.0 % 64)) != 0)
    }
    /// The CPUs in both sets.
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        let mut set = *self;
        set.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
        set
    }
    /// The lowest CPU of the set.
    pub fn first(&self) -> Option<CpuId> {
        self.iter().next()
    }
    /// Whether no CPU is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
    /// How many CPUs the set has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(CpuId(i as u32 * 64 + bit))
            })
        })
    }
}

/// A set of CPUs that all CPUs read and change.
pub(crate) struct AtomicCpuSet([AtomicU64; WORDS]);

impl AtomicCpuSet {
    pub const fn new() -> AtomicCpuSet {
        AtomicCpuSet([const { AtomicU64::new(0) }; WORDS])
    }
    pub fn insert(&self, cpu: CpuId) {
        if let Some(word) = self.0.get(cpu.0 as usize / 64) {
            word.fetch_or(1 << (cpu.0 % 64), Ordering::SeqCst);
        }
    }
    pub fn remove(&self, cpu: CpuId) {
        if let Some(word) = self.0.get(cpu.0 as usize / 64) {
            word.fetch_and(!(1 << (cpu.0 % 64)), Ordering::SeqCst);
        }
    }
    #[inline]
    pub fn contains(&self, cpu: CpuId) -> bool {
        let word = self.0.get(cpu.0 as usize / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (cpu.0 % 64)) != 0
    }
    pub fn load(&self) -> CpuSet {
        let mut set = CpuSet::empty();
        set.0.iter_mut().zip(&self.0).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
        set
    }
    pub fn store(&self, set: &CpuSet) {
        self.0.iter().zip(&set.0).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_listed_in_order_across_words() {
        let mut set = CpuSet::empty();
        for id in [200, 0, 63, 64] {
            set.insert(CpuId(id));
        }
        assert!(set.iter().map(|c| c.0).eq([0, 63, 64, 200]));
        assert_eq!((set.len(), set.first()), (4, Some(CpuId(0))));
        assert!(set.contains(CpuId(64)) && !set.contains(CpuId(65)) && !set.contains(CpuId(1000)));
        assert_eq!(set.and(&CpuSet::single(CpuId(63))), CpuSet::single(CpuId(63)));
    }
}
