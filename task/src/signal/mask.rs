//! Masks and waiting: rt_sigprocmask, rt_sigpending, rt_sigsuspend, rt_sigtimedwait, pause, sigaltstack.

use super::queue::Taken;
use super::send::nudge;
use crate::process::SigState;
use crate::task::Task;
use crate::{Cx, work};
use abi::Errno;
use abi::signal::{MINSIGSTKSZ, SigInfo, SigSet, Signal, how};
use core::sync::atomic::Ordering;
use sched::{Instant, WaitError, WaitQueue};

/// Replaces the thread's mask; only the thread itself does so.
pub fn set_blocked(task: &Task, new: SigSet) {
    let new = new.minus(SigSet::UNBLOCKABLE);
    let old = task.blocked();
    if new == old {
        return;
    }
    let state = task.process().sig();
    let lost = state.pending.set().intersect(new.minus(old));
    if !lost.is_empty() {
        hand_over(task, &state, lost);
    }
    task.blocked.store(new.0, Ordering::Relaxed);
    recalculate(task, &state);
}

/// Signals for the group that this thread now blocks go to threads that do not.
pub(crate) fn hand_over(task: &Task, state: &SigState, lost: SigSet) {
    for t in &state.threads {
        if t.tid() != task.tid() && !lost.minus(t.blocked()).is_empty() && !t.work.has(work::EXIT) {
            nudge(t);
        }
    }
}

/// Brings the thread's marks in line with what is pending for it.
pub(super) fn recalculate(task: &Task, state: &SigState) {
    let pending = task.private.lock().set().union(state.pending.set()).minus(task.blocked());
    let other = state.group_exit.is_some()
        || crate::trace::must_stop(task, state)
        || state.tell_parent.is_some()
        || state.exec_by.is_some_and(|tid| tid != task.tid());
    if !pending.is_empty() || other {
        if !task.work.has(work::SIGNAL) {
            nudge(task);
        }
    } else if task.work.has(work::SIGNAL) {
        task.work.clear(work::SIGNAL);
        if let Some(thread) = task.thread()
            && !task.work.has(work::NOTE)
        {
            thread.set_interrupted(false);
        }
    }
}

/// rt_sigprocmask(2): gives the old mask.
pub fn sigprocmask(cx: &Cx, how: i32, set: Option<SigSet>) -> Result<SigSet, Errno> {
    let old = cx.task.blocked();
    if let Some(set) = set {
        let new = match how {
            how::BLOCK => old.union(set),
            how::UNBLOCK => old.minus(set),
            how::SETMASK => set,
            _ => return Err(Errno::EINVAL),
        };
        set_blocked(&cx.task, new);
    }
    Ok(old)
}

/// Signals that are pending and blocked (rt_sigpending(2)).
pub fn pending(cx: &Cx) -> SigSet {
    let state = cx.process().sig();
    cx.task.private.lock().set().union(state.pending.set()).intersect(cx.task.blocked())
}

impl Task {
    /// The pending signal number `at` of the group or of this thread, for its tracer.
    pub fn peek_signal(&self, of_group: bool, at: usize) -> Option<SigInfo> {
        let state = self.process().sig();
        if of_group { state.pending.peek(at) } else { self.private.lock().peek(at) }
    }
}

impl Cx {
    /// Installs a mask for good, also in place of one that a call has set for its duration.
    pub fn replace_mask(&mut self, mask: SigSet) {
        self.signal.saved_mask = None;
        self.task.work.clear(work::RESTORE_MASK);
        set_blocked(&self.task, mask);
    }
    /// Installs a mask for the duration of a call (ppoll, pselect, epoll_pwait, io_uring_enter).
    pub fn push_mask(&mut self, mask: SigSet) {
        self.signal.saved_mask = Some(self.task.blocked());
        set_blocked(&self.task, mask);
    }
    /// Ends that. When a signal interrupted the call its handler is to run under the temporary mask, and the old one comes
    /// back after it.
    pub fn pop_mask(&mut self, interrupted: bool) {
        if interrupted {
            self.task.work.set(work::RESTORE_MASK);
        } else if let Some(old) = self.signal.saved_mask.take() {
            set_blocked(&self.task, old);
        }
    }
    /// Sleeps until a signal comes.
    fn wait_for_signal(&self) {
        let never = WaitQueue::new();
        let _ = never.wait_interruptible(|| None::<()>);
    }
}

/// rt_sigsuspend(2).
pub fn sigsuspend(cx: &mut Cx, mask: SigSet) -> Errno {
    cx.push_mask(mask);
    cx.wait_for_signal();
    cx.pop_mask(true);
    Errno::ERESTARTNOHAND
}

/// pause(2).
pub fn pause(cx: &Cx) -> Errno {
    cx.wait_for_signal();
    Errno::ERESTARTNOHAND
}

/// Takes one signal of `set` out of the thread's or the group's queue.
pub fn take(task: &Task, set: SigSet) -> Option<SigInfo> {
    loop {
        let taken = {
            let mut state = task.process().sig();
            take_locked(task, &mut state, set)?
        };
        if let Some(info) = finish(taken) {
            return Some(info);
        }
    }
}

pub(super) fn take_locked(task: &Task, state: &mut SigState, set: SigSet) -> Option<Taken> {
    let private = task.private.lock().take(set);
    if private.is_some() {
        return private;
    }
    let taken = state.pending.take(set)?;
    if taken.info.signo == i32::from(Signal::ALRM.number()) {
        crate::timers::alarm_taken(task.process());
    }
    Some(taken)
}

/// Lets the origin of a signal that was taken complete it; `None` if it is no longer meant. No signal lock is held.
pub(crate) fn finish(taken: Taken) -> Option<SigInfo> {
    let mut info = taken.info;
    match taken.origin {
        Some(origin) if !origin.taken(&mut info) => None,
        _ => Some(info),
    }
}

/// rt_sigtimedwait(2): waits for a signal of `set` until `deadline`.
pub fn sigtimedwait(cx: &mut Cx, set: SigSet, deadline: Option<Instant>) -> Result<SigInfo, Errno> {
    let set = set.minus(SigSet::UNBLOCKABLE);
    if let Some(info) = take(&cx.task, set) {
        return Ok(info);
    }
    // While we wait, signals of the set must wake us although they are blocked.
    let real = cx.task.blocked();
    cx.task.awaited.store(real.0, Ordering::Relaxed);
    set_blocked(&cx.task, real.minus(set));
    let never = WaitQueue::new();
    let ended = never.wait_deadline(deadline, || None::<()>);
    set_blocked(&cx.task, real);
    // Not before: one that comes while it is neither blocked nor awaited would end the process.
    cx.task.awaited.store(0, Ordering::Release);
    let got = take(&cx.task, set);
    match (got, ended) {
        (Some(info), _) => Ok(info),
        (None, Err(WaitError::TimedOut)) => Err(Errno::EAGAIN),
        (None, _) => Err(Errno::EINTR),
    }
}

/// The smallest alternate stack: one frame must fit.
pub fn min_altstack() -> u64 {
    MINSIGSTKSZ
}
