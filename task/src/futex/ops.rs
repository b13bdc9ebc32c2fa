//! FUTEX_REQUEUE, which moves waiters to another word, and FUTEX_WAKE_OP, which changes one word and wakes waiters of two.

use super::table::{self, Bucket};
use super::{Entry, insert, wake, wake_in};
use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, wake_op};
use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::Relaxed;
use machine::VirtAddr;
use machine::sync::SpinGuard;
use mm::{FutexKey, Mm};

type List<'a> = SpinGuard<'a, VecDeque<Entry>>;

/// The lists of two buckets, locked in order of their address.
fn lock_two<'a>(a: &'a Bucket, b: Option<&'a Bucket>) -> (List<'a>, Option<List<'a>>) {
    match b {
        Some(b) if core::ptr::from_ref(b) < core::ptr::from_ref(a) => {
            let second = b.list.lock();
            (a.list.lock(), Some(second))
        }
        b => (a.list.lock(), b.map(|b| b.list.lock())),
    }
}

/// FUTEX_REQUEUE: wakes up to `most_woken` of those who wait for `from` and has up to `most_moved` others wait for `to`.
/// Returns how many were woken and how many were moved.
pub fn requeue(
    mm: &Mm,
    (from, to): (FutexKey, FutexKey),
    most_woken: usize,
    most_moved: usize,
) -> Result<(usize, usize), Errno> {
    table::at_two(mm, [&from, &to], |a, b| requeue_between((a, b), (from, to), most_woken, most_moved))
}

fn requeue_between(
    (a, b): (&Bucket, Option<&Bucket>),
    (from, to): (FutexKey, FutexKey),
    most_woken: usize,
    most_moved: usize,
) -> Result<(usize, usize), Errno> {
    let (mut source, mut target) = lock_two(a, b);
    let woken = wake_in(&mut source, &from, most_woken, BITSET_MATCH_ANY);
    let (mut result, mut moved, mut at) = (woken.map(|_| ()), 0, 0);
    while result.is_ok()
        && moved < most_moved
        && let Some(entry) = source.get_mut(at)
    {
        if entry.key != from {
            at += 1;
            continue;
        }
        if entry.waiter.pi.is_some() {
            result = Err(Errno::EINVAL);
            break;
        }
        match &mut target {
            None => {
                entry.key = to;
                at += 1;
            }
            Some(target) => {
                if target.try_reserve(1).is_err() {
                    break;
                }
                if let Some(mut entry) = source.remove(at) {
                    entry.key = to;
                    insert(target, entry);
                }
            }
        }
        moved += 1;
    }
    a.count.store(source.len() as u32, Relaxed);
    if let (Some(b), Some(target)) = (b, &target) {
        b.count.store(target.len() as u32, Relaxed);
    }
    result?;
    Ok((woken?, moved))
}

/// FUTEX_WAKE_OP: changes the word at `addr2` as `encoded` says, wakes waiters of `key1`, and waiters of `key2` if the old value
/// compares as `encoded` says.
pub fn wake_op(
    mm: &Mm,
    (key1, key2): (FutexKey, FutexKey),
    addr2: VirtAddr,
    (most1, most2): (usize, usize),
    encoded: u32,
) -> Result<usize, Errno> {
    let (op, cmp) = (encoded >> 28, encoded >> 24 & 0xf);
    let sign_extend = |bits: u32| ((bits << 20) as i32) >> 20;
    let (mut arg, cmp_arg) = (sign_extend(encoded >> 12) as u32, sign_extend(encoded));
    if op & wake_op::ARG_SHIFT != 0 {
        arg = 1 << (arg & 31);
    }
    let change = |old: u32| {
        Some(match op & 7 {
            wake_op::SET => arg,
            wake_op::ADD => old.wrapping_add(arg),
            wake_op::OR => old | arg,
            wake_op::ANDN => old & !arg,
            wake_op::XOR => old ^ arg,
            _ => return None,
        })
    };
    let mut old = mm.load_u32(addr2)?;
    loop {
        let new = change(old).ok_or(Errno::ENOSYS)?;
        match mm.cmpxchg_u32(addr2, old, new)? {
            Ok(_) => break,
            Err(seen) => old = seen,
        }
    }
    let old = old as i32;
    let holds = match cmp {
        wake_op::CMP_EQ => old == cmp_arg,
        wake_op::CMP_NE => old != cmp_arg,
        wake_op::CMP_LT => old < cmp_arg,
        wake_op::CMP_LE => old <= cmp_arg,
        wake_op::CMP_GT => old > cmp_arg,
        wake_op::CMP_GE => old >= cmp_arg,
        _ => return Err(Errno::ENOSYS),
    };
    let mut woken = wake(mm, key1, most1, BITSET_MATCH_ANY)?;
    if holds {
        woken += wake(mm, key2, most2, BITSET_MATCH_ANY)?;
    }
    Ok(woken)
}
