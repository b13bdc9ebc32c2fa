//! poll(2), select(2) and their variants with a signal mask.

use super::{deadline_after, deadline_at, deadline_ms, left, with_mask};
use abi::Errno;
use abi::poll::{PollFd, SigsetArg};
use abi::resource::Resource;
use abi::signal::SigSet;
use abi::time::{Timespec, Timeval};
use alloc::boxed::Box;
use alloc::vec::Vec;
use events::poll::{Entries, Entry, Sets};
use machine::VirtAddr;
use mm::user::UserPtr;
use sched::Instant;
use smallvec::SmallVec;
use task::Cx;
use vfs::PollEvents;

fn do_poll(cx: &mut Cx, fds: UserPtr<PollFd>, count: u32, deadline: Option<Instant>) -> Result<i32, Errno> {
    if count as u64 > cx.process().limits.soft(Resource::Nofile) {
        return Err(Errno::EINVAL);
    }
    let mut list: SmallVec<[PollFd; 4]> = SmallVec::new();
    list.try_reserve(count as usize).map_err(|_| Errno::ENOMEM)?;
    list.resize(count as usize, PollFd::default());
    fds.slice(count as usize).read_into(cx.mm(), &mut list)?;
    let mut entries = Entries::new();
    entries.try_reserve(list.len()).map_err(|_| Errno::ENOMEM)?;
    let files = cx.files();
    entries.extend(list.iter().map(|p| Entry::of_fd(files, p.fd, PollEvents::from_bits_truncate(p.events as u32))));
    let ready = events::poll::wait(&mut entries, deadline)?;
    for (i, entry) in entries.iter().enumerate() {
        let revents = fds.at(i).byte_add::<u16>(6);
        revents.write(cx.mm(), &(entry.ready.bits() as u16))?;
    }
    Ok(ready as i32)
}

/// The deadline is kept over a restart, so stopping and continuing the program does not make the wait longer.
fn poll_until(cx: &mut Cx, fds: UserPtr<PollFd>, count: u32, deadline: Option<Instant>) -> Result<i32, Errno> {
    match do_poll(cx, fds, count, deadline) {
        Err(Errno::ERESTARTSYS) => {
            cx.restart = Some(Box::new(move |cx| poll_until(cx, fds, count, deadline).map(i64::from)));
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        result => result,
    }
}

/// poll(2)
pub fn poll(cx: &mut Cx, fds: UserPtr<PollFd>, nfds: u32, timeout: i32) -> Result<i32, Errno> {
    let deadline = deadline_ms(timeout);
    poll_until(cx, fds, nfds, deadline)
}

/// ppoll(2)
pub fn ppoll(
    cx: &mut Cx,
    fds: UserPtr<PollFd>,
    nfds: u32,
    timeout: UserPtr<Timespec>,
    sigmask: UserPtr<SigSet>,
    sigsetsize: usize,
) -> Result<i32, Errno> {
    let deadline = deadline_at(cx, timeout)?;
    let result = with_mask(cx, sigmask, sigsetsize, |cx| do_poll(cx, fds, nfds, deadline).map_err(no_hand_restart));
    if !timeout.is_null() {
        // The call has had its effect: that the rest of the time cannot be told does not fail it.
        let _ = timeout.write(cx.mm(), &Timespec::from_ns(left(deadline)));
    }
    result
}

/// These calls are restarted only when no handler runs.
fn no_hand_restart(e: Errno) -> Errno {
    if e == Errno::ERESTARTSYS { Errno::ERESTARTNOHAND } else { e }
}

fn do_select(cx: &mut Cx, n: i32, addrs: [UserPtr<u64>; 3], deadline: Option<Instant>) -> Result<i32, Errno> {
    let n = usize::try_from(n).map_err(|_| Errno::EINVAL)?;
    // Descriptors past the table cannot be open; bits for them are neither read nor written, as on Linux.
    let n = n.min(cx.files().slots().next_multiple_of(64).max(64));
    let words = n.div_ceil(64);
    let mut sets = Sets::default();
    for (addr, set) in addrs.iter().zip(&mut sets.words) {
        if !addr.is_null() {
            let mut list: Vec<u64> = Vec::new();
            list.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
            list.resize(words, 0);
            addr.slice(words).read_into(cx.mm(), &mut list)?;
            *set = list;
        }
    }
    let count = events::poll::select(cx.files(), n, &mut sets, deadline)?;
    for (addr, set) in addrs.iter().zip(&sets.words) {
        if !addr.is_null() {
            addr.slice(words).write_from(cx.mm(), set)?;
        }
    }
    Ok(count as i32)
}

/// select(2)
pub fn select(
    cx: &mut Cx,
    n: i32,
    readfds: UserPtr<u64>,
    writefds: UserPtr<u64>,
    exceptfds: UserPtr<u64>,
    timeout: UserPtr<Timeval>,
) -> Result<i32, Errno> {
    let deadline = match timeout.non_null() {
        None => None,
        Some(at) => {
            let tv = at.read(cx.mm())?;
            // More than a second of microseconds is allowed here, unlike elsewhere.
            let sec = tv.sec.checked_add(tv.usec / 1_000_000).ok_or(Errno::EINVAL)?;
            let span = Timespec { sec, nsec: tv.usec % 1_000_000 * 1000 };
            deadline_after(span.to_ns().ok_or(Errno::EINVAL)?)
        }
    };
    let result = do_select(cx, n, [readfds, writefds, exceptfds], deadline);
    if !timeout.is_null() {
        let _ = timeout.write(cx.mm(), &Timeval::from_ns(left(deadline)));
    }
    result
}

/// pselect6(2)
pub fn pselect6(
    cx: &mut Cx,
    n: i32,
    readfds: UserPtr<u64>,
    writefds: UserPtr<u64>,
    exceptfds: UserPtr<u64>,
    timeout: UserPtr<Timespec>,
    sigmask: UserPtr<SigsetArg>,
) -> Result<i32, Errno> {
    let mask = match sigmask.non_null() {
        Some(at) => at.read(cx.mm())?,
        None => SigsetArg::default(),
    };
    let deadline = deadline_at(cx, timeout)?;
    let mask_at = UserPtr::new(VirtAddr(mask.addr));
    let result =
        with_mask(cx, mask_at, mask.size as usize, |cx| do_select(cx, n, [readfds, writefds, exceptfds], deadline));
    if !timeout.is_null() {
        let _ = timeout.write(cx.mm(), &Timespec::from_ns(left(deadline)));
    }
    result
}
