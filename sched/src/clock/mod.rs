//! The clocks and what moves them.
//!
//! The monotonic clock is [`crate::now`]. The wall clock and TAI are offsets to it ([`Base`]), so that a deadline of any of them
//! is one of the timer queues' once it is converted; whoever keeps such a deadline is told when an offset changes ([`on_set`]) and
//! converts again. adjtimex(2) changes the rate of the monotonic clock itself ([`ntp`], [`steer`]). The boot-time clock is the
//! monotonic one: the machine is never suspended.
//!
//! Lock order: the steering lock, then a timer; the list of followers, a [`ClockTimer`], its timer. Those who are told of a change
//! hold none.

mod ntp;
mod steer;
mod timer;

pub use steer::{MAX_WALL_NS, TimePages, adjust, inject, set_pages, set_realtime_ns, set_zone, while_still, zone};
pub use timer::ClockTimer;

use crate::wait::{Interrupted, WaitError, WaitQueue};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::*};
use machine::sync::SpinLock;

const SECOND: u64 = 1_000_000_000;

/// Realtime minus monotonic; 0 until first asked.
static OFFSET: AtomicU64 = AtomicU64::new(0);
/// Seconds that TAI is ahead of the wall clock.
static TAI_OFFSET: AtomicI32 = AtomicI32::new(0);
/// A leap second to come: the wall time (ns) from which on it counts, 0 for none, and what it adds to the clock.
static LEAP_AT: AtomicU64 = AtomicU64::new(0);
static LEAP_ADDS: AtomicI64 = AtomicI64::new(0);
static ON_SET: SpinLock<Vec<fn(Set)>> = SpinLock::new(Vec::new());

/// A clock that timers can follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// Since boot.
    Monotonic,
    /// Since 1970, as set.
    Realtime,
    /// Since boot, with suspensions: there are none.
    Boottime,
    /// Since 1970, with leap seconds.
    Tai,
}

impl Base {
    /// Nanoseconds it is ahead of the monotonic clock.
    #[inline]
    pub fn ahead_ns(self) -> u64 {
        match self {
            Base::Monotonic | Base::Boottime => 0,
            Base::Realtime => wall_offset_ns(),
            Base::Tai => wall_offset_ns().saturating_add_signed(i64::from(tai_offset()) * SECOND as i64),
        }
    }
    /// What it shows.
    #[inline]
    pub fn now(self) -> u64 {
        crate::now().saturating_add(self.ahead_ns())
    }
    /// Whether setting the wall clock moves it.
    pub fn is_settable(self) -> bool {
        matches!(self, Base::Realtime | Base::Tai)
    }
    /// A moment of this clock on the monotonic one, as things are now; what lies before its start is its first nanosecond.
    pub fn to_monotonic(self, moment: u64) -> crate::Instant {
        let mut ahead = self.ahead_ns();
        // Past a leap second that is known to come the wall clock will be a second off.
        if self == Base::Realtime && LEAP_AT.load(Acquire) != 0 && moment >= LEAP_AT.load(Relaxed) {
            ahead = ahead.saturating_add_signed(LEAP_ADDS.load(Relaxed));
        }
        moment.saturating_sub(ahead).max(1)
    }
}

/// What happened to the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    /// Somebody set it: it is not what waiters took it for.
    Stepped,
    /// Only the conversion of later moments has changed (a leap second is known to come).
    Planned,
}

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

/// Seconds that TAI is ahead of the wall clock.
pub fn tai_offset() -> i32 {
    TAI_OFFSET.load(Relaxed)
}

/// Nanoseconds since 1970.
#[inline]
pub fn realtime_ns() -> u64 {
    crate::now().saturating_add(wall_offset_ns())
}

/// Nanoseconds since boot by the hardware's own rate (CLOCK_MONOTONIC_RAW).
#[inline]
pub fn raw_ns() -> u64 {
    machine::time::raw_ns()
}

/// Calls `hook` each time moments of the wall clock or TAI fall on another moment of the monotonic clock than before.
pub fn on_set(hook: fn(Set)) {
    ON_SET.lock().push(hook);
}

/// Counts changes that [`on_set`] tells of; those who sleep to a moment of such a clock wait here.
static CHANGES: AtomicU32 = AtomicU32::new(0);
static SLEEPERS: WaitQueue = WaitQueue::new();

/// Sleeps until a clock shows `moment`, or a signal comes.
pub fn sleep_until(base: Base, moment: u64) -> Result<(), Interrupted> {
    if !base.is_settable() {
        return crate::sleep_until(moment);
    }
    loop {
        let seen = CHANGES.load(Acquire);
        let changed = || (CHANGES.load(Acquire) != seen).then_some(());
        match SLEEPERS.wait_deadline(Some(base.to_monotonic(moment)), changed) {
            Err(WaitError::Interrupted) => return Err(Interrupted),
            _ if base.now() >= moment => return Ok(()),
            _ => {}
        }
    }
}

fn tell(what: Set) {
    CHANGES.fetch_add(1, Release);
    SLEEPERS.wake_all();
    let hooks = ON_SET.lock().clone();
    hooks.iter().for_each(|hook| hook(what));
}
