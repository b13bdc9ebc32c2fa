//! One timer of timer_create(2).
//!
//! A timer owns one signal. When it expires the signal is queued, and a periodic timer rests until a thread takes it: then the periods
//! that have passed meanwhile are told as the overrun and the timer is armed for the next. If the signal is ignored, the timer
//! rests until it no longer is ([`PosixTimer::unignore`]). Setting the timer makes a signal that is still queued void (`sequence`).
//!
//! Lock order: `PosixTimer::state`, then `Process::sig`. What [`Origin`] is told under the signal lock is kept in atomics.

use super::{CpuClock, Setting};
use crate::process::Process;
use crate::signal::queue::Origin;
use crate::signal::send::send_origin;
use crate::task::Task;
use crate::users::UserCounts;
use abi::signal::{SigInfo, Signal};
use abi::time::clock;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::*};
use machine::sync::{Once, SpinLock};
use sched::clock::{Base, ClockTimer};

/// What a timer counts.
pub enum TimerClock {
    /// A clock of the system, under the id that was asked for.
    Base(i32, Base),
    /// CPU time, likewise.
    Cpu(i32, CpuClock),
}

/// What an expiry does.
pub struct Notify {
    /// `sigev_notify` without the bit for a thread.
    pub kind: i32,
    /// The signal, `None` for nothing.
    pub signal: Option<Signal>,
    /// `sigev_signo`, which need not be one when nothing is sent.
    pub number: i32,
    /// `sigev_value`.
    pub value: u64,
    /// The thread it goes to; `None` for the process.
    pub thread: Option<Weak<Task>>,
}

/// A place in the signal queue, paid for under RLIMIT_SIGPENDING as long as the timer lives.
pub struct Seat(Arc<UserCounts>);

impl Seat {
    /// Takes a place; `None` when the user has as many as `limit`.
    pub fn take(user: Arc<UserCounts>, limit: u64) -> Option<Seat> {
        user.try_add_signal(limit).then(|| Seat(user))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.remove_signal();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Disarmed,
    Armed,
    /// Expired; goes on when its signal is taken.
    Resting,
}

struct State {
    status: Status,
    /// The clock that `next` is a moment of. A relative time of the wall clock is one of the monotonic clock.
    base: Base,
    /// Next expiry.
    next: u64,
    interval: u64,
    /// Expiries since the signal was taken last, without the one that queued it.
    overrun: i64,
    last_overrun: i64,
    /// Settings and signals so far; tells signals of former settings from the present one's.
    sequence: u32,
    deleted: bool,
}

/// Where the timer's signal is; guarded by the signal lock of the process.
mod place {
    pub const NONE: u8 = 0;
    pub const QUEUED: u8 = 1;
    /// Thrown away because the signal is ignored.
    pub const IGNORED: u8 = 2;
}

/// A timer of a process.
pub struct PosixTimer {
    id: i32,
    me: Weak<PosixTimer>,
    process: Weak<Process>,
    clock: TimerClock,
    notify: Notify,
    _seat: Seat,
    state: SpinLock<State>,
    timer: Once<Arc<ClockTimer>>,
    place: AtomicU8,
    /// The queued signal is that of a periodic timer, and the `sequence` it belongs to.
    periodic: AtomicBool,
    sent: AtomicU32,
    deleted: AtomicBool,
}

impl PosixTimer {
    /// A timer, disarmed.
    pub fn new(id: i32, process: &Arc<Process>, clock: TimerClock, notify: Notify, seat: Seat) -> Arc<PosixTimer> {
        let base = match clock {
            TimerClock::Base(_, base) => base,
            TimerClock::Cpu(..) => Base::Monotonic,
        };
        let state = State {
            status: Status::Disarmed,
            base,
            next: 0,
            interval: 0,
            overrun: -1,
            last_overrun: 0,
            sequence: 0,
            deleted: false,
        };
        Arc::new_cyclic(|me: &Weak<PosixTimer>| {
            let timer = Once::new();
            if matches!(clock, TimerClock::Base(..)) {
                let me = me.clone();
                let _ = timer.set(ClockTimer::new(Box::new(move || {
                    if let Some(me) = me.upgrade() {
                        me.expire();
                    }
                })));
            }
            PosixTimer {
                id,
                me: me.clone(),
                process: Arc::downgrade(process),
                clock,
                notify,
                _seat: seat,
                state: SpinLock::new(state),
                timer,
                place: AtomicU8::new(place::NONE),
                periodic: AtomicBool::new(false),
                sent: AtomicU32::new(0),
                deleted: AtomicBool::new(false),
            }
        })
    }
    /// The timer's number.
    pub fn id(&self) -> i32 {
        self.id
    }
    /// The id of its clock.
    pub fn clock_id(&self) -> i32 {
        match &self.clock {
            TimerClock::Base(id, _) | TimerClock::Cpu(id, _) => *id,
        }
    }
    /// What an expiry does.
    pub fn notify(&self) -> &Notify {
        &self.notify
    }
    /// The CPU time it counts.
    pub fn cpu_clock(&self) -> Option<&CpuClock> {
        match &self.clock {
            TimerClock::Cpu(_, clock) => Some(clock),
            TimerClock::Base(..) => None,
        }
    }
    fn now(&self, state: &State) -> u64 {
        match &self.clock {
            TimerClock::Cpu(_, clock) => clock.now(),
            TimerClock::Base(..) => state.base.now(),
        }
    }
    fn is_silent(&self) -> bool {
        self.notify.signal.is_none()
    }

    /// Stops it for good.
    pub(super) fn delete(&self) {
        let mut state = self.state.lock();
        self.stop(&mut state);
        state.deleted = true;
        state.sequence = state.sequence.wrapping_add(1);
        self.deleted.store(true, Release);
    }

    /// timer_gettime(2).
    pub fn get(&self) -> Setting {
        let mut state = self.state.lock();
        self.setting(&mut state)
    }

    fn setting(&self, state: &mut State) -> Setting {
        let mut setting = Setting { value: 0, interval: state.interval };
        if state.interval == 0 && state.status == Status::Disarmed && !self.is_silent() || state.next == 0 {
            return setting;
        }
        let now = self.now(state);
        if state.interval != 0 && state.status != Status::Armed {
            state.overrun = state.overrun.saturating_add_unsigned(state.forward(now));
        }
        setting.value = match state.next.saturating_sub(now) {
            // Only one that tells nobody shows that it has expired: from others a signal is still to come.
            0 if self.is_silent() => 0,
            left => left.max(1),
        };
        setting
    }

    /// timer_settime(2); gives what was set before.
    pub fn set(&self, new: Setting, absolute: bool) -> Setting {
        let mut state = self.state.lock();
        let old = self.setting(&mut state);
        if state.deleted {
            return old;
        }
        self.stop(&mut state);
        state.sequence = state.sequence.wrapping_add(1);
        state.interval = if new.value == 0 { 0 } else { new.interval };
        (state.overrun, state.last_overrun) = (-1, 0);
        state.next = 0;
        if new.value == 0 {
            return old;
        }
        if let TimerClock::Base(id, base) = self.clock {
            // Setting the clock does not change how long "in ten seconds" is.
            state.base = if id == clock::REALTIME && !absolute { Base::Monotonic } else { base };
        }
        let next = if absolute { new.value } else { self.now(&state).saturating_add(new.value) };
        state.next = next.max(1);
        if !self.is_silent() {
            self.start(&mut state);
        }
        old
    }

    /// Disarms it.
    fn stop(&self, state: &mut State) {
        match (&self.clock, self.timer.get()) {
            (TimerClock::Cpu(_, clock), _) if state.status == Status::Armed => clock.unwatch(&self.me, state.next),
            (_, Some(timer)) => {
                timer.cancel();
            }
            _ => {}
        }
        state.status = Status::Disarmed;
    }

    /// Arms it for `next`; what counts CPU time and is due expires at once.
    fn start(&self, state: &mut State) {
        state.status = Status::Armed;
        match (&self.clock, self.timer.get()) {
            (TimerClock::Cpu(_, clock), _) => {
                if clock.now() >= state.next {
                    return self.send(state);
                }
                clock.watch(&self.me, state.next);
            }
            (_, Some(timer)) => timer.arm(state.base, state.next),
            _ => {}
        }
    }

    /// timer_getoverrun(2), at most DELAYTIMER_MAX.
    pub fn overrun(&self) -> i32 {
        clamp(self.state.lock().last_overrun)
    }

    /// A timer of CPU time that was due at a tick; it may have been set anew since.
    pub(super) fn check_cpu(&self, now: u64) {
        let mut state = self.state.lock();
        if state.status == Status::Armed && state.next <= now {
            self.send(&mut state);
        }
    }

    fn expire(&self) {
        let mut state = self.state.lock();
        if state.status != Status::Armed {
            return;
        }
        if state.base.now() < state.next {
            return self.start(&mut state); // it was set anew meanwhile
        }
        self.send(&mut state);
    }

    /// It has expired.
    fn send(&self, state: &mut State) {
        state.status = if state.interval != 0 { Status::Resting } else { Status::Disarmed };
        let (Some(signal), Some(process), Some(me)) = (self.notify.signal, self.process.upgrade(), self.me.upgrade())
        else {
            return;
        };
        let thread = match &self.notify.thread {
            None => None,
            Some(thread) => match thread.upgrade() {
                Some(thread) => Some(thread),
                None => return, // the thread to be told has ended
            },
        };
        if state.deleted {
            return;
        }
        {
            let _sig = process.sig();
            self.sent.store(state.sequence, Relaxed);
            self.periodic.store(state.interval != 0, Relaxed);
            if self.place.load(Relaxed) == place::QUEUED {
                return; // a signal of a former setting, which becomes this one's
            }
            self.place.store(place::NONE, Relaxed);
        }
        send_origin(&process, thread.as_ref(), signal, &self.info(signal, 0), me);
    }

    fn info(&self, signal: Signal, overrun: i32) -> SigInfo {
        SigInfo::timer(signal, self.id, overrun, self.notify.value)
    }

    /// The action of `signal` is no longer to ignore it: what was thrown away for that is queued after all.
    pub(super) fn unignore(&self, signal: Signal) {
        let state = self.state.lock();
        if self.notify.signal != Some(signal) || state.deleted {
            return;
        }
        let (Some(process), Some(me)) = (self.process.upgrade(), self.me.upgrade()) else { return };
        let thread = self.notify.thread.as_ref().map(Weak::upgrade);
        if process.sig().hand.ignores(signal)
            || self.place.compare_exchange(place::IGNORED, place::NONE, Relaxed, Relaxed).is_err()
        {
            return;
        }
        // A thread that has ended in the meantime takes the signal with it.
        if !matches!(&thread, Some(None)) && !thread.iter().flatten().any(|t| t.work.has(crate::work::EXIT)) {
            send_origin(&process, thread.flatten().as_ref(), signal, &self.info(signal, 0), me);
        }
    }
}

impl State {
    /// Moves `next` beyond `now` in whole periods; gives how many.
    fn forward(&mut self, now: u64) -> u64 {
        if now < self.next || self.interval == 0 {
            return 0;
        }
        let passed = (now - self.next) / self.interval + 1;
        self.next = self.next.saturating_add(passed.saturating_mul(self.interval));
        passed
    }
}

fn clamp(overrun: i64) -> i32 {
    i32::try_from(overrun).unwrap_or(i32::MAX).max(0)
}

impl Origin for PosixTimer {
    fn queued(&self, is: bool) {
        self.place.store(if is { place::QUEUED } else { place::NONE }, Relaxed);
    }

    fn dropped(&self) {
        let waits = self.periodic.load(Relaxed) && !self.deleted.load(Acquire);
        self.place.store(if waits { place::IGNORED } else { place::NONE }, Relaxed);
    }

    fn taken(&self, info: &mut SigInfo) -> bool {
        let mut state = self.state.lock();
        if state.deleted || state.sequence != self.sent.load(Relaxed) {
            return false;
        }
        if state.interval == 0 || state.status != Status::Resting {
            return true;
        }
        let now = self.now(&state);
        state.overrun = state.overrun.saturating_add_unsigned(state.forward(now));
        state.last_overrun = state.overrun;
        state.overrun = -1;
        state.sequence = state.sequence.wrapping_add(1);
        if let Some(signal) = self.notify.signal {
            *info = self.info(signal, clamp(state.last_overrun));
        }
        self.start(&mut state);
        true
    }
}
