//! Numbers of threads, processes, groups and sessions as a caller sees them (pid_namespaces(7)).
//!
//! The kernel names everything by its *global* number, that of the first pid namespace; [`crate::tree`] is keyed by it. What lives in a
//! nested namespace has a number more for each level ([`Pid`]). User space speaks in numbers of its own namespace: system calls translate what
//! comes in with [`Cx::find_task`] and its siblings, and what goes out with [`Cx::nr_of`]. For a caller in the first namespace all of these
//! are the identity.

use crate::Cx;
use crate::ns::PidNamespace;
use crate::process::Process;
use crate::task::Task;
use crate::tree::{self, Group};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The numbers of one thread, process, group or session.
#[derive(Clone)]
pub struct Pid {
    global: i32,
    deeper: Option<Arc<Deeper>>,
}

/// Numbers below the first namespace.
pub(crate) struct Deeper {
    pub(crate) ns: Arc<PidNamespace>,
    /// In the namespaces of levels 1, 2, ... up to that of `ns`.
    pub(crate) numbers: Vec<i32>,
}

impl Pid {
    /// One that only the first namespace knows.
    pub(crate) fn plain(global: i32) -> Pid {
        Pid { global, deeper: None }
    }
    pub(crate) fn nested(global: i32, ns: Arc<PidNamespace>, numbers: Vec<i32>) -> Pid {
        Pid { global, deeper: Some(Arc::new(Deeper { ns, numbers })) }
    }
    pub(crate) fn from_deeper(global: i32, deeper: Arc<Deeper>) -> Pid {
        Pid { global, deeper: Some(deeper) }
    }
    pub(crate) fn deeper(&self) -> Option<&Arc<Deeper>> {
        self.deeper.as_ref()
    }
    /// The number in the first namespace.
    #[inline]
    pub fn global(&self) -> i32 {
        self.global
    }
    /// The namespace it was made in: the deepest that has a number for it.
    pub fn ns(&self) -> &Arc<PidNamespace> {
        self.deeper.as_ref().map_or_else(|| PidNamespace::first(), |d| &d.ns)
    }
    /// The number in its own namespace.
    pub fn nr(&self) -> i32 {
        self.deeper.as_ref().and_then(|d| d.numbers.last()).copied().unwrap_or(self.global)
    }
    /// The number in `ns`; 0 when it is not visible there.
    pub fn nr_in(&self, ns: &PidNamespace) -> i32 {
        if ns.level() == 0 {
            return self.global;
        }
        let Some(deeper) = &self.deeper else { return 0 };
        if !deeper.ns.is_in(ns) {
            return 0;
        }
        deeper.numbers.get(ns.level() as usize - 1).copied().unwrap_or(0)
    }
    /// The numbers in `outer` and in each namespace on the way down to `inner`, 0 where it is not visible. `outer` is `inner` or lies around it.
    pub fn numbers(&self, outer: &PidNamespace, inner: &Arc<PidNamespace>) -> Vec<i32> {
        let chain = core::iter::successors(Some(inner), |ns| ns.parent());
        let mut all: Vec<_> = chain.take_while(|ns| ns.level() >= outer.level()).map(|ns| self.nr_in(ns)).collect();
        all.reverse();
        all
    }
}

impl Task {
    /// The pid namespace it lives in.
    pub fn pid_ns(&self) -> &Arc<PidNamespace> {
        self.process().number().ns()
    }
    /// The thread that this one knows by this number.
    pub fn find_task(&self, nr: i32) -> Option<Arc<Task>> {
        self.pid_ns().find_task(nr)
    }
    /// The process that this thread knows by this number, zombies included.
    pub fn find_process(&self, nr: i32) -> Option<Arc<Process>> {
        self.pid_ns().find_process(nr)
    }
    /// The process group that this thread knows by this number.
    pub fn find_group(&self, nr: i32) -> Option<Arc<Group>> {
        let tree = tree::lock();
        tree.group(self.pid_ns().global_of(nr)?).cloned()
    }
    /// This thread's number for what has this global number; 0 when it cannot see it.
    pub fn nr_of(&self, global: i32) -> i32 {
        self.pid_ns().nr_of(global)
    }
    /// The global number of what this thread knows by this number, if it names anything.
    pub fn global_of(&self, nr: i32) -> Option<i32> {
        let tree = tree::lock();
        self.pid_ns().global_of(nr).filter(|global| tree.is_used(*global))
    }
}

impl Cx {
    /// The thread that the caller knows by this number.
    pub fn find_task(&self, nr: i32) -> Option<Arc<Task>> {
        self.task.find_task(nr)
    }
    /// The process that the caller knows by this number, zombies included.
    pub fn find_process(&self, nr: i32) -> Option<Arc<Process>> {
        self.task.find_process(nr)
    }
    /// The process group that the caller knows by this number.
    pub fn find_group(&self, nr: i32) -> Option<Arc<Group>> {
        self.task.find_group(nr)
    }
    /// The caller's number for what has this global number; 0 when the caller cannot see it.
    pub fn nr_of(&self, global: i32) -> i32 {
        self.task.nr_of(global)
    }
    /// The global number of what the caller knows by this number, if it names anything.
    pub fn global_of(&self, nr: i32) -> Option<i32> {
        self.task.global_of(nr)
    }
}
