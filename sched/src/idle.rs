//! Idle CPUs: one runs due timers, takes a waiting thread from another CPU ([`crate::balance`]), or halts until the next deadline or
//! a kick.

use crate::balance::steal;
use crate::cpu::{self, IDLE};
use crate::switch;
use crate::timeout;
use crate::timer;
use core::sync::atomic::Ordering::*;
use machine::aspace::AddressSpace;
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
            while timer::run_due(cpu) && cpu.waiting.load(SeqCst) == 0 {}
        }
        if cpu.waiting.load(SeqCst) != 0 || steal(cpu) {
            timeout::wake_up(cpu);
            switch::schedule();
            continue;
        }
        // Changes of the space that ran here last then need not wake this CPU to flush what it will not use.
        AddressSpace::deactivate();
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
