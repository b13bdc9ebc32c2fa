//! The tracer's side of a stop.

use super::{State, Trace, step};
use crate::signal::send;
use crate::{Cx, Task, entry};
use abi::Errno;
use abi::ptrace::EVENT_STOP;
use alloc::boxed::Box;
use alloc::sync::Arc;
use machine::sync::{SpinGuard, SpinLock};
use sched::Completion;

/// How a tracee goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// PTRACE_CONT.
    Cont,
    /// PTRACE_SYSCALL: to the next beginning or end of a call.
    Call,
    /// PTRACE_SINGLESTEP.
    Step,
    /// PTRACE_SYSEMU: to the next call, which does not run.
    Emulate,
    /// PTRACE_SYSEMU_SINGLESTEP.
    EmulateStep,
}

/// The state of a tracee of the caller's that is in a stop; ESRCH otherwise.
pub fn in_stop<'a>(cx: &Cx, task: &'a Task) -> Result<SpinGuard<'a, State>, Errno> {
    let mut state = mine(cx, task)?.lock();
    if state.at_hand().is_none() { Err(Errno::ESRCH) } else { Ok(state) }
}

/// The state of a tracee of the caller's, whatever it does; ESRCH otherwise.
pub fn mine<'a>(cx: &Cx, task: &'a Task) -> Result<&'a Trace, Errno> {
    let trace = task.trace().ok_or(Errno::ESRCH)?;
    let ours = trace.lock().is_tracer(&cx.task);
    if ours { Ok(trace) } else { Err(Errno::ESRCH) }
}

/// Lets a stopped tracee go on with `signal` (0 for none).
pub fn resume(cx: &Cx, task: &Arc<Task>, how: How, signal: i32) -> Result<(), Errno> {
    let steps = matches!(how, How::Step | How::EmulateStep);
    let rip = in_stop(cx, task)?.stop.as_ref().map(|s| s.regs.rip);
    let pops_flags = match (steps, rip, task.mm()) {
        (true, Some(rip), Some(mm)) => step::loads_flags(&mm, rip)?,
        _ => false,
    };
    let mut state = in_stop(cx, task)?;
    let bits = match how {
        How::Call => entry::TRACE,
        How::Emulate | How::EmulateStep => entry::EMU,
        How::Cont | How::Step => 0,
    };
    task.entry.clear((entry::TRACE | entry::EMU) & !bits);
    task.entry.set(bits);
    let State { stop: Some(stop), forced_tf, .. } = &mut *state else { return Err(Errno::ESRCH) };
    if steps {
        step::enable(task, stop, forced_tf, pops_flags);
    } else {
        step::disable(task, Some(&mut stop.regs), forced_tf);
    }
    stop.resume = Some(signal);
    drop(state);
    wake(task);
    Ok(())
}

/// Makes a tracee in a stop look whether it may go on.
pub(super) fn wake(task: &Task) {
    if let Some(trace) = task.trace() {
        trace.turn.wake_all();
    }
}

/// PTRACE_INTERRUPT: a seized tracee stops as soon as it can, without any signal.
pub fn interrupt(cx: &Cx, task: &Arc<Task>) -> Result<(), Errno> {
    let trace = mine(cx, task)?;
    {
        let _sig = task.process().sig();
        let mut state = trace.lock();
        if !state.seized {
            return Err(Errno::EIO);
        }
        state.trap = true;
    }
    send::nudge(task);
    trace.turn.wake_all();
    Ok(())
}

/// PTRACE_LISTEN: a seized tracee in a stop of its group stays there, and is not looked at until the group's stop changes.
pub fn listen(cx: &Cx, task: &Arc<Task>) -> Result<(), Errno> {
    let mut state = in_stop(cx, task)?;
    let in_event = state.stop.as_ref().and_then(|s| s.info).is_some_and(|i| i.code >> 8 == EVENT_STOP);
    if !state.seized || !in_event {
        return Err(Errno::EIO);
    }
    state.listening = true;
    drop(state);
    wake(task);
    Ok(())
}

/// Tells when it is dropped, whether the errand ran or its tracee died first.
struct Told(Arc<Completion>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.complete();
    }
}

/// Runs `errand` on a stopped tracee, in its own context; ESRCH when it dies first.
pub fn run_on<R: Send + 'static>(
    cx: &Cx,
    task: &Arc<Task>,
    errand: impl FnOnce(&mut Cx) -> R + Send + 'static,
) -> Result<R, Errno> {
    let answer = Arc::new(SpinLock::new(None));
    let done = Arc::new(Completion::new());
    let (to, told) = (answer.clone(), Told(done.clone()));
    {
        let mut state = in_stop(cx, task)?;
        let stop = state.stop.as_mut().ok_or(Errno::ESRCH)?;
        stop.errand = Some(Box::new(move |cx: &mut Cx| {
            let result = errand(cx);
            *to.lock() = Some(result);
            drop(told);
        }));
    }
    wake(task);
    // Killed while waiting: nobody will look at the answer.
    done.wait_killable().map_err(|_| Errno::ESRCH)?;
    let result = answer.lock().take();
    result.ok_or(Errno::ESRCH)
}
