//! Tracing threads: ptrace(2).
//!
//! Every thread that was ever traced has a [`Trace`]: who traces it, with which options, what traps wait for it, and, while it is in
//! a stop, what its tracer may see and change ([`Stop`]).
//!
//! - [`link`]: attaching and detaching, at the request of either side or because one of them ends;
//! - [`stop`]: the tracee's side: it fills in a [`Stop`], tells its tracer, and sleeps until it is resumed;
//! - [`report`]: the places where a thread stops: calls, events, signals, traps of job control, single steps;
//! - [`control`]: the tracer's side: resuming, listening, interrupting, running something on the tracee.
//!
//! Registers of a thread live on its own stack (`Cx`). In a stop a copy of the general ones is in the `Stop`, where the tracer reads
//! and writes it; for anything else the tracer hands the tracee a closure, which it runs on its own `Cx` without leaving the stop.
//!
//! Locks: links change under the tree lock (`Family::tracees` of the tracer's process, `State::tracer`). `State` is a leaf inside
//! `Process::sig` of the tracee; flags that delivery looks at (traps, `joined`) change under both.
//!
//! Sources: ptrace(2), wait(2), `linux/ptrace.h`.

pub mod control;
pub mod debug;
pub mod link;
pub mod report;
pub mod step;
pub mod stop;
pub(crate) mod wait;

use crate::process::SigState;
use crate::{Cx, Task};
use abi::ptrace::Options;
use abi::signal::SigInfo;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use debug::Debug;
use machine::segment::Selectors;
use machine::sync::{SpinGuard, SpinLock};
use machine::user::Regs;
use sched::WaitQueue;

/// The tracing state of one thread.
#[derive(Default)]
pub struct Trace {
    state: SpinLock<State>,
    /// The tracee sleeps here while it is in a stop.
    pub(crate) turn: WaitQueue,
    /// Its tracer sleeps here until it has stopped.
    pub(crate) settled: WaitQueue,
}

/// What changes.
#[derive(Default)]
pub struct State {
    /// The thread that traces it; `None`: it is not traced now.
    pub tracer: Option<Weak<Task>>,
    /// Attached by PTRACE_SEIZE.
    pub seized: bool,
    /// PTRACE_SETOPTIONS.
    pub options: Options,
    /// It is to stop: an interrupt, or the first stop of a seized child.
    pub(crate) trap: bool,
    /// Something about its group's stops has changed that its tracer has not seen.
    pub(crate) notify: bool,
    /// Its tracer waits for such changes only (PTRACE_LISTEN).
    pub(crate) listening: bool,
    /// It counts as stopped in the stop its group is in.
    pub(crate) joined: bool,
    /// The trap flag in its registers is its tracer's doing.
    pub(crate) forced_tf: bool,
    /// Its debug registers.
    pub debug: Debug,
    /// The stop it is in.
    pub stop: Option<Stop>,
    /// It has ended with this wait status and waits for its tracer to ask (a thread that leads no group).
    pub(crate) dead: Option<i32>,
}

/// Something a tracee does in its stop for its tracer.
pub(crate) type Errand = Box<dyn FnOnce(&mut Cx) + Send>;

/// A thread in a stop.
pub struct Stop {
    /// The upper part of the wait status: a signal, and above it an event.
    pub code: i32,
    /// The code has not been asked for yet.
    pub(crate) fresh: bool,
    /// PTRACE_GETEVENTMSG.
    pub message: u64,
    /// The signal it stopped for; `None` in the stops of its group.
    pub info: Option<SigInfo>,
    /// General registers.
    pub regs: Regs,
    /// FS and GS base.
    pub bases: [u64; 2],
    /// What is in the data segment registers.
    pub selectors: Selectors,
    /// It stopped on its way out of a call or to a signal, so that the signal named by its tracer takes effect.
    pub(crate) takes_signal: bool,
    /// Its tracer lets it go on, with this signal.
    pub(crate) resume: Option<i32>,
    /// Its tracer has something for it to do.
    pub(crate) errand: Option<Errand>,
}

impl Task {
    /// Its tracing state, if it was ever traced.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.get().map(|t| &**t)
    }
    /// Its tracing state, made if it has none.
    pub(crate) fn trace_or_new(&self) -> &Trace {
        self.trace.get_or_init(Box::default)
    }
    /// Somebody traces it.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.trace().is_some_and(|t| t.lock().tracer.is_some())
    }
    /// Who traces it.
    pub fn tracer(&self) -> Option<Arc<Task>> {
        self.trace()?.lock().tracer.as_ref()?.upgrade()
    }
    /// It is in a stop of its tracer's.
    pub fn is_trace_stopped(&self) -> bool {
        self.trace().is_some_and(|t| t.lock().stop.is_some())
    }
}

impl Trace {
    /// Takes the lock.
    pub fn lock(&self) -> SpinGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// It is in a stop that its tracer may work on.
    pub fn at_hand(&mut self) -> Option<&mut Stop> {
        if self.listening { None } else { self.stop.as_mut().filter(|s| s.resume.is_none()) }
    }
    /// The trap flag in the registers is the tracer's.
    pub fn forces_tf(&self) -> bool {
        self.forced_tf
    }
    /// Changes the registers of a stopped thread, and who owns its trap flag.
    pub fn change_registers(&mut self, change: impl FnOnce(&mut Stop, &mut bool)) {
        if let Some(stop) = &mut self.stop {
            change(stop, &mut self.forced_tf);
        }
    }
    pub(crate) fn is_tracer(&self, task: &Arc<Task>) -> bool {
        self.tracer.as_ref().is_some_and(|t| core::ptr::eq(t.as_ptr(), Arc::as_ptr(task)))
    }
    /// A trap of job control waits.
    fn has_trap(&self, group_stops: bool) -> bool {
        self.tracer.is_some() && (self.trap || self.notify || group_stops && !self.joined)
    }
}

/// Whether the stop of its group, or a trap of its tracer's, waits for this thread.
pub(crate) fn must_stop(task: &Task, state: &SigState) -> bool {
    match task.trace().map(Trace::lock) {
        Some(t) if t.tracer.is_some() => t.has_trap(state.stop.is_some()),
        _ => state.stop.is_some(),
    }
}
