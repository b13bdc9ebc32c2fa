//! Which group a task is in: from the fork that makes it to the end.
//!
//! In the root group nothing is counted, so that a machine without control groups pays a reference for them and no more.

use super::notice::Changes;
use super::tree::{Cgroup, Held, lock};
use super::{freezer, pids};
use crate::ns::PidNamespace;
use crate::task::Task;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

/// A task's place.
pub(crate) struct Seat {
    pub(super) group: Arc<Cgroup>,
    /// It has begun to exit: it counts as a member no more.
    pub(super) gone: bool,
    /// The time it had run in user mode when it came here.
    pub(super) user_before_ns: u64,
}

impl Seat {
    /// A seat not yet taken.
    pub fn new(group: Arc<Cgroup>) -> Seat {
        Seat { group, gone: false, user_before_ns: 0 }
    }
}

impl Task {
    /// The group it is in, or was in when it ended.
    pub fn cgroup(&self) -> Arc<Cgroup> {
        self.seat.lock().group.clone()
    }
}

/// Room in a group for a task that is being made.
pub(crate) struct Reservation {
    group: Arc<Cgroup>,
    /// The group was named by the caller (CLONE_INTO_CGROUP): it is not the parent's.
    named: bool,
    taken: bool,
}

impl Reservation {
    /// Room beside the parent, or in the group that was named; EAGAIN when a limit on tasks is reached.
    pub fn new(parent: &Task, named: Option<&Arc<Cgroup>>) -> Result<Reservation, Errno> {
        let group = match named {
            Some(group) => {
                let _held = lock();
                if group.is_dead() {
                    return Err(Errno::ENOENT);
                }
                group.reserved.fetch_add(1, Relaxed);
                group.clone()
            }
            None => parent.cgroup(),
        };
        let named = named.is_some();
        if let Err(e) = pids::try_charge(&group) {
            if named {
                unreserve(&group);
            }
            return Err(e);
        }
        Ok(Reservation { group, named, taken: false })
    }
    /// The group.
    pub fn group(&self) -> &Arc<Cgroup> {
        &self.group
    }
    /// The task appears (the caller holds the tree lock): it is in the group its parent is in *now*, if none was named. The
    /// result is to be announced without the lock.
    pub fn join(mut self, task: &Task, parent: &Task) -> Joined {
        self.taken = true;
        let mut changes = Changes::new();
        if !self.named {
            let now = parent.cgroup();
            if !Arc::ptr_eq(&now, &self.group) {
                // The parent was moved meanwhile.
                pids::charge(&now);
                pids::uncharge(&self.group);
                task.seat.lock().group = now.clone();
                self.group = now;
                count_in(task, &self.group);
            }
        } else {
            count_in(task, &self.group);
        }
        if !self.group.is_root() {
            let held = lock();
            self.group.tasks.fetch_add(1, Relaxed);
            if self.named {
                unreserve(&self.group);
            }
            self.group.update_populated(&held, &mut changes);
            freezer::entered(task, &self.group);
        } else if self.named {
            unreserve(&self.group);
        }
        Joined(changes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.taken {
            pids::uncharge(&self.group);
            if self.named {
                unreserve(&self.group);
            }
        }
    }
}

fn unreserve(group: &Cgroup) {
    group.reserved.fetch_sub(1, Relaxed);
}

/// A task has joined a group; the group's files are to be told.
#[must_use]
pub(crate) struct Joined(Changes);

impl Joined {
    /// Tells them.
    pub fn announce(self) {
        self.0.announce();
    }
}

/// The task begins to exit: it is no member any more, but is still counted by the pids controller.
pub(crate) fn leave(task: &Task) {
    {
        let mut seat = task.seat.lock();
        if seat.group.is_root() {
            seat.gone = true;
            return;
        }
    }
    let mut changes = Changes::new();
    {
        let held = lock();
        let group = {
            let mut seat = task.seat.lock();
            seat.gone = true;
            if seat.group.is_root() {
                return;
            }
            settle_time(task, &mut seat);
            seat.group.clone()
        };
        group.tasks.fetch_sub(1, Relaxed);
        freezer::left(&held, task, &group, &mut changes);
        group.update_populated(&held, &mut changes);
    }
    changes.announce();
}

/// The task's number is free again.
pub(crate) fn release(task: &Task) {
    let group = task.cgroup();
    pids::uncharge(&group);
}

/// Notes the time run since the task came to its group.
pub(super) fn settle_time(task: &Task, seat: &mut Seat) {
    let Some(thread) = task.thread() else { return };
    let now = thread.times().user_ns;
    if thread.nice() > 0 {
        seat.group.nice_time.add(seat.user_before_ns, now);
    }
    seat.user_before_ns = now;
}

/// Tells the scheduler which group the task's time is counted in.
fn count_in(task: &Task, group: &Cgroup) {
    if let Some(thread) = task.thread() {
        thread.set_group(group.cpu.group().cloned());
    }
}

/// Moves a live task (the caller holds the tree lock too). False when it has begun to exit.
pub(super) fn transfer(held: &Held, task: &Task, to: &Arc<Cgroup>, changes: &mut Changes) -> bool {
    let from = {
        let mut seat = task.seat.lock();
        let from = seat.group.clone();
        if from.id() == to.id() {
            return true;
        }
        if seat.gone {
            return false;
        }
        settle_time(task, &mut seat);
        seat.group = to.clone();
        from
    };
    count_in(task, to);
    pids::charge(to);
    pids::uncharge(&from);
    for (group, joins) in [(to, true), (&from, false)] {
        if group.is_root() {
            continue;
        }
        if joins {
            group.tasks.fetch_add(1, Relaxed);
        } else {
            group.tasks.fetch_sub(1, Relaxed);
        }
        group.update_populated(held, changes);
    }
    freezer::moved(held, task, &from, to, changes);
    true
}

/// Numbers of the processes (or of the threads) in a group as `ns` sees them, in ascending order; 0 for those it does not see. A
/// threaded domain lists the processes of all its threaded groups.
pub fn members(group: &Arc<Cgroup>, threads: bool, ns: &PidNamespace) -> Result<Vec<i32>, Errno> {
    let mut out = Vec::new();
    let tree = crate::tree::lock();
    for process in tree.processes(0) {
        let state = process.sig();
        for task in &state.threads {
            let its = task.cgroup();
            let here = if threads { its.id() == group.id() } else { its.domain().id() == group.id() };
            if here {
                out.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                out.push(if threads { task.nr_in(ns) } else { process.number().nr_in(ns) });
                if !threads {
                    break;
                }
            }
        }
    }
    drop(tree);
    out.sort_unstable();
    Ok(out)
}
