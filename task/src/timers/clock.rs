//! Clocks of CPU time (clock_getcpuclockid(3)): a clock id below zero names a process or thread. What they measure can be watched: the ticks of
//! a process find the timers that are due by clock and moment.

use super::PosixTimer;
use crate::process::Process;
use crate::task::Task;
use crate::usage::Sum;
use abi::Errno;
use abi::time::clock;
use alloc::sync::{Arc, Weak};
use core::ops::RangeInclusive;

/// What of the CPU time counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    /// User and system time, which is also what the scheduler counts.
    All,
    User,
}

#[derive(Clone)]
enum Whose {
    Process(Weak<Process>),
    /// A thread of this process.
    Thread(Weak<Task>, Weak<Process>),
}

/// A timer's place among those that watch one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watch {
    /// The thread's address, 0 for the process.
    thread: usize,
    part: Part,
    next: u64,
    /// The timer's address.
    timer: usize,
}

/// What a clock shows.
pub(super) struct Moment {
    thread: usize,
    part: Part,
    pub now: u64,
}

impl Moment {
    fn both(thread: usize, sum: &Sum) -> [Moment; 2] {
        [(Part::All, sum.user_ns + sum.system_ns), (Part::User, sum.user_ns)].map(|(part, now)| Moment {
            thread,
            part,
            now,
        })
    }
    /// On the clocks of a process that has used `sum`.
    pub fn of_process(sum: &Sum) -> [Moment; 2] {
        Moment::both(0, sum)
    }
    /// On the clocks of a thread.
    pub fn of_thread(task: &Task) -> [Moment; 2] {
        Moment::both(core::ptr::from_ref(task).addr(), &task.sum())
    }
    /// The places of timers that are due.
    pub fn due(&self) -> RangeInclusive<Watch> {
        let place = |next, timer| Watch { thread: self.thread, part: self.part, next, timer };
        place(0, 0)..=place(self.now, usize::MAX)
    }
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
            clock::THREAD_CPUTIME_ID => (thread(caller), Part::All),
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
            Whose::Thread(t, _) => t.upgrade().map(|t| t.sum()).unwrap_or_default(),
        };
        match self.part {
            Part::All => sum.user_ns + sum.system_ns,
            Part::User => sum.user_ns,
        }
    }
    fn place(&self, timer: &Weak<PosixTimer>, next: u64) -> (Option<Arc<Process>>, Watch) {
        let (process, thread) = match &self.whose {
            Whose::Process(p) => (p, 0),
            Whose::Thread(t, p) => (p, t.as_ptr().addr()),
        };
        (process.upgrade(), Watch { thread, part: self.part, next, timer: timer.as_ptr().addr() })
    }
    /// Has `timer`, which expires at `next`, looked at on the ticks of the process this measures.
    pub(super) fn watch(&self, timer: &Weak<PosixTimer>, next: u64) {
        if let (Some(process), place) = self.place(timer, next) {
            super::with(&process, |timers| timers.watch(place, timer.clone()));
        }
    }
    /// Takes [`CpuClock::watch`] back, if the timer has not expired.
    pub(super) fn unwatch(&self, timer: &Weak<PosixTimer>, next: u64) {
        if let (Some(process), place) = self.place(timer, next) {
            super::with(&process, |timers| timers.unwatch(&place));
        }
    }
    /// It is the clock of this thread itself.
    pub fn is_thread(&self, task: &Arc<Task>) -> bool {
        matches!(&self.whose, Whose::Thread(t, _) if t.as_ptr() == Arc::as_ptr(task))
    }
}

fn thread(task: &Arc<Task>) -> Whose {
    Whose::Thread(Arc::downgrade(task), Arc::downgrade(task.process()))
}

fn whose_is(caller: &Arc<Task>, pid: i32, per_thread: bool) -> Result<Whose, Errno> {
    if per_thread {
        let task = if pid == 0 { Some(caller.clone()) } else { caller.find_task(pid) };
        let task = task.filter(|t| Arc::ptr_eq(t.process(), caller.process())).ok_or(Errno::EINVAL)?;
        return Ok(thread(&task));
    }
    let process = if pid == 0 { Some(caller.process().clone()) } else { caller.find_process(pid) };
    Ok(Whose::Process(Arc::downgrade(&process.ok_or(Errno::EINVAL)?)))
}
