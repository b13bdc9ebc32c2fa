//! POSIX timers: timer_create(2) and the calls on what it makes.

use abi::Errno;
use abi::signal::Signal;
use abi::time::{Itimerspec, Sigevent, TIMER_ABSTIME, Timespec, clock, sigev};
use alloc::sync::Arc;
use mm::user::UserPtr;
use task::Cx;
use task::timers::{self, CpuClock, Notify, PosixTimer, Setting, TimerClock};
use vfs::Cap;

fn clock_of(cx: &Cx, id: i32) -> Result<TimerClock, Errno> {
    match id {
        clock::MONOTONIC | clock::BOOTTIME => Ok(TimerClock::Monotonic),
        clock::REALTIME | clock::TAI => Ok(TimerClock::Realtime),
        clock::REALTIME_ALARM | clock::BOOTTIME_ALARM if !cx.cred().capable(Cap::WakeAlarm) => Err(Errno::EPERM),
        clock::REALTIME_ALARM => Ok(TimerClock::Realtime),
        clock::BOOTTIME_ALARM => Ok(TimerClock::Monotonic),
        clock::MONOTONIC_RAW | clock::REALTIME_COARSE | clock::MONOTONIC_COARSE => Err(Errno::EOPNOTSUPP),
        _ => CpuClock::from_id(&cx.task, id)?.map(TimerClock::Cpu).ok_or(Errno::EINVAL),
    }
}

/// What an event asks for; `None` for one that is not valid.
fn notify_of(cx: &Cx, event: &Sigevent) -> Option<Notify> {
    let thread = match event.notify {
        sigev::NONE => return Some(Notify { signal: None, value: 0, thread: None }),
        sigev::SIGNAL | sigev::THREAD => None,
        n if n == sigev::SIGNAL | sigev::THREAD_ID => {
            let task = cx.find_task(event.tid).filter(|t| Arc::ptr_eq(t.process(), cx.process()))?;
            Some(Arc::downgrade(&task))
        }
        _ => return None,
    };
    Some(Notify { signal: Some(Signal::from_raw(event.signo)?), value: event.value, thread })
}

/// timer_create(2)
pub fn timer_create(cx: &mut Cx, clockid: i32, event: UserPtr<Sigevent>, created: UserPtr<i32>) -> Result<(), Errno> {
    let event = match event.non_null() {
        Some(event) => Some(event.read(cx.mm())?),
        None => None,
    };
    let clock = clock_of(cx, clockid)?;
    let notify = match &event {
        Some(event) => Some(notify_of(cx, event).ok_or(Errno::EINVAL)?),
        None => None,
    };
    let process = cx.process();
    let make = |id: i32| {
        let by_default = || Notify { signal: Some(Signal::ALRM), value: id as u64, thread: None };
        PosixTimer::new(id, process, clock, notify.unwrap_or_else(by_default))
    };
    let id = with_timers(cx, |t| t.add(make))?;
    created.write(cx.mm(), &id).inspect_err(|_| {
        let _ = with_timers(cx, |t| t.delete(id));
    })
}

fn with_timers<R>(cx: &Cx, f: impl FnOnce(&timers::Timers) -> Result<R, Errno>) -> Result<R, Errno> {
    timers::with(cx.process(), f).unwrap_or(Err(Errno::EINVAL))
}

fn find(cx: &Cx, id: i32) -> Result<Arc<PosixTimer>, Errno> {
    with_timers(cx, |t| t.get(id))
}

fn to_user(setting: Setting) -> Itimerspec {
    Itimerspec { interval: Timespec::from_ns(setting.interval), value: Timespec::from_ns(setting.value) }
}

/// timer_settime(2)
pub fn timer_settime(
    cx: &mut Cx,
    id: i32,
    flags: u32,
    new: UserPtr<Itimerspec>,
    old: UserPtr<Itimerspec>,
) -> Result<(), Errno> {
    if new.is_null() {
        return Err(Errno::EINVAL);
    }
    let new = new.read(cx.mm())?;
    let value = new.value.to_ns().ok_or(Errno::EINVAL)?;
    let interval = new.interval.to_ns().ok_or(Errno::EINVAL)?;
    let timer = find(cx, id)?;
    let before = timer.set(Setting { value, interval }, flags & TIMER_ABSTIME != 0);
    // A timer of CPU time must be looked at from the next tick on.
    timers::with(cx.process(), |t| t.rearmed(&timer));
    old.write_opt(cx.mm(), &to_user(before))
}

/// timer_gettime(2)
pub fn timer_gettime(cx: &mut Cx, id: i32, current: UserPtr<Itimerspec>) -> Result<(), Errno> {
    let now = find(cx, id)?.get();
    current.write(cx.mm(), &to_user(now))
}

/// timer_getoverrun(2)
pub fn timer_getoverrun(cx: &mut Cx, id: i32) -> Result<i32, Errno> {
    Ok(find(cx, id)?.overrun())
}

/// timer_delete(2)
pub fn timer_delete(cx: &mut Cx, id: i32) -> Result<(), Errno> {
    with_timers(cx, |t| t.delete(id))
}
