//! Owners and waiters, and the priorities that go from these to those.

use super::{Life, Locker, Side, same};
use crate::futex::table::hash;
use crate::futex::{Waiter, enter, leave_word};
use abi::Errno;
use abi::futex::BITSET_MATCH_ANY;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::*;
use machine::sync::SpinLock;
use mm::{FutexKey, Mm};
use sched::policy::FAIR_RANK;

/// The longest chain of owners that wait for owners; a longer one is taken for a circle (`max_lock_depth`).
const MAX_CHAIN: usize = 1024;

/// A word that someone waits for.
pub(super) struct Lock {
    key: FutexKey,
    pub owner: Arc<dyn Locker>,
    /// The word names the owner. If not, the owner is about to write it.
    pub settled: bool,
    /// Highest priority first, then in order of arrival. Empty only while it is not settled or an operation is under way.
    waiters: Vec<Arc<Waiter>>,
}

/// All words that someone waits for, hashed as in the table of waiters.
pub(in crate::futex) struct World([Vec<Lock>; SLOTS]);

const SLOTS: usize = 64;

pub(in crate::futex) static WORLD: SpinLock<World> = SpinLock::new(World([const { Vec::new() }; SLOTS]));

/// The place in a queue: all fair threads are equal.
fn place(rank: u8) -> u8 {
    rank.min(FAIR_RANK)
}

fn insert(waiters: &mut Vec<Arc<Waiter>>, waiter: Arc<Waiter>) {
    let rank = |w: &Arc<Waiter>| w.pi.as_ref().map_or(u8::MAX, |side| place(side.rank.load(Relaxed)));
    let mine = rank(&waiter);
    let at = waiters.partition_point(|other| rank(other) <= mine);
    waiters.insert(at, waiter);
}

impl Lock {
    pub fn top(&self) -> Option<&Arc<dyn Locker>> {
        Some(&self.waiters.first()?.pi.as_ref()?.party)
    }
    fn place_of(&self, party: &Arc<dyn Locker>) -> Option<usize> {
        self.waiters.iter().position(|w| w.pi.as_ref().is_some_and(|side| same(&side.party, party)))
    }
}

impl World {
    pub(super) fn find(&mut self, key: &FutexKey) -> Option<&mut Lock> {
        self.0.get_mut(hash(key) % SLOTS)?.iter_mut().find(|lock| lock.key == *key)
    }
    fn owner_of(&mut self, key: &FutexKey) -> Option<Arc<dyn Locker>> {
        self.find(key).map(|lock| lock.owner.clone())
    }

    /// Makes the entry of a word whose owner is `owner`. The error says that the owner is ending or has ended.
    pub(super) fn create(&mut self, key: FutexKey, owner: &Arc<dyn Locker>) -> Result<Result<(), Ending>, Errno> {
        let mut held = owner.links().0.lock();
        match held.life {
            Life::Alive => {}
            Life::Leaving => return Ok(Err(Ending::Leaving)),
            Life::Gone => return Ok(Err(Ending::Gone)),
        }
        let slot = self.0.get_mut(hash(&key) % SLOTS).ok_or(Errno::ENOMEM)?;
        // If it waits for a word it may come to own that too, when there is no way to fail.
        held.owns.try_reserve(2).map_err(|_| Errno::ENOMEM)?;
        slot.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        held.owns.push(key);
        slot.push(Lock { key, owner: owner.clone(), settled: true, waiters: Vec::new() });
        Ok(Ok(()))
    }

    /// Takes away the entry of a word that nobody waits for any more.
    pub(super) fn tidy(&mut self, key: &FutexKey) {
        let Some(slot) = self.0.get_mut(hash(key) % SLOTS) else { return };
        let Some(at) = slot.iter().position(|l| l.key == *key && l.settled && l.waiters.is_empty()) else { return };
        let lock = slot.swap_remove(at);
        lock.owner.links().0.lock().owns.retain(|k| k != key);
        self.lend(lock.owner);
    }

    /// Queues a waiter for a word that has an entry. EDEADLK if its owner waits, through others, for what the waiter owns.
    pub(super) fn join(&mut self, mm: &Mm, key: &FutexKey, waiter: &Arc<Waiter>) -> Result<(), Errno> {
        let Some(Side { party, rank, .. }) = &waiter.pi else { return Err(Errno::EINVAL) };
        let mut owner = self.owner_of(key);
        for _ in 0..MAX_CHAIN {
            let Some(at) = owner.take() else { break };
            if same(&at, party) {
                return Err(Errno::EDEADLK);
            }
            let blocked_on = at.links().0.lock().blocked_on;
            owner = blocked_on.and_then(|key| self.owner_of(&key));
        }
        if owner.is_some() {
            return Err(Errno::EDEADLK);
        }
        let Some(lock) = self.find(key) else { return Err(Errno::EINVAL) };
        lock.waiters.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        {
            let mut held = party.links().0.lock();
            held.owns.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            enter(mm, *key, 0, BITSET_MATCH_ANY, waiter)?;
            held.blocked_on = Some(*key);
        }
        rank.store(waiter.thread.rank(), Relaxed);
        insert(&mut lock.waiters, waiter.clone());
        let owner = lock.owner.clone();
        self.lend(owner);
        Ok(())
    }

    /// Takes a waiter out of the queue it stands in.
    pub(super) fn quit(&mut self, mm: &Mm, key: &FutexKey, waiter: &Arc<Waiter>) {
        let Some(side) = &waiter.pi else { return };
        side.party.links().0.lock().blocked_on = None;
        leave_word(mm, waiter, key);
        let Some(lock) = self.find(key) else { return };
        lock.waiters.retain(|w| !Arc::ptr_eq(w, waiter));
        let owner = lock.owner.clone();
        self.lend(owner);
        self.tidy(key);
    }

    /// Passes a word on to the first of its waiters, which wakes; false if nobody waits.
    pub(super) fn pass(&mut self, mm: &Mm, key: &FutexKey, settled: bool) -> bool {
        let Some(lock) = self.find(key) else { return false };
        if lock.waiters.is_empty() {
            return false;
        }
        let waiter = lock.waiters.remove(0);
        let Some(side) = &waiter.pi else { return false };
        let before = core::mem::replace(&mut lock.owner, side.party.clone());
        lock.settled = settled;
        before.links().0.lock().owns.retain(|k| k != key);
        {
            let mut held = side.party.links().0.lock();
            held.blocked_on = None;
            held.owns.push(*key); // reserved when it joined
        }
        self.lend(before);
        self.lend(side.party.clone());
        leave_word(mm, &waiter, key);
        if settled {
            self.tidy(key);
        }
        wake(&waiter);
        true
    }

    /// The owner has ended, or leaves `mm`: its words pass on or are forgotten.
    pub(in crate::futex) fn disown(&mut self, mm: &Mm, owner: &dyn Locker) {
        loop {
            let Some(key) = owner.links().0.lock().owns.last().copied() else { return };
            if !self.pass(mm, &key, false) {
                if let Some(lock) = self.find(&key) {
                    lock.settled = true;
                }
                self.tidy(&key);
                owner.links().0.lock().owns.retain(|k| *k != key);
            }
        }
    }

    /// Gives an owner the priority of the first who waits for it, and so on along the chain as far as something changes.
    fn lend(&mut self, owner: Arc<dyn Locker>) {
        let mut next = Some(owner);
        for _ in 0..MAX_CHAIN {
            let Some(party) = next.take() else { return };
            let mut best = u8::MAX;
            for i in 0.. {
                let Some(key) = party.links().0.lock().owns.get(i).copied() else { break };
                let top = self.find(&key).and_then(|lock| lock.waiters.first());
                best = best.min(top.map_or(u8::MAX, |w| w.thread.rank()));
            }
            if party.thread().is_none_or(|thread| !thread.set_boost(best)) {
                return;
            }
            next = self.requeue(&party);
        }
    }

    /// Puts a waiting thread where its priority now belongs; returns who owns what it waits for.
    fn requeue(&mut self, party: &Arc<dyn Locker>) -> Option<Arc<dyn Locker>> {
        let key = party.links().0.lock().blocked_on?;
        let lock = self.find(&key)?;
        let at = lock.place_of(party)?;
        let waiter = lock.waiters.remove(at);
        if let Some(side) = &waiter.pi {
            side.rank.store(waiter.thread.rank(), Relaxed);
        }
        insert(&mut lock.waiters, waiter);
        Some(lock.owner.clone())
    }
}

/// Why a thread can not be attached to as an owner.
pub(super) enum Ending {
    Leaving,
    Gone,
}

/// Tells a waiter that the word is its own.
pub(super) fn wake(waiter: &Waiter) {
    waiter.woken_for.store(0, Release);
    waiter.thread.wake();
}

/// The scheduling parameters of a thread have changed: what it lends as a waiter changes too.
pub fn priority_changed(party: &Arc<dyn Locker>) {
    if party.links().0.lock().blocked_on.is_none() {
        return;
    }
    let mut world = WORLD.lock();
    if let Some(owner) = world.requeue(party) {
        world.lend(owner);
    }
}
