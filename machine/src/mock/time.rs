//! The host's clocks; deadlines never fire.

use crate::time::ClockParams;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn start() -> &'static (Instant, u64) {
    static START: std::sync::OnceLock<(Instant, u64)> = std::sync::OnceLock::new();
    START.get_or_init(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        (Instant::now(), wall)
    })
}

pub fn now_ns() -> u64 {
    start().0.elapsed().as_nanos() as u64
}
pub fn boot_wall_ns() -> u64 {
    start().1
}
pub fn raw_ns() -> u64 {
    now_ns()
}
/// The host's clock is not ours to steer.
pub fn set_rate(_ns_per_second: u64) {}
pub fn set_deadline(_at_ns: u64) {}
pub fn raw_params() -> Option<ClockParams> {
    None
}
pub fn clock_params() -> Option<ClockParams> {
    None
}
