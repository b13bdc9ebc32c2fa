//! Moving the clocks: setting them, slewing them, leap seconds.
//!
//! While the discipline has something to do, a timer runs at the start of each second of the wall clock; at rest there is none.

use super::ntp::Ntp;
use super::{LEAP_ADDS, LEAP_AT, OFFSET, SECOND, Set, TAI_OFFSET, tell};
use crate::cpu;
use crate::timer::Timer;
use abi::timex::{ClockState, Timex};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering::*};
use machine::sync::{Once, SpinGuard, SpinLock};

struct Steering {
    ntp: Ntp,
    /// The rate the machine's clock has been given.
    rate: u64,
}

static STEERING: SpinLock<Steering> = SpinLock::new(Steering { ntp: Ntp::new(), rate: SECOND << 32 });
static TIMER: Once<Arc<Timer>> = Once::new();
static PAGES: Once<&'static dyn TimePages> = Once::new();

/// The pages that user space reads the clocks from.
pub trait TimePages: Sync {
    /// Readers are to wait: clocks are about to change.
    fn hold(&self);
    /// They have changed.
    fn publish(&self);
}

/// Installs them, once.
pub fn set_pages(pages: &'static dyn TimePages) {
    let _steering = STEERING.lock();
    if PAGES.set(pages).is_ok() {
        pages.hold();
        pages.publish();
    }
}

/// Runs `f` while no clock is changed.
pub fn while_still(f: impl FnOnce()) {
    let _steering = STEERING.lock();
    f();
}

/// Changes clocks while no reader of the pages looks, and sees to it that the discipline goes on.
fn change<R>(steering: &mut SpinGuard<'_, Steering>, f: impl FnOnce(&mut Steering) -> R) -> R {
    let pages = PAGES.get();
    if let Some(pages) = pages {
        pages.hold();
    }
    let result = f(steering);
    let rate = steering.ntp.rate();
    if rate != steering.rate {
        steering.rate = rate;
        machine::time::set_rate(rate);
        cpu::reprogram_all();
    }
    if let Some(pages) = pages {
        pages.publish();
    }
    if steering.ntp.is_busy() {
        let timer = TIMER.get_or_init(|| Timer::new(Box::new(second)));
        let into = super::realtime_ns() % SECOND;
        timer.arm(crate::now() + SECOND - into);
    }
    result
}

/// Notes a leap second to come; whether that is news.
fn plan_leap(steering: &Steering) -> bool {
    let (at, adds) = match steering.ntp.next_leap() {
        Some((second, adds)) => (u64::try_from(second).unwrap_or(0).saturating_mul(SECOND), adds * SECOND as i64),
        None => (0, 0),
    };
    if LEAP_AT.load(Relaxed) == at && LEAP_ADDS.load(Relaxed) == adds {
        return false;
    }
    LEAP_ADDS.store(adds, Relaxed);
    LEAP_AT.store(at, Release);
    true
}

/// A second of the wall clock begins.
fn second() {
    let mut steering = STEERING.lock();
    let (leap, planned) = change(&mut steering, |s| {
        let leap = s.ntp.second((super::realtime_ns() / SECOND) as i64);
        if leap != 0 {
            step(leap * SECOND as i64);
            TAI_OFFSET.fetch_sub(leap as i32, Relaxed);
        }
        (leap, plan_leap(s))
    });
    drop(steering);
    if leap != 0 {
        let what = if leap < 0 { "inserted" } else { "left out" };
        machine::kinfo!("clock: a leap second was {what}");
        tell(Set::Stepped);
    } else if planned {
        tell(Set::Planned);
    }
}

fn step(by: i64) {
    OFFSET.store(super::wall_offset_ns().saturating_add_signed(by).max(1), Relaxed);
}

/// Sets the wall clock and tells those who registered. A time before the machine's boot is taken as 1 ns after the epoch plus
/// the time since boot, the least the monotonic clock allows.
pub fn set_realtime_ns(ns: u64) {
    let mut steering = STEERING.lock();
    change(&mut steering, |s| {
        OFFSET.store(ns.saturating_sub(crate::now()).max(1), Relaxed);
        s.ntp.clear();
        plan_leap(s);
    });
    drop(steering);
    tell(Set::Stepped);
}

/// Adds to the wall clock; `false` if that would set it before the boot or beyond its range.
pub fn inject(by: i64) -> bool {
    let mut steering = STEERING.lock();
    let Some(offset) = super::wall_offset_ns().checked_add_signed(by).filter(|o| *o > 0) else { return false };
    if crate::now().checked_add(offset).is_none_or(|ns| ns > MAX_WALL_NS) {
        return false;
    }
    change(&mut steering, |s| {
        OFFSET.store(offset, Relaxed);
        s.ntp.clear();
        plan_leap(s);
    });
    drop(steering);
    tell(Set::Stepped);
    true
}

/// The wall clock can be set up to here: so that it can go on for 30 years.
pub const MAX_WALL_NS: u64 = i64::MAX as u64 - 30 * 365 * 86_400 * SECOND;

/// adjtimex(2), without ADJ_SETOFFSET, on a request that was checked.
pub fn adjust(request: &mut Timex) -> ClockState {
    let mut steering = STEERING.lock();
    let mut tai = TAI_OFFSET.load(Relaxed);
    let was = tai;
    let writes = request.modes != 0;
    let mut run = |s: &mut Steering| {
        let now = super::realtime_ns();
        let parts = ((now / SECOND) as i64, (now % SECOND) as i64);
        let state = s.ntp.adjust(request, parts, (crate::now() / SECOND) as i64, &mut tai);
        TAI_OFFSET.store(tai, Relaxed);
        (state, writes && plan_leap(s))
    };
    let (state, planned) = if writes { change(&mut steering, run) } else { run(&mut steering) };
    drop(steering);
    if tai != was {
        tell(Set::Stepped);
    } else if planned {
        tell(Set::Planned);
    }
    state
}

/// The zone that settimeofday(2) stored; the kernel itself has no use for it.
static ZONE: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];

/// Minutes west of Greenwich and the daylight-saving rule.
pub fn zone() -> [i32; 2] {
    ZONE.each_ref().map(|z| z.load(Relaxed))
}

/// Stores the zone.
pub fn set_zone(new: [i32; 2]) {
    let mut steering = STEERING.lock();
    change(&mut steering, |_| ZONE.iter().zip(new).for_each(|(z, new)| z.store(new, Relaxed)));
}
