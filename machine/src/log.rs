//! Kernel messages: a ring that /dev/kmsg and syslog(2) read, echoed to the early console, and the panic path.

use crate::imp;
use core::fmt;

/// Writes one message (with the `[    0.000000] ` time stamp) to the ring and, at or above the console level, to the console.
pub fn print(level: u8, args: fmt::Arguments<'_>) {
    imp::log::print(level, args)
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
