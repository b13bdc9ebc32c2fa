//! Where messages go: the serial console, at or above the level the command line sets.

use super::serial;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

/// Messages of a lower number reach the console.
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(7);

/// Sets the console level (`loglevel=` and `quiet` on the command line, syslog(2)).
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Ordering::Relaxed);
}

/// Collects a line, so that it goes out in one piece.
struct Line {
    bytes: [u8; 240],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let n = s.len().min(room.len());
        room[..n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

pub fn print(level: u8, args: fmt::Arguments<'_>) {
    if level >= CONSOLE_LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let mut line = Line { bytes: [0; 240], len: 0 };
    let us = super::time::now_ns() / 1000;
    let _ = write!(line, "[{:5}.{:06}] {}", us / 1_000_000, us % 1_000_000, args);
    let at = line.len.min(line.bytes.len() - 1);
    line.bytes[at] = b'\n';
    serial::write_text(&line.bytes[..=at]);
}
