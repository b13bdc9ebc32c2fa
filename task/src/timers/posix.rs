//! One timer of timer_create(2).
//!
//! Its signal is queued once; expiries while it waits to be taken are counted and reported as the overrun when it is.

use super::{CpuClock, Setting};
use crate::process::Process;
use crate::signal::queue::Origin;
use crate::signal::send::send_from;
use crate::task::Task;
use abi::signal::{SigInfo, Signal};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::*};
use machine::sync::{Once, SpinLock};
use sched::Timer;

/// What a timer counts.
pub enum TimerClock {
    /// The monotonic clock.
    Monotonic,
    /// The wall clock.
    Realtime,
    /// CPU time.
    Cpu(CpuClock),
}

/// What an expiry does.
pub struct Notify {
    /// The signal, `None` for nothing.
    pub signal: Option<Signal>,
    /// `sigev_value`.
    pub value: u64,
    /// The thread it goes to; `None` for the process.
    pub thread: Option<Weak<Task>>,
}

#[derive(Default)]
struct State {
    /// Next expiry on the timer's own scale, 0 when disarmed.
    next: u64,
    interval: u64,
    /// Expiries since the signal was queued, without the first.
    overrun: i32,
}

/// A timer of a process.
pub struct PosixTimer {
    id: i32,
    me: Weak<PosixTimer>,
    process: Weak<Process>,
    clock: TimerClock,
    notify: Notify,
    state: SpinLock<State>,
    timer: Once<Arc<Timer>>,
    /// The signal was queued and has not been taken.
    queued: AtomicBool,
    /// timer_getoverrun(2).
    last_overrun: AtomicI32,
}

impl PosixTimer {
    /// A timer, disarmed.
    pub fn new(id: i32, process: &Arc<Process>, clock: TimerClock, notify: Notify) -> Arc<PosixTimer> {
        Arc::new_cyclic(|me: &Weak<PosixTimer>| {
            let timer = Once::new();
            if !matches!(clock, TimerClock::Cpu(_)) {
                let me = me.clone();
                let expired = move || {
                    if let Some(me) = me.upgrade() {
                        me.expire(sched::now());
                    }
                };
                let _ = timer.set(Timer::new(Box::new(expired)));
            }
            PosixTimer {
                id,
                me: me.clone(),
                process: Arc::downgrade(process),
                clock,
                notify,
                state: SpinLock::new(State::default()),
                timer,
                queued: AtomicBool::new(false),
                last_overrun: AtomicI32::new(0),
            }
        })
    }
    pub(super) fn counts_cpu(&self) -> bool {
        matches!(self.clock, TimerClock::Cpu(_))
    }
    /// The present on the scale of `State::next`.
    fn now(&self) -> u64 {
        match &self.clock {
            TimerClock::Cpu(clock) => clock.now(),
            _ => sched::now(),
        }
    }
    fn arm(&self, state: &State) {
        let Some(timer) = self.timer.get() else { return };
        if state.next == 0 {
            timer.cancel();
        } else {
            timer.arm_periodic(state.next, state.interval);
        }
    }
    /// Stops it for good.
    pub(super) fn disarm(&self) {
        self.state.lock().next = 0;
        if let Some(timer) = self.timer.get() {
            timer.cancel();
        }
    }
    fn setting(&self, state: &State) -> Setting {
        let value = match state.next {
            0 => 0,
            next => {
                let now = self.now();
                // A periodic timer whose expiry is being dealt with shows the time to the one after.
                let late = now.saturating_sub(next);
                let next = match state.interval {
                    0 => next,
                    _ if now < next => next,
                    step => next.saturating_add((late / step + 1).saturating_mul(step)),
                };
                next.saturating_sub(now).max(1)
            }
        };
        Setting { value, interval: state.interval }
    }
    /// timer_gettime(2).
    pub fn get(&self) -> Setting {
        let state = self.state.lock();
        self.setting(&state)
    }
    /// timer_settime(2); gives what was set before.
    pub fn set(&self, new: Setting, absolute: bool) -> Setting {
        let mut state = self.state.lock();
        let old = self.setting(&state);
        let next = match &self.clock {
            _ if new.value == 0 => 0,
            TimerClock::Realtime if absolute => new.value.saturating_sub(sched::clock::wall_offset_ns()).max(1),
            _ if absolute => new.value,
            _ => self.now().saturating_add(new.value),
        };
        *state = State { next, interval: if next == 0 { 0 } else { new.interval }, overrun: 0 };
        self.last_overrun.store(0, Relaxed);
        self.arm(&state);
        old
    }
    /// timer_getoverrun(2).
    pub fn overrun(&self) -> i32 {
        self.last_overrun.load(Relaxed)
    }

    /// A timer of CPU time: has it expired?
    pub(super) fn check_cpu(&self) {
        let now = self.now();
        let due = {
            let state = self.state.lock();
            state.next != 0 && state.next <= now
        };
        if due {
            self.expire(now);
        }
    }

    fn expire(&self, now: u64) {
        let mut state = self.state.lock();
        if state.next == 0 || now < state.next {
            return; // it was set anew meanwhile
        }
        let mut passed = 1;
        state.next = match state.interval {
            0 => 0,
            step => {
                passed = (now - state.next) / step + 1;
                state.next.saturating_add(passed.saturating_mul(step))
            }
        };
        let (Some(signal), Some(process)) = (self.notify.signal, self.process.upgrade()) else { return };
        let thread = self.notify.thread.as_ref().map(|t| t.upgrade());
        if matches!(thread, Some(None)) {
            return; // the thread to be told has ended
        }
        let thread = thread.flatten();
        let waits = self.queued.load(Acquire)
            && match &thread {
                Some(t) => t.private_pending().has(signal),
                None => process.sig().pending.set().has(signal),
            };
        let passed = i32::try_from(passed).unwrap_or(i32::MAX);
        if waits {
            state.overrun = state.overrun.saturating_add(passed);
            return;
        }
        state.overrun = passed - 1;
        drop(state);
        self.queued.store(true, Release);
        let Some(me) = self.me.upgrade() else { return };
        let info = SigInfo::timer(signal, self.id, 0, self.notify.value);
        if send_from(&process, thread.as_ref(), signal, &info, me).is_err() {
            self.queued.store(false, Release);
        }
    }
}

impl Origin for PosixTimer {
    fn taken(&self, info: &mut SigInfo) {
        let overrun = core::mem::take(&mut self.state.lock().overrun);
        self.queued.store(false, Release);
        self.last_overrun.store(overrun, Relaxed);
        if let Some(signal) = self.notify.signal {
            *info = SigInfo::timer(signal, self.id, overrun, self.notify.value);
        }
    }
}
