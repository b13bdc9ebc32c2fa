//! Records as text.

use core::fmt::{self, Write};
use machine::log::Record;

/// A buffer that a text grows in; what does not fit is cut.
pub struct Buf<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Buf<N> {
    /// An empty one.
    pub const fn new() -> Self {
        Buf { bytes: [0; N], len: 0 }
    }
    /// What was written.
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for b in bytes {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = *b;
                self.len += 1;
            }
        }
    }
}

impl<const N: usize> Default for Buf<N> {
    fn default() -> Self {
        Buf::new()
    }
}

impl<const N: usize> Write for Buf<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// The lines of a record as syslog(2) gives them, each with priority and time, to `out`.
pub fn syslog_lines(record: &Record, text: &[u8], mut out: impl FnMut(&[u8])) {
    let us = record.meta.time_ns / 1000;
    let mut head = Buf::<48>::new();
    // A `Buf` takes everything.
    let _ = write!(head, "<{}>[{:5}.{:06}] ", record.meta.priority, us / 1_000_000, us % 1_000_000);
    for line in text.split(|b| *b == b'\n') {
        out(head.text());
        out(line);
        out(b"\n");
    }
}

/// A record as /dev/kmsg gives it: one line, everything unprintable as `\xNN`.
pub fn kmsg_line(record: &Record, text: &[u8], mut out: impl FnMut(&[u8])) {
    let mut head = Buf::<64>::new();
    let (priority, us) = (record.meta.priority, record.meta.time_ns / 1000);
    // As above.
    let _ = write!(head, "{priority},{},{us},-;", record.seq);
    out(head.text());
    for &b in text {
        match b {
            b'\\' | 0..0x20 | 0x7f.. => {
                let mut escape = Buf::<4>::new();
                // As above.
                let _ = write!(escape, "\\x{b:02x}");
                out(escape.text());
            }
            _ => out(&[b]),
        }
    }
    out(b"\n");
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use machine::log::Record;
    use std::vec::Vec;

    fn record() -> Record {
        let mut r = Record { seq: 7, meta: Default::default(), len: 0 };
        (r.meta.priority, r.meta.time_ns) = (30, 5_000_001_000);
        r
    }

    #[test]
    fn every_line_of_a_record_has_its_head() {
        let mut out = Vec::new();
        syslog_lines(&record(), b"one\ntwo", |b| out.extend_from_slice(b));
        assert_eq!(out, b"<30>[    5.000001] one\n<30>[    5.000001] two\n");
    }

    #[test]
    fn a_kmsg_record_is_one_line() {
        let mut out = Vec::new();
        kmsg_line(&record(), b"a\nb\\\xff", |b| out.extend_from_slice(b));
        assert_eq!(out, b"30,7,5000001,-;a\\x0ab\\x5c\\xff\n");
    }
}
