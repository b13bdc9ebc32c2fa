//! Disciplining the wall clock: adjtimex(2), clock_adjtime(2).

use super::clock::is_device;
use abi::Errno;
use abi::time::{NSEC_PER_SEC, clock};
use abi::timex::{Modes, Timex};
use mm::user::UserPtr;
use task::Cx;
use vfs::Cap;

/// Microseconds in a hundredth of a second that `tick` may be: 10 % off.
const TICKS: core::ops::RangeInclusive<i64> = 9_000..=11_000;
/// Beyond this a frequency overflows before it could be clamped.
const FREQ_RANGE: i64 = i64::MAX / (1000 << 16);

/// What cannot be asked for, or not by this caller.
fn check(cx: &Cx, request: &Timex, modes: Modes) -> Result<(), Errno> {
    let privileged = || if cx.cred().capable(Cap::SysTime) { Ok(()) } else { Err(Errno::EPERM) };
    if modes.contains(Modes::ADJTIME) {
        if !modes.contains(Modes::SINGLESHOT) {
            return Err(Errno::EINVAL);
        }
        if !modes.contains(Modes::READONLY) {
            privileged()?;
        }
    } else {
        if !modes.is_empty() {
            privileged()?;
        }
        if modes.contains(Modes::TICK) && !TICKS.contains(&request.tick) {
            return Err(Errno::EINVAL);
        }
    }
    if modes.contains(Modes::SETOFFSET) {
        privileged()?;
        let parts = if modes.contains(Modes::NANO) { NSEC_PER_SEC as i64 } else { 1_000_000 };
        if !(0..parts).contains(&request.time.usec) {
            return Err(Errno::EINVAL);
        }
    }
    if modes.contains(Modes::FREQUENCY) && !(-FREQ_RANGE..=FREQ_RANGE).contains(&request.freq) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// adjtimex(2)
pub fn adjtimex(cx: &mut Cx, buf: UserPtr<Timex>) -> Result<i32, Errno> {
    let mut request = buf.read(cx.mm())?;
    let state = run(cx, &mut request)?;
    buf.write(cx.mm(), &request)?;
    Ok(state)
}

/// clock_adjtime(2)
pub fn clock_adjtime(cx: &mut Cx, clockid: i32, buf: UserPtr<Timex>) -> Result<i32, Errno> {
    let mut request = buf.read(cx.mm())?;
    match clockid {
        clock::REALTIME => {}
        clock::MONOTONIC..=clock::BOOTTIME_ALARM | clock::TAI => return Err(Errno::EOPNOTSUPP),
        _ if clockid >= 0 || is_device(clockid) => return Err(Errno::EINVAL),
        _ => return Err(Errno::EOPNOTSUPP),
    }
    let state = run(cx, &mut request)?;
    buf.write(cx.mm(), &request)?;
    Ok(state)
}

fn run(cx: &Cx, request: &mut Timex) -> Result<i32, Errno> {
    let modes = Modes::from_bits_retain(request.modes);
    check(cx, request, modes)?;
    if modes.contains(Modes::SETOFFSET) {
        let part = if modes.contains(Modes::NANO) { request.time.usec } else { request.time.usec * 1000 };
        let whole = request.time.sec.checked_mul(NSEC_PER_SEC as i64);
        let by = whole.and_then(|ns| ns.checked_add(part)).ok_or(Errno::EINVAL)?;
        if !sched::clock::inject(by) {
            return Err(Errno::EINVAL);
        }
    }
    Ok(sched::clock::adjust(request) as i32)
}
