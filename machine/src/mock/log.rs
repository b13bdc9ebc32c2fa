//! Messages go to the test's standard error.

use core::fmt;

pub fn print(level: u8, args: fmt::Arguments<'_>) {
    eprintln!("<{level}>{args}");
}
