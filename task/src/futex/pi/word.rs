//! Taking and giving up a priority-inheriting word.

use super::chain::{Ending, World};
use super::{Asker, Life, Locker, Side, Stuck, WORLD};
use crate::futex::limit::{Limit, sleep};
use crate::futex::{Waiter, key as key_of, table};
use abi::Errno;
use abi::futex::word;
use alloc::sync::Arc;
use core::sync::atomic::AtomicU8;
use machine::VirtAddr;
use mm::user::UserPtr;
use mm::{FutexKey, Mm};
use sched::WaitError;

/// Whether a thread waits for the word as a plain one.
fn waited_for_plainly(mm: &Mm, key: &FutexKey) -> bool {
    table::at(mm, key, |bucket| bucket.list.lock().iter().any(|e| e.key == *key))
}

fn swap(mm: &Mm, addr: VirtAddr, old: u32, new: u32) -> Result<(), Stuck> {
    mm.try_cmpxchg_u32(addr, old, new)?.map(|_| ()).map_err(|_| Stuck::Changed)
}

/// A waiter of the current thread.
pub(super) fn waiter(ask: &Asker, limit: Option<Limit>, target: Option<FutexKey>) -> Arc<Waiter> {
    Waiter::new(limit, Some(Side { party: ask.me.clone(), rank: AtomicU8::new(u8::MAX), target }))
}

impl World {
    /// Takes the word for `party` if nobody owns it (true); else sees to it that the owner is known and has to call the kernel to
    /// unlock (false). `mark`: others are to wait for `party`, so that goes for `party` too.
    pub(super) fn claim(
        &mut self,
        ask: &Asker,
        addr: VirtAddr,
        key: FutexKey,
        party: &Arc<dyn Locker>,
        mark: bool,
    ) -> Result<bool, Stuck> {
        let seen = ask.mm.try_load_u32(addr)?;
        let (owner, nr) = (seen & word::TID_MASK, ask.number(party));
        if owner == nr {
            return Err(Stuck::Failed(Errno::EDEADLK));
        }
        if let Some(lock) = self.find(&key) {
            if lock.settled && owner != ask.number(&lock.owner) {
                return Err(Stuck::Failed(Errno::EINVAL));
            }
            return Ok(false);
        }
        if waited_for_plainly(ask.mm, &key) {
            return Err(Stuck::Failed(Errno::EINVAL));
        }
        if owner == 0 {
            swap(ask.mm, addr, seen, nr | seen & word::OWNER_DIED | if mark { word::WAITERS } else { 0 })?;
            if mark {
                // A waiter that is being moved is in no state to end.
                let _ = self.create(key, party)?;
            }
            return Ok(true);
        }
        let marked = seen | word::WAITERS;
        swap(ask.mm, addr, seen, marked)?;
        let gone = |mm: &Mm| match mm.try_load_u32(addr) {
            Ok(now) if now == marked => Stuck::Failed(Errno::ESRCH),
            Ok(_) => Stuck::Changed,
            Err(fault) => Stuck::Fault(fault),
        };
        let Some(owner) = ask.me.find(owner) else { return Err(gone(ask.mm)) };
        if let FutexKey::Private { mm, .. } = key
            && owner.links().life() == Life::Alive
            && !owner.runs_in(mm)
        {
            return Err(Stuck::Failed(Errno::EPERM));
        }
        match self.create(key, &owner)? {
            Ok(()) => Ok(false),
            Err(Ending::Leaving) => Err(Stuck::Leaving(owner)),
            Err(Ending::Gone) => Err(gone(ask.mm)),
        }
    }

    /// Writes the word that the current thread got from an owner that ended.
    fn settle(&mut self, ask: &Asker, addr: VirtAddr, key: &FutexKey) -> Result<(), Stuck> {
        let nr = ask.number(&ask.me);
        match self.find(key) {
            Some(lock) if !lock.settled && super::same(&lock.owner, &ask.me) => {
                let seen = ask.mm.try_load_u32(addr)?;
                swap(ask.mm, addr, seen, nr | word::WAITERS | word::OWNER_DIED)?;
                lock.settled = true;
            }
            _ => return Ok(()),
        }
        self.tidy(key);
        Ok(())
    }

    /// Gives up the word, which was `seen` and names the current thread.
    fn release(&mut self, ask: &Asker, addr: VirtAddr, key: &FutexKey, seen: u32) -> Result<(), Stuck> {
        let Some(lock) = self.find(key) else {
            if waited_for_plainly(ask.mm, key) {
                return Err(Stuck::Failed(Errno::EINVAL));
            }
            let freed = ask.mm.try_cmpxchg_u32(addr, seen, 0)?;
            return freed.map(|_| ()).map_err(|_| Stuck::Failed(Errno::EAGAIN));
        };
        if !super::same(&lock.owner, &ask.me) {
            return Err(Stuck::Failed(Errno::EINVAL));
        }
        // The mark stays: the next unlock has to come here, where it is seen that nobody waits.
        let next = lock.top().map_or(0, |top| ask.number(top) | word::WAITERS);
        match ask.mm.try_cmpxchg_u32(addr, seen, next)? {
            Ok(_) => {}
            // A waiter has set its mark meanwhile.
            Err(now) if now & word::TID_MASK == seen => return Err(Stuck::Changed),
            Err(_) => return Err(Stuck::Failed(Errno::EINVAL)),
        }
        lock.settled = true;
        if !self.pass(ask.mm, key, true) {
            self.tidy(key);
        }
        Ok(())
    }
}

/// FUTEX_LOCK_PI and, with `only_try`, FUTEX_TRYLOCK_PI.
pub fn lock(ask: &Asker, addr: VirtAddr, key: FutexKey, limit: Option<Limit>, only_try: bool) -> Result<(), Errno> {
    let waiter = loop {
        let mut world = WORLD.lock();
        match world.claim(ask, addr, key, &ask.me, false) {
            Ok(true) => return Ok(()),
            Ok(false) if only_try => {
                world.tidy(&key);
                return Err(Errno::EAGAIN);
            }
            Ok(false) => {
                let waiter = waiter(ask, limit, None);
                if let Err(e) = world.join(ask.mm, &key, &waiter) {
                    world.tidy(&key);
                    return Err(e);
                }
                break waiter;
            }
            Err(stuck) => {
                drop(world);
                stuck.resolve(ask.mm)?;
            }
        }
    };
    if let Err(why) = sleep(&waiter, limit) {
        let mut world = WORLD.lock();
        if waiter.woken().is_none() {
            world.quit(ask.mm, &key, &waiter);
            return Err(match why {
                WaitError::TimedOut => Errno::ETIMEDOUT,
                WaitError::Interrupted => Errno::ERESTARTNOINTR,
            });
        }
    }
    settle(ask, addr, &key)
}

/// What the new owner of a word does when it wakes.
pub(super) fn settle(ask: &Asker, addr: VirtAddr, key: &FutexKey) -> Result<(), Errno> {
    loop {
        let done = WORLD.lock().settle(ask, addr, key);
        match done {
            Ok(()) => return Ok(()),
            Err(stuck) => stuck.resolve(ask.mm)?,
        }
    }
}

/// FUTEX_UNLOCK_PI: gives the word to the waiter of the highest priority, or frees it.
pub fn unlock(ask: &Asker, addr: VirtAddr, shared: bool) -> Result<(), Errno> {
    loop {
        // A look at the owner comes before anything else, also before the word is known to be aligned.
        let seen = UserPtr::<u32>::new(addr).read(ask.mm)?;
        if seen & word::TID_MASK != ask.number(&ask.me) {
            return Err(Errno::EPERM);
        }
        let key = key_of(ask.mm, addr, shared, true)?;
        let done = WORLD.lock().release(ask, addr, &key, seen);
        match done {
            Ok(()) => return Ok(()),
            Err(stuck) => stuck.resolve(ask.mm)?,
        }
    }
}
