//! The wall clock: an offset to the monotonic clock, which clock_settime(2) moves.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::*};
use machine::sync::SpinLock;

/// Realtime minus monotonic; 0 until first asked.
static OFFSET: AtomicU64 = AtomicU64::new(0);
static HOOKS: SpinLock<Vec<fn(u64)>> = SpinLock::new(Vec::new());

/// Nanoseconds that the wall clock is ahead of the monotonic clock.
#[inline]
pub fn wall_offset_ns() -> u64 {
    match OFFSET.load(Relaxed) {
        0 => init(),
        offset => offset,
    }
}

fn init() -> u64 {
    let boot = machine::time::boot_wall_ns().max(1);
    match OFFSET.compare_exchange(0, boot, Relaxed, Relaxed) {
        Ok(_) => boot,
        Err(set) => set,
    }
}

/// Nanoseconds since 1970.
#[inline]
pub fn realtime_ns() -> u64 {
    crate::now().saturating_add(wall_offset_ns())
}

/// Sets the wall clock and tells those who registered. A time before the machine's boot is taken as 1 ns after the epoch plus
/// the time since boot, the least the monotonic clock allows.
pub fn set_realtime_ns(ns: u64) {
    let offset = ns.saturating_sub(crate::now()).max(1);
    OFFSET.store(offset, Relaxed);
    let hooks = HOOKS.lock().clone();
    hooks.iter().for_each(|hook| hook(offset));
}

/// Calls `hook` with the new offset each time the wall clock is set.
pub fn on_change(hook: fn(u64)) {
    HOOKS.lock().push(hook);
}
