//! Where a traced thread stops.

use super::stop::{Cause, End, stop};
use super::{State, step};
use crate::signal::queue::Taken;
use crate::signal::{force, send_task};
use crate::{Cx, entry, work};
use abi::ptrace::{EVENT_STOP, EVENTMSG_SYSCALL_ENTRY, EVENTMSG_SYSCALL_EXIT, Event, Options};
use abi::signal::{SigInfo, Signal, si};

const TRAP: i32 = Signal::TRAP.number() as i32;

impl Cx {
    /// Looks at the tracing state if the thread is traced.
    fn traced<R>(&self, look: impl FnOnce(&State) -> R) -> Option<R> {
        let state = self.task.trace()?.lock();
        state.tracer.is_some().then(|| look(&state))
    }
}

/// A stop of the kernel's own making, told as SIGTRAP whose `si_code` is the status.
fn trap(cx: &Cx, signal: i32, code: i32, message: u64) -> Cause {
    let from = SigInfo::user(Signal::TRAP, code, cx.task.nr() as u32, cx.cred().uid);
    Cause { code, message, info: Some(SigInfo { signo: signal, ..from }), group: false, takes_signal: false }
}

/// Stops at an event if the tracer asked for it.
pub fn event(cx: &mut Cx, event: Event, message: u64) {
    let number = event as i32;
    let Some((options, seized)) = cx.traced(|s| (s.options, s.seized)) else { return };
    if options.bits() >> number & 1 != 0 {
        let cause = trap(cx, TRAP, TRAP | number << 8, message);
        stop(cx, cause);
        // The tracer may have asked only now for the end of the call it is in.
        if cx.task.entry.has(entry::TRACE | entry::STEP) {
            cx.task.work.set(work::CALL_EXIT);
        }
    } else if event == Event::Exec && !seized {
        // Tracers that know no events are told of execve by a signal.
        let _ = send_task(&cx.task, Signal::TRAP, &SigInfo::user(Signal::TRAP, si::USER, 0, 0));
    }
}

/// The tracer of the caller has asked for an event.
pub fn wants(cx: &Cx, event: Event) -> bool {
    cx.traced(|s| s.options.bits() >> event as u8 & 1 != 0).unwrap_or(false)
}

/// The tracer of a thread in a filter's hands has switched its filters off (PTRACE_O_SUSPEND_SECCOMP).
pub fn suspends_seccomp(cx: &Cx) -> bool {
    cx.traced(|s| s.options.contains(Options::SUSPEND_SECCOMP)).unwrap_or(false)
}

/// The stop at the beginning of a call. True when the call is not to run.
pub(crate) fn call_entry(cx: &mut Cx) -> bool {
    call(cx, EVENTMSG_SYSCALL_ENTRY);
    cx.task.thread().is_some_and(|t| t.fatal())
}

/// What is due at the end of a call: a single step's trap, or the tracer's stop.
pub(crate) fn call_exit(cx: &mut Cx) {
    if cx.task.entry.has(entry::STEP) {
        let rip = cx.user.regs.rip;
        force(cx, Signal::TRAP, &SigInfo::fault(Signal::TRAP, si::TRAP_BRKPT, rip));
    } else if cx.task.entry.has(entry::TRACE) {
        call(cx, EVENTMSG_SYSCALL_EXIT);
    }
}

fn call(cx: &mut Cx, message: u64) {
    let Some(good) = cx.traced(|s| s.options.contains(Options::TRACESYSGOOD)) else { return };
    let cause = trap(cx, TRAP, if good { TRAP | 0x80 } else { TRAP }, message);
    let cause = Cause { takes_signal: true, ..cause };
    if let End::With(signal, _) = stop(cx, cause)
        && let Some(signal) = Signal::from_raw(signal)
    {
        // A signal that is pending already tells as much.
        let _ = send_task(&cx.task, signal, &SigInfo::kernel(signal));
    }
}

/// The stop after the first instruction of a handler was reached by a step.
pub(crate) fn handler_reached(cx: &mut Cx) {
    let cause = trap(cx, TRAP, TRAP, 0);
    stop(cx, cause);
}

/// A trap of job control that waits for the thread; false when there is none.
pub(crate) fn job_trap(cx: &mut Cx) -> bool {
    let group = cx.process().sig().stop;
    let Some((due, seized)) = cx.traced(|s| (s.has_trap(group.is_some()), s.seized)) else { return false };
    if !due {
        return false;
    }
    let signal = group.unwrap_or(Signal::TRAP).number().into();
    let cause = if seized {
        Cause { group: true, ..trap(cx, signal, signal | EVENT_STOP << 8, 0) }
    } else {
        Cause { code: signal, message: 0, info: None, group: true, takes_signal: false }
    };
    stop(cx, cause);
    true
}

/// The stop before a signal acts. Gives the signal that is to act instead, if any.
pub(crate) fn signal(cx: &mut Cx, taken: Taken) -> Option<Taken> {
    let number = taken.info.signo;
    let info = crate::signal::mask::finish(taken)?;
    let cause = Cause { code: number, message: 0, info: Some(info), group: false, takes_signal: true };
    let (chosen, mut info) = match stop(cx, cause) {
        End::Not => (number, info),
        End::With(chosen, new) => (chosen, new.unwrap_or(info)),
    };
    let sig = Signal::from_raw(chosen)?;
    if chosen != info.signo {
        let tracer = cx.task.tracer();
        let (pid, uid) = tracer.map_or((0, 0), |t| (t.process().number().nr_in(cx.task.pid_ns()) as u32, t.cred().uid));
        info = SigInfo::user(sig, si::USER, pid, uid);
    }
    if cx.task.blocked().has(sig) {
        // Blocked meanwhile: it waits. A signal that is pending already tells as much.
        let _ = send_task(&cx.task, sig, &info);
        return None;
    }
    Some(Taken { info, origin: None })
}

/// A debug exception was the tracer's single step: the registers it sees do not have its trap flag (`step`).
pub(crate) fn before_handler(cx: &mut Cx) -> bool {
    let stepping = cx.task.entry.has(entry::STEP);
    if stepping {
        step::disable_own(cx);
    }
    stepping
}
