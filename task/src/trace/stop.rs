//! The tracee's side of a stop.

use super::{State, Stop, debug};
use crate::cgroup::freezer;
use crate::process::SigState;
use crate::signal::stop as job;
use crate::signal::{send, send_process};
use crate::{Cx, Task};
use abi::signal::{SIG_IGN, SaFlags, SigInfo, Signal, si};
use alloc::sync::Arc;
use machine::sync::SpinGuard;

/// What a thread stops for.
pub(crate) struct Cause {
    /// The upper part of the wait status.
    pub code: i32,
    /// PTRACE_GETEVENTMSG.
    pub message: u64,
    /// The signal.
    pub info: Option<SigInfo>,
    /// It is a stop of the group (or a trap that stands for one).
    pub group: bool,
    /// The signal named at its end takes effect.
    pub takes_signal: bool,
}

/// How a stop ended.
pub(crate) enum End {
    /// Nobody traces the thread, or it is to die: it has not stopped.
    Not,
    /// The tracer let it go on with this signal (0 for none) and this information about it.
    With(i32, Option<SigInfo>),
}

enum Turn {
    Resume(i32),
    Errand(super::Errand),
    Again,
}

/// Stops until the tracer lets the thread go on. A deadly signal ends any stop.
pub(crate) fn stop(cx: &mut Cx, cause: Cause) -> End {
    let task = cx.task.clone();
    let Some(trace) = task.trace() else { return End::Not };
    let selectors = cx.user.selectors();
    let group = cause.group;
    let (tracer, complete) = {
        let mut sig = task.process().sig();
        let mut state = trace.lock();
        let Some(tracer) = state.tracer.as_ref().and_then(|t| t.upgrade()) else { return End::Not };
        if task.thread().is_some_and(|t| t.fatal()) {
            return End::Not;
        }
        state.trap = false;
        if cause.code >> 8 == abi::ptrace::EVENT_STOP {
            state.notify = false;
        }
        state.stop = Some(Stop {
            code: cause.code,
            fresh: true,
            message: cause.message,
            info: cause.info,
            regs: cx.user.regs,
            bases: [cx.user.fs_base, cx.user.gs_base],
            selectors,
            takes_signal: cause.takes_signal,
            resume: None,
            errand: None,
        });
        (tracer, group && join(&mut sig, &mut state))
    };
    trace.settled.wake_all();
    let why = if group { si::CLD_STOPPED } else { si::CLD_TRAPPED };
    tell_tracer(&task, &tracer, why, cause.code & 0x7f);
    if complete && task.process().parent().is_none_or(|p| !Arc::ptr_eq(&p, tracer.process())) {
        job::tell_parent(task.process(), si::CLD_STOPPED);
    }
    drop(tracer);
    freezer::parked(&task);
    let signal = sleep(cx, &task);
    freezer::unparked(&task);
    let mut state = trace.lock();
    state.listening = false;
    let info = state.stop.take().and_then(|s| s.info);
    let debug = state.debug;
    drop(state);
    debug::apply(&task, &debug);
    End::With(signal, info)
}

/// Counts the thread as stopped in its group's stop; true when that completes the stop.
fn join(sig: &mut SigState, state: &mut State) -> bool {
    if sig.stop.is_none() || state.joined {
        return false;
    }
    state.joined = true;
    sig.stopped += 1;
    job::check_complete(sig)
}

/// The thread no longer counts as stopped: its group goes on, it is not traced any more, or it ends.
pub(crate) fn leave_group_stop(sig: &mut SigState, state: &mut State) {
    if core::mem::take(&mut state.joined) {
        sig.stopped = sig.stopped.saturating_sub(1);
    }
}

/// Sleeps in the stop and runs errands; gives the signal to go on with.
fn sleep(cx: &mut Cx, task: &Arc<Task>) -> i32 {
    let Some(trace) = task.trace() else { return 0 };
    loop {
        let turn = trace.turn.wait_killable(|| {
            let mut state = trace.lock();
            let again = state.listening && (state.trap || state.notify);
            let stop = state.stop.as_mut()?;
            if let Some(errand) = stop.errand.take() {
                return Some(Turn::Errand(errand));
            }
            match stop.resume {
                Some(signal) => Some(Turn::Resume(signal)),
                None => again.then_some(Turn::Again),
            }
        });
        take_registers(cx, &mut trace.lock());
        match turn {
            Ok(Turn::Errand(errand)) => {
                errand(cx);
                let selectors = cx.user.selectors();
                if let Some(stop) = trace.lock().stop.as_mut() {
                    stop.regs = cx.user.regs;
                    stop.bases = [cx.user.fs_base, cx.user.gs_base];
                    stop.selectors = selectors;
                }
            }
            Ok(Turn::Resume(signal)) => return signal,
            Ok(Turn::Again) | Err(_) => return 0,
        }
    }
}

/// What the tracer made of the registers becomes the thread's.
fn take_registers(cx: &mut Cx, state: &mut SpinGuard<'_, State>) {
    if let Some(stop) = &state.stop {
        cx.user.regs = stop.regs;
        cx.user.segments_changed();
        cx.user.set_selectors(stop.selectors);
        [cx.user.fs_base, cx.user.gs_base] = stop.bases;
        if cx.user.regs.orig_rax as i32 == -1 {
            cx.user.regs.orig_rax = u64::MAX;
        }
    }
}

/// SIGCHLD for the tracer, and an end to its wait.
fn tell_tracer(task: &Arc<Task>, tracer: &Arc<Task>, why: i32, status: i32) {
    let process = tracer.process();
    let action = process.sig().hand.get(Signal::CHLD);
    if action.handler != SIG_IGN && !action.flags().contains(SaFlags::NOCLDSTOP) {
        let (utime, stime) = task.process().times_in_ticks();
        let info = SigInfo::child(
            Signal::CHLD,
            why,
            task.nr_in(tracer.pid_ns()) as u32,
            task.cred().uid,
            status,
            utime,
            stime,
        );
        // A queue too full for it loses the signal, as it would another instance of it.
        let _ = send_process(process, Signal::CHLD, &info);
    }
    process.child_wait.wake_all();
}

/// Makes a seized thread stop to tell its tracer of a change in its group's stops.
pub(crate) fn notify(task: &Task) {
    let Some(trace) = task.trace() else { return };
    let mut state = trace.lock();
    if state.tracer.is_none() || !state.seized {
        return;
    }
    state.notify = true;
    let listening = state.listening;
    drop(state);
    send::nudge(task);
    if listening {
        trace.turn.wake_all();
    }
}
