//! Advisory file locks: flock(2), POSIX record locks and open-file-description locks (fcntl(2), "Advisory record locking").
//!
//! The locks of an inode are one short list under a spin lock; whoever must wait sleeps on the inode's queue and looks again when any
//! lock there changes. flock locks and record locks do not see each other.

use crate::file::File;
use crate::inode::InodeBase;
use crate::rare::Rare;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::sync::SpinLock;
use sched::WaitQueue;

/// Who holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOwner {
    /// A descriptor table (a process): POSIX record locks.
    Table(u64),
    /// An open file description, by its address: OFD locks and flock.
    Description(usize),
}

impl LockOwner {
    /// The description as an owner.
    pub fn of(file: &File) -> LockOwner {
        LockOwner::Description(core::ptr::from_ref(file).addr())
    }
}

/// A lock on bytes `start..=end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordLock {
    /// First byte.
    pub start: u64,
    /// Last byte; `i64::MAX` for "to the end of the file".
    pub end: u64,
    /// Exclusive.
    pub write: bool,
    /// Holder.
    pub owner: LockOwner,
    /// Process id `F_GETLK` shows; -1 for OFD locks.
    pub pid: i32,
}

impl RecordLock {
    fn overlaps(&self, other: &RecordLock) -> bool {
        self.start <= other.end && other.start <= self.end
    }
    fn conflicts(&self, other: &RecordLock) -> bool {
        self.owner != other.owner && (self.write || other.write) && self.overlaps(other)
    }
}

/// A lock of flock(2).
#[derive(Clone, Copy)]
pub struct WholeLock {
    /// Holder.
    pub owner: LockOwner,
    /// Exclusive.
    pub write: bool,
}

#[derive(Default)]
struct Lists {
    records: Vec<RecordLock>,
    whole: Vec<WholeLock>,
}

/// The locks on one inode.
pub(crate) struct FileLocks {
    lists: SpinLock<Lists>,
    queue: WaitQueue,
}

/// Who waits for whom, to find deadlocks among POSIX locks.
static WAITING: SpinLock<Vec<(LockOwner, LockOwner)>> = SpinLock::new(Vec::new());

fn would_deadlock(waiter: LockOwner, blocker: LockOwner) -> bool {
    let waiting = WAITING.lock();
    let mut at = blocker;
    // Each owner waits for at most one other here; the bound only guards against a changing list.
    for _ in 0..=waiting.len() {
        if at == waiter {
            return true;
        }
        match waiting.iter().find(|(w, _)| *w == at) {
            Some((_, next)) => at = *next,
            None => return false,
        }
    }
    false
}

impl FileLocks {
    pub(crate) const fn new() -> FileLocks {
        FileLocks { lists: SpinLock::new(Lists { records: Vec::new(), whole: Vec::new() }), queue: WaitQueue::new() }
    }

    fn conflict(&self, lock: &RecordLock) -> Option<RecordLock> {
        self.lists.lock().records.iter().find(|held| held.conflicts(lock)).copied()
    }

    /// Replaces what `lock.owner` holds in the range by `lock` (or by nothing).
    fn set(&self, lock: &RecordLock, unlock: bool) -> Result<(), Errno> {
        {
            let records = &mut self.lists.lock().records;
            // At worst one lock is split in two and the new one is added.
            records.try_reserve(2).map_err(|_| Errno::ENOLCK)?;
            let mut merged = *lock;
            let mut split = None;
            records.retain_mut(|held| {
                if held.owner != lock.owner {
                    return true;
                }
                let touches = held.start <= lock.end.saturating_add(1) && lock.start <= held.end.saturating_add(1);
                if !unlock && held.write == lock.write && touches {
                    merged.start = merged.start.min(held.start);
                    merged.end = merged.end.max(held.end);
                    return false;
                }
                if !held.overlaps(lock) {
                    return true;
                }
                let (before, after) = (held.start < lock.start, held.end > lock.end);
                if before && after {
                    split = Some(RecordLock { start: lock.end + 1, ..*held });
                    held.end = lock.start - 1;
                } else if before {
                    held.end = lock.start - 1;
                } else if after {
                    held.start = lock.end + 1;
                }
                before || after
            });
            records.extend(split);
            if !unlock {
                records.push(merged);
            }
        }
        self.queue.wake_all();
        Ok(())
    }
}

/// `F_GETLK`: a lock that would keep `lock` from being set.
pub fn test(base: &InodeBase, lock: &RecordLock) -> Option<RecordLock> {
    base.rare_if_any()?.locks.conflict(lock)
}

/// `F_OFD_GETLK` with `F_UNLCK` (Linux 6.13): the first lock of `lock`'s own owner in its range.
pub fn own(base: &InodeBase, lock: &RecordLock) -> Option<RecordLock> {
    let lists = base.rare_if_any()?.locks.lists.lock();
    lists.records.iter().find(|held| held.owner == lock.owner && held.overlaps(lock)).copied()
}

/// `F_SETLK`, `F_SETLKW` and their OFD forms.
pub fn set(file: &Arc<File>, lock: &RecordLock, wait: bool) -> Result<(), Errno> {
    let locks = &file.inode().base().rare().locks;
    if matches!(lock.owner, LockOwner::Description(_)) {
        file.has_locks.store(1, Ordering::Relaxed);
    }
    let attempt = || -> Option<Result<(), Errno>> {
        match locks.conflict(lock) {
            None => Some(locks.set(lock, false)),
            Some(_) if !wait => Some(Err(Errno::EAGAIN)),
            Some(held) => {
                let posix = matches!(lock.owner, LockOwner::Table(_));
                if posix && would_deadlock(lock.owner, held.owner) {
                    return Some(Err(Errno::EDEADLK));
                }
                let mut waiting = WAITING.lock();
                waiting.retain(|(w, _)| *w != lock.owner);
                waiting.push((lock.owner, held.owner));
                None
            }
        }
    };
    let result = locks.queue.wait_interruptible(attempt);
    if wait {
        WAITING.lock().retain(|(w, _)| *w != lock.owner);
    }
    result?
}

/// `F_UNLCK` of a range.
pub fn clear(base: &InodeBase, lock: &RecordLock) -> Result<(), Errno> {
    match base.rare_if_any() {
        Some(rare) => rare.locks.set(lock, true),
        None => Ok(()),
    }
}

/// flock(2): `Some(exclusive)` or unlock. A conversion drops the old lock first, as flock(2) says.
pub fn flock(file: &Arc<File>, mode: Option<bool>, wait: bool) -> Result<(), Errno> {
    let owner = LockOwner::of(file);
    let Some(write) = mode else {
        if let Some(rare) = file.inode().base().rare_if_any() {
            rare.locks.lists.lock().whole.retain(|l| l.owner != owner);
            rare.locks.queue.wake_all();
        }
        return Ok(());
    };
    let locks = &file.inode().base().rare().locks;
    file.has_locks.store(1, Ordering::Relaxed);
    let mut dropped = false;
    let mut attempt = || -> Option<Result<(), Errno>> {
        let mut lists = locks.lists.lock();
        if lists.whole.iter().any(|l| l.owner == owner && l.write == write) {
            return Some(Ok(()));
        }
        let before = lists.whole.len();
        lists.whole.retain(|l| l.owner != owner);
        dropped |= lists.whole.len() != before;
        if lists.whole.iter().any(|l| l.write || write) {
            return if wait { None } else { Some(Err(Errno::EAGAIN)) };
        }
        if lists.whole.try_reserve(1).is_err() {
            return Some(Err(Errno::ENOLCK));
        }
        lists.whole.push(WholeLock { owner, write });
        Some(Ok(()))
    };
    let result = match attempt() {
        Some(result) => result,
        None => locks.queue.wait_interruptible(attempt)?,
    };
    if dropped {
        locks.queue.wake_all();
    }
    result
}

/// A descriptor was closed: all POSIX locks of its table on the file go (fcntl(2)).
pub(crate) fn descriptor_closed(rare: &Rare, table: u64) {
    release_owner(&rare.locks, LockOwner::Table(table));
}

/// A description is gone: its OFD locks and flock go.
pub(crate) fn description_closed(file: &File) {
    let Some(rare) = file.inode().base().rare_if_any() else { return };
    release_owner(&rare.locks, LockOwner::of(file));
}

fn release_owner(locks: &FileLocks, owner: LockOwner) {
    let changed = {
        let mut lists = locks.lists.lock();
        let before = lists.records.len() + lists.whole.len();
        lists.records.retain(|l| l.owner != owner);
        lists.whole.retain(|l| l.owner != owner);
        lists.records.len() + lists.whole.len() != before
    };
    if changed {
        locks.queue.wake_all();
    }
}

/// The locks held on an inode, for /proc/locks: record locks, then those of flock(2).
pub fn held(base: &InodeBase) -> (Vec<RecordLock>, Vec<WholeLock>) {
    match base.rare_if_any() {
        Some(rare) => {
            let lists = rare.locks.lists.lock();
            (lists.records.clone(), lists.whole.clone())
        }
        None => (Vec::new(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(start: u64, end: u64, write: bool, table: u64) -> RecordLock {
        RecordLock { start, end, write, owner: LockOwner::Table(table), pid: table as i32 }
    }

    #[test]
    fn unlocking_the_middle_splits_a_lock() {
        let locks = FileLocks::new();
        locks.set(&lock(0, 99, true, 1), false).unwrap();
        locks.set(&lock(40, 59, true, 1), true).unwrap();
        assert!(locks.conflict(&lock(45, 50, true, 2)).is_none());
        assert_eq!(locks.conflict(&lock(30, 45, false, 2)).map(|l| (l.start, l.end)), Some((0, 39)));
        assert_eq!(locks.conflict(&lock(59, 60, false, 2)).map(|l| (l.start, l.end)), Some((60, 99)));
    }

    #[test]
    fn adjacent_locks_of_one_owner_merge_and_a_change_of_type_splits() {
        let locks = FileLocks::new();
        locks.set(&lock(0, 9, true, 1), false).unwrap();
        locks.set(&lock(10, 19, true, 1), false).unwrap();
        assert_eq!(locks.lists.lock().records.len(), 1);
        locks.set(&lock(5, 14, false, 1), false).unwrap();
        assert_eq!(locks.lists.lock().records.len(), 3);
        assert!(locks.conflict(&lock(6, 7, false, 2)).is_none(), "readers share");
        assert!(locks.conflict(&lock(0, 0, false, 2)).is_some());
    }

    #[test]
    fn a_circle_of_waiters_is_a_deadlock() {
        let (a, b, c) = (LockOwner::Table(901), LockOwner::Table(902), LockOwner::Table(903));
        WAITING.lock().extend([(b, c), (c, a)]);
        assert!(would_deadlock(a, b));
        assert!(!would_deadlock(LockOwner::Table(904), b));
        WAITING.lock().retain(|(w, _)| *w != b && *w != c);
    }
}
