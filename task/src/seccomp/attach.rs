//! Entering a mode, adding filters, and joining the other threads (TSYNC).

use super::filter::path;
use super::notify::{self, Notifier};
use super::{Filter, State};
use crate::task::Task;
use crate::{Cx, entry, work};
use abi::Errno;
use abi::seccomp::{FilterFlags, mode};
use alloc::sync::Arc;
use alloc::vec::Vec;
use cbpf::Insn;

/// Strict mode; EINVAL when the thread has filters. The time-stamp counter is out of reach too.
pub fn strict(cx: &mut Cx) -> Result<(), Errno> {
    let entered = cx.task.seccomp.change(|s| {
        let free = matches!(s.mode, mode::DISABLED | mode::STRICT);
        if free {
            s.mode = mode::STRICT;
        }
        free
    });
    if !entered {
        return Err(Errno::EINVAL);
    }
    cx.user.set_tsc_faults(true);
    cx.task.entry.set(entry::SECCOMP);
    Ok(())
}

/// Adds a filter. Gives 0, the listener's descriptor, or with TSYNC the number of a thread that cannot join.
pub fn filter(cx: &Cx, source: Vec<Insn>, flags: FilterFlags) -> Result<i32, Errno> {
    let listens = flags.contains(FilterFlags::NEW_LISTENER);
    let notifier = listens.then(|| Arc::new(Notifier::new(flags.contains(FilterFlags::WAIT_KILLABLE_RECV))));
    let filter = Filter::new(source, flags.contains(FilterFlags::LOG), notifier.clone())?;
    let fd = notifier.as_ref().map(|n| notify::open(cx, n)).transpose()?;
    match (attach(cx, filter, flags), fd) {
        (Ok(0), Some(fd)) => Ok(fd),
        (failed, Some(fd)) => {
            let _ = cx.files().close(fd);
            failed
        }
        (done, None) => done,
    }
}

/// The youngest filter of the caller is the one that the new filter was made for.
fn same(a: Option<&Arc<Filter>>, b: Option<&Arc<Filter>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn attach(cx: &Cx, mut filter: Filter, flags: FilterFlags) -> Result<i32, Errno> {
    let me = &cx.task;
    loop {
        let State { mode: now, filter: prev, .. } = me.seccomp.state.lock().clone();
        if !matches!(now, mode::DISABLED | mode::FILTER) {
            return Err(Errno::EINVAL);
        }
        let listens = |f: &Arc<Filter>| f.notifier().is_some_and(|n| !n.is_closed());
        if filter.notifier().is_some() && path(prev.as_ref()).any(listens) {
            return Err(Errno::EBUSY);
        }
        // Which calls it always allows is found out without a lock; a sibling's TSYNC may come in between.
        filter.join(prev.clone())?;
        let group = me.process().sig();
        if !same(me.seccomp.state.lock().filter.as_ref(), prev.as_ref()) {
            continue;
        }
        // Whoever is on his way out (and may have told that already) makes no more calls.
        let counts = |t: &&Arc<Task>| !Arc::ptr_eq(t, me) && !t.work.has(work::EXIT);
        let siblings = || group.threads.iter().filter(counts);
        if flags.contains(FilterFlags::TSYNC)
            && let Some(other) = siblings().find(|t| !can_join(t, prev.as_ref()))
        {
            let tid = other.tid();
            drop(group);
            let esrch = flags.contains(FilterFlags::TSYNC_ESRCH);
            return if esrch { Err(Errno::ESRCH) } else { Ok(cx.nr_of(tid)) };
        }
        let count = me.seccomp.count() + 1;
        let new = State { mode: mode::FILTER, filter: Some(Arc::new(filter)), count, no_new_privs: false };
        if flags.contains(FilterFlags::TSYNC) && group.group_exit.is_none() {
            let joined = State { no_new_privs: cx.cred().no_new_privs, ..new.clone() };
            for other in siblings() {
                set(other, joined.clone());
            }
        }
        set(me, new);
        return Ok(0);
    }
}

/// A thread can join when it has no filters of its own.
fn can_join(task: &Task, ours: Option<&Arc<Filter>>) -> bool {
    let state = task.seccomp.state.lock();
    match (state.mode, &state.filter) {
        (mode::DISABLED, _) => true,
        (mode::FILTER, Some(theirs)) => ours.is_some_and(|f| f.descends_from(theirs)),
        // It is on its way out.
        (_, None) => state.mode == mode::FILTER,
        _ => false,
    }
}

/// What a thread had before is on the path of what it gets, so nothing is let go under the lock.
fn set(task: &Task, new: State) {
    task.seccomp.change(|s| {
        let privs = s.no_new_privs;
        *s = new;
        s.no_new_privs |= privs;
    });
    task.entry.set(entry::SECCOMP);
}
