//! Changing what decides where and when a thread runs, wherever it is: asleep, waiting in a queue, or running.

use crate::cpu::{self, IDLE, ONLINE};
use crate::cpuset::CpuSet;
use crate::fair::Join;
use crate::group::Group;
use crate::placement;
use crate::policy::{self, IDLE_KEY, Policy};
use crate::switch::enqueue;
use crate::thread::{Flags, Thread, state};
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::sync::atomic::Ordering::*;

impl Thread {
    /// Changes the policy, real-time priority and nice value; takes effect at once.
    pub fn set_policy(self: &Arc<Self>, policy: Policy, rt_priority: u8, nice: i8) {
        self.requeue_with(|| self.store_policy(policy, rt_priority, nice));
    }

    /// Changes the slice it asks for as a fair thread, 0 for none; it counts from the next request on.
    pub fn set_slice(&self, ns: u64) {
        let range = policy::SLICE_RANGE_NS;
        self.store_slice(if ns == 0 { 0 } else { ns.clamp(*range.start(), *range.end()) });
    }

    /// Moves the thread to another group, `None` for the root.
    pub fn set_group(self: &Arc<Self>, group: Option<Arc<Group>>) {
        let mut group = Some(group);
        let before = self.requeue_with(|| group.take().map(|group| self.store_group(group)));
        drop(before);
    }

    /// Lends the thread a rank ([`policy::FAIR_RANK`]), `u8::MAX` for none, in place of what was lent before; whether its rank has
    /// changed by that.
    pub fn set_boost(self: &Arc<Self>, rank: u8) -> bool {
        if self.boost() == rank {
            return false;
        }
        self.requeue_with(|| self.store_boost(rank))
    }

    /// Changes what decides the thread's place in its queue.
    fn requeue_with<R>(self: &Arc<Self>, change: impl FnOnce() -> R) -> R {
        loop {
            let home = cpu::of(self.cpu());
            let mut queue = home.queue.lock();
            if self.cpu() != home.id {
                continue;
            }
            if !self.on_queue.load(Relaxed) || self.key.load(Relaxed) == IDLE_KEY {
                return change();
            }
            queue.charge(crate::now());
            let waiting = queue.take(self);
            queue.leave(self);
            let (rank, key) = (self.rank(), self.key.load(Relaxed));
            let done = change();
            queue.join(self, Join::Again);
            // Among real-time threads of a priority, who has come down to it is the first, and who had it keeps his place.
            match self.rank().cmp(&rank) {
                Ordering::Greater => queue.go_first(self),
                Ordering::Equal if key < policy::FAIR => self.key.store(key, Relaxed),
                _ => {}
            }
            match waiting {
                Some(thread) => {
                    queue.push(thread);
                }
                None => home.rank.store(self.rank(), Relaxed),
            }
            if let Some(current) = &queue.current {
                current.set_flags(Flags::NEED_RESCHED);
            }
            drop(queue);
            if home.id != cpu::this().id && !IDLE.contains(home.id) {
                machine::cpu::kick(home.id);
            }
            return done;
        }
    }

    /// Changes the nice value only.
    pub fn set_nice(self: &Arc<Self>, nice: i8) {
        self.set_policy(self.policy(), self.rt_priority(), nice.clamp(-20, 19));
    }

    /// Restricts the thread to a set of CPUs and moves it there; `false` (and nothing is changed) if none of them is online.
    pub fn set_affinity(self: &Arc<Self>, set: &CpuSet) -> bool {
        if set.and(&ONLINE.load()).is_empty() {
            return false;
        }
        self.affinity.store(set);
        if set.contains(self.cpu()) {
            return true;
        }
        let home = cpu::of(self.cpu());
        let mut queue = home.queue.lock();
        if self.cpu() != home.id {
            return true; // it has just moved, and by the new set
        }
        if let Some(thread) = queue.take(self) {
            queue.leave(&thread);
            home.waiting.store(queue.len() as u32, Relaxed);
            thread.state.store(state::WAKING, Relaxed);
            thread.on_queue.store(false, Relaxed);
            drop(queue);
            let target = cpu::of(placement::choose(&thread, false));
            enqueue(target, target.queue.lock(), thread, Join::Again, false);
        } else if self.on_queue.load(Relaxed) {
            self.set_flags(Flags::NEED_RESCHED);
            drop(queue);
            if home.id != cpu::this().id {
                machine::cpu::kick(home.id);
            }
        }
        true
    }
}
