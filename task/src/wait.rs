//! Waiting for children: wait4(2) and waitid(2).

use crate::process::{Life, Process};
use crate::trace::wait::{self as trace, Traced};
use crate::usage::Sum;
use crate::{Cx, Task, exit, tree};
use abi::Errno;
use abi::signal::{Signal, si};
use abi::wait::{CONTINUED, WaitOptions, stopped};
use alloc::sync::Arc;

/// Which children are meant.
#[derive(Clone)]
pub enum Which {
    /// All.
    Any,
    /// The one with this id.
    Pid(i32),
    /// Those in this process group.
    Group(i32),
    /// This one (a pidfd).
    Process(Arc<Process>),
}

/// What a child did.
#[derive(Clone, Copy)]
pub struct Report {
    /// Who, as the parent sees it.
    pub pid: i32,
    /// Its real user.
    pub uid: u32,
    /// Status word as wait4 gives it.
    pub status: i32,
    /// `CLD_*`.
    pub code: i32,
    /// Exit code or signal (`si_status`).
    pub value: i32,
    /// What it and its waited-for children have used.
    pub usage: Sum,
}

/// Waits as the options say; `Ok(None)` with NOHANG when nothing has happened.
pub fn wait(cx: &Cx, which: &Which, options: WaitOptions) -> Result<Option<Report>, Errno> {
    // The common case, something to report, without the wait queue.
    if let Some(done) = scan(cx, which, options) {
        return done.map(Some);
    }
    if options.contains(WaitOptions::NOHANG) {
        return Ok(None);
    }
    cx.process().child_wait.wait_interruptible(|| scan(cx, which, options))?.map(Some)
}

/// Who there is something to tell of.
enum Found {
    Child(Arc<Process>),
    Tracee(Arc<Task>),
}

/// Looks through the children and the tracees once; `None` when some may still do what is waited for.
fn scan(cx: &Cx, which: &Which, options: WaitOptions) -> Option<Result<Report, Errno>> {
    let me = cx.process();
    let mut tree = tree::lock();
    let mut any = false;
    let mut found = None;
    {
        let family = me.family();
        for child in family.children.iter().filter(|c| eligible(c, cx.task.tid(), which, options)) {
            any = true;
            if let Some(report) = look(me, child, options, trace::of_child(&tree, me, child)) {
                found = Some((Found::Child(child.clone()), report));
                break;
            }
            if matches!(which, Which::Pid(_) | Which::Process(_)) {
                break;
            }
        }
        for task in family.tracees.iter().filter(|t| found.is_none() && trace::eligible(cx, t, which, options)) {
            any = true;
            if let Some(report) = trace::look(me.number().ns(), task, options) {
                found = Some((Found::Tracee(task.clone()), report));
                break;
            }
        }
    }
    let Some((who, mut report)) = found else {
        return if any { None } else { Some(Err(Errno::ECHILD)) };
    };
    let exited = matches!(report.code, si::CLD_EXITED | si::CLD_KILLED | si::CLD_DUMPED);
    if !exited {
        // Looking at memory may sleep, and letting go of it.
        drop(tree);
        let process = match &who {
            Found::Child(child) => child,
            Found::Tracee(task) => task.process(),
        };
        report.usage = process.sum();
        report.usage.add(&process.children_sum());
    } else if !options.contains(WaitOptions::NOWAIT) {
        match who {
            Found::Child(child) => {
                let own = child.usage().dead_threads;
                me.usage().add_child(&own, &child.children_sum());
                let gone = exit::reap(&mut tree, &child);
                drop(tree);
                drop(gone);
            }
            Found::Tracee(task) => {
                let gone = trace::release(&mut tree, &task);
                drop(tree);
                drop(gone);
            }
        }
    }
    Some(Ok(report))
}

/// `CLD_*` and `si_status` of a wait status.
pub(crate) fn ended(status: i32) -> (i32, i32) {
    match status & 0x7f {
        0 => (si::CLD_EXITED, status >> 8 & 0xff),
        signal if status & 0x80 != 0 => (si::CLD_DUMPED, signal),
        signal => (si::CLD_KILLED, signal),
    }
}

fn eligible(child: &Arc<Process>, tid: i32, which: &Which, options: WaitOptions) -> bool {
    let meant = match which {
        Which::Any => true,
        Which::Pid(pid) => child.pid() == *pid,
        Which::Process(p) => Arc::ptr_eq(p, child),
        Which::Group(pgid) => child.group().pgid() == *pgid,
    };
    if !meant {
        return false;
    }
    let family = child.family();
    if options.contains(WaitOptions::NOTHREAD) && family.parent_tid != tid {
        return false;
    }
    let is_clone = family.exit_signal != Some(Signal::CHLD);
    options.contains(WaitOptions::ALL) || is_clone == options.contains(WaitOptions::CLONE)
}

/// What there is to report of one child.
fn look(me: &Process, child: &Arc<Process>, options: WaitOptions, traced: Traced) -> Option<Report> {
    let keep = options.contains(WaitOptions::NOWAIT);
    let life = child.life();
    let make = |status: i32, code: i32, value: i32| {
        // That of running processes is filled in without the locks.
        let mut usage = Sum::default();
        if life == Life::Zombie {
            usage = child.usage().dead_threads;
            usage.add(&child.children_sum());
        }
        let uid = if life == Life::Zombie { child.last_cred().uid } else { child.cred().uid };
        let pid = child.number().nr_in(me.number().ns());
        Some(Report { pid, uid, status, code, value, usage })
    };
    if life == Life::Zombie {
        // Its tracers are asked first.
        if !options.contains(WaitOptions::EXITED) || traced == Traced::Elsewhere || child.is_held() {
            return None;
        }
        let status = child.exit_status();
        let (code, value) = ended(status);
        return make(status, code, value);
    }
    if life != Life::Running {
        return None;
    }
    let (stop, cont) = {
        let mut state = child.sig();
        // Who traces its own child hears of the stops of threads.
        let wants_stop = options.contains(WaitOptions::STOPPED) && traced != Traced::Here;
        let stop = state.stop_report.filter(|_| wants_stop);
        let cont = stop.is_none() && state.cont_report && options.contains(WaitOptions::CONTINUED);
        if stop.is_some() && !keep {
            state.stop_report = None;
        }
        if cont && !keep {
            state.cont_report = false;
        }
        (stop, cont)
    };
    match stop {
        Some(sig) => make(stopped(sig.number()), si::CLD_STOPPED, i32::from(sig.number())),
        None if cont => make(CONTINUED, si::CLD_CONTINUED, i32::from(Signal::CONT.number())),
        None => None,
    }
}
