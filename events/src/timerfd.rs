//! timerfd_create(2): a timer whose expiries are read from a file.
//!
//! The kernel timer fires once; how often a periodic one would have fired since is worked out when somebody asks, so that a timer
//! nobody reads costs nothing.

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::time::{TFD_IOC_SET_TICKS, TimerfdFlags, TimerfdSettime, clock};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use machine::VirtAddr;
use machine::sync::{Once, SpinLock};
use mm::io::Dst;
use mm::user::UserPtr;
use sched::WaitQueue;
use sched::clock::{Base, ClockTimer, Set, wall_offset_ns};
use vfs::{Caller, Cred, File, FileOps, PollEvents, PollTable};

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
    /// Next expiry on `base`, 0 when disarmed.
    next: u64,
    interval: u64,
    /// Expiries before `next` that were not read.
    ticks: u64,
    /// The flags it was set with, for fdinfo.
    flags: u32,
    /// Reads are to fail once the wall clock is no longer `seen_offset` ahead.
    cancel_on_set: bool,
    seen_offset: u64,
}

/// The timer behind a timerfd.
pub struct TimerFd {
    clock: i32,
    /// The clock that `State::next` is a moment of; a relative time of the wall clock is one of the monotonic clock.
    state: SpinLock<(Base, State)>,
    timer: Once<Arc<ClockTimer>>,
    readers: WaitQueue,
}

/// Timers whose readers want to know that the wall clock was set.
static CANCELLED: SpinLock<Vec<Weak<TimerFd>>> = SpinLock::new(Vec::new());

fn base_of(id: i32) -> Base {
    match id {
        clock::REALTIME | clock::REALTIME_ALARM => Base::Realtime,
        clock::BOOTTIME | clock::BOOTTIME_ALARM => Base::Boottime,
        _ => Base::Monotonic,
    }
}

/// A new timerfd on a clock that the caller has checked; disarmed.
pub fn create(id: i32, flags: TimerfdFlags, cred: &Arc<Cred>) -> Result<Arc<File>, Errno> {
    let mut open = OpenFlags::RDWR;
    open.set(OpenFlags::NONBLOCK, flags.contains(TimerfdFlags::NONBLOCK));
    let fd = Arc::new(TimerFd {
        clock: id,
        state: SpinLock::new((base_of(id), State { seen_offset: wall_offset_ns(), ..State::default() })),
        timer: Once::new(),
        readers: WaitQueue::new(),
    });
    let weak = Arc::downgrade(&fd);
    let expired = move || {
        if let Some(fd) = weak.upgrade() {
            fd.wake();
        }
    };
    let _ = fd.timer.set(ClockTimer::new(Box::new(expired)));
    if base_of(id) == Base::Realtime {
        static HOOK: Once<()> = Once::new();
        HOOK.get_or_init(|| sched::clock::on_set(wall_clock_set));
        let mut all = CANCELLED.lock();
        all.retain(|t| t.strong_count() != 0);
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(Arc::downgrade(&fd));
    }
    Ok(vfs::anon_file("[timerfd]", fd, open, cred))
}

fn wall_clock_set(what: Set) {
    if what != Set::Stepped {
        return;
    }
    let all: Vec<_> = CANCELLED.lock().iter().filter_map(Weak::upgrade).collect();
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
    }
    fn setting(&self, now: u64) -> Setting {
        let left = if self.next == 0 { 0 } else { self.next.saturating_sub(now).max(1) };
        Setting { value: left, interval: self.interval }
    }
    /// The wall clock was set since this was last asked.
    fn cancelled(&mut self) -> bool {
        let offset = wall_offset_ns();
        self.cancel_on_set && core::mem::replace(&mut self.seen_offset, offset) != offset
    }
}

impl TimerFd {
    fn wake(&self) {
        self.readers.wake_key(usize::MAX, false, PollEvents::READABLE.key());
    }
    fn arm(&self, base: Base, state: &State) {
        let Some(timer) = self.timer.get() else { return };
        if state.next == 0 {
            timer.cancel();
        } else {
            timer.arm(base, state.next);
        }
    }
    /// Whether it can wake the system from suspension.
    pub fn is_alarm(&self) -> bool {
        matches!(self.clock, clock::REALTIME_ALARM | clock::BOOTTIME_ALARM)
    }
    /// The id of its clock.
    pub fn clock_id(&self) -> i32 {
        self.clock
    }
    /// The time left and the period (timerfd_gettime(2)).
    pub fn get(&self) -> Setting {
        let mut guard = self.state.lock();
        let (base, state) = &mut *guard;
        let now = base.now();
        let before = state.next;
        state.advance(now);
        if state.next != before {
            self.arm(*base, state);
        }
        state.setting(now)
    }
    /// timerfd_settime(2); gives what was set before. ECANCELED, with the timer set, when the wall clock was set since it was
    /// last looked at.
    pub fn set(&self, new: Setting, flags: TimerfdSettime) -> (Setting, Result<(), Errno>) {
        let mut guard = self.state.lock();
        let (base, state) = &mut *guard;
        let now = base.now();
        state.advance(now);
        let old = state.setting(now);
        let absolute = flags.contains(TimerfdSettime::ABSTIME);
        let own = base_of(self.clock);
        *base = if own == Base::Realtime && !absolute { Base::Monotonic } else { own };
        let next = match new.value {
            0 => 0,
            moment if absolute => moment,
            span => base.now().saturating_add(span),
        };
        let cancel_on_set = absolute && own == Base::Realtime && flags.contains(TimerfdSettime::CANCEL_ON_SET);
        let interval = if next == 0 { 0 } else { new.interval };
        let seen_offset = state.seen_offset;
        *state = State { next, interval, ticks: 0, flags: flags.bits(), cancel_on_set, seen_offset };
        self.arm(*base, state);
        let cancelled = next != 0 && state.cancelled();
        (old, if cancelled { Err(Errno::ECANCELED) } else { Ok(()) })
    }
    fn clock_was_set(&self) {
        let mut guard = self.state.lock();
        let state = &mut guard.1;
        if !state.cancel_on_set {
            return;
        }
        // The next look differs whatever the clock shows then; until then it is readable.
        state.seen_offset = u64::MAX;
        state.ticks = state.ticks.saturating_add(1);
        drop(guard);
        self.wake();
    }
    /// Expiries to be read, if any; they are taken and a periodic timer goes on.
    fn take(&self) -> Option<Result<u64, Errno>> {
        let mut guard = self.state.lock();
        let (base, state) = &mut *guard;
        state.advance(base.now());
        if state.ticks == 0 {
            return None;
        }
        let ticks = core::mem::take(&mut state.ticks);
        if state.cancelled() {
            return Some(Err(Errno::ECANCELED));
        }
        if state.next != 0 {
            self.arm(*base, state);
        }
        Some(Ok(ticks))
    }
    /// `TFD_IOC_SET_TICKS`: as if it had expired so often.
    fn set_ticks(&self, ticks: u64) -> Result<(), Errno> {
        if ticks == 0 {
            return Err(Errno::EINVAL);
        }
        let mut guard = self.state.lock();
        if guard.1.cancelled() {
            return Err(Errno::ECANCELED);
        }
        guard.1.ticks = ticks;
        drop(guard);
        self.wake();
        Ok(())
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
    fn can_write(&self) -> bool {
        false
    }
    fn seekable(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        vfs::fileops::stay()
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
        let guard = self.state.lock();
        let (base, state) = &*guard;
        let due = state.next != 0 && state.next <= base.now();
        if due || state.ticks != 0 { PollEvents::IN } else { PollEvents::empty() }
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        if cmd != TFD_IOC_SET_TICKS {
            return Err(Errno::ENOTTY);
        }
        self.set_ticks(UserPtr::<u64>::new(VirtAddr(arg)).read(caller.mm)?)?;
        Ok(0)
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn fmt::Write) -> fmt::Result {
        let guard = self.state.lock();
        let (base, state) = &*guard;
        let split = |ns: u64| (ns / 1_000_000_000, ns % 1_000_000_000);
        let (value, interval) = (split(state.next.saturating_sub(base.now())), split(state.interval));
        writeln!(out, "clockid: {}", self.clock)?;
        writeln!(out, "ticks: {}", state.ticks)?;
        writeln!(out, "settime flags: 0{:o}", state.flags)?;
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
