//! Scheduling policies, nice values, weights, and the keys that tell the classes of threads apart (sched(7)).
//!
//! Real-time threads have keys below [`FAIR`]: priority first (99 is least), then order of arrival. All fair threads have that key;
//! their order is the fair queue's.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A thread's scheduling policy, with the numbers of sched_setscheduler(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// `SCHED_OTHER`: the fair share.
    Normal = 0,
    /// `SCHED_FIFO`: real time, runs until it sleeps.
    Fifo = 1,
    /// `SCHED_RR`: real time with a time slice.
    RoundRobin = 2,
    /// `SCHED_BATCH`: a fair share, does not preempt on wake-up.
    Batch = 3,
    /// `SCHED_IDLE`: the least weight.
    Idle = 5,
    /// `SCHED_EXT`: left to a loaded policy program; without one a fair share as `SCHED_OTHER`.
    Ext = 7,
}

impl Policy {
    /// The policy of this number.
    pub const fn from_raw(raw: u32) -> Option<Policy> {
        Some(match raw {
            0 => Policy::Normal,
            1 => Policy::Fifo,
            2 => Policy::RoundRobin,
            3 => Policy::Batch,
            5 => Policy::Idle,
            7 => Policy::Ext,
            _ => return None,
        })
    }
    /// Whether it is scheduled by priority alone.
    pub const fn is_realtime(self) -> bool {
        matches!(self, Policy::Fifo | Policy::RoundRobin)
    }
}

/// The least and the most that a fair thread may ask for as its slice (sched_setattr(2)).
pub const SLICE_RANGE_NS: core::ops::RangeInclusive<u64> = 100_000..=100_000_000;

/// The slice of a fair thread that asks for none: 0.7 ms, more on machines with more CPUs, where latency hurts less.
#[inline]
pub fn base_slice_ns() -> u64 {
    static BASE: AtomicU64 = AtomicU64::new(0);
    match BASE.load(Relaxed) {
        0 => {
            let base = 700_000 * u64::from(1 + machine::cpu::count().clamp(1, 8).ilog2());
            BASE.store(base, Relaxed);
            base
        }
        base => base,
    }
}
/// How long a `SCHED_RR` thread runs while one of its priority waits (sched_rr_get_interval(2)).
pub const RR_SLICE_NS: u64 = 100_000_000;
/// The shortest time after which a running thread is looked at again.
pub(crate) const MIN_LOOK_NS: u64 = 100_000;
/// The longest a busy CPU goes without sampling what it does.
pub(crate) const TICK_NS: u64 = 10_000_000;

/// A CPU in full use, where clamps of that are given.
pub const UTIL_FULL: u16 = 1024;

/// Ranks put all threads in one order, least first: 0 to 98 for the real-time priorities from 99 down, then the nice values.
pub const FAIR_RANK: u8 = 100;

/// The rank of a nice value.
pub const fn nice_rank(nice: i8) -> u8 {
    (FAIR_RANK as i16 + 20 + nice as i16) as u8
}

/// The key of fair threads.
pub(crate) const FAIR: u64 = 1 << 63;

/// The key of a CPU's idle thread.
pub(crate) const IDLE_KEY: u64 = u64::MAX;

/// The weight of nice 0.
pub(crate) const NICE_0_WEIGHT: u64 = 1024;
/// The weight of `SCHED_IDLE`.
pub(crate) const IDLE_WEIGHT: u64 = 3;

/// The key of a real-time thread with this place among those of its priority.
pub(crate) const fn rt_key(priority: u8, place: u64) -> u64 {
    ((99 - if priority > 99 { 99 } else { priority }) as u64) << 48 | (place & ((1 << 48) - 1))
}

/// A place with as much room before it as behind it.
pub(crate) const RT_MIDDLE: u64 = 1 << 47;

/// The share of a nice value (-20..=19): each step is a factor of 1.25, so that one step is about 10 % of a CPU between two.
pub const fn weight(nice: i8) -> u64 {
    const WEIGHTS: [u64; 40] = {
        let (mut table, mut at) = ([0; 40], 0);
        while at < 40 {
            let (mut weight, mut steps) = (NICE_0_WEIGHT * 1000, 20 - at as i32);
            while steps != 0 {
                weight = if steps > 0 { weight * 5 / 4 } else { weight * 4 / 5 };
                steps -= if steps > 0 { 1 } else { -1 };
            }
            table[at] = weight / 1000;
            at += 1;
        }
        table
    };
    let at = nice as i32 + 20;
    WEIGHTS[if at < 0 {
        0
    } else if at > 39 {
        39
    } else {
        at as usize
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_priorities_before_fair_threads() {
        assert!(rt_key(99, 5) < rt_key(1, 0));
        assert!(rt_key(10, 1) < rt_key(10, 2));
        assert!(rt_key(1, u64::MAX) < FAIR);
    }

    #[test]
    fn weights_fall_by_a_quarter_a_step() {
        assert_eq!(weight(0), 1024);
        assert!(weight(-20) > 80_000 && weight(19) < 20);
        assert!((-20..19).all(|n| weight(n) > weight(n + 1)));
    }
}
