//! Reading and setting clocks: clock_gettime(2), gettimeofday(2), time(2), times(2).

use abi::Errno;
use abi::time::{NSEC_PER_SEC, Timespec, Timeval, Timezone, Tms, USER_HZ, clock};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use mm::user::UserPtr;
use sched::clock::Base;
use task::Cx;
use task::timers::CpuClock;
use vfs::Cap;

/// What the coarse clocks promise: a tick of 250 Hz. They are as fine as the others.
const COARSE_RES_NS: u64 = 4_000_000;

/// An id that names the clock of a device by its descriptor; there is none.
pub(super) fn is_device(id: i32) -> bool {
    id < 0 && id & 7 == 3
}

fn read(cx: &Cx, id: i32) -> Result<u64, Errno> {
    let here = |ns: u64| ns.saturating_add_signed(cx.ns().time.ahead_ns(id));
    match id {
        clock::MONOTONIC | clock::MONOTONIC_COARSE | clock::BOOTTIME | clock::BOOTTIME_ALARM => Ok(here(sched::now())),
        clock::MONOTONIC_RAW => Ok(here(sched::clock::raw_ns())),
        clock::REALTIME | clock::REALTIME_COARSE | clock::REALTIME_ALARM => Ok(sched::clock::realtime_ns()),
        clock::TAI => Ok(Base::Tai.now()),
        _ => CpuClock::from_id(&cx.task, id)?.map(|c| c.now()).ok_or(Errno::EINVAL),
    }
}

/// clock_gettime(2)
pub fn clock_gettime(cx: &mut Cx, clockid: i32, tp: UserPtr<Timespec>) -> Result<(), Errno> {
    let now = read(cx, clockid)?;
    tp.write(cx.mm(), &Timespec::from_ns(now))
}

/// clock_getres(2)
pub fn clock_getres(cx: &mut Cx, clockid: i32, res: UserPtr<Timespec>) -> Result<(), Errno> {
    read(cx, clockid)?;
    let ns = match clockid {
        clock::REALTIME_COARSE | clock::MONOTONIC_COARSE => COARSE_RES_NS,
        _ => 1,
    };
    res.write_opt(cx.mm(), &Timespec::from_ns(ns))
}

/// clock_settime(2)
pub fn clock_settime(cx: &mut Cx, clockid: i32, tp: UserPtr<Timespec>) -> Result<(), Errno> {
    match clockid {
        clock::REALTIME => {
            let to = tp.read(cx.mm())?;
            set(cx, Some(to), None)
        }
        // A clock of CPU time could be set by nobody, but it is looked up first.
        i32::MIN..0 => {
            tp.read(cx.mm())?;
            CpuClock::from_id(&cx.task, clockid)?;
            Err(Errno::EPERM)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Sets clock and zone in Linux's order of checks.
fn set(cx: &Cx, time: Option<Timespec>, zone: Option<Timezone>) -> Result<(), Errno> {
    let ns = match time {
        Some(time) => Some(time.to_ns().filter(|ns| *ns < sched::clock::MAX_WALL_NS).ok_or(Errno::EINVAL)?),
        None => None,
    };
    if !cx.cred().capable(Cap::SysTime) {
        return Err(Errno::EPERM);
    }
    if let Some(zone) = zone {
        // East and west of Greenwich a clock differs by at most 15 hours.
        if !(-15 * 60..=15 * 60).contains(&zone.minuteswest) {
            return Err(Errno::EINVAL);
        }
        sched::clock::set_zone([zone.minuteswest, zone.dsttime]);
        static WARPED: AtomicBool = AtomicBool::new(false);
        // The first zone of a boot, set alone, says that the hardware clock runs in local time.
        if !WARPED.swap(true, Relaxed) && ns.is_none() && zone.minuteswest != 0 {
            sched::clock::inject(i64::from(zone.minuteswest) * 60 * NSEC_PER_SEC as i64);
        }
    }
    let Some(ns) = ns else { return Ok(()) };
    // Before the boot would be a wall clock ahead of which the monotonic one has run.
    if ns < sched::now() {
        return Err(Errno::EINVAL);
    }
    sched::clock::set_realtime_ns(ns);
    Ok(())
}

/// gettimeofday(2)
pub fn gettimeofday(cx: &mut Cx, tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) -> Result<(), Errno> {
    tv.write_opt(cx.mm(), &Timeval::from_ns(sched::clock::realtime_ns()))?;
    let [minuteswest, dsttime] = sched::clock::zone();
    tz.write_opt(cx.mm(), &Timezone { minuteswest, dsttime })
}

/// settimeofday(2)
pub fn settimeofday(cx: &mut Cx, tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) -> Result<(), Errno> {
    let time = match tv.non_null() {
        Some(tv) => {
            let tv = tv.read(cx.mm())?;
            if !(0..=1_000_000).contains(&tv.usec) {
                return Err(Errno::EINVAL);
            }
            Some(Timespec { sec: tv.sec, nsec: tv.usec * 1000 })
        }
        None => None,
    };
    let zone = match tz.non_null() {
        Some(tz) => Some(tz.read(cx.mm())?),
        None => None,
    };
    set(cx, time, zone)
}

/// time(2)
pub fn time(cx: &mut Cx, tloc: UserPtr<i64>) -> Result<i64, Errno> {
    let now = (sched::clock::realtime_ns() / NSEC_PER_SEC) as i64;
    tloc.write_opt(cx.mm(), &now)?;
    Ok(now)
}

/// times(2)
pub fn times(cx: &mut Cx, buf: UserPtr<Tms>) -> Result<i64, Errno> {
    let ticks = |ns: u64| (ns / (NSEC_PER_SEC / USER_HZ)) as i64;
    if !buf.is_null() {
        let (own, children) = (cx.process().sum(), cx.process().children_sum());
        let tms = Tms {
            utime: ticks(own.user_ns),
            stime: ticks(own.system_ns),
            cutime: ticks(children.user_ns),
            cstime: ticks(children.system_ns),
        };
        buf.write(cx.mm(), &tms)?;
    }
    Ok(ticks(sched::now()))
}
