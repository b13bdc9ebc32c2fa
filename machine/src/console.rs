//! The early console: a serial port that always works, for messages and as the fall-back terminal.

use crate::imp;

/// Writes bytes as they are; returns when they are out.
pub fn write(bytes: &[u8]) {
    imp::console::write(bytes)
}

/// Calls `f` with each byte that comes in, with interrupts off. Set once.
pub fn set_input(f: fn(u8)) {
    imp::console::set_input(f)
}

/// Whether there is such a port.
pub fn present() -> bool {
    imp::console::present()
}
