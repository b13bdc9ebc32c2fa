//! futex(2), futex_waitv(2) and the futex2 calls.

use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, NO_NODE, WAITV_MAX, Waitv, futex2, op};
use abi::time::{Timespec, clock};
use alloc::boxed::Box;
use machine::VirtAddr;
use mm::FutexKey;
use mm::user::UserPtr;
use smallvec::SmallVec;
use task::Cx;
use task::futex::{self, Asker, Limit, Multi, RobustUnlock};

fn count(n: u32) -> usize {
    // Linux takes the number as signed here and wakes one thread for 0 and less.
    usize::try_from(n as i32).map_or(1, |n| n.max(1))
}

/// How a word is named.
#[derive(Clone, Copy)]
struct Word {
    addr: VirtAddr,
    shared: bool,
}

impl Word {
    fn key(self, cx: &Cx, write: bool) -> Result<FutexKey, Errno> {
        futex::key(cx.mm(), self.addr, self.shared, write)
    }
}

/// Waits; a wait with a time limit that a signal interrupts goes on to the same moment.
fn wait(cx: &mut Cx, word: Word, expected: u32, bitset: u32, limit: Option<Limit>) -> Result<(), Errno> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let key = word.key(cx, false)?;
    match futex::wait(cx.mm(), word.addr, key, expected, bitset, limit) {
        Err(Errno::ERESTARTSYS) if limit.is_some() => {
            cx.restart = Some(Box::new(move |cx| wait(cx, word, expected, bitset, limit).map(|()| 0)));
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        result => result,
    }
}

fn limit_of(moment: u64, realtime: bool) -> Limit {
    if realtime { Limit::Wall(moment) } else { Limit::Monotonic(moment.max(1)) }
}

/// Until when an operation of futex(2) waits; the slot is something else for those that do not.
fn deadline(cx: &Cx, op: u32, timeout: u64) -> Result<Option<Limit>, Errno> {
    let command = op & op::CMD_MASK;
    let waits = matches!(command, op::WAIT | op::WAIT_BITSET | op::LOCK_PI | op::LOCK_PI2 | op::WAIT_REQUEUE_PI);
    if !waits || timeout == 0 {
        return Ok(None);
    }
    let time = UserPtr::<Timespec>::new(VirtAddr(timeout)).read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    Ok(Some(match command {
        op::WAIT => limit_of(sched::now().saturating_add(time), false),
        op::LOCK_PI => limit_of(time, true),
        _ if op & op::CLOCK_REALTIME != 0 => limit_of(time, true),
        _ => limit_of(cx.ns().time.to_host(clock::MONOTONIC, time), false),
    }))
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
    let word = Word { addr, shared };
    if command == op::WAKE && op & (op::CLOCK_REALTIME | op::ROBUST_UNLOCK) == 0 {
        return Ok(futex::wake(cx.mm(), word.key(cx, false)?, count(val), BITSET_MATCH_ANY)? as i64);
    }
    let limit = deadline(cx, op, timeout)?;
    if op & op::CLOCK_REALTIME != 0 && !matches!(command, op::WAIT_BITSET | op::WAIT_REQUEUE_PI | op::LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    let unlocks = op & op::ROBUST_UNLOCK != 0;
    if unlocks && !matches!(command, op::WAKE | op::WAKE_BITSET | op::UNLOCK_PI) {
        return Err(Errno::ENOSYS);
    }
    let unlock = unlocks.then_some(RobustUnlock { pending: addr2, narrow: op & op::ROBUST_LIST32 != 0 });
    let word2 = Word { addr: addr2, shared };
    // The slot of the timeout is a count for these.
    let val2 = timeout as u32;
    match command {
        op::WAIT => wait(cx, word, val, BITSET_MATCH_ANY, limit).map(|()| 0),
        op::WAIT_BITSET => wait(cx, word, val, val3, limit).map(|()| 0),
        op::WAKE | op::WAKE_BITSET => {
            let bitset = if command == op::WAKE { BITSET_MATCH_ANY } else { val3 };
            if bitset == 0 {
                return Err(Errno::EINVAL);
            }
            let key = word.key(cx, false)?;
            unlock.map_or(Ok(()), |unlock| unlock.free(cx, addr))?;
            Ok(futex::wake(cx.mm(), key, count(val), bitset)? as i64)
        }
        op::REQUEUE | op::CMP_REQUEUE => {
            let (wakes, moves) = (usize::try_from(val as i32), usize::try_from(val2 as i32));
            let (Ok(wakes), Ok(moves)) = (wakes, moves) else { return Err(Errno::EINVAL) };
            let (from, to) = (word.key(cx, false)?, word2.key(cx, false)?);
            if command == op::CMP_REQUEUE && cx.mm().load_u32(addr)? != val3 {
                return Err(Errno::EAGAIN);
            }
            let (woken, moved) = futex::requeue(cx.mm(), (from, to), wakes, moves)?;
            Ok((woken + moved) as i64)
        }
        op::WAKE_OP => {
            let keys = (word.key(cx, false)?, word2.key(cx, true)?);
            Ok(futex::wake_op(cx.mm(), keys, addr2, (count(val), count(val2)), val3)? as i64)
        }
        op::LOCK_PI | op::LOCK_PI2 | op::TRYLOCK_PI => {
            let key = word.key(cx, true)?;
            futex::lock_pi(&asker(cx), addr, key, limit, command == op::TRYLOCK_PI).map(|()| 0)
        }
        op::UNLOCK_PI => {
            futex::unlock_pi(&asker(cx), addr, shared)?;
            unlock.map_or(Ok(0), |unlock| unlock.clear(cx).map(|()| 0))
        }
        op::WAIT_REQUEUE_PI => {
            if addr == addr2 {
                return Err(Errno::EINVAL);
            }
            let key2 = word2.key(cx, true)?;
            let key = word.key(cx, false)?;
            futex::wait_requeue_pi(&asker(cx), (addr, key), val, (addr2, key2), limit).map(|()| 0)
        }
        op::CMP_REQUEUE_PI => {
            let Ok(moves) = usize::try_from(val2 as i32) else { return Err(Errno::EINVAL) };
            // More than one could not all own the word they are woken for.
            if val != 1 || addr == addr2 {
                return Err(Errno::EINVAL);
            }
            let (from, to) = (word.key(cx, false)?, word2.key(cx, true)?);
            if from == to {
                return Err(Errno::EINVAL);
            }
            Ok(futex::requeue_pi(&asker(cx), (addr, from), val3, (addr2, to), moves)? as i64)
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn asker(cx: &Cx) -> Asker<'_> {
    Asker { me: cx.task.clone(), mm: cx.mm() }
}

/// Checks the flags of a futex2 word (only words of 32 bits exist) and gives its name. A word with FUTEX2_NUMA is followed by one
/// that says on which node its waiters are kept; there is one node here.
fn futex2_key(cx: &Cx, addr: VirtAddr, flags: u32, write: bool) -> Result<FutexKey, Errno> {
    if flags & futex2::NUMA != 0 {
        if !addr.0.is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        let node = UserPtr::<u32>::new(VirtAddr(addr.0.wrapping_add(4)));
        match node.read(cx.mm())? {
            NO_NODE => node.write(cx.mm(), &0)?,
            0 => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Word { addr, shared: flags & futex2::PRIVATE == 0 }.key(cx, write)
}

fn check_futex2(flags: u32) -> Result<(), Errno> {
    let known = futex2::SIZE_MASK | futex2::NUMA | futex2::MPOL | futex2::PRIVATE;
    if flags & !known != 0 || flags & futex2::SIZE_MASK != futex2::SIZE_U32 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The absolute timeout of the futex2 calls.
fn futex2_limit(cx: &Cx, timeout: UserPtr<Timespec>, id: i32) -> Result<Option<Limit>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let realtime = match id {
        clock::REALTIME => true,
        clock::MONOTONIC => false,
        _ => return Err(Errno::EINVAL),
    };
    let moment = timeout.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?;
    Ok(Some(limit_of(moment, realtime)))
}

/// Reads the words of futex_waitv and futex_requeue; all are checked before the first is looked at.
fn read_words(cx: &Cx, words: UserPtr<Waitv>, n: usize) -> Result<SmallVec<[Waitv; 4]>, Errno> {
    let mut list = SmallVec::new();
    list.try_reserve(n).map_err(|_| Errno::ENOMEM)?;
    for i in 0..n {
        let word = words.at(i).read(cx.mm())?;
        check_futex2(word.flags)?;
        if word.reserved != 0 || u32::try_from(word.val).is_err() {
            return Err(Errno::EINVAL);
        }
        list.push(word);
    }
    Ok(list)
}

fn multi(cx: &Cx, word: &Waitv) -> Result<Multi, Errno> {
    let addr = VirtAddr(word.uaddr);
    Ok(Multi { addr, key: futex2_key(cx, addr, word.flags, false)?, expected: word.val as u32 })
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
    let limit = futex2_limit(cx, timeout, clock)?;
    let words = read_words(cx, waiters, nr as usize)?;
    let words = words.iter().map(|word| multi(cx, word)).collect::<Result<SmallVec<[Multi; 4]>, Errno>>()?;
    futex::wait_multi(cx.mm(), &words, limit).map(|index| index as i32)
}

/// futex_wake(2)
pub fn futex_wake(cx: &mut Cx, addr: VirtAddr, mask: u64, nr: i32, flags: u32) -> Result<i32, Errno> {
    check_futex2(flags)?;
    let bitset = u32::try_from(mask).ok().filter(|m| *m != 0).ok_or(Errno::EINVAL)?;
    let key = futex2_key(cx, addr, flags, false)?;
    // Unlike futex(2) this takes 0 at its word, but a negative number for one.
    let most = if nr == 0 { 0 } else { count(nr as u32) };
    Ok(futex::wake(cx.mm(), key, most, bitset)? as i32)
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
    check_futex2(flags)?;
    let (Ok(val), Ok(mask)) = (u32::try_from(val), u32::try_from(mask)) else { return Err(Errno::EINVAL) };
    let limit = futex2_limit(cx, timeout, clock)?;
    if mask == 0 {
        return Err(Errno::EINVAL);
    }
    let key = futex2_key(cx, addr, flags, false)?;
    // The limit is absolute: an interrupted call is simply made again.
    futex::wait(cx.mm(), addr, key, val, mask, limit)
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
    if from.flags != to.flags {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (multi(cx, from)?, multi(cx, to)?);
    if cx.mm().load_u32(from.addr)? != from.expected {
        return Err(Errno::EAGAIN);
    }
    let (woken, moved) = futex::requeue(cx.mm(), (from.key, to.key), wakes, moves)?;
    Ok((woken + moved) as i32)
}
