//! Kernel messages: a ring that /dev/kmsg and syslog(2) read, echoed to the early console, and the panic path.

use crate::imp;
use core::fmt::{self, Write};

pub use crate::logring::{Record, range, read, set_listener};

/// Longest message; the rest is cut.
pub const LINE_MAX: usize = 240;

struct Line {
    bytes: [u8; LINE_MAX],
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

/// Writes one message to the ring and, at or above the console level, with a time stamp to the console.
pub fn print(level: u8, args: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
    // A `Line` takes everything; what does not fit is cut.
    let _ = line.write_fmt(args);
    crate::logring::push(level, &line.bytes[..line.len]);
    imp::log::print(level & 7, args)
}

/// Logs a message at level info: `kinfo!("found {} CPUs", n)`.
#[macro_export]
macro_rules! kinfo {
    ($($arg:tt)*) => { $crate::log::print(6, format_args!($($arg)*)) };
}

/// Logs a warning.
#[macro_export]
macro_rules! kwarn {
    ($($arg:tt)*) => { $crate::log::print(4, format_args!($($arg)*)) };
}
