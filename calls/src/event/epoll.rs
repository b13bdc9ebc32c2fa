//! epoll(7).

use super::{deadline_at, deadline_ms, with_mask};
use abi::Errno;
use abi::poll::{EPOLL_CLOEXEC, EpollEvent, epoll_op};
use abi::signal::SigSet;
use abi::time::Timespec;
use events::epoll::{Epoll, MAX_EVENTS, create};
use mm::user::UserPtr;
use sched::Instant;
use task::Cx;

/// epoll_create(2)
pub fn epoll_create(cx: &mut Cx, size: i32) -> Result<i32, Errno> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(cx, 0)
}

/// epoll_create1(2)
pub fn epoll_create1(cx: &mut Cx, flags: u32) -> Result<i32, Errno> {
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    cx.install(create(cx.cred()), flags & EPOLL_CLOEXEC != 0)
}

/// epoll_ctl(2)
pub fn epoll_ctl(cx: &mut Cx, epfd: i32, op: i32, fd: i32, event: UserPtr<EpollEvent>) -> Result<(), Errno> {
    let event = if op == epoll_op::DEL { EpollEvent::default() } else { event.read(cx.mm())? };
    let epoll = cx.files().get(epfd)?;
    let target = cx.files().get(fd)?;
    Epoll::control(&epoll, op, fd, &target, event)
}

fn wait(cx: &Cx, epfd: i32, events: UserPtr<EpollEvent>, most: i32, deadline: Option<Instant>) -> Result<i32, Errno> {
    let file = cx.files().get(epfd)?;
    if most <= 0 || most > MAX_EVENTS {
        return Err(Errno::EINVAL);
    }
    if !mm::io::access_ok(events.addr(), most as usize * size_of::<EpollEvent>()) {
        return Err(Errno::EFAULT);
    }
    let epoll = file.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    epoll.wait(cx.mm(), events, most as usize, deadline).map(|n| n as i32)
}

/// epoll_wait(2)
pub fn epoll_wait(
    cx: &mut Cx,
    epfd: i32,
    events: UserPtr<EpollEvent>,
    maxevents: i32,
    timeout: i32,
) -> Result<i32, Errno> {
    let deadline = deadline_ms(timeout);
    wait(cx, epfd, events, maxevents, deadline)
}

/// epoll_pwait(2)
pub fn epoll_pwait(
    cx: &mut Cx,
    epfd: i32,
    events: UserPtr<EpollEvent>,
    maxevents: i32,
    timeout: i32,
    sigmask: UserPtr<SigSet>,
    sigsetsize: usize,
) -> Result<i32, Errno> {
    let deadline = deadline_ms(timeout);
    with_mask(cx, sigmask, sigsetsize, |cx| wait(cx, epfd, events, maxevents, deadline))
}

/// epoll_pwait2(2)
pub fn epoll_pwait2(
    cx: &mut Cx,
    epfd: i32,
    events: UserPtr<EpollEvent>,
    maxevents: i32,
    timeout: UserPtr<Timespec>,
    sigmask: UserPtr<SigSet>,
    sigsetsize: usize,
) -> Result<i32, Errno> {
    let deadline = deadline_at(cx, timeout)?;
    with_mask(cx, sigmask, sigsetsize, |cx| wait(cx, epfd, events, maxevents, deadline))
}
