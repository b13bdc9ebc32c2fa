//! Futexes (futex(2)): sleeping until another thread says that a word of memory has changed.
//!
//! Waiters stand in a table of buckets ([`table`]), hashed by the identity of the word. A waiter enters its bucket, *then* looks at the
//! word once more; a waker changes the word, *then* looks at the bucket. A wake-up with nobody waiting is therefore a fence and
//! one load. The word is never accessed with a bucket locked, because that may fault and sleep.
//!
//! Words with priority inheritance have owners, which [`pi`] keeps; who waits for such a word stands in the table as well, so that
//! the operations on plain words see it and refuse.
//!
//! Lock order:
//! ```text
//! pi::WORLD                  owners of all contended priority-inheriting words
//! table::OWN                 all address spaces' tables
//!   an address space's table, shared or alone
//!     Bucket::list           two at once in ascending order of their address (requeue)
//!       scheduler's locks
//!   pi::Links of one thread
//! ```
//!
//! Sources: futex(2), FUTEX_WAIT(2const) and its siblings, `linux/futex.h`.

mod limit;
mod ops;
mod pi;
mod robust;
mod table;
#[cfg(test)]
mod tests;
mod wait;

pub use limit::Limit;
pub use ops::{requeue, wake_op};
pub use pi::{Asker, Links, Locker, lock as lock_pi, priority_changed, unlock as unlock_pi};
pub use pi::{requeue as requeue_pi, wait_requeue as wait_requeue_pi};
pub use robust::RobustUnlock;
pub(crate) use robust::{enter_memory, finish_unlock, leave_memory};
pub use table::{set_slots, share, slots};
pub use wait::{Multi, wait, wait_multi};

use abi::Errno;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::*, fence};
use machine::VirtAddr;
use mm::{FutexKey, Mm};
use sched::Thread;
use table::Bucket;

/// One word that a thread waits for.
#[derive(Clone)]
struct Entry {
    key: FutexKey,
    /// Which of the thread's words this is (futex_waitv).
    index: u32,
    bitset: u32,
    /// Place among the waiters: real-time priorities come first, all others are equal.
    rank: u8,
    waiter: Arc<Waiter>,
}

/// A thread's wait.
struct Waiter {
    thread: Arc<Thread>,
    /// [`WAITING`], or the index of the word it was woken for.
    woken_for: AtomicU32,
    /// Entries of this waiter in the table; changed under a bucket's lock.
    entries: AtomicU32,
    /// Its deadline is on the wall clock.
    wall: bool,
    /// It waits for a priority-inheriting word, now or after a requeue.
    pi: Option<pi::Side>,
}

const WAITING: u32 = u32::MAX;

impl Waiter {
    fn new(limit: Option<Limit>, pi: Option<pi::Side>) -> Arc<Waiter> {
        Arc::new(Waiter {
            thread: sched::current(),
            woken_for: AtomicU32::new(WAITING),
            entries: AtomicU32::new(0),
            wall: limit.is_some_and(Limit::is_wall),
            pi,
        })
    }
    fn woken(&self) -> Option<u32> {
        match self.woken_for.load(Acquire) {
            WAITING => None,
            index => Some(index),
        }
    }
}

/// The word at `addr`: EINVAL when it is not aligned, EFAULT outside user space and, with `write`, where it cannot be changed.
#[inline]
pub fn key(mm: &Mm, addr: VirtAddr, shared: bool, write: bool) -> Result<FutexKey, Errno> {
    if addr.0 & 3 != 0 {
        return Err(Errno::EINVAL);
    }
    mm.futex_key(addr, shared, write)
}

/// Puts a waiter, which sees the word in `mm`, into the table.
fn enter(mm: &Mm, key: FutexKey, index: u32, bitset: u32, waiter: &Arc<Waiter>) -> Result<(), Errno> {
    let rank = waiter.thread.own_rank().min(sched::policy::FAIR_RANK);
    let entry = Entry { key, index, bitset, rank, waiter: waiter.clone() };
    table::at(mm, &key, |bucket| {
        bucket.add(entry)?;
        // Still in the table's hold: whoever takes the place out again finds it counted.
        waiter.entries.fetch_add(1, Relaxed);
        Ok::<(), Errno>(())
    })?;
    fence(SeqCst);
    Ok(())
}

/// Inserts behind all of its rank and before all of lesser ones. Room has been reserved.
fn insert(list: &mut VecDeque<Entry>, entry: Entry) {
    if list.back().is_none_or(|last| last.rank <= entry.rank) {
        return list.push_back(entry);
    }
    let at = list.partition_point(|other| other.rank <= entry.rank);
    list.insert(at, entry);
}

/// Takes what is left of a waiter out of the table. Its entries are where they were put, unless they were requeued.
fn leave(mm: &Mm, waiter: &Arc<Waiter>, keys: &[FutexKey]) {
    for key in keys {
        leave_word(mm, waiter, key);
    }
    while waiter.entries.load(Acquire) != 0 {
        table::each(mm, |bucket| leave_bucket(waiter, bucket));
    }
}

fn leave_word(mm: &Mm, waiter: &Arc<Waiter>, key: &FutexKey) {
    table::at(mm, key, |bucket| leave_bucket(waiter, bucket));
}

fn leave_bucket(waiter: &Arc<Waiter>, bucket: &Bucket) {
    if waiter.entries.load(Acquire) == 0 {
        return;
    }
    bucket.change(|list| {
        list.retain(|entry| {
            let mine = Arc::ptr_eq(&entry.waiter, waiter);
            if mine {
                waiter.entries.fetch_sub(1, Release);
            }
            !mine
        });
    });
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
fn wake_in(list: &mut VecDeque<Entry>, key: &FutexKey, most: usize, bitset: u32) -> Result<usize, Errno> {
    let (mut woken, mut at) = (0, 0);
    while woken < most
        && let Some(entry) = list.get(at)
    {
        if entry.key != *key {
            at += 1;
            continue;
        }
        // Such a waiter is woken by the owner's hand-over only.
        if entry.waiter.pi.is_some() {
            return Err(Errno::EINVAL);
        }
        if entry.bitset & bitset == 0 {
            at += 1;
            continue;
        }
        if let Some(entry) = list.remove(at) {
            woken += usize::from(wake_entry(&entry));
        }
    }
    Ok(woken)
}

/// FUTEX_WAKE and FUTEX_WAKE_BITSET; returns how many threads were woken.
#[inline]
pub fn wake(mm: &Mm, key: FutexKey, most: usize, bitset: u32) -> Result<usize, Errno> {
    fence(SeqCst);
    table::at(mm, &key, |bucket| match bucket.count.load(Relaxed) {
        0 => Ok(0),
        _ => wake_slow(bucket, key, most, bitset),
    })
}

#[cold]
fn wake_slow(bucket: &Bucket, key: FutexKey, most: usize, bitset: u32) -> Result<usize, Errno> {
    bucket.change(|list| wake_in(list, &key, most, bitset))
}
