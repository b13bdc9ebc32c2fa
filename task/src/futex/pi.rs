//! Priority-inheriting words: the kernel knows who owns them (the thread id in the word) and hands them over.
//!
//! The hand-over and the errors are Linux's; the owner's priority is not raised yet.

use super::{TABLE, Waiter, bucket_of, enter, leave, wake_entry};
use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, word};
use machine::VirtAddr;
use mm::{FutexKey, Mm};
use sched::{Instant, Mutex, WaitError};

/// Serialises operations on words that hash alike; unlike a bucket's lock it may be held while user memory is accessed.
static LOCKS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

fn lock_of(key: &FutexKey) -> &'static Mutex<()> {
    &LOCKS[bucket_of(key) % LOCKS.len()]
}

/// Whether a thread waits for the word in [`lock`].
fn has_waiter(key: &FutexKey) -> bool {
    TABLE[bucket_of(key)].list.lock().iter().any(|e| e.key == *key && e.waiter.pi_tid != 0)
}

/// Takes the word if nobody owns it; else marks it as waited for. `Ok(false)`: it is owned by another.
fn take(
    mm: &Mm,
    addr: VirtAddr,
    key: &FutexKey,
    tid: u32,
    mark: bool,
    exists: &dyn Fn(u32) -> bool,
) -> Result<bool, Errno> {
    let mut seen = mm.load_u32(addr)?;
    loop {
        let owner = seen & word::TID_MASK;
        if owner == tid {
            return Err(Errno::EDEADLK);
        }
        let new = if owner == 0 {
            let waiters = if has_waiter(key) { word::WAITERS } else { 0 };
            tid | seen & word::OWNER_DIED | waiters
        } else {
            if !exists(owner) {
                return Err(Errno::ESRCH);
            }
            if !mark || seen & word::WAITERS != 0 {
                return Ok(false);
            }
            seen | word::WAITERS
        };
        match mm.cmpxchg_u32(addr, seen, new)? {
            Ok(_) => return Ok(owner == 0),
            Err(now) => seen = now,
        }
    }
}

/// FUTEX_LOCK_PI. `exists` says whether a thread has this id.
pub fn lock(
    mm: &Mm,
    addr: VirtAddr,
    key: FutexKey,
    tid: u32,
    deadline: Option<Instant>,
    exists: &dyn Fn(u32) -> bool,
) -> Result<(), Errno> {
    let held = lock_of(&key).lock();
    if take(mm, addr, &key, tid, true, exists)? {
        return Ok(());
    }
    let waiter = Waiter::new(tid);
    enter(key, 0, BITSET_MATCH_ANY, &waiter)?;
    drop(held);
    let result = sched::park(deadline, || waiter.woken());
    if result.is_ok() {
        return Ok(());
    }
    // With the lock held no hand-over is under way: either it has happened or it will not.
    let _held = lock_of(&key).lock();
    leave(&waiter, &[key]);
    match result {
        _ if waiter.woken().is_some() => Ok(()),
        Err(WaitError::TimedOut) => Err(Errno::ETIMEDOUT),
        _ => Err(Errno::ERESTARTNOINTR),
    }
}

/// FUTEX_TRYLOCK_PI.
pub fn try_lock(mm: &Mm, addr: VirtAddr, key: FutexKey, tid: u32, exists: &dyn Fn(u32) -> bool) -> Result<(), Errno> {
    let _held = lock_of(&key).lock();
    if take(mm, addr, &key, tid, false, exists)? { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// FUTEX_UNLOCK_PI: gives the word to who waits longest, or frees it.
pub fn unlock(mm: &Mm, addr: VirtAddr, key: FutexKey, tid: u32) -> Result<(), Errno> {
    let _held = lock_of(&key).lock();
    let seen = mm.load_u32(addr)?;
    if seen & word::TID_MASK != tid {
        return Err(Errno::EPERM);
    }
    hand_over(mm, addr, &key, 0)
}

/// The owner has ended: the next one gets the word, marked so.
pub(super) fn owner_died(mm: &Mm, addr: VirtAddr, key: FutexKey) -> Result<(), Errno> {
    let _held = lock_of(&key).lock();
    hand_over(mm, addr, &key, word::OWNER_DIED)
}

/// The caller holds the word's lock, so no waiter comes or goes.
fn hand_over(mm: &Mm, addr: VirtAddr, key: &FutexKey, mark: u32) -> Result<(), Errno> {
    let waiting = |list: &[super::Entry]| -> (Option<u32>, usize) {
        let mut all = list.iter().filter(|e| e.key == *key && e.waiter.pi_tid != 0);
        (all.next().map(|e| e.waiter.pi_tid), all.count())
    };
    let bucket = &TABLE[bucket_of(key)];
    let (next, others) = waiting(&bucket.list.lock());
    let new = next.unwrap_or(0) | mark | if others != 0 { word::WAITERS } else { 0 };
    let mut seen = mm.load_u32(addr)?;
    while let Err(now) = mm.cmpxchg_u32(addr, seen, new)? {
        seen = now;
    }
    let mut list = bucket.list.lock();
    if let Some(at) = list.iter().position(|e| e.key == *key && Some(e.waiter.pi_tid) == next) {
        wake_entry(&list.remove(at));
        bucket.count.store(list.len() as u32, core::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}
