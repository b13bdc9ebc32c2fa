//! Output post-processing (OPOST) and the echo of single characters.

use super::{LineDisc, OutQueue};
use crate::termios::Termios;
use abi::tty::{Iflag, Lflag, Oflag};

/// Columns between tab stops.
const TAB: usize = 8;
/// Echo is dropped when this much waits to go out: a terminal nobody reads must not eat memory.
const ECHO_LIMIT: usize = 1 << 17;

impl LineDisc {
    /// Appends `bytes` to `out` as the output modes say. Each input byte makes at most eight output bytes.
    pub fn output(&mut self, t: &Termios, bytes: &[u8], out: &mut OutQueue) {
        if !t.oflag.contains(Oflag::OPOST) {
            out.extend(bytes);
            return;
        }
        let plain = |c: &u8| !c.is_ascii_control() && *c < 0x80 && !t.oflag.contains(Oflag::OLCUC);
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            let run = rest.iter().take_while(|c| plain(c)).count();
            if run == 0 {
                self.post(t, first, out);
                rest = &rest[1..];
            } else {
                let (head, tail) = rest.split_at(run);
                out.extend(head);
                self.column += run;
                rest = tail;
            }
        }
    }

    /// One byte through the output modes.
    fn post(&mut self, t: &Termios, c: u8, out: &mut OutQueue) {
        let o = t.oflag;
        match c {
            b'\n' => {
                if o.contains(Oflag::ONLRET) {
                    self.column = 0;
                }
                if o.contains(Oflag::ONLCR) {
                    self.column = 0;
                    out.push_back(b'\r');
                }
                self.canon_column = self.column;
                out.push_back(b'\n');
            }
            b'\r' => {
                if o.contains(Oflag::ONOCR) && self.column == 0 {
                    return;
                }
                if !o.contains(Oflag::OCRNL) {
                    self.column = 0;
                    self.canon_column = 0;
                    out.push_back(b'\r');
                    return;
                }
                if o.contains(Oflag::ONLRET) {
                    self.column = 0;
                    self.canon_column = 0;
                }
                out.push_back(b'\n');
            }
            b'\t' => {
                let spaces = TAB - self.column % TAB;
                self.column += spaces;
                if o & Oflag::TABDLY == Oflag::XTABS {
                    out.extend(&[b' '; TAB][..spaces]);
                } else {
                    out.push_back(b'\t');
                }
            }
            8 => {
                self.column = self.column.saturating_sub(1);
                out.push_back(8);
            }
            _ => {
                let c = if o.contains(Oflag::OLCUC) { upper(c) } else { c };
                if !is_control(c) && !is_continuation(t, c) {
                    self.column += 1;
                }
                out.push_back(c);
            }
        }
    }

    /// Echoes a byte as it is (subject to OPOST).
    pub(super) fn echo_raw(&mut self, t: &Termios, c: u8, out: &mut OutQueue) {
        if out.len() >= ECHO_LIMIT {
            return;
        }
        match t.oflag.contains(Oflag::OPOST) {
            true => self.post(t, c, out),
            false => out.push_back(c),
        }
    }

    /// Echoes a byte, control characters as `^X` where ECHOCTL says so.
    pub(super) fn echo(&mut self, t: &Termios, c: u8, out: &mut OutQueue) {
        if t.lflag.contains(Lflag::ECHOCTL) && is_control(c) && c != b'\t' {
            if out.len() < ECHO_LIMIT {
                out.extend([b'^', c ^ 0x40]);
                self.column += 2;
            }
        } else {
            self.echo_raw(t, c, out);
        }
    }

    /// Echoes the erasure of one cell.
    pub(super) fn echo_rubout(&mut self, t: &Termios, out: &mut OutQueue) {
        for c in *b"\x08 \x08" {
            self.echo_raw(t, c, out);
        }
    }

    /// Echoes the erasure of a tab that follows `cells` cells, counted from the last tab or (when there is none) from the
    /// start of the line.
    pub(super) fn echo_rubout_tab(&mut self, cells: usize, after_tab: bool, out: &mut OutQueue) {
        let before = if after_tab { cells } else { cells + self.canon_column };
        for _ in 0..TAB - before % TAB {
            out.push_back(8);
            self.column = self.column.saturating_sub(1);
        }
    }

    /// The cursor column stays where it was before the last byte (ECHOPRT of the rest of a multi-byte character).
    pub(super) fn echo_move_back(&mut self) {
        self.column = self.column.saturating_sub(1);
    }

    /// The line being typed starts at the cursor's column.
    pub(super) fn mark_canon_column(&mut self) {
        self.canon_column = self.column;
    }
}

/// C's `toupper` of Linux's character table, which is Latin-1.
fn upper(c: u8) -> u8 {
    match c {
        b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..=0xff => c - 32,
        _ => c,
    }
}

/// C's `tolower` of the same table.
pub(super) fn lower(c: u8) -> u8 {
    match c {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => c + 32,
        _ => c,
    }
}

/// C's `iscntrl` of Linux's character table.
pub(super) fn is_control(c: u8) -> bool {
    c.is_ascii_control()
}

/// `c` continues a multi-byte character.
pub(super) fn is_continuation(t: &Termios, c: u8) -> bool {
    t.iflag.contains(Iflag::IUTF8) && c & 0xc0 == 0x80
}
