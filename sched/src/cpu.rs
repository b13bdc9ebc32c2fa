//! What the scheduler keeps for each CPU.

use crate::cpuset::AtomicCpuSet;
use crate::defer::WorkQueue;
use crate::policy::TICK_NS;
use crate::runq::RunQueue;
use crate::timeout::{Line, Scope};
use crate::timer::TimerQueue;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::*};
use machine::cpu::{CpuId, PerCpu};
use machine::sync::{IrqLock, Once};

/// One CPU's part of the scheduler.
pub(crate) struct Cpu {
    pub id: CpuId,
    pub queue: IrqLock<RunQueue>,
    /// Threads waiting in `queue` (not the running one), readable without its lock.
    pub waiting: AtomicU32,
    pub timers: IrqLock<TimerQueue>,
    /// The earliest deadline in `timers`, readable without its lock.
    pub next_timer: AtomicU64,
    /// Coarse time-outs: bound to this CPU, and movable.
    lines: [Line; 2],
    /// The CPU has told that it sleeps, and `told` as its first global time-out.
    pub sleeps: AtomicBool,
    pub told: AtomicU64,
    /// What it has to wake up for on behalf of all CPUs.
    pub wake_up: AtomicU64,
    /// The deadline the machine's timer was last set to; `u64::MAX` once it has fired.
    programmed: AtomicU64,
    /// The timer has fired: `timers` and the slice want a look.
    pub timer_due: AtomicBool,
    /// Nanoseconds run by threads, and spent idle.
    pub busy_ns: AtomicU64,
    pub idle_ns: AtomicU64,
    /// Samples in user mode and in the kernel.
    pub ticks: [AtomicU32; 2],
    pub switches: AtomicU64,
    /// The rank of the thread that runs, `u8::MAX` for the idle one.
    pub rank: AtomicU8,
    pub deferred: WorkQueue,
}

static CPUS: Once<PerCpu<Cpu>> = Once::new();
/// CPUs that take part in scheduling.
pub(crate) static ONLINE: AtomicCpuSet = AtomicCpuSet::new();
/// CPUs that run their idle thread.
pub(crate) static IDLE: AtomicCpuSet = AtomicCpuSet::new();

fn cpus() -> &'static PerCpu<Cpu> {
    CPUS.get_or_init(|| PerCpu::new(Cpu::new))
}

/// This CPU's part. Stays right until the caller switches.
#[inline]
pub(crate) fn this() -> &'static Cpu {
    match CPUS.get() {
        Some(all) => all.get(),
        None => cpus().get(),
    }
}

/// A CPU's part; the boot CPU's for a number that does not exist.
#[inline]
pub(crate) fn of(id: CpuId) -> &'static Cpu {
    match cpus().of(id) {
        Some(cpu) => cpu,
        None => cpus().get(),
    }
}

/// All CPUs that take part.
pub(crate) fn online() -> impl Iterator<Item = &'static Cpu> {
    cpus().iter().filter(|cpu| ONLINE.contains(cpu.id))
}

/// The clock runs at another rate: every CPU sets its timer again.
pub(crate) fn reprogram_all() {
    for cpu in online() {
        cpu.programmed.store(u64::MAX, Relaxed);
        if cpu.id == this().id {
            cpu.program_after_run();
        } else {
            machine::cpu::kick(cpu.id);
        }
    }
}

impl Cpu {
    fn new(id: CpuId) -> Cpu {
        Cpu {
            id,
            queue: IrqLock::new(RunQueue::new()),
            waiting: AtomicU32::new(0),
            timers: IrqLock::new(TimerQueue::new()),
            next_timer: AtomicU64::new(u64::MAX),
            lines: [const { Line::new() }; 2],
            sleeps: AtomicBool::new(true),
            told: AtomicU64::new(u64::MAX),
            wake_up: AtomicU64::new(u64::MAX),
            programmed: AtomicU64::new(u64::MAX),
            timer_due: AtomicBool::new(false),
            busy_ns: AtomicU64::new(0),
            idle_ns: AtomicU64::new(0),
            ticks: [const { AtomicU32::new(0) }; 2],
            switches: AtomicU64::new(0),
            rank: AtomicU8::new(u8::MAX),
            deferred: WorkQueue::new(),
        }
    }

    /// Makes sure that the timer interrupt comes at `at` or earlier. An early one does no harm: it finds nothing due and the
    /// right moment is set then; so a deadline that is often moved out costs nothing.
    #[inline]
    pub fn program_by(&self, at: u64) {
        if at < self.programmed.load(Relaxed) {
            self.programmed.store(at, Relaxed);
            machine::time::set_deadline(at);
        }
    }
    /// One of its wheels.
    pub fn line(&self, scope: Scope) -> &Line {
        let [local, global] = &self.lines;
        if scope == Scope::Local { local } else { global }
    }
    /// Before halting: nothing but timers can want the interrupt now.
    pub fn program_for_idle(&self) {
        let own = self.next_timer.load(Relaxed).min(self.line(Scope::Local).next());
        self.program_by(own.min(self.wake_up.load(Relaxed)));
    }
    /// After timers have run: from here on the machine's timer is set to nothing later than the first of them.
    pub fn program_after_run(&self) {
        self.program_for_idle();
        if !self.sleeps.load(Relaxed) {
            self.program_by(self.line(Scope::Global).next());
        }
    }
    /// While threads run, the interrupt comes at least every tick.
    pub fn program_for_busy(&self, now: u64) {
        self.program_by(self.next_timer.load(Relaxed).min(now + TICK_NS));
    }
    /// The interrupt has come: the machine's timer is off until it is set again.
    pub fn fired(&self) {
        self.programmed.store(u64::MAX, Relaxed);
        self.timer_due.store(true, Relaxed);
    }
}
