//! Time-outs of the kernel: coarse, cheap to set and to cancel, and mostly cancelled. They fire at the given moment or later, by up
//! to a tick or an eighth of the time they were set ahead; where the moment counts, [`crate::Timer`] is the one to use.
//!
//! Each CPU has two wheels: of time-outs bound to it, and of those that any CPU may run while this one sleeps ([`crate::pull`]).
//! Callbacks run like those of timers: at a scheduling point, with interrupts on and no lock held; they must not sleep.
//!
//! Lock order: a time-out's place, then a wheel.

use crate::Instant;
use crate::cpu::{self, Cpu};
use crate::pull::{NEVER, Tree};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::*};
use machine::sync::{IrqLock, Once};
use wheel::{NOWHERE, Seat, Wheel};

/// The tick of the wheels: 250 a second.
const TICK_NS: u64 = 4_000_000;

/// Which CPU runs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The one that armed it.
    Local = 0,
    /// That one while it is awake, any other while it sleeps.
    Global = 1,
}

/// One wheel of a CPU.
pub(crate) struct Line {
    wheel: IrqLock<Wheel<Entry>>,
    /// When the first in it fires, readable without the lock.
    next: AtomicU64,
}

impl Line {
    pub const fn new() -> Line {
        Line { wheel: IrqLock::new(Wheel::new()), next: AtomicU64::new(NEVER) }
    }
    /// When the first in it fires.
    pub fn next(&self) -> u64 {
        self.next.load(Relaxed)
    }
    fn note(&self, wheel: &Wheel<Entry>) -> u64 {
        let next = wheel.next().map_or(NEVER, |tick| tick.saturating_mul(TICK_NS));
        self.next.store(next, Relaxed);
        next
    }
    /// Runs what is due; gives the next moment.
    fn run(&self, now: Instant) -> u64 {
        let mut due = Vec::new();
        while self.next() <= now {
            {
                let mut wheel = self.wheel.lock();
                wheel.expire(now / TICK_NS, &mut due);
                self.note(&wheel);
            }
            due.drain(..).for_each(|Entry(timeout)| timeout.fire(now));
        }
        self.next()
    }
}

/// A time-out that calls back once or periodically.
pub struct Timeout {
    callback: Box<dyn Fn() + Send + Sync>,
    seat: AtomicU64,
    place: IrqLock<Place>,
}

struct Place {
    line: Option<&'static Line>,
    scope: Scope,
    /// Nanoseconds between expiries, 0 for once.
    period: u64,
}

/// A time-out in a wheel.
struct Entry(Arc<Timeout>);

impl Seat for Entry {
    fn seat(&self) -> u64 {
        self.0.seat.load(Relaxed)
    }
    fn set_seat(&self, at: u64) {
        self.0.seat.store(at, Relaxed);
    }
}

impl Timeout {
    /// A time-out that is not armed.
    pub fn new(callback: Box<dyn Fn() + Send + Sync>) -> Arc<Timeout> {
        let place = IrqLock::new(Place { line: None, scope: Scope::Global, period: 0 });
        Arc::new(Timeout { callback, seat: AtomicU64::new(NOWHERE), place })
    }
    /// Calls back once, at `at` or some time after; replaces what was armed.
    pub fn arm(self: &Arc<Self>, at: Instant, scope: Scope) {
        self.arm_periodic(at, 0, scope);
    }
    /// Calls back at `first` or some time after, and then each `period_ns` (0 is once).
    pub fn arm_periodic(self: &Arc<Self>, first: Instant, period_ns: u64, scope: Scope) {
        let mut place = self.place.lock();
        self.unqueue(&mut place);
        (place.scope, place.period) = (scope, period_ns);
        self.queue(&mut place, first);
    }
    /// Disarms; whether it was armed. A callback that has begun may still be running on another CPU.
    pub fn cancel(&self) -> bool {
        let mut place = self.place.lock();
        place.period = 0;
        self.unqueue(&mut place)
    }

    fn queue(self: &Arc<Self>, place: &mut Place, at: Instant) {
        let cpu = cpu::this();
        let line = cpu.line(place.scope);
        let next = {
            let mut wheel = line.wheel.lock();
            wheel.insert(at.div_ceil(TICK_NS), crate::now() / TICK_NS, Entry(self.clone()));
            line.note(&wheel)
        };
        place.line = Some(line);
        cpu.program_by(next);
    }
    fn unqueue(&self, place: &mut Place) -> bool {
        let Some(line) = place.line.take() else { return false };
        let mut wheel = line.wheel.lock();
        let taken = wheel.take(self.seat.load(Relaxed)).is_some();
        line.note(&wheel);
        taken
    }
    fn fire(self: Arc<Self>, now: Instant) {
        {
            let mut place = self.place.lock();
            // Someone may have armed it anew since it was taken from the wheel.
            if place.period != 0 && self.seat.load(Relaxed) == NOWHERE {
                let at = now.saturating_add(place.period);
                self.queue(&mut place, at);
            }
        }
        (self.callback)();
    }
}

/// The tree of CPUs that see to each other's global time-outs; none on a machine with one CPU.
fn tree() -> Option<&'static Tree> {
    static TREE: Once<Option<Tree>> = Once::new();
    TREE.get_or_init(|| {
        let cpus = machine::cpu::count() as usize;
        (cpus > 1).then(|| Tree::new(cpus))
    })
    .as_ref()
}

fn run_global(number: usize, now: Instant) -> u64 {
    let id = machine::cpu::CpuId(u32::try_from(number).unwrap_or(u32::MAX));
    cpu::of(id).line(Scope::Global).run(now)
}

/// The timer of this CPU came: runs its own time-outs, and those of CPUs it looks after.
pub(crate) fn run_due(cpu: &'static Cpu, now: Instant) {
    cpu.line(Scope::Local).run(now);
    cpu.line(Scope::Global).run(now);
    let Some(tree) = tree() else { return };
    if !cpu.sleeps.load(Relaxed) {
        tree.tick(cpu.id.0 as usize, now, &mut |other| run_global(other, now));
    } else if cpu.wake_up.load(Relaxed) <= now {
        let next = tree.wake_up_call(cpu.id.0 as usize, now, &mut |other| run_global(other, now));
        cpu.wake_up.store(next, Relaxed);
    }
}

/// This CPU, about to sleep, has something to run first for those it looks after.
pub(crate) fn owes(cpu: &Cpu, now: Instant) -> bool {
    !cpu.sleeps.load(Relaxed) && tree().is_some_and(|tree| tree.owes(cpu.id.0 as usize, now))
}

/// This CPU halts now, unless it wakes up: its global time-outs are others' business.
pub(crate) fn fall_asleep(cpu: &Cpu) {
    let first = cpu.line(Scope::Global).next();
    let Some(tree) = tree() else { return cpu.wake_up.store(first, Relaxed) };
    let slept = cpu.sleeps.swap(true, Relaxed);
    if slept && cpu.told.load(Relaxed) == first {
        return;
    }
    cpu.told.store(first, Relaxed);
    match tree.sleep(cpu.id.0 as usize, first) {
        Some(at) => cpu.wake_up.store(at, Relaxed),
        None if !slept => cpu.wake_up.store(NEVER, Relaxed),
        None => {}
    }
}

/// This CPU has something to run.
pub(crate) fn wake_up(cpu: &Cpu) {
    if cpu.sleeps.swap(false, Relaxed)
        && let Some(tree) = tree()
    {
        cpu.wake_up.store(NEVER, Relaxed);
        tree.wake(cpu.id.0 as usize);
    }
}
