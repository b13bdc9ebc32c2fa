//! Timers that follow a clock: armed for a moment of it, they move along when it is set.

use super::{Base, Set};
use crate::timer::Timer;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::sync::{Once, SpinLock};

/// A timer on a clock. It calls back once each time it is armed, from the timer's context: the callback must not sleep.
pub struct ClockTimer {
    callback: Box<dyn Fn() + Send + Sync>,
    timer: Once<Arc<Timer>>,
    target: SpinLock<Target>,
}

#[derive(Default)]
struct Target {
    /// What it is armed for.
    at: Option<(Base, u64)>,
    /// It is listed in [`FOLLOWERS`].
    listed: bool,
}

/// Timers that were armed for a clock that can be set.
static FOLLOWERS: SpinLock<Vec<Weak<ClockTimer>>> = SpinLock::new(Vec::new());

impl ClockTimer {
    /// A timer that is not armed.
    pub fn new(callback: Box<dyn Fn() + Send + Sync>) -> Arc<ClockTimer> {
        let timer = Arc::new(ClockTimer { callback, timer: Once::new(), target: SpinLock::new(Target::default()) });
        let weak = Arc::downgrade(&timer);
        let _ = timer.timer.set(Timer::new(Box::new(move || {
            if let Some(timer) = weak.upgrade() {
                timer.due();
            }
        })));
        timer
    }

    /// Calls back when `base` shows `moment` or soon after; replaces what was armed.
    pub fn arm(self: &Arc<Self>, base: Base, moment: u64) {
        let mut target = self.target.lock();
        target.at = Some((base, moment));
        if base.is_settable() && !target.listed {
            target.listed = true;
            list(self);
        }
        self.start(base, moment);
    }

    /// Disarms it. A callback that has begun may still be running on another CPU.
    pub fn cancel(&self) {
        self.target.lock().at = None;
        if let Some(timer) = self.timer.get() {
            timer.cancel();
        }
    }

    fn start(&self, base: Base, moment: u64) {
        if let Some(timer) = self.timer.get() {
            timer.arm(base.to_monotonic(moment));
        }
    }

    fn due(&self) {
        let mut target = self.target.lock();
        match target.at {
            Some((base, moment)) if base.now() < moment => return self.start(base, moment),
            Some(_) => target.at = None,
            None => return, // cancelled meanwhile
        }
        drop(target);
        (self.callback)();
    }
}

fn list(timer: &Arc<ClockTimer>) {
    static HOOK: Once<()> = Once::new();
    HOOK.get_or_init(|| super::on_set(clock_was_set));
    let mut all = FOLLOWERS.lock();
    if all.len() == all.capacity() {
        all.retain(|t| t.strong_count() != 0);
    }
    all.push(Arc::downgrade(timer));
}

fn clock_was_set(_what: Set) {
    let all: Vec<_> = FOLLOWERS.lock().iter().filter_map(Weak::upgrade).collect();
    for timer in all {
        let target = timer.target.lock();
        if let Some((base, moment)) = target.at {
            timer.start(base, moment);
        }
    }
}
