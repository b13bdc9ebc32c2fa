//! One CPU's run queue: the running thread and those that wait for the CPU, real-time threads before fair ones.

use crate::fair::{FairQueue, Join, Waiting, protection};
use crate::group;
use crate::load::LoadAverage;
use crate::policy::{self, FAIR, IDLE_KEY, Policy};
use crate::thread::{Lane, Thread};
use alloc::sync::Arc;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use posheap::PosHeap;

/// Real-time threads run for so long ...
const RT_MOST_NS: u64 = 950_000_000;
/// ... before they leave so much to fair ones that want the CPU.
const FAIR_PART_NS: u64 = 50_000_000;

/// Real-time threads that wait, on all CPUs.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Whether a real-time thread waits on any CPU.
pub(crate) fn any_realtime_waits() -> bool {
    WAITING.load(Relaxed) != 0
}

/// Guarded by the CPU's queue lock.
pub(crate) struct RunQueue {
    /// Waiting real-time threads by [`policy::rt_key`].
    realtime: PosHeap<Waiting>,
    pub fair: FairQueue,
    /// The thread this CPU runs; `None` before the CPU has been adopted.
    pub current: Option<Arc<Thread>>,
    /// What runs when nothing waits.
    pub idle: Option<Arc<Thread>>,
    /// Since when `current`'s run time has not been charged, and since when it runs without a break.
    pub charged_until: u64,
    pub running_since: u64,
    /// Nanoseconds for which a fair `current` is not challenged by others of its kind.
    protected: u64,
    /// What the fair threads have weighed lately.
    pub load: LoadAverage,
    /// The place behind all real-time threads of a priority, and the one before them: both move outward as they are taken.
    last: u64,
    first: u64,
    /// Since when the rest has not had its part, and what real-time threads have run in that time.
    window_since: u64,
    realtime_ran: u64,
}

impl RunQueue {
    pub const fn new() -> RunQueue {
        RunQueue {
            realtime: PosHeap::new(),
            fair: FairQueue::new(),
            current: None,
            idle: None,
            charged_until: 0,
            running_since: 0,
            protected: 0,
            load: LoadAverage::new(),
            last: policy::RT_MIDDLE,
            first: policy::RT_MIDDLE,
            window_since: 0,
            realtime_ran: 0,
        }
    }
    /// Waiting threads.
    #[inline]
    pub fn len(&self) -> usize {
        self.realtime.len() + self.fair.len()
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Waiting threads, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Thread>> {
        self.realtime().chain(self.fair.iter())
    }
    /// Waiting real-time threads, in no order.
    pub fn realtime(&self) -> impl Iterator<Item = &Arc<Thread>> {
        self.realtime.iter().map(|(_, Waiting(thread))| thread)
    }

    /// Charges the running thread for the time up to `now`; the result is that time.
    #[inline]
    pub fn charge(&mut self, now: u64) -> u64 {
        let ran = now.saturating_sub(self.charged_until);
        self.charged_until = now;
        let Some(current) = &self.current else { return 0 };
        // Who has joined an idle CPU has just done so.
        let idle = current.key.load(Relaxed) == IDLE_KEY;
        self.load.add(if idle { 0 } else { self.fair.load() }, now);
        current.runtime.store(current.runtime.load(Relaxed) + ran, Relaxed);
        match current.key.load(Relaxed) {
            FAIR => self.fair.charge(current, ran),
            IDLE_KEY => return ran,
            _ => {
                let since = now - ran;
                if self.left_by_realtime(since) >= FAIR_PART_NS {
                    (self.window_since, self.realtime_ran) = (since, 0);
                }
                self.realtime_ran += ran;
            }
        }
        if current.is_grouped() {
            group::charge(current, ran);
            if current.key.load(Relaxed) == FAIR {
                self.fair.reweigh(current, group::weight_of(current));
            }
        }
        ran
    }

    /// Whether `current` is the idle thread (or nothing runs yet).
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.key.load(Relaxed) == IDLE_KEY)
    }

    /// Counts a thread that becomes runnable here and gives it its place in the order of its class.
    #[inline]
    pub fn join(&mut self, thread: &Thread, why: Join) {
        let rank = thread.rank();
        if thread.is_grouped() {
            group::runnable(thread);
            thread.weight.store(group::weight_of(thread), Relaxed);
        }
        if rank < policy::FAIR_RANK {
            self.last += 1;
            thread.key.store(policy::rt_key(99 - rank, self.last), Relaxed);
        } else {
            thread.key.store(FAIR, Relaxed);
            self.fair.join(thread, why);
        }
    }
    /// Gives a real-time thread that has just joined the place before the others of its priority.
    pub fn go_first(&mut self, thread: &Thread) {
        let rank = thread.rank();
        if rank < policy::FAIR_RANK {
            self.first -= 1;
            thread.key.store(policy::rt_key(99 - rank, self.first), Relaxed);
        }
    }
    /// Forgets a thread that is not waiting here any more; whether it is a real-time one.
    #[inline]
    pub fn leave(&mut self, thread: &Thread) -> bool {
        let fair = thread.key.load(Relaxed) == FAIR;
        if fair {
            self.fair.leave(thread);
        }
        if thread.is_grouped() {
            group::asleep(thread);
        }
        !fair
    }
    /// Queues a thread that has joined; whether it is a real-time one.
    #[inline]
    pub fn push(&mut self, thread: Arc<Thread>) -> bool {
        let key = thread.key.load(Relaxed);
        if key == FAIR {
            self.fair.push(thread);
            return false;
        }
        thread.lane.store(Lane::REALTIME, Relaxed);
        WAITING.fetch_add(1, Relaxed);
        self.realtime.push(key, Waiting(thread));
        true
    }
    /// Takes a thread out if it waits here; it still counts.
    pub fn take(&mut self, thread: &Thread) -> Option<Arc<Thread>> {
        match thread.lane.load(Relaxed) {
            Lane::NONE => None,
            Lane::REALTIME => {
                thread.lane.store(Lane::NONE, Relaxed);
                WAITING.fetch_sub(1, Relaxed);
                self.realtime.take(thread.run_seat.load(Relaxed)).map(|(_, Waiting(thread))| thread)
            }
            _ => self.fair.take(thread),
        }
    }
    /// What has been left to others in this window.
    fn left_by_realtime(&self, now: u64) -> u64 {
        now.saturating_sub(self.window_since).saturating_sub(self.realtime_ran)
    }
    /// Real-time threads have run for long enough: it is the turn of fair ones, of which one runs or waits.
    pub fn is_throttled(&self, now: u64) -> bool {
        self.realtime_ran >= RT_MOST_NS
            && self.left_by_realtime(now) < FAIR_PART_NS
            && (self.fair.len() != 0 || self.current.as_ref().is_some_and(|current| current.key.load(Relaxed) == FAIR))
    }
    /// A real-time thread has been running for so long that fair ones get nothing here.
    pub fn is_hogged(&self, now: u64) -> bool {
        now.saturating_sub(self.running_since) >= policy::TICK_NS
            && self.current.as_ref().is_some_and(|current| current.key.load(Relaxed) < FAIR)
    }
    /// Takes out who runs next.
    #[inline]
    pub fn pop(&mut self, now: u64) -> Option<Arc<Thread>> {
        if !self.realtime.is_empty() && !self.is_throttled(now) {
            let (_, Waiting(thread)) = self.realtime.pop()?;
            WAITING.fetch_sub(1, Relaxed);
            thread.lane.store(Lane::NONE, Relaxed);
            return Some(thread);
        }
        self.fair.pop()
    }
    /// `thread` begins to run.
    #[inline]
    pub fn begin(&mut self, thread: Arc<Thread>, now: u64) {
        self.protected = protection(&thread);
        self.running_since = now;
        self.current = Some(thread);
    }

    /// Whether `thread`, which has just joined, should take the place of the running one at once.
    #[inline]
    pub fn should_preempt(&mut self, thread: &Thread, now: u64) -> bool {
        let Some(current) = &self.current else { return true };
        let (new, running) = (thread.key.load(Relaxed), current.key.load(Relaxed));
        if running == IDLE_KEY || new < FAIR {
            return new < running && (new >= FAIR || !self.is_throttled(now));
        }
        if running < FAIR {
            return false;
        }
        match (thread.policy(), current.policy()) {
            (Policy::Idle, _) => return false,
            (_, Policy::Idle) => return true,
            (Policy::Batch, _) => return false,
            _ => {}
        }
        let short = thread.slice_ns() < current.slice_ns();
        if !short && now.saturating_sub(self.running_since) < self.protected {
            return false;
        }
        let first = self.fair.comes_before(thread, current);
        if first {
            self.protected = 0;
        }
        first
    }

    /// Whether `current`, which could go on, has to make room. `yielding`: it wants to.
    #[inline]
    pub fn has_to_yield(&mut self, yielding: bool, now: u64) -> bool {
        let Some(current) = self.current.clone() else { return true };
        let running = current.key.load(Relaxed);
        if running == IDLE_KEY {
            return !self.is_empty();
        }
        if running < FAIR {
            if self.is_throttled(now) {
                return true;
            }
            let over =
                current.policy() == Policy::RoundRobin && now.saturating_sub(self.running_since) >= policy::RR_SLICE_NS;
            if yielding || over {
                // Behind the others of its priority.
                self.last += 1;
                current.key.store(policy::rt_key(99 - current.rank().min(99), self.last), Relaxed);
            }
            let running = current.key.load(Relaxed);
            return self.realtime.least().is_some_and(|first| first < running);
        }
        if !self.realtime.is_empty() && !self.is_throttled(now) {
            return true;
        }
        if self.fair.len() == 0 {
            return false;
        }
        if yielding {
            self.fair.skip(&current);
        } else if now.saturating_sub(self.running_since) < self.protected {
            return false;
        }
        let Some(deadline) = self.fair.first() else { return false };
        if self.fair.may_go_on(&current, deadline) {
            (self.running_since, self.protected) = (now, protection(&current));
            return false;
        }
        true
    }

    /// How long the running thread may go on while others wait.
    pub fn slice(&self) -> u64 {
        match &self.current {
            Some(current) if current.key.load(Relaxed) < FAIR => match current.policy() {
                Policy::RoundRobin => policy::RR_SLICE_NS,
                _ if self.fair.len() != 0 => RT_MOST_NS,
                _ => u64::MAX / 4,
            },
            Some(current) => protection(current),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpuset::CpuSet;
    use machine::cpu::CpuId;

    const MS: u64 = 1_000_000;

    fn joined(queue: &mut RunQueue, policy: Policy, priority: u8) -> Arc<Thread> {
        let thread = Arc::new(Thread::new("t", CpuSet::all(), CpuId(0)));
        thread.store_policy(policy, priority, 0);
        queue.join(&thread, Join::New);
        thread
    }

    /// Lets the running thread run until `now`; whether it has to make room then.
    fn run(queue: &mut RunQueue, now: u64) -> bool {
        queue.charge(now);
        queue.has_to_yield(false, now)
    }

    #[test]
    fn the_time_a_cpu_was_idle_weighs_nothing() {
        let mut queue = RunQueue::new();
        let idle = Arc::new(Thread::new("idle", CpuSet::all(), CpuId(0)));
        idle.key.store(IDLE_KEY, Relaxed);
        queue.begin(idle, 0);
        let wakes = joined(&mut queue, Policy::Normal, 0);
        queue.charge(90 * MS);
        queue.begin(wakes, 90 * MS);
        queue.charge(100 * MS);
        queue.load.sample();
        assert_eq!(queue.load.average(), 1024 * 10 / 110);
    }

    #[test]
    fn realtime_threads_leave_fair_ones_their_part() {
        let mut queue = RunQueue::new();
        let start = 5000 * MS;
        queue.charged_until = start;
        let (spins, wants) = (joined(&mut queue, Policy::Fifo, 10), joined(&mut queue, Policy::Normal, 0));
        queue.begin(spins.clone(), start);
        queue.push(wants.clone());
        assert!(!run(&mut queue, start + 10 * MS));
        // Some idle time, less than the part of the others, does not begin a new window.
        queue.charged_until = start + 40 * MS;
        assert!(!run(&mut queue, start + 979 * MS));
        assert!(run(&mut queue, start + 980 * MS));
        queue.current = None;
        queue.push(spins);
        let next = queue.pop(start + 980 * MS).expect("one waits");
        assert!(Arc::ptr_eq(&next, &wants));
        queue.begin(next, start + 980 * MS);
        assert!(!run(&mut queue, start + 990 * MS), "alone of its kind, it keeps its part");
        let wakes = joined(&mut queue, Policy::Fifo, 20);
        assert!(!queue.should_preempt(&wakes, start + 995 * MS));
        assert!(run(&mut queue, start + 1000 * MS));
        assert!(queue.should_preempt(&wakes, start + 1000 * MS));
    }
}
