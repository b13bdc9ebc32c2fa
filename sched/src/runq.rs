//! One CPU's run queue: the running thread and the heap of those that wait for the CPU.

use crate::policy::{self, FAIR, IDLE_KEY, Policy};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use posheap::{PosHeap, Seat};

/// A thread waiting in a run queue.
pub(crate) struct Waiting(pub Arc<Thread>);

impl Seat for Waiting {
    #[inline]
    fn seat(&self) -> usize {
        self.0.run_seat.load(Relaxed)
    }
    #[inline]
    fn set_seat(&self, at: usize) {
        self.0.run_seat.store(at, Relaxed);
    }
}

/// Guarded by the CPU's queue lock.
pub(crate) struct RunQueue {
    pub waiting: PosHeap<Waiting>,
    /// The thread this CPU runs; `None` before the CPU has been adopted.
    pub current: Option<Arc<Thread>>,
    /// What runs when nothing waits.
    pub idle: Option<Arc<Thread>>,
    /// Since when `current`'s run time has not been charged, and since when it runs without a break.
    pub charged_until: u64,
    pub running_since: u64,
    /// The least virtual runtime that a newcomer may start with; grows only.
    pub floor: u64,
    /// Counts arrivals of real-time threads.
    arrivals: u64,
}

impl RunQueue {
    pub const fn new() -> RunQueue {
        RunQueue {
            waiting: PosHeap::new(),
            current: None,
            idle: None,
            charged_until: 0,
            running_since: 0,
            floor: FAIR,
            arrivals: 0,
        }
    }

    /// Charges the running thread for the time up to `now`; the result is that time.
    #[inline]
    pub fn charge(&mut self, now: u64) -> u64 {
        let ran = now.saturating_sub(self.charged_until);
        self.charged_until = now;
        let Some(current) = &self.current else { return 0 };
        current.runtime.store(current.runtime.load(Relaxed) + ran, Relaxed);
        let key = current.key.load(Relaxed);
        if key >= FAIR && key != IDLE_KEY {
            let weight = current.weight.load(Relaxed);
            let scaled = if weight == policy::NICE_0_WEIGHT { ran } else { ran * policy::NICE_0_WEIGHT / weight };
            let key = key.saturating_add(scaled);
            current.key.store(key, Relaxed);
            let least = self.waiting.least().map_or(key, |first| first.min(key));
            self.floor = self.floor.max(least);
        }
        ran
    }

    /// Whether `current` is the idle thread (or nothing runs yet).
    #[inline]
    pub fn is_idle(&self) -> bool {
        match (&self.current, &self.idle) {
            (Some(current), Some(idle)) => Arc::ptr_eq(current, idle),
            (current, _) => current.is_none(),
        }
    }

    /// Gives a thread that comes from sleep, or from a CPU whose floor was `from_floor`, its place in this queue's order.
    #[inline]
    pub fn place(&mut self, thread: &Thread, from_floor: Option<u64>, slept: bool) {
        let rank = thread.rank();
        let key = if rank < policy::FAIR_RANK {
            self.arrivals += 1;
            policy::rt_key(99 - rank, self.arrivals)
        } else {
            let mut key = thread.key.load(Relaxed).max(FAIR);
            if let Some(from) = from_floor {
                key = (key.max(from) - from).saturating_add(self.floor);
            }
            if slept { key.max((self.floor - policy::SLEEPER_CREDIT_NS).max(FAIR)) } else { key }
        };
        thread.key.store(key, Relaxed);
    }

    /// Whether `thread`, just queued, should take the place of the running one at once.
    #[inline]
    pub fn should_preempt(&self, thread: &Thread) -> bool {
        let Some(current) = &self.current else { return true };
        let (new, running) = (thread.key.load(Relaxed), current.key.load(Relaxed));
        new < FAIR && running >= FAIR
            || new.saturating_add(policy::WAKEUP_GRANULARITY_NS) < running
                && !matches!(thread.policy(), Policy::Batch | Policy::Idle)
            || self.is_idle()
    }

    /// How long the running thread may go on while others wait.
    pub fn slice(&self) -> u64 {
        match self.current.as_ref().map(|c| c.policy()) {
            Some(Policy::RoundRobin) => policy::RR_SLICE_NS,
            Some(Policy::Fifo) => u64::MAX / 4,
            _ => policy::SLICE_NS,
        }
    }
}
