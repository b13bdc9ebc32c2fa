//! Condition variables with priority inheritance: waiting for a plain word, then for a priority-inheriting one.
//!
//! The waiter sleeps once and wakes as the owner of the second word. In between FUTEX_CMP_REQUEUE_PI has taken that word for it or
//! has queued it there; both go on with the world locked, and a waiter that leaves early looks under the same lock where it stands.

use super::chain::{self, World};
use super::word::{settle, waiter};
use super::{Asker, Stuck, WORLD};
use crate::futex::limit::{Limit, sleep};
use crate::futex::{Waiter, enter, leave, leave_word, table};
use abi::Errno;
use abi::futex::BITSET_MATCH_ANY;
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::{FutexKey, Mm};
use sched::WaitError;

/// FUTEX_WAIT_REQUEUE_PI: waits for the word at `addr` if it is `expected`, then for the one at `addr2`; owns that in the end.
pub fn wait_requeue(
    ask: &Asker,
    (addr, key): (VirtAddr, FutexKey),
    expected: u32,
    (addr2, key2): (VirtAddr, FutexKey),
    limit: Option<Limit>,
) -> Result<(), Errno> {
    if ask.mm.load_u32(addr)? != expected {
        return Err(Errno::EAGAIN);
    }
    if key == key2 {
        return Err(Errno::EINVAL);
    }
    let waiter = waiter(ask, limit, Some(key2));
    enter(ask.mm, key, 0, BITSET_MATCH_ANY, &waiter)?;
    let queued = || ask.me.links().0.lock().blocked_on.is_some();
    let unchanged = ask.mm.load_u32(addr).map(|now| now == expected);
    if unchanged != Ok(true) {
        // Who changed the word may have moved this waiter already; then it goes on as one that slept.
        let _world = WORLD.lock();
        if waiter.woken().is_none() && !queued() {
            leave(ask.mm, &waiter, &[key]);
            return Err(unchanged.err().unwrap_or(Errno::EAGAIN));
        }
    }
    if let Err(why) = sleep(&waiter, limit) {
        let timed_out = why == WaitError::TimedOut;
        let mut world = WORLD.lock();
        if waiter.woken().is_none() {
            if !queued() {
                leave(ask.mm, &waiter, &[key]);
                return Err(if timed_out { Errno::ETIMEDOUT } else { Errno::ERESTARTNOINTR });
            }
            world.quit(ask.mm, &key2, &waiter);
            // The first word has changed since, so a restarted call would say the same.
            return Err(if timed_out { Errno::ETIMEDOUT } else { Errno::EAGAIN });
        }
    }
    settle(ask, addr2, &key2)
}

/// FUTEX_CMP_REQUEUE_PI: the word at `addr` being `expected`, has its first waiter take the word at `addr2` or wait for it, and up to
/// `most` others wait. Returns how many waiters that were.
pub fn requeue(
    ask: &Asker,
    (addr, key): (VirtAddr, FutexKey),
    expected: u32,
    (addr2, key2): (VirtAddr, FutexKey),
    most: usize,
) -> Result<usize, Errno> {
    loop {
        let mut world = WORLD.lock();
        let done = match ask.mm.try_load_u32(addr) {
            Ok(seen) if seen != expected => Err(Stuck::Failed(Errno::EAGAIN)),
            Ok(_) => world.requeue_all(ask, key, addr2, key2, most),
            Err(fault) => Err(Stuck::Fault(fault)),
        };
        drop(world);
        match done {
            Ok(count) => return Ok(count),
            Err(stuck) => stuck.resolve(ask.mm)?,
        }
    }
}

/// The first that waits for `key`, which must be about to wait for `key2`.
fn first(mm: &Mm, key: &FutexKey, key2: &FutexKey) -> Result<Option<Arc<Waiter>>, Errno> {
    table::at(mm, key, |bucket| {
        let list = bucket.list.lock();
        let Some(entry) = list.iter().find(|entry| entry.key == *key) else { return Ok(None) };
        match entry.waiter.pi.as_ref().and_then(|side| side.target) {
            Some(target) if target == *key2 => Ok(Some(entry.waiter.clone())),
            _ => Err(Errno::EINVAL),
        }
    })
}

impl World {
    fn requeue_all(
        &mut self,
        ask: &Asker,
        key: FutexKey,
        addr2: VirtAddr,
        key2: FutexKey,
        most: usize,
    ) -> Result<usize, Stuck> {
        let Some(top) = first(ask.mm, &key, &key2)? else { return Ok(0) };
        let Some(side) = &top.pi else { return Err(Stuck::Failed(Errno::EINVAL)) };
        let mut count = 0;
        if self.claim(ask, addr2, key2, &side.party, most != 0)? {
            leave_word(ask.mm, &top, &key);
            chain::wake(&top);
            count = 1;
        }
        let result = loop {
            if count > most {
                break Ok(count);
            }
            let waiter = match first(ask.mm, &key, &key2) {
                Ok(Some(waiter)) => waiter,
                Ok(None) => break Ok(count),
                Err(e) => break Err(Stuck::Failed(e)),
            };
            // Out of one bucket, into the other: in both at once it could not be told which entry is which.
            leave_word(ask.mm, &waiter, &key);
            if let Err(e) = self.join(ask.mm, &key2, &waiter) {
                // What was left just now can be entered again: the memory is still there.
                let _ = enter(ask.mm, key, 0, BITSET_MATCH_ANY, &waiter);
                break Err(Stuck::Failed(e));
            }
            count += 1;
        };
        self.tidy(&key2);
        result
    }
}
