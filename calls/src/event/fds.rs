//! eventfd(2) and timerfd_create(2).

use abi::Errno;
use abi::poll::EventfdFlags;
use abi::time::{Itimerspec, TimerfdFlags, TimerfdSettime, Timespec, clock};
use events::timerfd::{Setting, TimerFd};
use mm::user::UserPtr;
use task::Cx;
use vfs::Cap;

/// eventfd(2)
pub fn eventfd(cx: &mut Cx, count: u32) -> Result<i32, Errno> {
    eventfd2(cx, count, 0)
}

/// eventfd2(2)
pub fn eventfd2(cx: &mut Cx, count: u32, flags: u32) -> Result<i32, Errno> {
    let flags = EventfdFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let file = events::eventfd::create(count, flags, cx.cred());
    cx.install(file, flags.contains(EventfdFlags::CLOEXEC))
}

/// timerfd_create(2)
pub fn timerfd_create(cx: &mut Cx, clock: i32, flags: u32) -> Result<i32, Errno> {
    let flags = TimerfdFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    match clock {
        clock::REALTIME | clock::MONOTONIC | clock::BOOTTIME => {}
        clock::REALTIME_ALARM | clock::BOOTTIME_ALARM if cx.cred().capable(Cap::WakeAlarm) => {}
        clock::REALTIME_ALARM | clock::BOOTTIME_ALARM => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    let file = events::timerfd::create(clock, flags, cx.cred())?;
    cx.install(file, flags.contains(TimerfdFlags::CLOEXEC))
}

fn to_user(setting: Setting) -> Itimerspec {
    Itimerspec { interval: Timespec::from_ns(setting.interval), value: Timespec::from_ns(setting.value) }
}

/// timerfd_settime(2)
pub fn timerfd_settime(
    cx: &mut Cx,
    fd: i32,
    flags: u32,
    new: UserPtr<Itimerspec>,
    old: UserPtr<Itimerspec>,
) -> Result<(), Errno> {
    let new = new.read(cx.mm())?;
    let flags = TimerfdSettime::from_bits(flags).ok_or(Errno::EINVAL)?;
    let value = new.value.to_ns().ok_or(Errno::EINVAL)?;
    let interval = new.interval.to_ns().ok_or(Errno::EINVAL)?;
    let file = cx.files().get(fd)?;
    let timer = file.ops_as::<TimerFd>().ok_or(Errno::EINVAL)?;
    if timer.is_alarm() && !cx.cred().capable(Cap::WakeAlarm) {
        return Err(Errno::EPERM);
    }
    let value = crate::time::to_host(cx, timer.clock_id(), value, flags.contains(TimerfdSettime::ABSTIME));
    let (before, set) = timer.set(Setting { value, interval }, flags);
    set?;
    old.write_opt(cx.mm(), &to_user(before))
}

/// timerfd_gettime(2)
pub fn timerfd_gettime(cx: &mut Cx, fd: i32, current: UserPtr<Itimerspec>) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    let timer = file.ops_as::<TimerFd>().ok_or(Errno::EINVAL)?;
    current.write(cx.mm(), &to_user(timer.get()))
}
