//! Timers: one precise queue a CPU, ordered by deadline. Callbacks and sleep wake-ups run at the next scheduling point after the
//! interrupt, with interrupts on and no lock held; callbacks must not sleep.

use crate::Instant;
use crate::cpu::{self, Cpu};
use crate::switch;
use crate::thread::{Thread, state};
use crate::timeout;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use machine::oops::Hold;
use machine::sync::IrqLock;
use posheap::{NOWHERE, PosHeap, Seat};

/// What waits for a deadline.
pub(crate) enum Entry {
    Sleeper(Arc<Thread>),
    Timer(Arc<Timer>),
}

impl Seat for Entry {
    fn seat(&self) -> usize {
        match self {
            Entry::Sleeper(thread) => thread.timer_seat.load(Relaxed),
            Entry::Timer(timer) => timer.seat.load(Relaxed),
        }
    }
    fn set_seat(&self, at: usize) {
        match self {
            Entry::Sleeper(thread) => thread.timer_seat.store(at, Relaxed),
            Entry::Timer(timer) => timer.seat.store(at, Relaxed),
        }
    }
}

/// The deadlines of one CPU.
pub(crate) struct TimerQueue(PosHeap<Entry>);

impl TimerQueue {
    pub const fn new() -> TimerQueue {
        TimerQueue(PosHeap::new())
    }
}

/// Queues an entry on this CPU; the result says where, for [`remove`].
fn insert(at: Instant, entry: Entry) -> &'static Cpu {
    let cpu = cpu::this();
    let mut queue = cpu.timers.lock();
    queue.0.push(at, entry);
    let next = queue.0.least().unwrap_or(u64::MAX);
    cpu.next_timer.store(next, Relaxed);
    cpu.program_by(next);
    cpu
}

fn remove(cpu: &Cpu, seat: &AtomicUsize) -> Option<(Instant, Entry)> {
    let mut queue = cpu.timers.lock();
    let taken = queue.0.take(seat.load(Relaxed));
    cpu.next_timer.store(queue.0.least().unwrap_or(u64::MAX), Relaxed);
    taken
}

/// A sleeping thread's deadline; taken back when dropped.
pub(crate) enum SleepTimer<'a> {
    InThread(&'a Thread, &'static Cpu),
    /// For a wait inside the condition of another wait, whose deadline has the thread's own entry.
    Nested(Arc<Timer>),
}

impl<'a> SleepTimer<'a> {
    /// Wakes the current thread at `at`.
    pub fn arm(me: &'a Arc<Thread>, at: Instant) -> SleepTimer<'a> {
        if me.timer_seat.load(Relaxed) == NOWHERE {
            return SleepTimer::InThread(me, insert(at, Entry::Sleeper(me.clone())));
        }
        let thread = me.clone();
        let timer = Timer::new(Box::new(move || {
            thread.wake();
        }));
        timer.arm(at);
        SleepTimer::Nested(timer)
    }
}

impl Drop for SleepTimer<'_> {
    fn drop(&mut self) {
        match self {
            SleepTimer::InThread(me, cpu) => {
                if me.timer_seat.load(Relaxed) != NOWHERE {
                    remove(cpu, &me.timer_seat);
                }
            }
            SleepTimer::Nested(timer) => {
                timer.cancel();
            }
        }
    }
}

/// How many deadlines are seen to in one go. A program may have any number of timers that are due at once.
const BATCH: usize = 64;

/// Runs what is due on this CPU, a batch of it, and sets the machine's timer to what comes next. Whether more is due: then the rest
/// waits for as long as this took, so that timers take no more than half of a CPU that has something else to do.
pub(crate) fn run_due(cpu: &'static Cpu) -> bool {
    // Whatever task this interrupts has nothing to do with what is due.
    let _hold = Hold::new();
    cpu.timer_due.store(false, Relaxed);
    let start = crate::now();
    let mut now = start;
    let mut ran = 0;
    let more = loop {
        let mut queue = cpu.timers.lock();
        if queue.0.least().is_none_or(|at| at > now) {
            now = crate::now();
            if queue.0.least().is_none_or(|at| at > now) {
                break false;
            }
        }
        if ran == BATCH {
            now = crate::now();
            cpu.next_timer.store(now + (now - start), Relaxed);
            break true;
        }
        ran += 1;
        let due = queue.0.pop();
        cpu.next_timer.store(queue.0.least().unwrap_or(u64::MAX), Relaxed);
        drop(queue);
        match due {
            Some((_, Entry::Sleeper(thread))) => {
                switch::wake(&thread, state::ANY_SLEEP, false);
            }
            Some((at, Entry::Timer(timer))) => timer.fire(at, now),
            None => {}
        }
    };
    timeout::run_due(cpu, now);
    cpu.program_after_run();
    more
}

/// The shortest period of a periodic timer.
pub const MIN_PERIOD_NS: u64 = 100_000;

/// A timer that calls back once or periodically.
pub struct Timer {
    callback: Box<dyn Fn() + Send + Sync>,
    seat: AtomicUsize,
    /// Nanoseconds between expiries, 0 for once.
    period: AtomicU64,
    /// Where it is queued; held while it is armed or cancelled.
    place: IrqLock<Place>,
}

struct Place {
    cpu: Option<&'static Cpu>,
    at: Instant,
}

impl Timer {
    /// A timer that is not armed.
    pub fn new(callback: Box<dyn Fn() + Send + Sync>) -> Arc<Timer> {
        Arc::new(Timer {
            callback,
            seat: AtomicUsize::new(NOWHERE),
            period: AtomicU64::new(0),
            place: IrqLock::new(Place { cpu: None, at: 0 }),
        })
    }

    /// Calls back once, at `at` or soon after; replaces what was armed.
    pub fn arm(self: &Arc<Self>, at: Instant) {
        self.arm_periodic(at, 0);
    }

    /// Calls back at `first` and then each `period_ns`, skipping expiries that were missed; 0 is once. Periods shorter than
    /// [`MIN_PERIOD_NS`] are taken as that, so that callbacks cannot fill a CPU; who counts expiries uses the clock.
    pub fn arm_periodic(self: &Arc<Self>, first: Instant, period_ns: u64) {
        let period_ns = if period_ns == 0 { 0 } else { period_ns.max(MIN_PERIOD_NS) };
        let mut place = self.place.lock();
        self.unqueue(&mut place);
        self.period.store(period_ns, Relaxed);
        place.at = first;
        place.cpu = Some(insert(first, Entry::Timer(self.clone())));
    }

    /// Disarms; whether it was armed. A callback that has begun may still be running on another CPU.
    pub fn cancel(&self) -> bool {
        let mut place = self.place.lock();
        self.period.store(0, Relaxed);
        self.unqueue(&mut place)
    }

    fn unqueue(&self, place: &mut Place) -> bool {
        place.cpu.take().is_some_and(|cpu| remove(cpu, &self.seat).is_some())
    }

    /// The moment it will expire, while armed.
    pub fn deadline(&self) -> Option<Instant> {
        let place = self.place.lock();
        (self.seat.load(Relaxed) != NOWHERE).then_some(place.at)
    }

    /// Nanoseconds until it expires, while armed.
    pub fn remaining(&self) -> Option<u64> {
        self.deadline().map(|at| at.saturating_sub(crate::now()))
    }

    fn fire(self: Arc<Self>, at: Instant, now: Instant) {
        let mut place = self.place.lock();
        let period = self.period.load(Relaxed);
        // Someone may have armed it anew since it was taken from the queue.
        if period != 0 && self.seat.load(Relaxed) == NOWHERE {
            let missed = now.saturating_sub(at) / period;
            place.at = at.saturating_add(period.saturating_mul(missed + 1));
            place.cpu = Some(insert(place.at, Entry::Timer(self.clone())));
        }
        drop(place);
        (self.callback)();
    }
}
