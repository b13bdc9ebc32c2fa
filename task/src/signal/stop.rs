//! Job-control stops: a group stops when every thread has parked here, and goes on at SIGCONT.

use super::send::nudge;
use crate::process::{Life, Process, SigState};
use crate::{Cx, Task, cgroup, trace, tree};
use abi::signal::{SIG_IGN, SaFlags, SigInfo, Signal, si};
use alloc::sync::Arc;

/// SIGCONT is being sent: the group goes on, and its parent will hear of it.
pub(super) fn cont(process: &Process, state: &mut SigState) {
    state.conts = state.conts.wrapping_add(1);
    let Some(_) = state.stop.take() else { return };
    let all = core::mem::take(&mut state.stop_complete);
    state.stop_report = None;
    state.cont_report = all;
    state.tell_parent = Some(if all { si::CLD_CONTINUED } else { si::CLD_STOPPED });
    if let Some(first) = state.threads.first() {
        nudge(first);
    }
    for_traced(state, trace::stop::notify);
    process.stop_wait.wake_all();
}

/// The group is to stop because of `sig`, taken when `conts` SIGCONTs had been sent: all threads are told.
pub(super) fn begin(state: &mut SigState, sig: Signal, conts: u32) {
    if state.stop.is_some() || state.group_exit.is_some() || state.conts != conts {
        return;
    }
    state.stop = Some(sig);
    state.stop_complete = false;
    state.cont_report = false;
    for t in &state.threads {
        nudge(t);
    }
    for_traced(state, trace::stop::notify);
}

/// A stop begins or ends: traced threads, which wait for it in stops of their tracers', are not part of the last one any more.
fn for_traced(state: &mut SigState, notify: fn(&Task)) {
    for t in state.threads.clone().iter().filter(|t| t.is_traced()) {
        if let Some(trace) = t.trace() {
            trace::stop::leave_group_stop(state, &mut trace.lock());
        }
        notify(t);
    }
}

/// Notes that the stop is complete when the last thread has parked or left. Gives whether the parent is to be told now.
pub(crate) fn check_complete(state: &mut SigState) -> bool {
    if let Some(sig) = state.stop
        && state.stopped == state.threads.len()
        && state.stopped > 0
        && !state.stop_complete
    {
        state.stop_complete = true;
        state.stop_report = Some(sig);
        return true;
    }
    false
}

/// Parks this thread until the group goes on or ends.
pub(super) fn park(cx: &mut Cx) {
    let process = cx.process().clone();
    let complete = {
        let mut state = process.sig();
        if state.stop.is_none() {
            return;
        }
        state.stopped += 1;
        check_complete(&mut state)
    };
    cx.task.set_stopped(true);
    if complete {
        tell_parent(&process, si::CLD_STOPPED);
    }
    cgroup::freezer::parked(&cx.task);
    let _ = process.stop_wait.wait_killable(|| {
        let state = process.sig();
        (state.stop.is_none() || state.group_exit.is_some() || cx.task.is_traced()).then_some(())
    });
    cgroup::freezer::unparked(&cx.task);
    cx.task.set_stopped(false);
    let mut state = process.sig();
    state.stopped = state.stopped.saturating_sub(1);
}

/// Tells the parent that `process` stopped or continued (`why` is `CLD_*`).
pub(crate) fn tell_parent(process: &Arc<Process>, why: i32) {
    let _shape = tree::lock();
    let Some(parent) = process.parent() else { return };
    if process.life() != Life::Running {
        return;
    }
    let action = parent.sig().hand.get(Signal::CHLD);
    if action.handler != SIG_IGN && !action.flags().contains(SaFlags::NOCLDSTOP) {
        let status = match why {
            si::CLD_STOPPED => process.sig().stop.unwrap_or(Signal::STOP).number(),
            _ => Signal::CONT.number(),
        };
        let (utime, stime) = process.times_in_ticks();
        let uid = process.cred().uid;
        let nr = process.number().nr_in(parent.number().ns());
        let info = SigInfo::child(Signal::CHLD, why, nr as u32, uid, i32::from(status), utime, stime);
        // A queue too full for it loses the signal, as it would another instance of it.
        let _ = super::send_process(&parent, Signal::CHLD, &info);
    }
    parent.child_wait.wake_all();
}
