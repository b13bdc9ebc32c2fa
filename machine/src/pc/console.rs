//! The console facade over the UART.

use super::serial;

pub fn write(bytes: &[u8]) {
    serial::write_raw(bytes)
}

pub fn set_input(receive: fn(u8)) {
    serial::set_input(receive)
}
