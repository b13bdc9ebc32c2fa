//! The machine's serial line: raw bytes out, bytes in.

use crate::imp;

/// Writes bytes as they are; waits until the device took them.
pub fn write(bytes: &[u8]) {
    imp::console::write(bytes)
}

/// Calls `receive` with each byte that comes in, from the interrupt handler. The first call counts.
pub fn set_input(receive: fn(u8)) {
    imp::console::set_input(receive)
}
