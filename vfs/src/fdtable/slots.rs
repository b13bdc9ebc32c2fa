//! The slots of a descriptor table: open files and close-on-exec marks by number.
//!
//! Slots come in blocks, so that a high number does not want one piece of memory for all below it. The first block grows with its numbers, and a
//! look-up in it is one bounds check; the others are made whole when a number in them is used first. Nothing is allocated for blocks in between.

use super::nr_open;
use crate::file::File;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Slots of a block.
const BLOCK: usize = 1 << 15;
/// The first block grows by this many, as many as a word has marks.
const STEP: usize = 64;

#[derive(Default)]
struct Block {
    files: Vec<Option<Arc<File>>>,
    /// One bit a slot: close on exec.
    cloexec: Vec<u64>,
}

impl Block {
    /// Makes room for `len` slots, a multiple of [`STEP`].
    fn grow(&mut self, len: usize) -> Result<(), Errno> {
        let oom = |_| Errno::ENOMEM;
        self.files.try_reserve(len.saturating_sub(self.files.len())).map_err(oom)?;
        self.cloexec.try_reserve((len / STEP).saturating_sub(self.cloexec.len())).map_err(oom)?;
        self.files.resize_with(len.max(self.files.len()), || None);
        self.cloexec.resize(self.files.len() / STEP, 0);
        Ok(())
    }
    /// Room for a copy of its first slots.
    fn room(&self, len: usize) -> Result<Block, Errno> {
        let mut copy = Block::default();
        let len = len.min(self.files.len());
        copy.files.try_reserve(len).map_err(|_| Errno::ENOMEM)?;
        copy.cloexec.try_reserve(len / STEP).map_err(|_| Errno::ENOMEM)?;
        Ok(copy)
    }
    /// Fills such room.
    fn fill(&mut self, from: &Block, len: usize) {
        let len = len.min(from.files.len());
        for file in from.files.iter().take(len) {
            if let Some(f) = file {
                f.opened();
            }
            self.files.push(file.clone());
        }
        self.cloexec.extend_from_slice(from.cloexec.get(..len / STEP).unwrap_or_default());
    }
    /// The first slot from `from` on that is in use.
    fn find_used(&self, from: usize) -> Option<usize> {
        self.files.get(from..)?.iter().position(Option::is_some).map(|at| from + at)
    }
    /// The first one that is not.
    fn find_free(&self, from: usize) -> Option<usize> {
        self.files.get(from..)?.iter().position(Option::is_none).map(|at| from + at)
    }
}

/// All slots.
#[derive(Default)]
pub struct Slots {
    first: Block,
    /// The blocks after the first, empty where none is needed.
    others: Vec<Block>,
    /// No descriptor below this is free.
    next: u32,
}

/// Block and slot in it; the first block is 0.
fn place(fd: u32) -> (usize, usize) {
    (fd as usize / BLOCK, fd as usize % BLOCK)
}

/// The descriptor of a slot.
fn number(block: usize, slot: usize) -> u32 {
    (block * BLOCK + slot) as u32
}

impl Slots {
    /// The file of a descriptor.
    #[inline]
    pub fn get(&self, fd: i32) -> Option<&Arc<File>> {
        match self.first.files.get(fd as usize) {
            Some(slot) => slot.as_ref(),
            None => self.get_high(fd),
        }
    }
    #[cold]
    fn get_high(&self, fd: i32) -> Option<&Arc<File>> {
        let (block, slot) = place(u32::try_from(fd).ok()?);
        self.block(block)?.files.get(slot)?.as_ref()
    }
    fn block(&self, n: usize) -> Option<&Block> {
        match n.checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.others.get(other),
        }
    }
    fn block_mut(&mut self, n: usize) -> Option<&mut Block> {
        match n.checked_sub(1) {
            None => Some(&mut self.first),
            Some(other) => self.others.get_mut(other),
        }
    }
    fn blocks(&self) -> impl DoubleEndedIterator<Item = (usize, &Block)> + ExactSizeIterator {
        (0..self.others.len() + 1).map(|n| (n, self.block(n).unwrap_or(&self.first)))
    }
    /// Sets or clears the close-on-exec mark.
    pub fn set_cloexec(&mut self, fd: u32, on: bool) {
        let at = fd as usize / STEP;
        let word = match self.first.cloexec.get_mut(at) {
            Some(word) => Some(word),
            None => {
                let other = (fd as usize / BLOCK).checked_sub(1).and_then(|n| self.others.get_mut(n));
                other.and_then(|b| b.cloexec.get_mut(at % (BLOCK / STEP)))
            }
        };
        if let Some(word) = word {
            let bit = 1 << (fd as usize % STEP);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
    /// The close-on-exec mark.
    pub fn is_cloexec(&self, fd: u32) -> bool {
        let (block, slot) = place(fd);
        let word = self.block(block).and_then(|b| b.cloexec.get(slot / STEP));
        word.is_some_and(|w| w >> (slot % STEP) & 1 != 0)
    }
    /// The lowest descriptor from `from` on that is marked close-on-exec.
    pub fn next_cloexec(&self, from: u32) -> Option<u32> {
        let (mut block, slot) = place(from);
        let mut word = slot / STEP;
        // Marks below `from` in its word are of descriptors that were looked at.
        let mut mask = u64::MAX << (slot % STEP);
        while let Some(b) = self.block(block) {
            while let Some(bits) = b.cloexec.get(word) {
                if bits & mask != 0 {
                    return Some(number(block, word * STEP + (bits & mask).trailing_zeros() as usize));
                }
                (word, mask) = (word + 1, u64::MAX);
            }
            (block, word, mask) = (block + 1, 0, u64::MAX);
        }
        None
    }
    /// The slot of a descriptor, if there is room for it.
    #[inline]
    fn slot_mut(&mut self, fd: u32) -> Option<&mut Option<Arc<File>>> {
        match self.first.files.get_mut(fd as usize) {
            Some(slot) => Some(slot),
            None => {
                let (block, slot) = place(fd);
                self.others.get_mut(block.checked_sub(1)?)?.files.get_mut(slot)
            }
        }
    }
    /// Makes room for descriptor `fd`.
    #[inline]
    pub fn grow(&mut self, fd: u32) -> Result<(), Errno> {
        if (fd as usize) < self.first.files.len() { Ok(()) } else { self.grow_for(fd) }
    }
    #[cold]
    fn grow_for(&mut self, fd: u32) -> Result<(), Errno> {
        let (block, slot) = place(fd);
        if self.block(block).is_some_and(|b| slot < b.files.len()) {
            return Ok(());
        }
        if fd as usize >= self.len() && fd >= nr_open() {
            return Err(Errno::EMFILE);
        }
        let more = block.saturating_sub(self.others.len());
        self.others.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
        self.others.resize_with(self.others.len() + more, Block::default);
        let len = if block == 0 { (slot + 1).next_multiple_of(STEP) } else { BLOCK };
        self.block_mut(block).ok_or(Errno::ENOMEM)?.grow(len)
    }
    /// The lowest free descriptor from `min` on; EMFILE at `limit`.
    pub fn find_free(&self, min: u32, limit: u32) -> Result<u32, Errno> {
        let from = min.max(self.next);
        let free = match self.first.find_free(from as usize) {
            Some(slot) => slot as u32,
            None => self.free_behind(from),
        };
        if free < limit.min(nr_open()) { Ok(free) } else { Err(Errno::EMFILE) }
    }
    /// The lowest free descriptor from `from` on when the first block has none there: the next one it would grow by, or one further up.
    fn free_behind(&self, from: u32) -> u32 {
        let first = self.first.files.len();
        if (from as usize) < BLOCK && first < BLOCK {
            return from.max(first as u32);
        }
        let (mut block, mut slot) = place(from.max(BLOCK as u32));
        while let Some(b) = self.block(block).filter(|b| !b.files.is_empty()) {
            if let Some(free) = b.find_free(slot) {
                return number(block, free);
            }
            (block, slot) = (block + 1, 0);
        }
        number(block, slot)
    }
    /// Puts a file into a slot there is room for; gives the one that was there.
    pub fn put(&mut self, fd: u32, file: Arc<File>, cloexec: bool) -> Option<Arc<File>> {
        self.set_cloexec(fd, cloexec);
        if fd == self.next {
            self.next = fd + 1;
        }
        file.opened();
        self.slot_mut(fd)?.replace(file)
    }
    /// Takes the file out of a slot.
    pub fn take(&mut self, fd: u32) -> Option<Arc<File>> {
        let file = self.slot_mut(fd)?.take()?;
        self.next = self.next.min(fd);
        self.set_cloexec(fd, false);
        Some(file)
    }
    /// The lowest open descriptor from `from` on.
    pub fn next_open(&self, from: u32) -> Option<(u32, &Arc<File>)> {
        if let Some(at) = self.first.find_used(from as usize) {
            return Some((at as u32, self.first.files.get(at)?.as_ref()?));
        }
        let (block, mut slot) = place(from.max(BLOCK as u32));
        for (n, b) in self.blocks().skip(block) {
            if let Some(at) = b.find_used(slot) {
                return Some((number(n, at), b.files.get(at)?.as_ref()?));
            }
            slot = 0;
        }
        None
    }
    /// Slots there is room for, with those of blocks that were left out.
    pub fn len(&self) -> usize {
        match self.others.len() {
            0 => self.first.files.len(),
            others => (others + 1) * BLOCK,
        }
    }
    /// A copy; EMFILE if there are open descriptors beyond what a table may have now.
    pub fn copy(&self) -> Result<Slots, Errno> {
        let last = self.blocks().rev().find_map(|(n, b)| Some((n, b.files.iter().rposition(Option::is_some)?)));
        let (block, slot) = last.unwrap_or_default();
        let end = if last.is_some() { slot + 1 } else { 0 }.next_multiple_of(STEP);
        if number(block, end) > nr_open() {
            return Err(Errno::EMFILE);
        }
        let len = |n: usize| if n == block { end } else { BLOCK };
        let mut copy = Slots { first: self.first.room(len(0))?, others: Vec::new(), next: self.next };
        copy.others.try_reserve(block).map_err(|_| Errno::ENOMEM)?;
        for other in self.others.iter().take(block) {
            copy.others.push(other.room(BLOCK)?);
        }
        // From here on nothing fails: the files count what has them open.
        copy.first.fill(&self.first, len(0));
        copy.others.iter_mut().zip(&self.others).for_each(|(to, from)| to.fill(from, BLOCK));
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cred, FileOps};
    use abi::fcntl::OpenFlags;
    use core::any::Any;

    struct Nothing;

    impl FileOps for Nothing {
        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    fn file() -> Arc<File> {
        crate::anon_file("[test]", Arc::new(Nothing), OpenFlags::RDWR, &Cred::root())
    }

    fn put(slots: &mut Slots, fd: u32, cloexec: bool) {
        slots.grow(fd).unwrap();
        assert!(slots.put(fd, file(), cloexec).is_none());
    }

    fn open(slots: &Slots) -> Vec<u32> {
        let mut from = 0;
        let next = || {
            let (fd, _) = slots.next_open(from)?;
            from = fd + 1;
            Some(fd)
        };
        core::iter::from_fn(next).collect()
    }

    #[test]
    fn high_descriptors_need_no_memory_for_those_below() {
        let mut slots = Slots::default();
        let block = BLOCK as u32;
        for fd in [0, 1, block - 1, block, 5 * block + 7, nr_open() - 1] {
            put(&mut slots, fd, fd & 1 == 1);
        }
        assert_eq!(open(&slots), [0, 1, block - 1, block, 5 * block + 7, nr_open() - 1]);
        assert!(
            slots.others.iter().filter(|b| !b.files.is_empty()).count() == 3 && slots.get(3 * BLOCK as i32).is_none()
        );
        assert_eq!(slots.grow(nr_open()), Err(Errno::EMFILE));
        let marked = |from| slots.next_cloexec(from);
        assert_eq!((marked(0), marked(2), marked(block)), (Some(1), Some(block - 1), Some(5 * block + 7)));
        let free = |min| slots.find_free(min, u32::MAX).unwrap();
        assert_eq!(
            (free(0), free(block - 1), free(2 * block + 3), free(5 * block + 7)),
            (2, block + 1, 2 * block + 3, 5 * block + 8)
        );
        assert_eq!(slots.find_free(block, block + 1), Err(Errno::EMFILE));
    }

    #[test]
    fn copies_end_with_the_last_open_descriptor() {
        let mut slots = Slots::default();
        for fd in [0, 70, 2 * BLOCK as u32 + 1] {
            put(&mut slots, fd, fd == 70);
        }
        let copy = slots.copy().unwrap();
        assert_eq!((open(&copy), copy.next_cloexec(0), copy.len()), (open(&slots), Some(70), 3 * BLOCK));
        assert!(slots.take(2 * BLOCK as u32 + 1).is_some());
        let copy = slots.copy().unwrap();
        assert_eq!((open(&copy), copy.len()), (Vec::from([0, 70]), 128));
    }
}
