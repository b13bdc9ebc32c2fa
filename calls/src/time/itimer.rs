//! setitimer(2), getitimer(2), alarm(2).

use abi::Errno;
use abi::time::{Itimerval, NSEC_PER_SEC, Timeval, itimer};
use mm::user::UserPtr;
use task::Cx;
use task::timers::{self, Setting};

/// Rounded up to the microsecond: an armed timer never reads as disarmed.
fn to_user(setting: Setting) -> Itimerval {
    let value = setting.value.div_ceil(1000) * 1000;
    Itimerval { interval: Timeval::from_ns(setting.interval), value: Timeval::from_ns(value) }
}

fn exchange(cx: &Cx, which: i32, new: Setting) -> Result<Setting, Errno> {
    timers::with(cx.process(), |t| t.set_itimer(which, new)).unwrap_or(Err(Errno::EINVAL))
}

/// getitimer(2)
pub fn getitimer(cx: &mut Cx, which: i32, value: UserPtr<Itimerval>) -> Result<(), Errno> {
    let now = timers::with(cx.process(), |t| t.itimer(which)).unwrap_or(Err(Errno::EINVAL))?;
    value.write(cx.mm(), &to_user(now))
}

/// setitimer(2). A NULL new value disarms, as on Linux.
pub fn setitimer(cx: &mut Cx, which: i32, new: UserPtr<Itimerval>, old: UserPtr<Itimerval>) -> Result<(), Errno> {
    let new = match new.non_null() {
        Some(new) => new.read(cx.mm())?,
        None => Itimerval::default(),
    };
    let value = new.value.to_ns().ok_or(Errno::EINVAL)?;
    let interval = new.interval.to_ns().ok_or(Errno::EINVAL)?;
    let before = exchange(cx, which, Setting { value, interval })?;
    old.write_opt(cx.mm(), &to_user(before))
}

/// alarm(2): gives the seconds that were left, rounded to the nearest but not to 0.
pub fn alarm(cx: &mut Cx, seconds: u32) -> Result<u32, Errno> {
    let new = Setting { value: seconds as u64 * NSEC_PER_SEC, interval: 0 };
    let left = exchange(cx, itimer::REAL, new)?.value;
    if left == 0 {
        return Ok(0);
    }
    let rounded = (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
    Ok(u32::try_from(rounded).unwrap_or(u32::MAX).max(1))
}
