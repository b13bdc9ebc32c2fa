//! Tasks that die of a fault of the kernel's own: which ones can ([`machine::oops`] says when), and by which signal.

use crate::jobs::current;
use crate::task::Task;
use abi::signal::Signal;
use machine::oops::{Cause, Subject};

/// Joins this floor to the machine's: from now on an oops ends no more than its task where that is sound.
pub(crate) fn init() {
    machine::oops::set_subject(|named| current().map_or_else(Subject::default, |task| subject(&task, named)));
}

fn subject(task: &Task, named: bool) -> Subject {
    Subject {
        tid: task.tid(),
        name: if named { task.comm() } else { [0; 16] },
        // Whoever waits for a worker would wait for ever.
        may_end: !task.is_worker() && !sched::in_wait(),
    }
}

/// The wait status of a task that died in this way.
pub(crate) fn status(cause: Cause) -> i32 {
    let signal = match cause {
        Cause::Bug => Signal::SEGV,
        Cause::Fault => Signal::KILL,
    };
    i32::from(signal.number())
}
