//! The wall clock as file timestamps want it.

use crate::attr::Timespec;

/// The present.
#[inline]
pub fn now() -> Timespec {
    let ns = sched::clock::realtime_ns();
    Timespec { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
}
