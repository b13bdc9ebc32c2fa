//! timerfd_create(2): a timer whose expiries are read from a file.
//!
//! The kernel timer fires once; how often a periodic one would have fired since is worked out when somebody asks, so that a timer
//! nobody reads costs nothing. Absolute times of the wall clock are armed again when that clock is set.

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::time::{TimerfdFlags, TimerfdSettime, clock};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use machine::sync::{Once, SpinLock};
use mm::io::Dst;
use sched::{Timer, WaitQueue};
use vfs::{Cred, File, FileOps, PollEvents, PollTable};

/// A setting, in nanoseconds: time until (or of) the next expiry, 0 for disarmed, and the period.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Next expiry.
    pub value: u64,
    /// Period, 0 for once.
    pub interval: u64,
}

#[derive(Default)]
struct State {
    /// Next expiry on the monotonic clock, 0 when disarmed.
    next: u64,
    interval: u64,
    /// Expiries before `next` that were not read.
    ticks: u64,
    /// `next` as a moment of the wall clock, for absolute settings of that clock.
    wall: Option<u64>,
    cancel_on_set: bool,
    cancelled: bool,
}

/// The timer behind a timerfd.
pub struct TimerFd {
    clock: i32,
    state: SpinLock<State>,
    timer: Once<Arc<Timer>>,
    readers: WaitQueue,
}

/// Timers that follow the wall clock.
static WALL_TIMERS: SpinLock<Vec<Weak<TimerFd>>> = SpinLock::new(Vec::new());

fn is_wall(id: i32) -> bool {
    matches!(id, clock::REALTIME | clock::REALTIME_ALARM)
}

/// A new timerfd on a clock that the caller has checked; disarmed.
pub fn create(id: i32, flags: TimerfdFlags, cred: &Arc<Cred>) -> Result<Arc<File>, Errno> {
    let mut open = OpenFlags::RDWR;
    open.set(OpenFlags::NONBLOCK, flags.contains(TimerfdFlags::NONBLOCK));
    let fd = Arc::new(TimerFd {
        clock: id,
        state: SpinLock::new(State::default()),
        timer: Once::new(),
        readers: WaitQueue::new(),
    });
    let weak = Arc::downgrade(&fd);
    let expired = move || {
        if let Some(fd) = weak.upgrade() {
            fd.readers.wake_key(usize::MAX, false, PollEvents::READABLE.bits() as u64);
        }
    };
    let _ = fd.timer.set(Timer::new(Box::new(expired)));
    if is_wall(id) {
        static HOOK: Once<()> = Once::new();
        HOOK.get_or_init(|| sched::clock::on_set(|_| wall_clock_set()));
        let mut all = WALL_TIMERS.lock();
        all.retain(|t| t.strong_count() != 0);
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(Arc::downgrade(&fd));
    }
    Ok(vfs::anon_file("[timerfd]", fd, open, cred))
}

fn wall_clock_set() {
    let all: Vec<_> = WALL_TIMERS.lock().iter().filter_map(Weak::upgrade).collect();
    all.iter().for_each(|t| t.clock_was_set());
}

impl State {
    /// Moves expiries that have passed from `next` to `ticks`.
    fn advance(&mut self, now: u64) {
        if self.next == 0 || now < self.next {
            return;
        }
        if self.interval == 0 {
            self.ticks = self.ticks.saturating_add(1);
            self.next = 0;
            return;
        }
        let passed = (now - self.next) / self.interval + 1;
        self.ticks = self.ticks.saturating_add(passed);
        let step = passed.saturating_mul(self.interval);
        self.next = self.next.saturating_add(step);
        self.wall = self.wall.map(|w| w.saturating_add(step));
    }
    fn setting(&self, now: u64) -> Setting {
        let left = if self.next == 0 { 0 } else { self.next.saturating_sub(now).max(1) };
        Setting { value: left, interval: self.interval }
    }
}

impl TimerFd {
    fn arm(&self, state: &State) {
        let Some(timer) = self.timer.get() else { return };
        if state.next == 0 {
            timer.cancel();
        } else {
            timer.arm(state.next);
        }
    }
    /// The time left and the period (timerfd_gettime(2)).
    pub fn get(&self) -> Setting {
        let now = sched::now();
        let mut state = self.state.lock();
        let before = state.next;
        state.advance(now);
        if state.next != before {
            self.arm(&state);
        }
        state.setting(now)
    }
    /// timerfd_settime(2); gives what was set before.
    pub fn set(&self, new: Setting, flags: TimerfdSettime) -> Setting {
        let now = sched::now();
        let mut state = self.state.lock();
        state.advance(now);
        let old = state.setting(now);
        let absolute = flags.contains(TimerfdSettime::ABSTIME);
        let wall = (absolute && is_wall(self.clock) && new.value != 0).then_some(new.value);
        let next = match wall {
            _ if new.value == 0 => 0,
            Some(wall) => wall.saturating_sub(sched::clock::wall_offset_ns()).max(1),
            None if absolute => new.value,
            None => now.saturating_add(new.value),
        };
        *state = State {
            next,
            interval: if next == 0 { 0 } else { new.interval },
            ticks: 0,
            wall,
            cancel_on_set: wall.is_some() && flags.contains(TimerfdSettime::CANCEL_ON_SET),
            cancelled: false,
        };
        self.arm(&state);
        old
    }
    fn clock_was_set(&self) {
        let mut state = self.state.lock();
        let Some(wall) = state.wall else { return };
        if state.cancel_on_set {
            state.cancelled = true;
        }
        if state.next != 0 {
            state.next = wall.saturating_sub(sched::clock::wall_offset_ns()).max(1);
            self.arm(&state);
        }
        drop(state);
        self.readers.wake_key(usize::MAX, false, PollEvents::READABLE.bits() as u64);
    }
    /// Expiries to be read, if any; they are taken and a periodic timer goes on.
    fn take(&self) -> Option<Result<u64, Errno>> {
        let mut state = self.state.lock();
        if core::mem::take(&mut state.cancelled) {
            return Some(Err(Errno::ECANCELED));
        }
        state.advance(sched::now());
        if state.ticks == 0 {
            return None;
        }
        let ticks = core::mem::take(&mut state.ticks);
        if state.next != 0 {
            self.arm(&state);
        }
        Some(Ok(ticks))
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.get() {
            timer.cancel();
        }
    }
}

impl FileOps for TimerFd {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn pollable(&self) -> bool {
        true
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let ticks = match self.take() {
            Some(ticks) => ticks?,
            None if f.is_nonblocking() => return Err(Errno::EAGAIN),
            None => self.readers.wait_interruptible(|| self.take())??,
        };
        dst.put(&ticks.to_ne_bytes())
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.readers);
        let state = self.state.lock();
        let due = state.next != 0 && state.next <= sched::now();
        if due || state.ticks != 0 || state.cancelled { PollEvents::IN } else { PollEvents::empty() }
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn fmt::Write) -> fmt::Result {
        let now = sched::now();
        let state = self.state.lock();
        let split = |ns: u64| (ns / 1_000_000_000, ns % 1_000_000_000);
        let (value, interval) = (split(state.next.saturating_sub(now)), split(state.interval));
        writeln!(out, "clockid: {}", self.clock)?;
        writeln!(out, "ticks: {}", state.ticks)?;
        writeln!(out, "settime flags: 0{:o}", u8::from(state.wall.is_some()) | u8::from(state.cancel_on_set) << 1)?;
        writeln!(out, "it_value: ({}, {})", value.0, value.1)?;
        writeln!(out, "it_interval: ({}, {})", interval.0, interval.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_periods_are_counted_when_asked_for() {
        let mut s = State { next: 100, interval: 10, ..State::default() };
        s.advance(99);
        assert_eq!((s.ticks, s.next), (0, 100));
        s.advance(100);
        assert_eq!((s.ticks, s.next), (1, 110));
        s.advance(145);
        assert_eq!((s.ticks, s.next), (5, 150));
        assert_eq!(s.setting(145), Setting { value: 5, interval: 10 });
    }

    #[test]
    fn a_timer_that_fired_once_is_disarmed() {
        let mut s = State { next: 100, ..State::default() };
        s.advance(200);
        s.advance(300);
        assert_eq!((s.ticks, s.setting(300)), (1, Setting::default()));
    }
}
