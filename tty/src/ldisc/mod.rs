//! N_TTY: the line discipline. Bytes typed on the terminal come in through [`LineDisc::input`], which edits the
//! current line, echoes, and turns control characters into events; programs take finished lines (or raw bytes) out with
//! [`LineDisc::read`]; what programs write passes [`LineDisc::output`].
//!
//! Pure state: no locks, no waiting, no devices. `tty::Tty` holds it under its spin lock and acts on the events.
//! Sources: termios(3), POSIX.1-2017 chapter 11, and observation of Linux (the tests' table of input, echo and reads).

mod input;
mod output;
mod read;
mod ring;
#[cfg(test)]
mod tests;

use crate::termios::Termios;
use abi::tty::{Iflag, Lflag};
use alloc::collections::VecDeque;
use ring::Ring;

/// What processing some input asks the terminal to do.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Events {
    /// A signal for the foreground process group; input processing stops after the byte that caused it.
    pub signal: Option<u8>,
    /// Pending output is to be dropped (a signal without NOFLSH).
    pub flush_output: bool,
    /// Pending input was dropped.
    pub flushed_input: bool,
    /// Output is to stop (`Some(true)`) or start again.
    pub stop: Option<bool>,
}

/// State of one terminal's line discipline.
pub struct LineDisc {
    ring: Ring,
    /// Cursor column, as far as output tells.
    column: usize,
    /// Column where the line being typed began.
    canon_column: usize,
    /// The next byte is taken literally.
    lnext: bool,
    /// Inside a `\...../` erase echo (ECHOPRT).
    erasing: bool,
    /// The last marked byte came from a switch to canonical mode: it is data even when it is zero.
    pushed: bool,
}

impl Default for LineDisc {
    fn default() -> Self {
        LineDisc::new()
    }
}

impl LineDisc {
    /// An idle line discipline.
    pub fn new() -> LineDisc {
        LineDisc { ring: Ring::new(), column: 0, canon_column: 0, lnext: false, erasing: false, pushed: false }
    }

    /// How many more bytes of input may come. In canonical mode with no whole line, input is always taken, so that the
    /// byte that ends the line can arrive; bytes too many are dropped one by one.
    pub fn room(&self, t: &Termios) -> usize {
        let mut room = ring::SIZE - self.ring.len().min(ring::SIZE);
        if t.iflag.contains(Iflag::PARMRK) {
            room = room.div_ceil(3);
        }
        match room.saturating_sub(1) {
            0 if canonical(t) && self.ring.canon == self.ring.tail => 1,
            n => n,
        }
    }

    /// Drops pending input.
    pub fn flush_input(&mut self) {
        self.ring.clear();
        self.lnext = false;
        self.erasing = false;
        self.pushed = false;
    }

    /// Follows a change of settings: entering or leaving canonical mode makes what is pending a line, or plain bytes.
    pub fn set_termios(&mut self, old: &Termios, new: &Termios) {
        let flips = (old.lflag ^ new.lflag) & (Lflag::ICANON | Lflag::EXTPROC);
        if flips.is_empty() {
            return;
        }
        self.ring.clear_marks();
        if !new.lflag.contains(Lflag::ICANON) || self.ring.len() == 0 {
            self.ring.canon = self.ring.tail;
            self.pushed = false;
        } else {
            self.ring.set_mark(self.ring.head.wrapping_sub(1), true);
            self.ring.canon = self.ring.head;
            self.pushed = true;
        }
        self.erasing = false;
        self.lnext = false;
    }
}

/// Lines are assembled (and not by the remote end).
fn canonical(t: &Termios) -> bool {
    t.lflag & (Lflag::ICANON | Lflag::EXTPROC) == Lflag::ICANON
}

/// The queue of bytes going out to the terminal.
pub type OutQueue = VecDeque<u8>;
