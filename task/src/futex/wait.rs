//! Waiting for one word or for several.

use super::limit::{Limit, sleep};
use super::{Waiter, enter, leave};
use abi::Errno;
use abi::futex::BITSET_MATCH_ANY;
use machine::VirtAddr;
use mm::{FutexKey, Mm};
use sched::WaitError;
use smallvec::SmallVec;

/// FUTEX_WAIT and FUTEX_WAIT_BITSET: sleeps until woken if the word at `addr` is `expected`. EAGAIN if it is not, ETIMEDOUT past
/// the deadline, ERESTARTSYS for a signal.
pub fn wait(
    mm: &Mm,
    addr: VirtAddr,
    key: FutexKey,
    expected: u32,
    bitset: u32,
    limit: Option<Limit>,
) -> Result<(), Errno> {
    if mm.load_u32(addr)? != expected {
        return Err(Errno::EAGAIN);
    }
    let waiter = Waiter::new(limit, None);
    enter(mm, key, 0, bitset, &waiter)?;
    let unchanged = mm.load_u32(addr).map(|now| now == expected);
    let result = match unchanged {
        Ok(true) => sleep(&waiter, limit).map(|_| ()).map_err(|e| match e {
            WaitError::TimedOut => Errno::ETIMEDOUT,
            WaitError::Interrupted => Errno::ERESTARTSYS,
        }),
        Ok(false) => Err(Errno::EAGAIN),
        Err(e) => Err(e),
    };
    leave(mm, &waiter, &[key]);
    // A wake-up that chose this thread must not be lost, whatever else ended the wait.
    if waiter.woken().is_some() { Ok(()) } else { result }
}

/// One word of futex_waitv(2).
pub struct Multi {
    /// Where it is.
    pub addr: VirtAddr,
    /// Its identity.
    pub key: FutexKey,
    /// The value it must have.
    pub expected: u32,
}

/// Sleeps until woken for one of the words, all of which must have their expected values; returns which.
pub fn wait_multi(mm: &Mm, words: &[Multi], limit: Option<Limit>) -> Result<u32, Errno> {
    let waiter = Waiter::new(limit, None);
    let keys: SmallVec<[FutexKey; 4]> = words.iter().map(|w| w.key).collect();
    let enter_all = || -> Result<(), Errno> {
        for (index, word) in words.iter().enumerate() {
            enter(mm, word.key, index as u32, BITSET_MATCH_ANY, &waiter)?;
            if mm.load_u32(word.addr)? != word.expected {
                return Err(Errno::EAGAIN);
            }
        }
        Ok(())
    };
    let result = enter_all().and_then(|()| {
        sleep(&waiter, limit).map_err(|e| match e {
            WaitError::TimedOut => Errno::ETIMEDOUT,
            WaitError::Interrupted => Errno::ERESTARTSYS,
        })
    });
    leave(mm, &waiter, &keys);
    waiter.woken().map_or(result, Ok)
}
