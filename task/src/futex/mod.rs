//! Futexes (futex(2)): sleeping until another thread says that a word of memory has changed.
//!
//! Waiters stand in a fixed table of buckets, hashed by the identity of the word. A waiter enters its bucket, *then* looks at the
//! word once more; a waker changes the word, *then* looks at the bucket. A wake-up with nobody waiting is therefore a fence and
//! one load. The word is never accessed with a bucket locked, because that may fault and sleep.
//!
//! Lock order:
//! ```text
//! pi::LOCKS                  sleeping; one operation at a time on a priority-inheriting word
//!   Bucket::list             two at once in ascending order of their index (requeue)
//!     scheduler's locks
//! ```

mod pi;
mod robust;
#[cfg(test)]
mod tests;
mod wait;

pub use pi::{lock as lock_pi, try_lock as try_lock_pi, unlock as unlock_pi};
pub use robust::walk as walk_robust_list;
pub use wait::{Multi, wait, wait_multi};

use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, wake_op};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::*, fence};
use machine::VirtAddr;
use machine::sync::{SpinGuard, SpinLock};
use mm::{FutexKey, Mm};
use sched::Thread;

const BUCKETS: usize = 256;

static TABLE: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];

/// Waiters whose words hash alike, the longest waiting first.
struct Bucket {
    /// Length of `list`, readable without its lock.
    count: AtomicU32,
    list: SpinLock<Vec<Entry>>,
}

/// One word that a thread waits for.
struct Entry {
    key: FutexKey,
    /// Which of the thread's words this is (futex_waitv).
    index: u32,
    bitset: u32,
    waiter: Arc<Waiter>,
}

/// A thread's wait.
struct Waiter {
    thread: Arc<Thread>,
    /// [`WAITING`], or the index of the word it was woken for.
    woken_for: AtomicU32,
    /// Entries of this waiter in the table; changed under a bucket's lock.
    entries: AtomicU32,
    /// Waits for a priority-inheriting word, as this thread id; 0 for other waits.
    pi_tid: u32,
}

const WAITING: u32 = u32::MAX;

impl Bucket {
    const fn new() -> Bucket {
        Bucket { count: AtomicU32::new(0), list: SpinLock::new(Vec::new()) }
    }
}

impl Waiter {
    fn new(pi_tid: u32) -> Arc<Waiter> {
        Arc::new(Waiter {
            thread: sched::current(),
            woken_for: AtomicU32::new(WAITING),
            entries: AtomicU32::new(0),
            pi_tid,
        })
    }
    fn woken(&self) -> Option<u32> {
        match self.woken_for.load(Acquire) {
            WAITING => None,
            index => Some(index),
        }
    }
}

#[inline]
fn bucket_of(key: &FutexKey) -> usize {
    let (a, b) = match *key {
        FutexKey::Private { mm, addr } => (mm, addr),
        FutexKey::Shared { object, offset } => (object ^ 1 << 63, offset),
    };
    let mixed = (a.rotate_left(32) ^ b >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % BUCKETS
}

/// The word at `addr`: EINVAL when it is not aligned, EFAULT outside user space.
#[inline]
pub fn key(mm: &Mm, addr: VirtAddr, shared: bool) -> Result<FutexKey, Errno> {
    if addr.0 & 3 != 0 {
        return Err(Errno::EINVAL);
    }
    mm.futex_key(addr, shared)
}

/// Puts a waiter into the table.
fn enter(key: FutexKey, index: u32, bitset: u32, waiter: &Arc<Waiter>) -> Result<(), Errno> {
    let bucket = &TABLE[bucket_of(&key)];
    let mut list = bucket.list.lock();
    list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    list.push(Entry { key, index, bitset, waiter: waiter.clone() });
    waiter.entries.fetch_add(1, Relaxed);
    bucket.count.store(list.len() as u32, Relaxed);
    drop(list);
    fence(SeqCst);
    Ok(())
}

/// Takes what is left of a waiter out of the table. Its entries are where they were put, unless they were requeued.
fn leave(waiter: &Arc<Waiter>, keys: &[FutexKey]) {
    for key in keys {
        leave_bucket(waiter, &TABLE[bucket_of(key)]);
    }
    while waiter.entries.load(Acquire) != 0 {
        TABLE.iter().for_each(|bucket| leave_bucket(waiter, bucket));
    }
}

fn leave_bucket(waiter: &Arc<Waiter>, bucket: &Bucket) {
    if waiter.entries.load(Acquire) == 0 {
        return;
    }
    let mut list = bucket.list.lock();
    list.retain(|entry| {
        let mine = Arc::ptr_eq(&entry.waiter, waiter);
        if mine {
            waiter.entries.fetch_sub(1, Release);
        }
        !mine
    });
    bucket.count.store(list.len() as u32, Relaxed);
}

/// Wakes the owner of an entry just taken out of the table; false if it had been woken for another word.
fn wake_entry(entry: &Entry) -> bool {
    let waiter = &entry.waiter;
    let first = waiter.woken_for.compare_exchange(WAITING, entry.index, AcqRel, Acquire).is_ok();
    waiter.entries.fetch_sub(1, Release);
    if first {
        waiter.thread.wake();
    }
    first
}

/// Wakes up to `most` of those in `list` who wait for `key` with a bit of `bitset`.
fn wake_in(list: &mut Vec<Entry>, key: &FutexKey, most: usize, bitset: u32) -> Result<usize, Errno> {
    let (mut woken, mut at) = (0, 0);
    while woken < most
        && let Some(entry) = list.get(at)
    {
        if entry.key != *key || entry.bitset & bitset == 0 {
            at += 1;
            continue;
        }
        // Such a waiter is woken by the owner's hand-over only.
        if entry.waiter.pi_tid != 0 {
            return Err(Errno::EINVAL);
        }
        woken += usize::from(wake_entry(&list.remove(at)));
    }
    Ok(woken)
}

/// FUTEX_WAKE and FUTEX_WAKE_BITSET; returns how many threads were woken.
#[inline]
pub fn wake(key: FutexKey, most: usize, bitset: u32) -> Result<usize, Errno> {
    let bucket = &TABLE[bucket_of(&key)];
    fence(SeqCst);
    if bucket.count.load(Relaxed) == 0 {
        return Ok(0);
    }
    wake_slow(bucket, key, most, bitset)
}

#[cold]
fn wake_slow(bucket: &Bucket, key: FutexKey, most: usize, bitset: u32) -> Result<usize, Errno> {
    let mut list = bucket.list.lock();
    let woken = wake_in(&mut list, &key, most, bitset);
    bucket.count.store(list.len() as u32, Relaxed);
    woken
}

/// The lists of two buckets, locked in order of their index; `None` for the second if it is the same.
fn lock_two(a: usize, b: usize) -> (SpinGuard<'static, Vec<Entry>>, Option<SpinGuard<'static, Vec<Entry>>>) {
    if a == b {
        return (TABLE[a].list.lock(), None);
    }
    if a < b {
        let first = TABLE[a].list.lock();
        let second = TABLE[b].list.lock();
        return (first, Some(second));
    }
    let second = TABLE[b].list.lock();
    let first = TABLE[a].list.lock();
    (first, Some(second))
}

/// FUTEX_REQUEUE: wakes up to `most_woken` of those who wait for `from` and has up to `most_moved` others wait for `to`.
/// Returns how many were woken and how many were moved.
pub fn requeue(from: FutexKey, to: FutexKey, most_woken: usize, most_moved: usize) -> Result<(usize, usize), Errno> {
    let (a, b) = (bucket_of(&from), bucket_of(&to));
    let (mut source, mut target) = lock_two(a, b);
    let woken = wake_in(&mut source, &from, most_woken, BITSET_MATCH_ANY);
    let (mut moved, mut at) = (0, 0);
    while woken.is_ok()
        && moved < most_moved
        && let Some(entry) = source.get_mut(at)
    {
        if entry.key != from {
            at += 1;
            continue;
        }
        if entry.waiter.pi_tid != 0 {
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
                let mut entry = source.remove(at);
                entry.key = to;
                target.push(entry);
            }
        }
        moved += 1;
    }
    TABLE[a].count.store(source.len() as u32, Relaxed);
    if let Some(target) = &target {
        TABLE[b].count.store(target.len() as u32, Relaxed);
    }
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
    let mut woken = wake(key1, most1, BITSET_MATCH_ANY)?;
    if holds {
        woken += wake(key2, most2, BITSET_MATCH_ANY)?;
    }
    Ok(woken)
}
