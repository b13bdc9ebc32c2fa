//! The reading side: is there something, how much, take it.

use super::{LineDisc, canonical};
use crate::termios::{DISABLED, Termios};
use abi::tty::cc;

/// What one [`LineDisc::read`] took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Bytes copied.
    pub bytes: usize,
    /// A line (or an end-of-file mark) ended: the read is over even when `bytes` is zero.
    pub ended: bool,
}

impl LineDisc {
    /// A read would return something. `for_poll`: with VMIN set and VTIME not, poll waits for VMIN bytes.
    pub fn readable(&self, t: &Termios, for_poll: bool) -> bool {
        if canonical(t) {
            return self.ring.canon != self.ring.tail;
        }
        let min = usize::from(t.char(cc::VMIN));
        let want = if for_poll && t.char(cc::VTIME) == 0 && min > 0 { min } else { 1 };
        self.ring.len() >= want
    }

    /// Moves bytes to `buf`: up to the end of a line in canonical mode, whatever there is in raw mode.
    pub fn read(&mut self, t: &Termios, buf: &mut [u8]) -> Taken {
        if !canonical(t) {
            let bytes = self.ring.take(buf, self.ring.head);
            return Taken { bytes, ended: false };
        }
        let Some(end) = self.ring.line_end() else {
            let bytes = self.ring.take(buf, self.ring.canon);
            return Taken { bytes, ended: false };
        };
        let is_eof = self.ring.at(end) == DISABLED && !self.pushed;
        let stop = if is_eof { end } else { end.wrapping_add(1) };
        let bytes = self.ring.take(buf, stop);
        // A buffer filled just before an end-of-file mark takes the mark along: no empty read follows a full line.
        if self.ring.tail != stop {
            return Taken { bytes, ended: false };
        }
        self.ring.set_mark(end, false);
        self.ring.tail = end.wrapping_add(1);
        self.pushed = false;
        Taken { bytes, ended: true }
    }

    /// Bytes a read could return now (FIONREAD): in canonical mode those of whole lines, end-of-file marks not counted.
    pub fn pending(&self, t: &Termios) -> usize {
        if !canonical(t) {
            return self.ring.len();
        }
        let lines = self.ring.canon.wrapping_sub(self.ring.tail);
        let is_eof = |at: usize| self.ring.is_marked(at) && self.ring.at(at) == DISABLED;
        lines - (0..lines).filter(|&i| is_eof(self.ring.tail.wrapping_add(i))).count()
    }
}
