//! Clocks and the per-CPU one-shot timer.

use crate::imp;

/// Nanoseconds since boot, monotonic, the same on all CPUs.
#[inline]
pub fn now_ns() -> u64 {
    imp::time::now_ns()
}

/// Nanoseconds since boot by the hardware's own rate, which [`set_rate`] does not touch.
pub fn raw_ns() -> u64 {
    imp::time::raw_ns()
}

/// From now on [`now_ns`] advances by `ns_per_second` (with 32 fraction bits) in each second of [`raw_ns`]; it does not jump.
/// Callers take turns. Deadlines set before come as much early or late as the rates differ: set them again.
pub fn set_rate(ns_per_second: u64) {
    imp::time::set_rate(ns_per_second)
}

/// Wall-clock nanoseconds since 1970 at the moment of boot, from the RTC (or the pv clock).
pub fn boot_wall_ns() -> u64 {
    imp::time::boot_wall_ns()
}

/// Asks for a timer interrupt on this CPU at `at_ns` (on the `now_ns` clock); replaces the last request. `u64::MAX`: none.
pub fn set_deadline(at_ns: u64) {
    imp::time::set_deadline(at_ns)
}

/// How user space computes a clock itself: `ns_base + (((tsc - tsc_base) * mult) >> shift)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockParams {
    /// A TSC value,
    pub tsc_base: u64,
    /// and what the clock showed then.
    pub ns_base: u64,
    /// Multiplier.
    pub mult: u32,
    /// Right shift after multiplying.
    pub shift: u32,
}

/// Parameters of [`now_ns`] for the vDSO; `None` when the TSC cannot be used.
pub fn clock_params() -> Option<ClockParams> {
    imp::time::clock_params()
}

/// Parameters of [`raw_ns`].
pub fn raw_params() -> Option<ClockParams> {
    imp::time::raw_params()
}
