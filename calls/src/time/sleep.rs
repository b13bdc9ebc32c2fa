//! nanosleep(2) and clock_nanosleep(2).

use super::clock::is_device;
use abi::Errno;
use abi::time::{TIMER_ABSTIME, Timespec, clock};
use alloc::boxed::Box;
use mm::user::UserPtr;
use sched::Instant;
use sched::clock::Base;
use task::Cx;
use task::timers::CpuClock;
use vfs::Cap;

/// Sleeps until `deadline`. When a signal interrupts, the time left is stored and a restart goes on to the same moment.
fn until(cx: &mut Cx, deadline: Instant, rem: UserPtr<Timespec>) -> Result<(), Errno> {
    if sched::sleep_until(deadline).is_ok() {
        return Ok(());
    }
    let left = deadline.saturating_sub(sched::now());
    if left == 0 {
        return Ok(());
    }
    rem.write_opt(cx.mm(), &Timespec::from_ns(left))?;
    cx.restart = Some(Box::new(move |cx| until(cx, deadline, rem).map(|()| 0)));
    Err(Errno::ERESTART_RESTARTBLOCK)
}

/// nanosleep(2)
pub fn nanosleep(cx: &mut Cx, req: UserPtr<Timespec>, rem: UserPtr<Timespec>) -> Result<(), Errno> {
    let span = req.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    until(cx, sched::now().saturating_add(span), rem)
}

/// What a sleep is measured by.
enum By {
    Base(Base),
    Alarm(Base),
    Cpu,
}

/// clock_nanosleep(2)
pub fn clock_nanosleep(
    cx: &mut Cx,
    clockid: i32,
    flags: u32,
    req: UserPtr<Timespec>,
    rem: UserPtr<Timespec>,
) -> Result<(), Errno> {
    let by = match clockid {
        clock::REALTIME => By::Base(Base::Realtime),
        clock::TAI => By::Base(Base::Tai),
        clock::MONOTONIC => By::Base(Base::Monotonic),
        clock::BOOTTIME => By::Base(Base::Boottime),
        clock::REALTIME_ALARM => By::Alarm(Base::Realtime),
        clock::BOOTTIME_ALARM => By::Alarm(Base::Boottime),
        clock::MONOTONIC_RAW | clock::REALTIME_COARSE | clock::MONOTONIC_COARSE | clock::THREAD_CPUTIME_ID => {
            return Err(Errno::EOPNOTSUPP);
        }
        id if is_device(id) => return Err(Errno::EOPNOTSUPP),
        clock::PROCESS_CPUTIME_ID | i32::MIN..0 => By::Cpu,
        _ => return Err(Errno::EINVAL),
    };
    let time = req.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    let rem = if absolute { UserPtr::new(machine::VirtAddr(0)) } else { rem };
    let base = match by {
        By::Base(base) => base,
        By::Alarm(_) if flags & !TIMER_ABSTIME != 0 => return Err(Errno::EINVAL),
        By::Alarm(_) if !cx.cred().capable(Cap::WakeAlarm) => return Err(Errno::EPERM),
        By::Alarm(base) => base,
        By::Cpu => {
            let clock = CpuClock::from_id(&cx.task, clockid)?.ok_or(Errno::EINVAL)?;
            if clock.is_thread(&cx.task) {
                return Err(Errno::EINVAL); // it would never wake up
            }
            let end = if absolute { time } else { clock.now().saturating_add(time) };
            return on_cpu_clock(cx, clock, end, absolute, rem);
        }
    };
    if !absolute {
        return until(cx, sched::now().saturating_add(time), rem);
    }
    let moment = cx.ns().time.to_host(clockid, time);
    sched::clock::sleep_until(base, moment).map_err(|_| Errno::ERESTARTNOHAND)
}

/// How often a sleeper looks at a clock of CPU time, which has no deadline to wait for.
const CPU_CLOCK_STEP_NS: u64 = 10_000_000;

fn on_cpu_clock(cx: &mut Cx, clock: CpuClock, end: u64, absolute: bool, rem: UserPtr<Timespec>) -> Result<(), Errno> {
    loop {
        let left = end.saturating_sub(clock.now());
        if left == 0 {
            return Ok(());
        }
        if sched::sleep_until(sched::now() + left.min(CPU_CLOCK_STEP_NS)).is_err() {
            if absolute {
                return Err(Errno::ERESTARTNOHAND);
            }
            rem.write_opt(cx.mm(), &Timespec::from_ns(left))?;
            cx.restart = Some(Box::new(move |cx| on_cpu_clock(cx, clock, end, false, rem).map(|()| 0)));
            return Err(Errno::ERESTART_RESTARTBLOCK);
        }
    }
}
