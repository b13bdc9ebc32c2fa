//! Time limits of waits. One on the wall clock follows the clock when it is set: the waits in question look anew.

use super::{Waiter, table};
use core::sync::atomic::{AtomicU32, Ordering::*};
use machine::sync::Once;
use sched::clock::{Base, Set};
use sched::{Instant, WaitError};

/// When a wait ends at the latest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// A moment of the monotonic clock.
    Monotonic(Instant),
    /// Nanoseconds since 1970.
    Wall(u64),
}

/// Counts how often the wall clock was set.
static CLOCK_SET: AtomicU32 = AtomicU32::new(0);
static HOOK: Once<()> = Once::new();

/// The wall clock has been set.
fn clock_set(_: Set) {
    CLOCK_SET.fetch_add(1, SeqCst);
    table::all(|bucket| {
        for entry in bucket.list.lock().iter().filter(|entry| entry.waiter.wall) {
            entry.waiter.thread.wake();
        }
    });
}

impl Limit {
    pub(super) fn is_wall(self) -> bool {
        matches!(self, Limit::Wall(_))
    }
    /// The moment on the monotonic clock, as the clocks are now; what lies before its start is due at once.
    fn on_monotonic(self) -> Instant {
        match self {
            Limit::Monotonic(at) => at,
            Limit::Wall(ns) => Base::Realtime.to_monotonic(ns),
        }
    }
}

/// Sleeps until the current thread's `waiter`, which stands in the table, is woken.
pub(super) fn sleep(waiter: &Waiter, limit: Option<Limit>) -> Result<u32, WaitError> {
    let Some(limit) = limit.filter(|l| l.is_wall()) else {
        return sched::park(limit.map(Limit::on_monotonic), || waiter.woken());
    };
    HOOK.get_or_init(|| sched::clock::on_set(clock_set));
    loop {
        let seen = CLOCK_SET.load(SeqCst);
        let woken = || match waiter.woken() {
            None if CLOCK_SET.load(SeqCst) == seen => None,
            woken => Some(woken),
        };
        if let Some(index) = sched::park(Some(limit.on_monotonic()), woken)? {
            return Ok(index);
        }
    }
}
