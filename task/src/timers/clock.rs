//! Clocks of CPU time (clock_getcpuclockid(3)): a clock id below zero names a process or thread.

use super::PosixTimer;
use crate::process::Process;
use crate::task::Task;
use crate::usage::Sum;
use abi::Errno;
use abi::time::clock;
use alloc::sync::{Arc, Weak};

/// What of the CPU time counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// User and system time, which is also what the scheduler counts.
    All,
    User,
}

#[derive(Clone)]
enum Whose {
    Process(Weak<Process>),
    Thread(Weak<Task>),
}

/// The CPU time of a process or thread.
#[derive(Clone)]
pub struct CpuClock {
    whose: Whose,
    part: Part,
}

const PER_THREAD: i32 = 4;

impl CpuClock {
    /// The clock of this id for the calling thread: `Ok(None)` if it is no CPU clock, EINVAL if it names nothing. Only threads of
    /// the caller's own process can be named.
    pub fn from_id(caller: &Arc<Task>, id: i32) -> Result<Option<CpuClock>, Errno> {
        let (whose, part) = match id {
            clock::PROCESS_CPUTIME_ID => (Whose::Process(Arc::downgrade(caller.process())), Part::All),
            clock::THREAD_CPUTIME_ID => (Whose::Thread(Arc::downgrade(caller)), Part::All),
            0.. => return Ok(None),
            _ => {
                let part = match id & 3 {
                    0 | 2 => Part::All,
                    1 => Part::User,
                    _ => return Err(Errno::EINVAL),
                };
                (whose_is(caller, !(id >> 3), id & PER_THREAD != 0)?, part)
            }
        };
        Ok(Some(CpuClock { whose, part }))
    }

    /// Nanoseconds it shows; what ended stands still at nothing.
    pub fn now(&self) -> u64 {
        let sum: Sum = match &self.whose {
            Whose::Process(p) => p.upgrade().map(|p| p.sum()).unwrap_or_default(),
            Whose::Thread(t) => t.upgrade().map(|t| t.sum()).unwrap_or_default(),
        };
        match self.part {
            Part::All => sum.user_ns + sum.system_ns,
            Part::User => sum.user_ns,
        }
    }
    /// Has `timer` looked at on the ticks of the process this measures.
    pub(super) fn watch(&self, timer: &Arc<PosixTimer>) {
        let process = match &self.whose {
            Whose::Process(p) => p.upgrade(),
            Whose::Thread(t) => t.upgrade().map(|t| t.process().clone()),
        };
        if let Some(process) = process {
            super::with(&process, |timers| timers.watch(timer));
        }
    }
    /// It is the clock of this thread itself.
    pub fn is_thread(&self, task: &Arc<Task>) -> bool {
        matches!(&self.whose, Whose::Thread(t) if t.as_ptr() == Arc::as_ptr(task))
    }
}

fn whose_is(caller: &Arc<Task>, pid: i32, per_thread: bool) -> Result<Whose, Errno> {
    if per_thread {
        let task = if pid == 0 { Some(caller.clone()) } else { caller.find_task(pid) };
        let task = task.filter(|t| Arc::ptr_eq(t.process(), caller.process())).ok_or(Errno::EINVAL)?;
        return Ok(Whose::Thread(Arc::downgrade(&task)));
    }
    let process = if pid == 0 { Some(caller.process().clone()) } else { caller.find_process(pid) };
    Ok(Whose::Process(Arc::downgrade(&process.ok_or(Errno::EINVAL)?)))
}
