//! Waiting for files, and files made of events: poll, select, epoll, eventfd, timerfd.

pub mod epoll;
pub mod fds;
pub mod poll;

pub use epoll::{epoll_create, epoll_create1, epoll_ctl, epoll_pwait, epoll_pwait2, epoll_wait};
pub use fds::{eventfd, eventfd2, timerfd_create, timerfd_gettime, timerfd_settime};
pub use poll::{poll, ppoll, pselect6, select};

use abi::Errno;
use abi::signal::SigSet;
use abi::time::Timespec;
use mm::user::UserPtr;
use sched::Instant;
use task::Cx;

/// The moment `span` from now; `None` for one that never comes. A span of 0 is `Some(0)`: do not wait.
fn deadline_after(span_ns: u64) -> Option<Instant> {
    Some(if span_ns == 0 { 0 } else { sched::now().saturating_add(span_ns) })
}

/// Milliseconds as poll and epoll_wait take them: negative is for ever.
fn deadline_ms(timeout: i32) -> Option<Instant> {
    u64::try_from(timeout).ok().and_then(|ms| deadline_after(ms * 1_000_000))
}

/// A relative `struct timespec`: NULL is for ever.
fn deadline_at(cx: &Cx, at: UserPtr<Timespec>) -> Result<Option<Instant>, Errno> {
    let Some(at) = at.non_null() else { return Ok(None) };
    let span = at.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    Ok(deadline_after(span))
}

/// What is left until `deadline`.
fn left(deadline: Option<Instant>) -> u64 {
    deadline.map_or(0, |at| at.saturating_sub(sched::now()))
}

/// Runs `wait` with a temporary signal mask if one is given. A wait that a signal ended keeps the mask for the handler.
fn with_mask<R>(
    cx: &mut Cx,
    mask: UserPtr<SigSet>,
    size: usize,
    wait: impl FnOnce(&mut Cx) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let Some(mask) = mask.non_null() else { return wait(cx) };
    if size != size_of::<SigSet>() {
        return Err(Errno::EINVAL);
    }
    let mask = mask.read(cx.mm())?;
    cx.push_mask(mask);
    let result = wait(cx);
    cx.pop_mask(matches!(result, Err(e) if e == Errno::EINTR || e.is_restart()));
    result
}
