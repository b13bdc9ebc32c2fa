//! Idle CPUs and the balance between busy ones.
//!
//! An idle CPU runs due timers, takes a waiting thread from another CPU, or halts until the next deadline or a kick. A busy one
//! looks at each tick whether another CPU's queue is longer by two, and takes one thread from it.

use crate::cpu::{self, Cpu, IDLE, ONLINE};
use crate::runq::Waiting;
use crate::switch;
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
        if cpu.timer_due.load(Relaxed) || cpu.next_timer.load(Relaxed) <= crate::now() {
            timer::run_due(cpu);
        }
        if cpu.waiting.load(SeqCst) != 0 || steal(cpu, 1) {
            switch::schedule();
            continue;
        }
        let irq = IrqOff::new();
        IDLE.insert(cpu.id);
        core::sync::atomic::fence(SeqCst);
        if cpu.waiting.load(SeqCst) == 0 && !cpu.timer_due.load(Relaxed) {
            cpu.program_for_idle();
            machine::cpu::halt();
        }
        drop(irq);
    }
}

/// Takes a thread from a CPU on which at least `least` wait, if one may run here.
fn steal(cpu: &'static Cpu, least: u32) -> bool {
    let count = machine::cpu::count() as u32;
    if count == 1 {
        return false;
    }
    for step in 1..count {
        let victim = machine::cpu::CpuId((cpu.id.0 + step) % count);
        if !ONLINE.contains(victim) {
            continue;
        }
        let victim = cpu::of(victim);
        if victim.waiting.load(Relaxed) < least {
            continue;
        }
        let mut queue = victim.queue.lock();
        if queue.is_idle() {
            continue; // it is about to run what waits
        }
        let seat = queue.waiting.iter().position(|(_, w)| w.0.affinity.contains(cpu.id));
        let Some((_, Waiting(thread))) = seat.and_then(|seat| queue.waiting.take(seat)) else { continue };
        victim.waiting.store(queue.waiting.len() as u32, Relaxed);
        let floor = queue.floor;
        thread.state.store(crate::thread::state::WAKING, Relaxed);
        thread.on_queue.store(false, Relaxed);
        drop(queue);
        switch::enqueue(cpu, cpu.queue.lock(), thread, Some(floor), false, false);
        return true;
    }
    false
}

/// At a tick of a busy CPU: evens out queues.
pub(crate) fn balance(cpu: &'static Cpu) {
    let mine = cpu.waiting.load(Relaxed);
    steal(cpu, mine.saturating_add(2));
}
