//! Who looks after the global time-outs of CPUs that sleep.
//!
//! A CPU that has nothing to run publishes the moment of its first global time-out in a tree: eight CPUs to a leaf, eight groups to a
//! group above. Each group with an active member has one of them as its *migrator*, which looks at each tick for time-outs of
//! sleeping members that are due and runs them; so a sleeping CPU is not woken for work that any other can do. A group whose last
//! member falls asleep tells its parent its first moment as if it were one CPU. Who puts the whole tree to sleep becomes its *keeper*:
//! he sets his own timer to the earliest moment of all.
//!
//! A group's state (who is active, who migrates, a count of changes) is one word, changed by compare-exchange; waking up takes no lock.
//! Falling asleep takes the event locks from the leaf upward, all held at once: leaf, its parent, ..., root. A sleeper reads the parent's
//! state *before* the child's: if the child wakes meanwhile, either he sees that or his exchange on the parent fails. Pure but for
//! locks and atomics; time and time-outs are the caller's, so that tests can simulate any number of CPUs.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use machine::sync::IrqLock;

const FANOUT: usize = 8;
/// No moment.
pub(crate) const NEVER: u64 = u64::MAX;

/// A group's word: bits 0 to 7 which members are active, 8 to 11 the migrator, 16 to 31 a count.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u32);

impl State {
    const NOBODY: u32 = 15;
    const ASLEEP: State = State(State::NOBODY << 8);

    fn is_awake(self) -> bool {
        self.0 & 0xff != 0
    }
    fn has(self, slot: usize) -> bool {
        self.0 & 1 << slot != 0
    }
    fn migrator(self) -> Option<usize> {
        let slot = self.0 >> 8 & 15;
        (slot != State::NOBODY).then_some(slot as usize)
    }
    fn make(self, active: u32, migrator: Option<usize>) -> State {
        let migrator = migrator.map_or(State::NOBODY, |slot| slot as u32);
        State((self.0 & 0xffff_0000).wrapping_add(1 << 16) | migrator << 8 | active)
    }
    fn with(self, slot: usize) -> State {
        self.make(self.0 & 0xff | 1 << slot, self.migrator().or(Some(slot)))
    }
    fn without(self, slot: usize) -> State {
        let active = self.0 & 0xff & !(1 << slot);
        let heir = (active != 0).then(|| active.trailing_zeros() as usize);
        self.make(active, if self.migrator() == Some(slot) { heir } else { self.migrator() })
    }
}

struct Group {
    /// The group above, and this one's slot there.
    parent: Option<(usize, usize)>,
    /// Number of the first member: a CPU on the lowest level, a group above.
    members: usize,
    is_leaf: bool,
    state: AtomicU32,
    /// The first moment of each sleeping member; what a member that is awake left here counts no more.
    events: IrqLock<[u64; FANOUT]>,
    /// The least of them, readable without the lock.
    next: AtomicU64,
}

impl Group {
    fn state(&self) -> State {
        State(self.state.load(Acquire))
    }
    /// Changes the word; gives it before and after. `change` is called again if somebody else was faster.
    fn update(&self, mut change: impl FnMut(State) -> State) -> (State, State) {
        let mut old = self.state();
        loop {
            let new = change(old);
            match self.state.compare_exchange_weak(old.0, new.0, AcqRel, Acquire) {
                Ok(_) => return (old, new),
                Err(now) => old = State(now),
            }
        }
    }
    /// Stores a member's moment; gives the group's first.
    fn publish(&self, events: &mut [u64; FANOUT], slot: usize, moment: u64) -> u64 {
        if let Some(event) = events.get_mut(slot) {
            *event = moment;
        }
        let first = events.iter().copied().min().unwrap_or(NEVER);
        self.next.store(first, Release);
        first
    }
}

/// The tree of all CPUs; all asleep at first.
pub(crate) struct Tree {
    groups: Vec<Group>,
    /// The sleeping CPU that wakes up for all, and when; changed under the root's event lock, but for the CPU's leave when it wakes.
    keeper: AtomicUsize,
    keeps: AtomicU64,
}

const NO_KEEPER: usize = usize::MAX;

impl Tree {
    pub fn new(cpus: usize) -> Tree {
        let mut groups: Vec<Group> = Vec::new();
        let (mut members, mut first, mut is_leaf) = (cpus.max(1), 0, true);
        loop {
            let count = members.div_ceil(FANOUT);
            let start = groups.len();
            for i in 0..count {
                groups.push(Group {
                    parent: (count > 1).then(|| (start + count + i / FANOUT, i % FANOUT)),
                    members: first + i * FANOUT,
                    is_leaf,
                    state: AtomicU32::new(State::ASLEEP.0),
                    events: IrqLock::new([NEVER; FANOUT]),
                    next: AtomicU64::new(NEVER),
                });
            }
            if count == 1 {
                return Tree { groups, keeper: AtomicUsize::new(NO_KEEPER), keeps: AtomicU64::new(NEVER) };
            }
            (members, first, is_leaf) = (count, start, false);
        }
    }

    fn leaf(&self, cpu: usize) -> (usize, usize) {
        (cpu / FANOUT, cpu % FANOUT)
    }

    /// `cpu` is going to run something.
    pub fn wake(&self, cpu: usize) {
        // Awake, it sees to what was its to wake up for; so does the next that falls asleep last.
        let _ = self.keeper.compare_exchange(cpu, NO_KEEPER, AcqRel, Relaxed);
        let mut at = Some(self.leaf(cpu));
        while let Some((group, slot)) = at
            && let Some(group) = self.groups.get(group)
        {
            let (before, _) = group.update(|state| state.with(slot));
            if before.is_awake() {
                return;
            }
            at = group.parent;
        }
    }

    /// `cpu` has nothing to run and its first global time-out is at `first`; also to be called when that changes while it sleeps. Gives
    /// the moment that this CPU has to wake up for on behalf of all, if that falls to it now.
    pub fn sleep(&self, cpu: usize, first: u64) -> Option<u64> {
        let (group, slot) = self.leaf(cpu);
        self.leave(cpu, group, slot, first, &|| false)
    }

    fn leave(&self, cpu: usize, group: usize, slot: usize, first: u64, awake: &dyn Fn() -> bool) -> Option<u64> {
        let group = self.groups.get(group)?;
        let mut events = group.events.lock();
        let first = group.publish(&mut events, slot, first);
        let new = group.update(|state| if awake() { state } else { state.without(slot) }).1;
        if new.is_awake() {
            return None; // its migrator looks at each tick
        }
        match group.parent {
            Some((parent, slot)) => self.leave(cpu, parent, slot, first, &|| group.state().is_awake()),
            None => self.keep(cpu, first).then_some(first),
        }
    }

    /// All CPUs sleep until `moment`: makes `cpu` the keeper unless another wakes up early enough. Under the root's event lock.
    fn keep(&self, cpu: usize, moment: u64) -> bool {
        let keeper = self.keeper.load(Acquire);
        if moment == NEVER || keeper != NO_KEEPER && keeper != cpu && self.keeps.load(Relaxed) <= moment {
            return false;
        }
        self.keeper.store(cpu, Release);
        self.keeps.store(moment, Relaxed);
        true
    }

    /// A tick of `cpu`, which is awake: runs what is due of the members it is the migrator for. `run` runs the global time-outs of one CPU
    /// and gives its next moment.
    pub fn tick(&self, cpu: usize, now: u64, run: &mut dyn FnMut(usize) -> u64) {
        let mut at = Some(self.leaf(cpu));
        while let Some((number, slot)) = at
            && let Some(group) = self.groups.get(number)
            && group.state().migrator().is_none_or(|migrator| migrator == slot)
        {
            self.expire(number, now, run);
            at = group.parent;
        }
    }

    /// Something is due that `cpu`, which is awake, is to run: to be asked before it sleeps, as its heirs have just looked perhaps.
    pub fn owes(&self, cpu: usize, now: u64) -> bool {
        let mut at = Some(self.leaf(cpu));
        while let Some((number, slot)) = at
            && let Some(group) = self.groups.get(number)
            && group.state().migrator().is_none_or(|migrator| migrator == slot)
        {
            if group.next.load(Acquire) <= now {
                return true;
            }
            at = group.parent;
        }
        false
    }

    /// `cpu`, which sleeps, woke up for all: runs what is due anywhere, and gives the next moment it has to wake up for.
    pub fn wake_up_call(&self, cpu: usize, now: u64, run: &mut dyn FnMut(usize) -> u64) -> u64 {
        let Some(root) = self.groups.len().checked_sub(1) else { return NEVER };
        self.expire(root, now, run);
        let Some(group) = self.groups.get(root) else { return NEVER };
        let _events = group.events.lock();
        let next = group.next.load(Relaxed);
        // Its alarm is spent: it is the keeper no more, unless it sets it anew.
        let _ = self.keeper.compare_exchange(cpu, NO_KEEPER, AcqRel, Relaxed);
        if !group.state().is_awake() && self.keep(cpu, next) { next } else { NEVER }
    }

    /// Runs what is due of sleeping members of a group; gives the group's next moment.
    fn expire(&self, number: usize, now: u64, run: &mut dyn FnMut(usize) -> u64) -> u64 {
        let Some(group) = self.groups.get(number) else { return NEVER };
        for slot in 0..FANOUT {
            if group.next.load(Acquire) > now {
                break;
            }
            {
                let mut events = group.events.lock();
                if events.get(slot).is_none_or(|at| *at > now) {
                    continue;
                }
                group.publish(&mut events, slot, NEVER);
                if group.state().has(slot) {
                    continue; // awake: it sees to its own
                }
            }
            let member = group.members + slot;
            let next = if group.is_leaf { run(member) } else { self.expire(member, now, run) };
            let mut events = group.events.lock();
            // It may have woken up and fallen asleep again meanwhile, with a moment of its own.
            if let Some(published) = events.get(slot).copied() {
                group.publish(&mut events, slot, published.min(next));
            }
        }
        group.next.load(Acquire)
    }
}

#[cfg(test)]
mod tests;
