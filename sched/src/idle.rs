//! Idle CPUs and the balance between busy ones.
//!
//! An idle CPU runs due timers, takes a waiting thread from another CPU, or halts until the next deadline or a kick. A busy one
//! looks at each tick whether another CPU's queue is longer by two, and takes one thread from it; now and then a queue longer by one is
//! enough.

use crate::cpu::{self, Cpu, IDLE};
use crate::fair::Join;
use crate::switch;
use crate::timeout;
use crate::timer;
use core::sync::atomic::Ordering::*;
use machine::cpu::IrqOff;

/// What a CPU other than the boot CPU runs: it joins the scheduler as an idle CPU.
pub fn run_cpu() -> ! {
    switch::init_other_cpu();
    IDLE.insert(cpu::this().id);
    run();
    unreachable!("the idle loop has no end")
}

/// The idle thread's body; never returns.
pub(crate) fn run() {
    loop {
        let cpu = cpu::this();
        let now = crate::now();
        if cpu.timer_due.load(Relaxed) || cpu.next_timer.load(Relaxed) <= now || timeout::owes(cpu, now) {
            timer::run_due(cpu);
        }
        if cpu.waiting.load(SeqCst) != 0 || steal(cpu, 1) {
            timeout::wake_up(cpu);
            switch::schedule();
            continue;
        }
        let irq = IrqOff::new();
        IDLE.insert(cpu.id);
        core::sync::atomic::fence(SeqCst);
        if cpu.waiting.load(SeqCst) == 0 && !cpu.timer_due.load(Relaxed) {
            timeout::fall_asleep(cpu);
            cpu.program_for_idle();
            machine::cpu::halt();
        }
        drop(irq);
    }
}

/// Takes a thread from the CPU on which most wait, at least `least` of them, if one may run here.
fn steal(cpu: &'static Cpu, least: u32) -> bool {
    if machine::cpu::count() == 1 {
        return false;
    }
    let others = || cpu::online().filter(|other| other.id != cpu.id);
    let waiting = |other: &&'static Cpu| other.waiting.load(Relaxed);
    let most = others().filter(|other| waiting(other) >= least).max_by_key(waiting);
    // If those who wait there may not come here, those of others perhaps may.
    most.is_some_and(|victim| steal_from(cpu, victim))
        || most.is_some() && others().any(|other| waiting(&other) >= least && steal_from(cpu, other))
}

fn steal_from(cpu: &'static Cpu, victim: &'static Cpu) -> bool {
    let mut queue = victim.queue.lock();
    if queue.is_idle() {
        return false; // it is about to run what waits
    }
    let Some(thread) = queue.iter().find(|thread| thread.affinity.contains(cpu.id)).cloned() else { return false };
    let Some(thread) = queue.take(&thread) else { return false };
    queue.leave(&thread);
    victim.waiting.store(queue.len() as u32, Relaxed);
    thread.state.store(crate::thread::state::WAKING, Relaxed);
    thread.on_queue.store(false, Relaxed);
    drop(queue);
    switch::enqueue(cpu, cpu.queue.lock(), thread, Join::Again, false);
    true
}

/// How many ticks pass before a queue longer by one only gives up a thread: three that share two CPUs take turns at sharing.
const ROTATE_TICKS: u32 = 16;

/// At a tick of a busy CPU: evens out queues.
pub(crate) fn balance(cpu: &'static Cpu) {
    let mine = cpu.waiting.load(Relaxed);
    let ticks = cpu.ticks[0].load(Relaxed).wrapping_add(cpu.ticks[1].load(Relaxed));
    let step = if ticks.wrapping_add(cpu.id.0).is_multiple_of(ROTATE_TICKS) { 1 } else { 2 };
    steal(cpu, mine.saturating_add(step));
}
