//! Which CPU takes a waiting thread from which other.
//!
//! A CPU without work takes any. A busy one looks at each tick: it takes a fair thread from the CPU with the greatest load, if that
//! makes the two loads (sums of weights, over the last ticks) more alike; where they are alike but for one thread, now and then that
//! one, so that three that share two CPUs take turns at sharing. Fair threads also leave a CPU that a real-time thread keeps for
//! itself.
//!
//! Real-time threads are not to wait while something lesser runs anywhere. One that wakes is placed accordingly
//! ([`crate::placement`]). One that is made to wait is [`offer`]ed to the CPU that runs what matters least, and a CPU whose
//! real-time thread goes to sleep looks for one that waits: both by having that CPU pass through its tick at once, where it takes
//! the most urgent. (Taking needs the other CPU's queue lock, which nobody asks for with his own held.)

use crate::cpu::{self, Cpu, ONLINE};
use crate::fair::Join;
use crate::policy::FAIR_RANK;
use crate::runq::{self, RunQueue};
use crate::switch;
use crate::thread::{Thread, state};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::*;
use machine::cpu::CpuId;
use machine::sync::IrqGuard;

fn others(cpu: &Cpu) -> impl Iterator<Item = &'static Cpu> {
    let me = cpu.id;
    cpu::online().filter(move |other| other.id != me)
}

fn waiting(cpu: &Cpu) -> u32 {
    cpu.waiting.load(Relaxed)
}

/// Moves a thread that waits in `queue`, which is `victim`'s, to this CPU.
fn bring(cpu: &'static Cpu, victim: &Cpu, mut queue: IrqGuard<'_, RunQueue>, thread: &Thread) -> bool {
    let Some(thread) = queue.take(thread) else { return false };
    let fair = !queue.leave(&thread);
    let weight = if fair { thread.weight.load(Relaxed) } else { 0 };
    queue.load.go(weight);
    victim.waiting.store(queue.len() as u32, Relaxed);
    thread.state.store(state::WAKING, Relaxed);
    thread.on_queue.store(false, Relaxed);
    drop(queue);
    let mut queue = cpu.queue.lock();
    queue.load.come(weight);
    switch::enqueue(cpu, queue, thread, Join::Again, false);
    true
}

/// For a CPU without work: takes the most urgent real-time thread, else one from the CPU on which most wait.
pub(crate) fn steal(cpu: &'static Cpu) -> bool {
    machine::cpu::count() > 1 && (pull_realtime(cpu) || take_any(cpu, 1))
}

/// Takes a thread from the CPU on which most wait, at least `least` of them, if one may run here.
fn take_any(cpu: &'static Cpu, least: u32) -> bool {
    let most = others(cpu).filter(|other| waiting(other) >= least).max_by_key(|other| waiting(other));
    // If those who wait there may not come here, those of others perhaps may.
    most.is_some_and(|victim| take_first(cpu, victim))
        || most.is_some() && others(cpu).any(|other| waiting(other) >= least && take_first(cpu, other))
}

fn take_first(cpu: &'static Cpu, victim: &'static Cpu) -> bool {
    let queue = victim.queue.lock();
    if queue.is_idle() {
        return false; // it is about to run what waits
    }
    let found = queue.iter().find(|thread| thread.affinity.contains(cpu.id)).cloned();
    found.is_some_and(|thread| bring(cpu, victim, queue, &thread))
}

/// Takes the most urgent real-time thread that waits elsewhere and comes before what runs here.
fn pull_realtime(cpu: &'static Cpu) -> bool {
    if !runq::any_realtime_waits() || cpu.queue.lock().is_throttled(crate::now()) {
        return false;
    }
    let mut best: Option<(u8, &'static Cpu)> = None;
    for other in others(cpu).filter(|other| waiting(other) != 0) {
        let Some(thread) = first_realtime(&other.queue.lock(), cpu.id) else { continue };
        let rank = thread.rank();
        // What comes before the one that runs there is about to run there.
        let stays = other.rank.load(Relaxed) <= rank;
        if stays && rank < best.map_or(cpu.rank.load(Relaxed), |(rank, _)| rank) {
            best = Some((rank, other));
        }
    }
    let Some((_, victim)) = best else { return false };
    let queue = victim.queue.lock();
    first_realtime(&queue, cpu.id).is_some_and(|thread| bring(cpu, victim, queue, &thread))
}

/// The first of the real-time threads waiting in a queue that may run on `cpu`.
fn first_realtime(queue: &RunQueue, cpu: CpuId) -> Option<Arc<Thread>> {
    queue
        .realtime()
        .filter(|thread| thread.affinity.contains(cpu))
        .min_by_key(|thread| thread.key.load(Relaxed))
        .cloned()
}

/// A real-time thread has to wait, with its CPU's queue locked: has the CPU that runs what matters least come for it.
#[cold]
pub(crate) fn offer(thread: &Thread) {
    let allowed = thread.affinity().and(&ONLINE.load());
    let least = allowed.iter().map(|id| (cpu::of(id).rank.load(Relaxed), id)).max_by_key(|(rank, _)| *rank);
    if let Some((rank, id)) = least
        && rank > thread.rank()
        && id != thread.cpu()
    {
        look_around(cpu::of(id));
        machine::cpu::kick(id);
    }
}

/// A real-time thread has gone to sleep on this CPU: one that waits elsewhere may have its place.
#[cold]
pub(crate) fn vacated() {
    if runq::any_realtime_waits() {
        look_around(cpu::this());
    }
}

/// Has a CPU pass through its tick at the next scheduling point.
fn look_around(cpu: &Cpu) {
    cpu.timer_due.store(true, Relaxed);
}

/// How many ticks pass before a queue longer by one only gives up a thread.
const ROTATE_TICKS: u32 = 16;

/// At a tick of a busy CPU.
pub(crate) fn balance(cpu: &'static Cpu) {
    if machine::cpu::count() == 1 || pull_realtime(cpu) || cpu.rank.load(Relaxed) < FAIR_RANK || even_out(cpu) {
        return;
    }
    let ticks = cpu.ticks[0].load(Relaxed).wrapping_add(cpu.ticks[1].load(Relaxed));
    if ticks.wrapping_add(cpu.id.0).is_multiple_of(ROTATE_TICKS) {
        take_any(cpu, waiting(cpu).saturating_add(1));
    }
}

/// Takes a thread from the CPU with the greatest load if that evens the loads out.
fn even_out(cpu: &'static Cpu) -> bool {
    let ours = {
        let mut queue = cpu.queue.lock();
        let weighs = queue.fair.load();
        queue.load.add(weighs, crate::now());
        queue.load.sample();
        load(&queue)
    };
    let loaded = others(cpu).filter(|other| waiting(other) != 0);
    let most = loaded.map(|other| (load(&other.queue.lock()), other)).max_by_key(|(load, _)| *load);
    let Some((theirs, victim)) = most else { return false };
    let ahead = theirs.saturating_sub(ours);
    if ahead == 0 {
        return false;
    }
    let queue = victim.queue.lock();
    let may_come = queue.fair.iter().filter(|thread| thread.affinity.contains(cpu.id));
    let rest = |thread: &&Arc<Thread>| rest(ahead, thread.weight.load(Relaxed)).unwrap_or(u64::MAX);
    let best = may_come.min_by_key(rest).filter(|thread| rest(thread) != u64::MAX).cloned();
    best.is_some_and(|thread| bring(cpu, victim, queue, &thread))
}

/// What weighs on the fair threads of a CPU: they themselves, and a real-time thread that leaves them nothing.
fn load(queue: &RunQueue) -> u64 {
    if queue.is_hogged(crate::now()) { u64::MAX / 4 } else { queue.load.average() }
}

/// How far apart two loads are, one of which is `ahead`, once `weight` has moved over; `None` if no less than before.
fn rest(ahead: u64, weight: u64) -> Option<u64> {
    (weight < ahead).then(|| ahead.abs_diff(weight.saturating_mul(2)))
}

#[cfg(test)]
mod tests {
    use super::rest;

    #[test]
    fn only_what_evens_out_moves_and_never_back() {
        assert_eq!((rest(0, 15), rest(1024, 1024), rest(30, 1024)), (None, None, None));
        assert_eq!((rest(2018, 1024), rest(2018, 15)), (Some(30), Some(1988)));
        for (ahead, weight) in [(2018, 1024), (100, 99), (2048, 1024), (7, 1)] {
            let left = rest(ahead, weight).expect("it evens out");
            assert!(left < ahead && (weight * 2 <= ahead || rest(left, weight).is_none()));
        }
    }
}
