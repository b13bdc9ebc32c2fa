//! nanosleep(2) and clock_nanosleep(2).

use abi::Errno;
use abi::time::{TIMER_ABSTIME, Timespec, clock};
use alloc::boxed::Box;
use mm::user::UserPtr;
use sched::Instant;
use task::Cx;
use task::timers::CpuClock;
use vfs::Cap;

/// Sleeps until `deadline`. When a signal interrupts, the time left is stored and a restart goes on to the same moment.
fn until(cx: &mut Cx, deadline: Instant, rem: UserPtr<Timespec>) -> Result<(), Errno> {
    if sched::sleep_until(deadline).is_ok() {
        return Ok(());
    }
    if !rem.is_null() {
        let left = deadline.saturating_sub(sched::now());
        rem.write(cx.mm(), &Timespec::from_ns(left))?;
    }
    cx.restart = Some(Box::new(move |cx| until(cx, deadline, rem).map(|()| 0)));
    Err(Errno::ERESTART_RESTARTBLOCK)
}

/// nanosleep(2)
pub fn nanosleep(cx: &mut Cx, req: UserPtr<Timespec>, rem: UserPtr<Timespec>) -> Result<(), Errno> {
    let span = req.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    until(cx, sched::now().saturating_add(span), rem)
}

/// clock_nanosleep(2)
pub fn clock_nanosleep(
    cx: &mut Cx,
    clockid: i32,
    flags: u32,
    req: UserPtr<Timespec>,
    rem: UserPtr<Timespec>,
) -> Result<(), Errno> {
    let realtime = match clockid {
        clock::REALTIME | clock::TAI => true,
        clock::MONOTONIC | clock::BOOTTIME => false,
        clock::REALTIME_ALARM | clock::BOOTTIME_ALARM if !cx.cred().capable(Cap::WakeAlarm) => {
            return Err(Errno::EPERM);
        }
        clock::REALTIME_ALARM => true,
        clock::BOOTTIME_ALARM => false,
        clock::MONOTONIC_RAW | clock::REALTIME_COARSE | clock::MONOTONIC_COARSE => return Err(Errno::EOPNOTSUPP),
        clock::THREAD_CPUTIME_ID => return Err(Errno::EINVAL),
        _ => {
            let clock = CpuClock::from_id(&cx.task, clockid)?.ok_or(Errno::EINVAL)?;
            return on_cpu_clock(cx, &clock, flags, req, rem);
        }
    };
    let time = req.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    if flags & TIMER_ABSTIME == 0 {
        return until(cx, sched::now().saturating_add(time), rem);
    }
    let deadline = if realtime { time.saturating_sub(sched::clock::wall_offset_ns()) } else { time };
    sched::sleep_until(deadline).map_err(|_| Errno::ERESTARTNOHAND)
}

/// How often a sleeper looks at a clock of CPU time, which has no deadline to wait for.
const CPU_CLOCK_STEP_NS: u64 = 10_000_000;

fn on_cpu_clock(
    cx: &mut Cx,
    clock: &CpuClock,
    flags: u32,
    req: UserPtr<Timespec>,
    rem: UserPtr<Timespec>,
) -> Result<(), Errno> {
    if clock.is_thread(&cx.task) {
        return Err(Errno::EINVAL); // it would never wake up
    }
    let time = req.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    let end = if absolute { time } else { clock.now().saturating_add(time) };
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
            return Err(Errno::EINTR);
        }
    }
}
