//! Input processing: mapping, flow control, signals, line editing, echo.

use super::output::{is_continuation, is_control};
use super::{Events, LineDisc, OutQueue, canonical};
use crate::termios::{DISABLED, Termios};
use abi::tty::{Iflag, Lflag, cc};

/// Signal numbers of the three ISIG characters.
const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGTSTP: u8 = 20;

/// What is erased at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Char,
    Word,
    Line,
}

impl LineDisc {
    /// Takes `bytes` from the terminal; returns how many were used. Stops early when there is no room and after a byte that
    /// causes a signal (`events.signal`), so that the caller sends it before the bytes that follow. `stopped`: output is
    /// stopped now.
    pub fn input(
        &mut self,
        t: &Termios,
        bytes: &[u8],
        stopped: bool,
        out: &mut OutQueue,
        events: &mut Events,
    ) -> usize {
        if self.is_plain(t) {
            return self.ring.extend(&bytes[..bytes.len().min(self.room(t))]);
        }
        let mut used = 0;
        for &c in bytes {
            if self.room(t) == 0 || events.signal.is_some() {
                break;
            }
            // The byte a full canonical buffer takes (it may end the line) replaces the last one.
            if self.ring.len() >= super::ring::SIZE && canonical(t) {
                self.ring.head = self.ring.head.wrapping_sub(1);
            }
            let stopped = events.stop.unwrap_or(stopped);
            self.receive(t, c, stopped, out, events);
            used += 1;
        }
        used
    }

    /// No mode asks to look at single bytes.
    fn is_plain(&self, t: &Termios) -> bool {
        let looks =
            Iflag::ISTRIP | Iflag::INLCR | Iflag::IGNCR | Iflag::ICRNL | Iflag::IUCLC | Iflag::IXON | Iflag::PARMRK;
        let edits = Lflag::ISIG | Lflag::ICANON | Lflag::ECHO;
        !self.lnext && !t.iflag.intersects(looks) && !t.lflag.intersects(edits)
    }

    fn receive(&mut self, t: &Termios, c: u8, stopped: bool, out: &mut OutQueue, events: &mut Events) {
        let mut c = c;
        if t.iflag.contains(Iflag::ISTRIP) {
            c &= 0x7f;
        }
        if t.iflag.contains(Iflag::IUCLC) && t.lflag.contains(Lflag::IEXTEN) {
            c = super::output::lower(c);
        }
        if t.lflag.contains(Lflag::EXTPROC) {
            self.ring.push(c);
            return;
        }
        if core::mem::take(&mut self.lnext) {
            self.store(t, c, false, out);
            return;
        }
        if self.flow_or_signal(t, c, out, events) {
            return;
        }
        if stopped && t.iflag.contains(Iflag::IXON | Iflag::IXANY) {
            events.stop = Some(false);
        }
        let typed = c;
        match c {
            b'\r' if t.iflag.contains(Iflag::IGNCR) => return,
            b'\r' if t.iflag.contains(Iflag::ICRNL) => c = b'\n',
            b'\n' if t.iflag.contains(Iflag::INLCR) => c = b'\r',
            _ => {}
        }
        if !(t.lflag.contains(Lflag::ICANON) && self.edit(t, c, out)) {
            self.store(t, c, c != typed, out);
        }
    }

    /// START, STOP, INTR, QUIT and SUSP. True when `c` was one of them.
    fn flow_or_signal(&mut self, t: &Termios, c: u8, out: &mut OutQueue, events: &mut Events) -> bool {
        if t.iflag.contains(Iflag::IXON) {
            if t.is(c, cc::VSTART) {
                events.stop = Some(false);
                return true;
            }
            if t.is(c, cc::VSTOP) {
                events.stop = Some(true);
                return true;
            }
        }
        if !t.lflag.contains(Lflag::ISIG) {
            return false;
        }
        let signal = match c {
            _ if t.is(c, cc::VINTR) => SIGINT,
            _ if t.is(c, cc::VQUIT) => SIGQUIT,
            _ if t.is(c, cc::VSUSP) => SIGTSTP,
            _ => return false,
        };
        events.signal = Some(signal);
        if !t.lflag.contains(Lflag::NOFLSH) {
            self.flush_input();
            out.clear();
            events.flush_output = true;
            events.flushed_input = true;
        }
        if t.iflag.contains(Iflag::IXON) {
            events.stop = Some(false);
        }
        if t.lflag.contains(Lflag::ECHO) {
            self.echo(t, c, out);
        }
        true
    }

    /// Canonical editing characters and line ends. True when `c` was one of them.
    fn edit(&mut self, t: &Termios, c: u8, out: &mut OutQueue) -> bool {
        let echo = t.lflag.contains(Lflag::ECHO);
        let extended = t.lflag.contains(Lflag::IEXTEN);
        if t.is(c, cc::VERASE) {
            self.erase(t, Erase::Char, out);
        } else if t.is(c, cc::VKILL) {
            self.erase(t, Erase::Line, out);
        } else if t.is(c, cc::VWERASE) && extended {
            self.erase(t, Erase::Word, out);
        } else if t.is(c, cc::VLNEXT) && extended {
            self.lnext = true;
            if echo {
                self.finish_erasing(t, out);
                if t.lflag.contains(Lflag::ECHOCTL) {
                    self.echo_raw(t, b'^', out);
                    self.echo_raw(t, 8, out);
                }
            }
        } else if t.is(c, cc::VREPRINT) && echo && extended {
            self.finish_erasing(t, out);
            self.echo(t, c, out);
            self.echo_raw(t, b'\n', out);
            let mut at = self.ring.canon;
            while at != self.ring.head {
                let c = self.ring.at(at);
                self.echo(t, c, out);
                at = at.wrapping_add(1);
            }
        } else if c == b'\n' {
            if t.lflag.intersects(Lflag::ECHO | Lflag::ECHONL) {
                self.echo_raw(t, b'\n', out);
            }
            self.end_line(c);
        } else if t.is(c, cc::VEOF) {
            self.end_line(DISABLED);
        } else if t.is(c, cc::VEOL) || (t.is(c, cc::VEOL2) && extended) {
            if echo {
                if self.ring.canon == self.ring.head {
                    self.mark_canon_column();
                }
                self.echo(t, c, out);
            }
            if t.iflag.contains(Iflag::PARMRK) && c == 0xff {
                self.ring.push(c);
            }
            self.end_line(c);
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, c: u8) {
        self.ring.end_line(c);
        self.pushed = false;
    }

    /// Echoes and stores an ordinary byte. A line feed that a typed carriage return was `changed` to moves the cursor, one typed or quoted is
    /// shown as the control character it is.
    fn store(&mut self, t: &Termios, c: u8, changed: bool, out: &mut OutQueue) {
        if t.lflag.contains(Lflag::ECHO) {
            self.finish_erasing(t, out);
            if c == b'\n' && changed {
                self.echo_raw(t, c, out);
            } else {
                if self.ring.canon == self.ring.head {
                    self.mark_canon_column();
                }
                self.echo(t, c, out);
            }
        }
        if t.iflag.contains(Iflag::PARMRK) && c == 0xff {
            self.ring.push(c);
        }
        self.ring.push(c);
    }

    /// Erases the last character, word, or the whole unfinished line.
    fn erase(&mut self, t: &Termios, what: Erase, out: &mut OutQueue) {
        let l = t.lflag;
        if self.ring.head == self.ring.canon {
            return;
        }
        if what == Erase::Line {
            if !l.contains(Lflag::ECHO) {
                self.ring.head = self.ring.canon;
                return;
            }
            if !l.contains(Lflag::ECHOK | Lflag::ECHOKE | Lflag::ECHOE) {
                self.ring.head = self.ring.canon;
                self.finish_erasing(t, out);
                self.echo(t, t.char(cc::VKILL), out);
                if l.contains(Lflag::ECHOK) {
                    self.echo_raw(t, b'\n', out);
                }
                return;
            }
        }
        let mut in_word = false;
        while self.ring.head != self.ring.canon {
            // Step back over one character, all its bytes.
            let mut at = self.ring.head.wrapping_sub(1);
            while is_continuation(t, self.ring.at(at)) && at != self.ring.canon {
                at = at.wrapping_sub(1);
            }
            let c = self.ring.at(at);
            if is_continuation(t, c) {
                break;
            }
            if what == Erase::Word {
                if is_word(c) {
                    in_word = true;
                } else if in_word {
                    break;
                }
            }
            let bytes = self.ring.head.wrapping_sub(at);
            self.ring.head = at;
            if l.contains(Lflag::ECHO) {
                self.echo_erased(t, what, c, bytes, out);
            }
            if what == Erase::Char {
                break;
            }
        }
        if self.ring.head == self.ring.canon && l.contains(Lflag::ECHO) {
            self.finish_erasing(t, out);
        }
    }

    /// Shows that the character `c` (of `bytes` bytes, now just past the head) was erased.
    fn echo_erased(&mut self, t: &Termios, what: Erase, c: u8, bytes: usize, out: &mut OutQueue) {
        let l = t.lflag;
        if l.contains(Lflag::ECHOPRT) {
            if !self.erasing {
                self.echo_raw(t, b'\\', out);
                self.erasing = true;
            }
            self.echo(t, c, out);
            for i in 1..bytes {
                let c = self.ring.at(self.ring.head.wrapping_add(i));
                self.echo_raw(t, c, out);
                self.echo_move_back();
            }
        } else if what == Erase::Char && !l.contains(Lflag::ECHOE) {
            self.echo(t, t.char(cc::VERASE), out);
        } else if c == b'\t' {
            let (cells, after_tab) = self.cells_before_tab(t);
            self.echo_rubout_tab(cells, after_tab, out);
        } else {
            if is_control(c) && l.contains(Lflag::ECHOCTL) {
                self.echo_rubout(t, out);
            }
            if !is_control(c) || l.contains(Lflag::ECHOCTL) {
                self.echo_rubout(t, out);
            }
        }
    }

    /// Cells the unfinished line takes after its last tab, and whether there is such a tab.
    fn cells_before_tab(&self, t: &Termios) -> (usize, bool) {
        let mut cells = 0;
        let mut at = self.ring.head;
        while at != self.ring.canon {
            at = at.wrapping_sub(1);
            let c = self.ring.at(at);
            if c == b'\t' {
                return (cells, true);
            }
            if is_control(c) {
                cells += if t.lflag.contains(Lflag::ECHOCTL) { 2 } else { 0 };
            } else if !is_continuation(t, c) {
                cells += 1;
            }
        }
        (cells, false)
    }

    fn finish_erasing(&mut self, t: &Termios, out: &mut OutQueue) {
        if core::mem::take(&mut self.erasing) {
            self.echo_raw(t, b'/', out);
        }
    }
}

/// `c` belongs to a word: letters and digits of Latin-1 (so also every first byte of UTF-8), and `_`.
fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || (c >= 0xc0 && c != 0xd7 && c != 0xf7)
}
