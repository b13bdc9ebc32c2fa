//! Scheduling policies, nice values and the one key that orders every run queue (sched(7)).
//!
//! A run queue is one heap. Real-time threads have keys below `1 << 63`: priority first (99 is least), then order of arrival.
//! The others follow with `1 << 63 | virtual runtime`: time run, scaled by the weight of the nice value.

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
            _ => return None,
        })
    }
    /// Whether it is scheduled by priority alone.
    pub const fn is_realtime(self) -> bool {
        matches!(self, Policy::Fifo | Policy::RoundRobin)
    }
}

/// How long a fair thread runs while others wait.
pub const SLICE_NS: u64 = 3_000_000;
/// How long a `SCHED_RR` thread runs while one of its priority waits (sched_rr_get_interval(2)).
pub const RR_SLICE_NS: u64 = 100_000_000;
/// How far ahead a running thread may be before a woken one takes its place.
pub(crate) const WAKEUP_GRANULARITY_NS: u64 = 1_000_000;
/// How far behind the others a thread that slept may start.
pub(crate) const SLEEPER_CREDIT_NS: u64 = 3_000_000;
/// The longest a busy CPU goes without sampling what it does.
pub(crate) const TICK_NS: u64 = 10_000_000;

/// Ranks put all threads in one order, least first: 0 to 98 for the real-time priorities from 99 down, then the nice values.
pub const FAIR_RANK: u8 = 100;

/// The rank of a nice value.
pub const fn nice_rank(nice: i8) -> u8 {
    (FAIR_RANK as i16 + 20 + nice as i16) as u8
}

/// Where fair keys begin.
pub(crate) const FAIR: u64 = 1 << 63;

/// The key of a CPU's idle thread.
pub(crate) const IDLE_KEY: u64 = u64::MAX;

/// The weight of nice 0.
pub(crate) const NICE_0_WEIGHT: u64 = 1024;
/// The weight of `SCHED_IDLE`.
pub(crate) const IDLE_WEIGHT: u64 = 3;

/// The key of a real-time thread that arrived as number `arrival`.
pub(crate) const fn rt_key(priority: u8, arrival: u64) -> u64 {
    ((99 - if priority > 99 { 99 } else { priority }) as u64) << 48 | (arrival & ((1 << 48) - 1))
}

/// The share of a nice value (-20..=19): each step is a factor of 1.25, so that one step is about 10 % of a CPU between two.
pub(crate) fn weight(nice: i8) -> u64 {
    let mut weight = NICE_0_WEIGHT * 1000;
    for _ in 0..nice.clamp(-20, 19).unsigned_abs() {
        weight = if nice < 0 { weight * 5 / 4 } else { weight * 4 / 5 };
    }
    (weight / 1000).max(IDLE_WEIGHT)
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
