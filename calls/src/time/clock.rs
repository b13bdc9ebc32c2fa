//! Reading and setting clocks: clock_gettime(2), gettimeofday(2), time(2), times(2).

use abi::Errno;
use abi::time::{NSEC_PER_SEC, Timespec, Timeval, Timezone, Tms, USER_HZ, clock};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use mm::user::UserPtr;
use task::Cx;
use task::timers::CpuClock;
use vfs::Cap;

/// What the coarse clocks promise: a tick of 250 Hz. They are as fine as the others.
const COARSE_RES_NS: u64 = 4_000_000;

fn read(cx: &Cx, id: i32) -> Result<u64, Errno> {
    match id {
        clock::MONOTONIC | clock::MONOTONIC_RAW | clock::MONOTONIC_COARSE | clock::BOOTTIME | clock::BOOTTIME_ALARM => {
            Ok(sched::now())
        }
        // TAI without a leap-second table is UTC, as on Linux before someone sets the offset.
        clock::REALTIME | clock::REALTIME_COARSE | clock::REALTIME_ALARM | clock::TAI => {
            Ok(sched::clock::realtime_ns())
        }
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
    if clockid != clock::REALTIME {
        // The other clocks exist but cannot be set; unknown ids are refused alike.
        return Err(Errno::EINVAL);
    }
    let to = tp.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    set(cx, to)
}

fn set(cx: &Cx, ns: u64) -> Result<(), Errno> {
    // Before the boot would be a wall clock ahead of which the monotonic one has run.
    if ns < sched::now() {
        return Err(Errno::EINVAL);
    }
    if !cx.cred().capable(Cap::SysTime) {
        return Err(Errno::EPERM);
    }
    sched::clock::set_realtime_ns(ns);
    Ok(())
}

/// The zone that settimeofday(2) stored; the kernel itself has no use for it.
static ZONE: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];

/// gettimeofday(2)
pub fn gettimeofday(cx: &mut Cx, tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) -> Result<(), Errno> {
    tv.write_opt(cx.mm(), &Timeval::from_ns(sched::clock::realtime_ns()))?;
    let [minuteswest, dsttime] = ZONE.each_ref().map(|z| z.load(Relaxed));
    tz.write_opt(cx.mm(), &Timezone { minuteswest, dsttime })
}

/// settimeofday(2)
pub fn settimeofday(cx: &mut Cx, tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) -> Result<(), Errno> {
    let time = match tv.non_null() {
        Some(tv) => Some(tv.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?),
        None => None,
    };
    let zone = match tz.non_null() {
        Some(tz) => Some(tz.read(cx.mm())?),
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
        let [west, dst] = &ZONE;
        west.store(zone.minuteswest, Relaxed);
        dst.store(zone.dsttime, Relaxed);
    }
    time.map_or(Ok(()), |ns| set(cx, ns))
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
