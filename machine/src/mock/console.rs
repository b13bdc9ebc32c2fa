//! Output goes to standard error; there is no input.

use std::io::Write;

pub fn write(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}
pub fn set_input(_f: fn(u8)) {}
pub fn present() -> bool {
    true
}
pub fn write_text(bytes: &[u8]) {
    write(bytes)
}
