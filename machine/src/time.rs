//! Clocks and the per-CPU one-shot timer.

use crate::imp;

/// Nanoseconds since boot, monotonic, the same on all CPUs.
#[inline]
pub fn now_ns() -> u64 {
    imp::time::now_ns()
}

/// Wall-clock nanoseconds since 1970 at the moment of boot, from the RTC (or the pv clock).
pub fn boot_wall_ns() -> u64 {
    imp::time::boot_wall_ns()
}

/// Asks for a timer interrupt on this CPU at `at_ns` (on the `now_ns` clock); replaces the last request. `u64::MAX`: none.
pub fn set_deadline(at_ns: u64) {
    imp::time::set_deadline(at_ns)
}

/// How user space computes `now_ns` itself: `((tsc - base) * mult) >> shift`; `None` when the TSC cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockParams {
    /// TSC value at `now_ns() == 0`.
    pub tsc_base: u64,
    /// Multiplier.
    pub mult: u32,
    /// Right shift after multiplying.
    pub shift: u32,
}

/// Parameters for the vDSO.
pub fn clock_params() -> Option<ClockParams> {
    imp::time::clock_params()
}
