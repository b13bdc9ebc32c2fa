//! The input buffer of a line discipline: a ring of 4096 bytes with a mark on each byte that ends a line.
//!
//! Three positions that only grow (wrapping): `tail` (next byte to read) <= `canon` (end of the last whole line) <= `head`
//! (where the next byte goes).

use alloc::boxed::Box;

/// Capacity (`N_TTY_BUF_SIZE`; also what MAX_INPUT and MAX_CANON rest on).
pub const SIZE: usize = 4096;
const MASK: usize = SIZE - 1;

/// The ring and its positions.
pub struct Ring {
    bytes: Box<[u8; SIZE]>,
    marks: [u64; SIZE / 64],
    /// Where the next byte goes.
    pub head: usize,
    /// End of the last whole line.
    pub canon: usize,
    /// Next byte to read.
    pub tail: usize,
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Ring {
        Ring { bytes: Box::new([0; SIZE]), marks: [0; SIZE / 64], head: 0, canon: 0, tail: 0 }
    }
    /// Bytes held.
    pub fn len(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }
    /// The byte at a position.
    pub fn at(&self, pos: usize) -> u8 {
        self.bytes[pos & MASK]
    }
    /// Appends a byte. The caller keeps to the room rule; past the capacity the byte is dropped.
    pub fn push(&mut self, c: u8) {
        if self.len() < SIZE {
            self.set_mark(self.head, false);
            self.bytes[self.head & MASK] = c;
            self.head = self.head.wrapping_add(1);
        }
    }
    /// Appends bytes up to the capacity; returns how many.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(SIZE - self.len().min(SIZE));
        for &c in bytes.iter().take(n) {
            self.push(c);
        }
        n
    }
    /// Marks or unmarks the byte at `pos` as the end of a line.
    pub fn set_mark(&mut self, pos: usize, on: bool) {
        let bit = 1u64 << (pos & 63);
        let word = &mut self.marks[(pos & MASK) / 64];
        *word = if on { *word | bit } else { *word & !bit };
    }
    /// The byte at `pos` ends a line.
    pub fn is_marked(&self, pos: usize) -> bool {
        self.marks[(pos & MASK) / 64] >> (pos & 63) & 1 == 1
    }
    /// Ends a line with `c`: appended, marked, and now readable.
    pub fn end_line(&mut self, c: u8) {
        let at = self.head;
        self.push(c);
        if self.head != at {
            self.set_mark(at, true);
        }
        self.canon = self.head;
    }
    /// Position of the first marked byte in the whole lines, if any.
    pub fn line_end(&self) -> Option<usize> {
        let lines = self.canon.wrapping_sub(self.tail);
        (0..lines).map(|i| self.tail.wrapping_add(i)).find(|&p| self.is_marked(p))
    }
    /// Copies up to `buf.len()` bytes from the tail, not past `end`; moves the tail.
    pub fn take(&mut self, buf: &mut [u8], end: usize) -> usize {
        let n = buf.len().min(end.wrapping_sub(self.tail));
        let start = self.tail & MASK;
        let first = n.min(SIZE - start);
        let (a, b) = buf[..n].split_at_mut(first);
        a.copy_from_slice(&self.bytes[start..start + first]);
        b.copy_from_slice(&self.bytes[..n - first]);
        self.tail = self.tail.wrapping_add(n);
        n
    }
    /// Drops everything.
    pub fn clear(&mut self) {
        self.clear_marks();
        (self.head, self.canon, self.tail) = (0, 0, 0);
    }
    /// Forgets all line ends.
    pub fn clear_marks(&mut self) {
        self.marks = [0; SIZE / 64];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_keeps_line_marks() {
        let mut r = Ring::new();
        let mut buf = [0; SIZE];
        for _ in 0..3 {
            assert_eq!(r.extend(&[b'x'; 3000]), 3000);
            r.end_line(b'\n');
            let end = r.line_end().map(|p| p.wrapping_add(1)).unwrap_or(r.tail);
            assert_eq!(r.take(&mut buf, end), 3001);
            assert_eq!(&buf[2999..3001], b"x\n");
            assert!(r.line_end().is_none());
        }
    }

    #[test]
    fn never_holds_more_than_its_size() {
        let mut r = Ring::new();
        assert_eq!(r.extend(&[0; 5000]), SIZE);
        r.push(1);
        assert_eq!(r.len(), SIZE);
    }
}
