//! POSIX timers: timer_create(2) and the calls on what it makes.

use super::clock::is_device;
use abi::Errno;
use abi::resource::Resource;
use abi::signal::Signal;
use abi::time::{Itimerspec, Sigevent, TIMER_ABSTIME, Timespec, clock, sigev};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use mm::user::UserPtr;
use sched::clock::Base;
use task::Cx;
use task::timers::{self, CpuClock, Notify, PosixTimer, Seat, Setting, TimerClock};
use vfs::Cap;

/// Which clock a timer is to follow; that of CPU time is looked up last.
enum Kind {
    Base(Base),
    Alarm(Base),
    Cpu,
}

fn kind_of(id: i32) -> Result<Kind, Errno> {
    Ok(match id {
        clock::MONOTONIC => Kind::Base(Base::Monotonic),
        clock::BOOTTIME => Kind::Base(Base::Boottime),
        clock::REALTIME => Kind::Base(Base::Realtime),
        clock::TAI => Kind::Base(Base::Tai),
        clock::REALTIME_ALARM => Kind::Alarm(Base::Realtime),
        clock::BOOTTIME_ALARM => Kind::Alarm(Base::Boottime),
        clock::MONOTONIC_RAW | clock::REALTIME_COARSE | clock::MONOTONIC_COARSE => return Err(Errno::EOPNOTSUPP),
        id if is_device(id) => return Err(Errno::EOPNOTSUPP),
        clock::PROCESS_CPUTIME_ID | clock::THREAD_CPUTIME_ID | i32::MIN..0 => Kind::Cpu,
        _ => return Err(Errno::EINVAL),
    })
}

fn clock_of(cx: &Cx, id: i32, kind: &Kind) -> Result<TimerClock, Errno> {
    match kind {
        Kind::Alarm(_) if !cx.cred().capable(Cap::WakeAlarm) => Err(Errno::EPERM),
        Kind::Base(base) | Kind::Alarm(base) => Ok(TimerClock::Base(id, *base)),
        Kind::Cpu => {
            let clock = CpuClock::from_id(&cx.task, id)?.ok_or(Errno::EINVAL)?;
            Ok(TimerClock::Cpu(id, clock))
        }
    }
}

/// What an event asks for; `None` for one that is not valid.
fn notify_of(cx: &Cx, event: &Sigevent) -> Option<Notify> {
    let thread = match event.notify {
        sigev::NONE => {
            return Some(Notify {
                kind: sigev::NONE,
                signal: None,
                number: event.signo,
                value: event.value,
                thread: None,
            });
        }
        sigev::SIGNAL | sigev::THREAD => None,
        n if n == sigev::SIGNAL | sigev::THREAD_ID => {
            let task = cx.find_task(event.tid).filter(|t| Arc::ptr_eq(t.process(), cx.process()))?;
            Some(Arc::downgrade(&task))
        }
        _ => return None,
    };
    let kind = event.notify & !sigev::THREAD_ID;
    let signal = Some(Signal::from_raw(event.signo)?);
    Some(Notify { kind, signal, number: event.signo, value: event.value, thread })
}

/// timer_create(2)
pub fn timer_create(cx: &mut Cx, clockid: i32, event: UserPtr<Sigevent>, created: UserPtr<i32>) -> Result<(), Errno> {
    let event = match event.non_null() {
        Some(event) => Some(event.read(cx.mm())?),
        None => None,
    };
    let kind = kind_of(clockid)?;
    let wanted = if with_timers(cx, |t| Ok(t.restore_ids.load(Relaxed)))? {
        let id = created.read(cx.mm())?;
        Some(if id < 0 { return Err(Errno::EINVAL) } else { id })
    } else {
        None
    };
    let limit = cx.process().limits.soft(Resource::Sigpending);
    let seat = Seat::take(cx.task.user(), limit).ok_or(Errno::EAGAIN)?;
    let id = with_timers(cx, |t| t.reserve(wanted))?;
    let made = make(cx, id, clockid, &kind, event, seat, created);
    match made {
        Ok(timer) => with_timers(cx, |t| {
            t.install(timer);
            Ok(())
        }),
        Err(e) => {
            let _ = with_timers(cx, |t| t.delete(id));
            Err(e)
        }
    }
}

fn make(
    cx: &Cx,
    id: i32,
    clockid: i32,
    kind: &Kind,
    event: Option<Sigevent>,
    seat: Seat,
    created: UserPtr<i32>,
) -> Result<Arc<PosixTimer>, Errno> {
    let notify = match &event {
        Some(event) => notify_of(cx, event).ok_or(Errno::EINVAL)?,
        None => Notify {
            kind: sigev::SIGNAL,
            signal: Some(Signal::ALRM),
            number: Signal::ALRM.number().into(),
            value: id as u64,
            thread: None,
        },
    };
    created.write(cx.mm(), &id)?;
    let clock = clock_of(cx, clockid, kind)?;
    Ok(PosixTimer::new(id, cx.process(), clock, notify, seat))
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

/// A moment of the caller's time namespace on the machine's clock. It stays one: 0 would disarm.
pub(crate) fn to_host(cx: &Cx, clockid: i32, value: u64, absolute: bool) -> u64 {
    if value == 0 || !absolute { value } else { cx.ns().time.to_host(clockid, value).max(1) }
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
    let interval = new.interval.to_ns().ok_or(Errno::EINVAL)?;
    let value = new.value.to_ns().ok_or(Errno::EINVAL)?;
    let timer = find(cx, id)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    let before = timer.set(Setting { value: to_host(cx, timer.clock_id(), value, absolute), interval }, absolute);
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
