//! What wait(2) tells a tracer.

use super::link;
use crate::exit::Reaped;
use crate::ns::PidNamespace;
use crate::process::{Life, Process};
use crate::tree::Tree;
use crate::usage::Sum;
use crate::wait::{Report, Which, ended};
use crate::{Cx, Task};
use abi::signal::si;
use abi::wait::{WaitOptions, stopped_by};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::SpinGuard;

/// What a thread is to the process that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Traced {
    /// Nobody traces it.
    No,
    /// The waiting process does.
    Here,
    /// Another process does.
    Elsewhere,
}

/// Who traces the leader of a child.
pub(crate) fn of_child(tree: &Tree, me: &Arc<Process>, child: &Process) -> Traced {
    if !child.has_tracees() {
        return Traced::No;
    }
    match tree.task(child.pid()).and_then(|t| t.tracer()) {
        None => Traced::No,
        Some(tracer) if Arc::ptr_eq(tracer.process(), me) => Traced::Here,
        Some(_) => Traced::Elsewhere,
    }
}

/// Whether the caller waits for this tracee of its process.
pub(crate) fn eligible(cx: &Cx, task: &Arc<Task>, which: &Which, options: WaitOptions) -> bool {
    let meant = match which {
        Which::Any => true,
        Which::Pid(tid) => task.tid() == *tid,
        Which::Process(p) => task.is_leader() && Arc::ptr_eq(p, task.process()),
        Which::Group(pgid) => task.process().group().pgid() == *pgid,
    };
    let thread = options.contains(WaitOptions::NOTHREAD);
    meant && (!thread || task.trace().is_some_and(|t| t.lock().is_tracer(&cx.task)))
}

/// What there is to tell of a tracee to somebody in `ns`.
pub(crate) fn look(ns: &PidNamespace, task: &Arc<Task>, options: WaitOptions) -> Option<Report> {
    let process = task.process();
    let mut state = task.trace()?.lock();
    let exited = match state.dead {
        None if task.is_leader() && process.life() == Life::Zombie && !process.is_held() => Some(process.exit_status()),
        dead => dead,
    };
    if let Some(status) = exited {
        drop(state);
        let mut usage = process.usage().dead_threads;
        usage.add(&process.children_sum());
        let (code, value) = ended(status);
        let report = Report { pid: task.nr_in(ns), uid: task.cred().uid, status, code, value, usage };
        return options.contains(WaitOptions::EXITED).then_some(report);
    }
    if state.listening {
        return None;
    }
    let stop = state.stop.as_mut().filter(|s| s.fresh && s.resume.is_none())?;
    let value = stop.code;
    stop.fresh = options.contains(WaitOptions::NOWAIT);
    drop(state);
    let (pid, uid) = (task.nr_in(ns), task.cred().uid);
    Some(Report { pid, uid, status: stopped_by(value), code: si::CLD_TRAPPED, value, usage: Sum::default() })
}

/// The tracer has been told of the end of a tracee: it is its parent's again, or gone.
pub(crate) fn release(tree: &mut SpinGuard<'_, Tree>, task: &Arc<Task>) -> Vec<Reaped> {
    match link::forget(task) {
        Some(tracer) => link::let_go(tree, task, &tracer),
        None => Vec::new(),
    }
}
