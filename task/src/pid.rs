//! Numbers of threads, processes, groups and sessions as a caller sees them (pid_namespaces(7)).
//!
//! The kernel names everything by its *global* number, that of the first pid namespace; [`crate::tree`] is keyed by it. User space
//! speaks in numbers of its own namespace: system calls translate what comes in with [`Cx::find_task`] and its siblings, and what goes
//! out with [`Cx::nr_of`].

use crate::Cx;
use crate::process::Process;
use crate::task::Task;
use crate::tree::{self, Group};
use alloc::sync::Arc;

impl Task {
    /// The thread that this one knows by this number.
    pub fn find_task(&self, nr: i32) -> Option<Arc<Task>> {
        tree::find_task(nr)
    }
    /// The process that this thread knows by this number, zombies included.
    pub fn find_process(&self, nr: i32) -> Option<Arc<Process>> {
        tree::find_process(nr)
    }
    /// The process group that this thread knows by this number.
    pub fn find_group(&self, nr: i32) -> Option<Arc<Group>> {
        tree::find_group(nr)
    }
    /// This thread's number for what has this global number; 0 when it cannot see it.
    pub fn nr_of(&self, global: i32) -> i32 {
        global
    }
    /// The global number of what this thread knows by this number, if it names anything.
    pub fn global_of(&self, nr: i32) -> Option<i32> {
        tree::lock().is_used(nr).then_some(nr)
    }
    /// Its number in its own namespace (what gettid(2) gives).
    #[inline]
    pub fn nr(&self) -> i32 {
        self.tid()
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

impl Process {
    /// Its number in its own namespace (what getpid(2) gives).
    #[inline]
    pub fn nr(&self) -> i32 {
        self.pid()
    }
}
