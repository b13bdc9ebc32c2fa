//! futex(2), futex_waitv(2) and the futex2 calls.

use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, WAITV_MAX, Waitv, futex2, op};
use abi::time::{Timespec, clock};
use alloc::boxed::Box;
use machine::VirtAddr;
use mm::user::UserPtr;
use sched::Instant;
use smallvec::SmallVec;
use task::futex::{self, Multi};
use task::{Cx, tree};

/// A moment of the clock on the monotonic one; moments before its start are due at once.
fn on_monotonic(moment: u64, realtime: bool) -> Instant {
    if realtime { moment.saturating_sub(sched::clock::wall_offset_ns()) } else { moment }.max(1)
}

fn count(n: u32) -> usize {
    // Linux takes the number as signed here and wakes one thread for 0 and less.
    usize::try_from(n as i32).map_or(1, |n| n.max(1))
}

fn exists(tid: u32) -> bool {
    i32::try_from(tid).is_ok_and(|tid| tree::lock().task(tid).is_some())
}

/// Waits; a wait with a time limit that a signal interrupts goes on to the same moment.
fn wait(
    cx: &mut Cx,
    addr: VirtAddr,
    shared: bool,
    expected: u32,
    bitset: u32,
    deadline: Option<Instant>,
) -> Result<(), Errno> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let key = futex::key(cx.mm(), addr, shared)?;
    match futex::wait(cx.mm(), addr, key, expected, bitset, deadline) {
        Err(Errno::ERESTARTSYS) if deadline.is_some() => {
            cx.restart = Some(Box::new(move |cx| wait(cx, addr, shared, expected, bitset, deadline).map(|()| 0)));
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        result => result,
    }
}

/// futex(2)
pub fn futex(
    cx: &mut Cx,
    addr: VirtAddr,
    op: u32,
    val: u32,
    timeout: u64,
    addr2: VirtAddr,
    val3: u32,
) -> Result<i64, Errno> {
    let command = op & op::CMD_MASK;
    let shared = op & op::PRIVATE_FLAG == 0;
    let key = |cx: &Cx, addr| futex::key(cx.mm(), addr, shared);
    if command == op::WAKE && op & op::CLOCK_REALTIME == 0 {
        return Ok(futex::wake(key(cx, addr)?, count(val), BITSET_MATCH_ANY)? as i64);
    }
    let waits = matches!(command, op::WAIT | op::WAIT_BITSET | op::LOCK_PI | op::LOCK_PI2 | op::WAIT_REQUEUE_PI);
    let realtime = op & op::CLOCK_REALTIME != 0;
    let mut deadline = None;
    if waits && timeout != 0 {
        let time = UserPtr::<Timespec>::new(VirtAddr(timeout)).read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
        deadline = Some(match command {
            op::WAIT => sched::now().saturating_add(time).max(1),
            op::LOCK_PI => on_monotonic(time, true),
            _ => on_monotonic(time, realtime),
        });
    }
    if realtime && !matches!(command, op::WAIT_BITSET | op::WAIT_REQUEUE_PI | op::LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    let tid = cx.task.nr() as u32;
    // The slot of the timeout is a count for these.
    let val2 = timeout as u32;
    match command {
        op::WAIT => wait(cx, addr, shared, val, BITSET_MATCH_ANY, deadline).map(|()| 0),
        op::WAIT_BITSET => wait(cx, addr, shared, val, val3, deadline).map(|()| 0),
        op::WAKE_BITSET if val3 == 0 => Err(Errno::EINVAL),
        op::WAKE_BITSET => Ok(futex::wake(key(cx, addr)?, count(val), val3)? as i64),
        op::REQUEUE | op::CMP_REQUEUE => {
            let (wakes, moves) = (usize::try_from(val as i32), usize::try_from(val2 as i32));
            let (Ok(wakes), Ok(moves)) = (wakes, moves) else { return Err(Errno::EINVAL) };
            let (from, to) = (key(cx, addr)?, key(cx, addr2)?);
            if command == op::CMP_REQUEUE && cx.mm().load_u32(addr)? != val3 {
                return Err(Errno::EAGAIN);
            }
            let (woken, moved) = futex::requeue(from, to, wakes, moves)?;
            Ok((woken + if command == op::CMP_REQUEUE { moved } else { 0 }) as i64)
        }
        op::WAKE_OP => {
            let keys = (key(cx, addr)?, key(cx, addr2)?);
            Ok(futex::wake_op(cx.mm(), keys, addr2, (count(val), count(val2)), val3)? as i64)
        }
        op::LOCK_PI | op::LOCK_PI2 => {
            let key = key(cx, addr)?;
            futex::lock_pi(cx.mm(), addr, key, tid, deadline, &exists).map(|()| 0)
        }
        op::TRYLOCK_PI => {
            let key = key(cx, addr)?;
            futex::try_lock_pi(cx.mm(), addr, key, tid, &exists).map(|()| 0)
        }
        op::UNLOCK_PI => {
            let key = key(cx, addr)?;
            futex::unlock_pi(cx.mm(), addr, key, tid).map(|()| 0)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// The flags of a futex2 word: only 32-bit words without NUMA placement.
fn futex2_shared(flags: u32) -> Result<bool, Errno> {
    if flags & !(futex2::SIZE_MASK | futex2::NUMA | futex2::PRIVATE) != 0
        || flags & futex2::SIZE_MASK != futex2::SIZE_U32
        || flags & futex2::NUMA != 0
    {
        return Err(Errno::EINVAL);
    }
    Ok(flags & futex2::PRIVATE == 0)
}

/// The absolute timeout of the futex2 calls.
fn futex2_deadline(cx: &Cx, timeout: UserPtr<Timespec>, id: i32) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let realtime = match id {
        clock::REALTIME => true,
        clock::MONOTONIC => false,
        _ => return Err(Errno::EINVAL),
    };
    let moment = timeout.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    Ok(Some(on_monotonic(moment, realtime)))
}

/// Reads the words of futex_waitv and futex_requeue.
fn read_words(cx: &Cx, words: UserPtr<Waitv>, n: usize) -> Result<SmallVec<[Multi; 4]>, Errno> {
    let mut list = SmallVec::new();
    for i in 0..n {
        let word = words.at(i).read(cx.mm())?;
        let shared = futex2_shared(word.flags)?;
        if word.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        let expected = u32::try_from(word.val).map_err(|_| Errno::EINVAL)?;
        let addr = VirtAddr(word.uaddr);
        list.push(Multi { addr, key: futex::key(cx.mm(), addr, shared)?, expected });
    }
    Ok(list)
}

/// futex_waitv(2)
pub fn futex_waitv(
    cx: &mut Cx,
    waiters: UserPtr<Waitv>,
    nr: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
    clock: i32,
) -> Result<i32, Errno> {
    if flags != 0 || nr == 0 || nr as usize > WAITV_MAX || waiters.is_null() {
        return Err(Errno::EINVAL);
    }
    let deadline = futex2_deadline(cx, timeout, clock)?;
    let words = read_words(cx, waiters, nr as usize)?;
    futex::wait_multi(cx.mm(), &words, deadline).map(|index| index as i32)
}

/// futex_wake(2)
pub fn futex_wake(cx: &mut Cx, addr: VirtAddr, mask: u64, nr: i32, flags: u32) -> Result<i32, Errno> {
    let shared = futex2_shared(flags)?;
    let bitset = u32::try_from(mask).ok().filter(|m| *m != 0).ok_or(Errno::EINVAL)?;
    let key = futex::key(cx.mm(), addr, shared)?;
    Ok(futex::wake(key, usize::try_from(nr).unwrap_or(0), bitset)? as i32)
}

/// futex_wait(2)
pub fn futex_wait(
    cx: &mut Cx,
    addr: VirtAddr,
    val: u64,
    mask: u64,
    flags: u32,
    timeout: UserPtr<Timespec>,
    clock: i32,
) -> Result<(), Errno> {
    let shared = futex2_shared(flags)?;
    let (Ok(val), Ok(mask)) = (u32::try_from(val), u32::try_from(mask)) else { return Err(Errno::EINVAL) };
    let deadline = futex2_deadline(cx, timeout, clock)?;
    wait(cx, addr, shared, val, mask, deadline)
}

/// futex_requeue(2)
pub fn futex_requeue(
    cx: &mut Cx,
    waiters: UserPtr<Waitv>,
    flags: u32,
    nr_wake: i32,
    nr_requeue: i32,
) -> Result<i32, Errno> {
    if flags != 0 || waiters.is_null() {
        return Err(Errno::EINVAL);
    }
    let words = read_words(cx, waiters, 2)?;
    let [from, to] = words.as_slice() else { return Err(Errno::EINVAL) };
    let (Ok(wakes), Ok(moves)) = (usize::try_from(nr_wake), usize::try_from(nr_requeue)) else {
        return Err(Errno::EINVAL);
    };
    if cx.mm().load_u32(from.addr)? != from.expected {
        return Err(Errno::EAGAIN);
    }
    let (woken, moved) = futex::requeue(from.key, to.key, wakes, moves)?;
    Ok((woken + moved) as i32)
}
