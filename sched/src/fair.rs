//! The fair queue of one CPU: of those who are owed time, the one with the earliest virtual deadline runs.
//!
//! Virtual time goes by at a rate inverse to the weight of all runnable threads, so that in the ideal each gets its share at every
//! moment. A thread's *virtual runtime* is what it has got; the weighted average of all of them is what each is entitled to. Who
//! is behind the average (has *lag*) is *eligible*. Each request is for a slice: it ends at the virtual deadline, the runtime at its
//! begin plus the slice by weight, so that a thread with a short slice is served sooner but gets no more. Lag is kept over sleep.
//!
//! Queued threads sit in one of two heaps: `ready` by deadline, `early` by virtual runtime. A thread moves to `ready` when the
//! average has passed it; one that is found there not to be eligible any more (a sleeper with lag has moved the average back)
//! moves to `early`. So choosing costs the logarithm of the number of threads, and nothing is done for those who just wait.
//!
//! Source: I. Stoica, H. Abdel-Wahab, "Earliest Eligible Virtual Deadline First" (1995).

use crate::policy::{self, NICE_0_WEIGHT, TICK_NS};
use crate::thread::{Lane, Thread};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use posheap::{PosHeap, Seat};

/// A thread waiting in a run queue.
pub(crate) struct Waiting(pub Arc<Thread>);

impl Seat for Waiting {
    #[inline]
    fn seat(&self) -> usize {
        self.0.run_seat.load(Relaxed)
    }
    #[inline]
    fn set_seat(&self, at: usize) {
        self.0.run_seat.store(at, Relaxed);
    }
}

/// Why a thread joins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// It has slept or comes from another CPU.
    Again,
    /// It has just been made.
    New,
}

/// The fair threads of a CPU; `load` and `sum` count the running one too.
pub(crate) struct FairQueue {
    ready: PosHeap<Waiting>,
    early: PosHeap<Waiting>,
    /// Sum of the weights.
    load: u64,
    /// Sum of `weight * (vruntime - base)`.
    sum: i64,
    /// A virtual moment near the average.
    base: u64,
}

/// `ns` of running time in virtual time.
#[inline]
fn virtual_ns(ns: u64, weight: u64) -> u64 {
    if weight == NICE_0_WEIGHT { ns } else { ns.saturating_mul(NICE_0_WEIGHT) / weight.max(1) }
}

/// The longest lag a thread may keep, in virtual time.
fn lag_limit(thread: &Thread, weight: u64) -> i64 {
    virtual_ns((2 * thread.slice_ns()).max(TICK_NS), weight) as i64
}

impl FairQueue {
    pub const fn new() -> FairQueue {
        FairQueue { ready: PosHeap::new(), early: PosHeap::new(), load: 0, sum: 0, base: 1 << 40 }
    }
    /// Waiting threads.
    #[inline]
    pub fn len(&self) -> usize {
        self.ready.len() + self.early.len()
    }
    /// Sum of the weights of all runnable fair threads.
    pub fn load(&self) -> u64 {
        self.load
    }
    /// Waiting threads, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Thread>> {
        self.ready.iter().chain(self.early.iter()).map(|(_, Waiting(thread))| thread)
    }

    /// The average virtual runtime, to which the base is moved.
    #[inline]
    fn average(&mut self) -> u64 {
        if self.sum != 0 && self.load != 0 {
            let load = self.load as i64;
            let shift = self.sum.div_euclid(load);
            self.base = self.base.wrapping_add_signed(shift);
            self.sum -= shift * load;
        }
        self.base
    }
    #[inline]
    fn weigh(&self, vruntime: u64, weight: u64) -> i64 {
        (vruntime.wrapping_sub(self.base) as i64).wrapping_mul(weight as i64)
    }
    /// Whether who has had `vruntime` has had no more than the average.
    #[inline]
    fn is_eligible(&self, vruntime: u64) -> bool {
        let ahead = vruntime.wrapping_sub(self.base) as i64;
        ahead <= 0 && self.sum >= 0 || i128::from(ahead) * i128::from(self.load) <= i128::from(self.sum)
    }

    /// Gives a thread that becomes runnable here its place in virtual time, and counts it.
    #[inline]
    pub fn join(&mut self, thread: &Thread, why: Join) {
        let weight = thread.weight.load(Relaxed);
        let mut vruntime = self.average();
        let lag = thread.lag.load(Relaxed);
        if lag != 0 && self.load != 0 {
            // Its coming moves the average towards it; placed that much farther off, its lag is what it was.
            let lag = lag.saturating_mul((self.load + weight) as i64) / self.load as i64;
            vruntime = vruntime.wrapping_sub(lag as u64);
        }
        let slice = virtual_ns(thread.slice_ns(), weight);
        thread.vruntime.store(vruntime, Relaxed);
        // A new thread joins in the middle of a slice: others have waited already.
        thread.deadline.store(vruntime.wrapping_add(if why == Join::New { slice / 2 } else { slice }), Relaxed);
        self.sum += self.weigh(vruntime, weight);
        self.load += weight;
    }

    /// Forgets a thread that is not waiting (any more), and notes what it is owed.
    #[inline]
    pub fn leave(&mut self, thread: &Thread) {
        let (vruntime, weight) = (thread.vruntime.load(Relaxed), thread.weight.load(Relaxed));
        if self.load == weight {
            // Alone it is owed nothing; the average stays where it was.
            thread.lag.store(0, Relaxed);
            (self.base, self.sum, self.load) = (vruntime, 0, 0);
            return;
        }
        let owed = self.average().wrapping_sub(vruntime) as i64;
        let limit = lag_limit(thread, weight);
        thread.lag.store(owed.clamp(-limit, limit), Relaxed);
        self.sum -= self.weigh(vruntime, weight);
        self.load = self.load.saturating_sub(weight);
    }

    /// Queues a thread that has joined.
    #[inline]
    pub fn push(&mut self, thread: Arc<Thread>) {
        let vruntime = thread.vruntime.load(Relaxed);
        if self.is_eligible(vruntime) {
            thread.lane.store(Lane::READY, Relaxed);
            self.ready.push(thread.deadline.load(Relaxed), Waiting(thread));
        } else {
            thread.lane.store(Lane::EARLY, Relaxed);
            self.early.push(vruntime, Waiting(thread));
        }
    }
    /// Takes a waiting thread out; it still counts.
    pub fn take(&mut self, thread: &Thread) -> Option<Arc<Thread>> {
        let heap = if thread.lane.load(Relaxed) == Lane::READY { &mut self.ready } else { &mut self.early };
        let taken = heap.take(thread.run_seat.load(Relaxed));
        thread.lane.store(Lane::NONE, Relaxed);
        taken.map(|(_, Waiting(thread))| thread)
    }

    /// Sees to it that the first of `ready` is whose turn it is; its deadline.
    #[inline]
    pub fn first(&mut self) -> Option<u64> {
        if self.early.is_empty() && self.ready.len() <= 1 {
            return self.ready.least();
        }
        while self.early.least().is_some_and(|v| self.is_eligible(v)) {
            let Some((_, entry)) = self.early.pop() else { break };
            entry.0.lane.store(Lane::READY, Relaxed);
            self.ready.push(entry.0.deadline.load(Relaxed), entry);
        }
        loop {
            let Some(vruntime) = self.ready.iter().next().map(|(_, w)| w.0.vruntime.load(Relaxed)) else { break };
            if self.is_eligible(vruntime) {
                return self.ready.least();
            }
            let Some((_, entry)) = self.ready.pop() else { break };
            entry.0.lane.store(Lane::EARLY, Relaxed);
            self.early.push(vruntime, entry);
        }
        // Somebody is always at or behind the average; if that is the running thread, who is nearest comes after it.
        let (_, entry) = self.early.pop()?;
        entry.0.lane.store(Lane::READY, Relaxed);
        let deadline = entry.0.deadline.load(Relaxed);
        self.ready.push(deadline, entry);
        Some(deadline)
    }
    /// Takes out whom [`FairQueue::first`] has found.
    #[inline]
    pub fn pop(&mut self) -> Option<Arc<Thread>> {
        self.first()?;
        let (_, Waiting(thread)) = self.ready.pop()?;
        thread.lane.store(Lane::NONE, Relaxed);
        Some(thread)
    }

    /// Whether the running thread may go on although another with this deadline waits.
    #[inline]
    pub fn may_go_on(&self, running: &Thread, deadline: u64) -> bool {
        self.is_eligible(running.vruntime.load(Relaxed)) && running.deadline.load(Relaxed) <= deadline
    }
    /// Whether a waiting thread comes before the running one.
    #[inline]
    pub fn comes_before(&self, waiting: &Thread, running: &Thread) -> bool {
        self.is_eligible(waiting.vruntime.load(Relaxed)) && !self.may_go_on(running, waiting.deadline.load(Relaxed))
    }

    /// Charges the running thread. When it has used up its request the next begins.
    #[inline]
    pub fn charge(&mut self, running: &Thread, ran: u64) {
        let weight = running.weight.load(Relaxed);
        let step = virtual_ns(ran, weight);
        let vruntime = running.vruntime.load(Relaxed).wrapping_add(step);
        running.vruntime.store(vruntime, Relaxed);
        self.sum = self.sum.wrapping_add((step as i64).wrapping_mul(weight as i64));
        if vruntime.wrapping_sub(running.deadline.load(Relaxed)) as i64 >= 0 {
            running.deadline.store(vruntime.wrapping_add(virtual_ns(running.slice_ns(), weight)), Relaxed);
        }
    }

    /// The running thread gives up what is left of its request (sched_yield(2)).
    pub fn skip(&mut self, running: &Thread) {
        let weight = running.weight.load(Relaxed);
        let (vruntime, deadline) = (running.vruntime.load(Relaxed), running.deadline.load(Relaxed));
        if self.is_eligible(vruntime) {
            let step = deadline.wrapping_sub(vruntime) as i64;
            running.vruntime.store(deadline, Relaxed);
            self.sum = self.sum.wrapping_add(step.wrapping_mul(weight as i64));
        }
        running.deadline.store(deadline.wrapping_add(virtual_ns(running.slice_ns(), weight)), Relaxed);
    }

    /// Gives a thread that counts here, but is in no heap, another weight. What it is owed in real time stays.
    pub fn reweigh(&mut self, thread: &Thread, to: u64) {
        let from = thread.weight.load(Relaxed);
        if from == to {
            return;
        }
        let average = self.average();
        let vruntime = thread.vruntime.load(Relaxed);
        let scale = |n: u64| (i128::from(n as i64) * i128::from(from) / i128::from(to.max(1))) as i64;
        let (owed, left) =
            (scale(average.wrapping_sub(vruntime)), scale(thread.deadline.load(Relaxed).wrapping_sub(vruntime)));
        self.sum -= self.weigh(vruntime, from);
        self.load = self.load.saturating_sub(from);
        let vruntime = average.wrapping_add_signed(owed.wrapping_neg());
        thread.weight.store(to, Relaxed);
        thread.vruntime.store(vruntime, Relaxed);
        thread.deadline.store(vruntime.wrapping_add_signed(left), Relaxed);
        self.sum += self.weigh(vruntime, to);
        self.load += to;
    }
}

/// How long a thread runs undisturbed once it has been chosen.
#[inline]
pub(crate) fn protection(thread: &Thread) -> u64 {
    thread.slice_ns().min(policy::base_slice_ns())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpuset::CpuSet;
    use crate::policy::Policy;
    use crate::runq::RunQueue;
    use alloc::vec::Vec;
    use machine::cpu::CpuId;

    const MS: u64 = 1_000_000;

    fn thread(nice: i8) -> Arc<Thread> {
        let thread = Thread::new("t", CpuSet::all(), CpuId(0));
        thread.store_policy(Policy::Normal, 0, nice);
        Arc::new(thread)
    }

    /// One CPU whose threads run without end.
    struct Sim {
        queue: RunQueue,
        now: u64,
    }

    impl Sim {
        fn new(threads: &[Arc<Thread>]) -> Sim {
            let mut sim = Sim { queue: RunQueue::new(), now: 0 };
            threads.iter().for_each(|thread| sim.wake(thread));
            sim
        }
        fn wake(&mut self, thread: &Arc<Thread>) {
            self.queue.charge(self.now);
            self.queue.join(thread, Join::Again);
            if self.queue.should_preempt(thread, self.now) {
                self.stop();
            }
            self.queue.push(thread.clone());
        }
        fn stop(&mut self) {
            if let Some(thread) = self.queue.current.take() {
                self.queue.push(thread);
            }
        }
        fn sleep(&mut self, thread: &Arc<Thread>) {
            self.queue.charge(self.now);
            if self.queue.take(thread).is_none() {
                self.queue.current = None;
            }
            self.queue.leave(thread);
        }
        fn run(&mut self, for_ns: u64, step: u64) {
            let end = self.now + for_ns;
            while self.now < end {
                if self.queue.current.is_none() {
                    let next = self.queue.pop(self.now).expect("somebody waits");
                    self.queue.begin(next, self.now);
                }
                self.now += step;
                self.queue.charge(self.now);
                if self.queue.has_to_yield(false, self.now) {
                    let prev = self.queue.current.take().expect("somebody runs");
                    let next = self.queue.pop(self.now).expect("somebody waits");
                    self.queue.push(prev);
                    self.queue.begin(next, self.now);
                }
            }
        }
    }

    #[test]
    fn time_is_shared_by_weight() {
        let threads: Vec<_> = [0, 0, 5, -5].map(thread).into();
        let mut sim = Sim::new(&threads);
        sim.run(10_000 * MS, MS / 4);
        let total: u64 = threads.iter().map(|t| t.weight.load(Relaxed)).sum();
        for t in &threads {
            let due = 10_000 * MS * t.weight.load(Relaxed) / total;
            assert!(t.runtime().abs_diff(due) < 12 * MS, "{} of {due}", t.runtime());
        }
    }

    #[test]
    fn a_sleeper_is_not_owed_what_it_did_not_wait_for() {
        let threads: Vec<_> = [0, 0].map(thread).into();
        let mut sim = Sim::new(&threads);
        sim.run(100 * MS, MS / 4);
        sim.sleep(&threads[0]);
        sim.run(1000 * MS, MS / 4);
        sim.wake(&threads[0]);
        let before = threads[0].runtime();
        sim.run(100 * MS, MS / 4);
        let got = threads[0].runtime() - before;
        assert!((45 * MS..=55 * MS).contains(&got), "{got}");
    }

    #[test]
    fn lag_survives_sleep() {
        let threads: Vec<_> = [0, 0].map(thread).into();
        let mut sim = Sim::new(&threads);
        sim.run(MS / 2, MS / 2);
        let waiting = threads.iter().find(|t| t.runtime() == 0).expect("one has not run").clone();
        sim.sleep(&waiting);
        let lag = waiting.lag.load(Relaxed);
        assert_eq!(lag, (MS / 4) as i64, "half of what the other has had");
        sim.run(20 * MS, MS / 4);
        sim.wake(&waiting);
        assert_eq!(sim.queue.fair.average().wrapping_sub(waiting.vruntime.load(Relaxed)) as i64, lag);
    }

    #[test]
    fn a_short_slice_is_served_sooner_and_gets_no_more() {
        let threads: Vec<_> = [0, 0, 0].map(thread).into();
        threads[2].set_slice(100_000);
        let mut sim = Sim::new(&threads[..2]);
        sim.run(50 * MS, MS / 10);
        sim.wake(&threads[2]);
        let since = sim.now;
        while threads[2].runtime() == 0 {
            sim.run(MS / 10, MS / 10);
        }
        assert!(sim.now - since <= 2 * policy::base_slice_ns(), "{}", sim.now - since);
        sim.run(3000 * MS, MS / 10);
        let got = threads[2].runtime();
        assert!(got.abs_diff(1000 * MS) < 20 * MS, "{got}");
    }

    #[test]
    fn the_average_stays_that_of_all() {
        let threads: Vec<_> = [0, 3, -8, 19].map(thread).into();
        let mut sim = Sim::new(&threads);
        for round in 0..200u64 {
            sim.run(3 * MS, MS / 3);
            let t = &threads[(round % 4) as usize];
            sim.sleep(t);
            sim.run(MS, MS / 2);
            sim.wake(t);
            let weigh = |f: fn(&Thread) -> u64| -> i128 {
                threads.iter().map(|t| i128::from(t.weight.load(Relaxed)) * i128::from(f(t))).sum()
            };
            let average = weigh(|t| t.vruntime.load(Relaxed)) / weigh(|_| 1);
            assert!((average - i128::from(sim.queue.fair.average())).abs() <= 2, "round {round}");
        }
    }
}
