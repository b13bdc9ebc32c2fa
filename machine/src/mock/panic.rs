//! On a host a panic ends the test.

use core::fmt;

pub fn die(what: fmt::Arguments<'_>) -> ! {
    panic!("{what}")
}

/// The host shows its own traces.
pub fn trace_here() -> &'static str {
    ""
}

pub fn provoke_fault() {
    panic!("a fault")
}
