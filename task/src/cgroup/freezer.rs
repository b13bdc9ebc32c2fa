//! The freezer: all threads of a subtree park on their way to user mode until it is thawed.
//!
//! A thread of a freezing group has [`work::FREEZE`] set; it parks in [`park`], where only SIGKILL, a thaw or a tracer reaches
//! it. A thread that is parked already for another reason (a stop, the parent of a vfork) says so in `Task::parked` and counts as
//! frozen where it is. A group is frozen when it is to be, all its threads are, and all groups below are.
//!
//! `FREEZE` and `parked` make a handshake: the freezer sets the one and then looks at the other, the thread the other way round;
//! `Task::frozen`, changed under the lock of the hierarchy, makes it count once.

use super::notice::{Changes, Notice};
use super::tree::{Cgroup, Held, lock};
use crate::task::Task;
use crate::{Cx, trace, tree, work};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use sched::Flags;

/// State of the freezer in one group.
#[derive(Default)]
pub(super) struct Freezer {
    /// What was written to `cgroup.freeze`.
    wanted: AtomicBool,
    /// It or a group above is to be frozen.
    freezing: AtomicBool,
    /// It is, with all below.
    frozen: AtomicBool,
    frozen_tasks: AtomicUsize,
    frozen_children: AtomicUsize,
    /// When `freezing` was set last, and for how long it had been set before.
    since_ns: AtomicU64,
    total_ns: AtomicU64,
}

impl Cgroup {
    /// What was written to `cgroup.freeze`.
    pub fn freeze_wanted(&self) -> bool {
        self.freezer.wanted.load(Relaxed)
    }
    /// All its threads are frozen, and those below.
    pub fn is_frozen(&self) -> bool {
        self.freezer.frozen.load(Relaxed)
    }
    /// Nanoseconds it has been freezing or frozen.
    pub fn frozen_ns(&self) -> u64 {
        let _held = lock();
        let f = &self.freezer;
        let now = if f.freezing.load(Relaxed) { sched::now().saturating_sub(f.since_ns.load(Relaxed)) } else { 0 };
        f.total_ns.load(Relaxed) + now
    }
    fn is_freezing(&self) -> bool {
        self.freezer.freezing.load(Relaxed)
    }
    fn set_freezing(&self, on: bool, now: u64) {
        let f = &self.freezer;
        f.freezing.store(on, Relaxed);
        if on {
            f.since_ns.store(now, Relaxed);
        } else {
            f.total_ns.fetch_add(now.saturating_sub(f.since_ns.load(Relaxed)), Relaxed);
        }
    }
    /// Works out whether the group is frozen after something changed, here and above.
    fn update_frozen(self: &Arc<Cgroup>, _: &Held, changes: &mut Changes) {
        for group in self.ancestry() {
            let f = &group.freezer;
            let now = group.is_freezing()
                && f.frozen_tasks.load(Relaxed) == group.tasks.load(Relaxed)
                && f.frozen_children.load(Relaxed) == group.child_count();
            if f.frozen.swap(now, Relaxed) == now {
                return;
            }
            changes.add(group, Notice::Events);
            if let Some(parent) = group.parent() {
                let count = &parent.freezer.frozen_children;
                if now {
                    count.fetch_add(1, Relaxed)
                } else {
                    count.fetch_sub(1, Relaxed)
                };
            }
        }
    }
}

/// A group was made: below a freezing one it is frozen from birth.
pub(super) fn born(held: &Held, group: &Arc<Cgroup>, changes: &mut Changes) {
    let Some(parent) = group.parent() else { return };
    if parent.is_freezing() {
        group.set_freezing(true, sched::now());
        group.freezer.frozen.store(true, Relaxed);
        parent.freezer.frozen_children.fetch_add(1, Relaxed);
    }
    parent.update_frozen(held, changes);
}

/// A group was taken out of its parent.
pub(super) fn removed(held: &Held, group: &Arc<Cgroup>, changes: &mut Changes) {
    let Some(parent) = group.parent() else { return };
    if group.is_frozen() {
        parent.freezer.frozen_children.fetch_sub(1, Relaxed);
    }
    parent.update_frozen(held, changes);
}

/// A new task has appeared in `group`. A frozen group stays so, for the task is about to park.
pub(super) fn entered(task: &Task, group: &Arc<Cgroup>) {
    if group.is_freezing() {
        task.work.set(work::FREEZE);
    }
}

/// A task that begins to exit has left `group`.
pub(super) fn left(held: &Held, task: &Task, group: &Arc<Cgroup>, changes: &mut Changes) {
    if task.frozen.swap(false, Relaxed) {
        group.freezer.frozen_tasks.fetch_sub(1, Relaxed);
    }
    group.update_frozen(held, changes);
}

/// A task has moved.
pub(super) fn moved(held: &Held, task: &Task, from: &Arc<Cgroup>, to: &Arc<Cgroup>, changes: &mut Changes) {
    if task.frozen.load(Relaxed) {
        to.freezer.frozen_tasks.fetch_add(1, Relaxed);
        from.freezer.frozen_tasks.fetch_sub(1, Relaxed);
    }
    command(task, to);
    to.update_frozen(held, changes);
    from.update_frozen(held, changes);
}

/// Tells a task what its group wants of it.
fn command(task: &Task, group: &Arc<Cgroup>) {
    let on = group.is_freezing();
    if on == task.work.has(work::FREEZE) {
        return;
    }
    if !on {
        task.work.clear(work::FREEZE);
        // Who is parked elsewhere does not wait for a thaw.
        if !task.parked.load(SeqCst)
            && let Some(thread) = task.thread()
        {
            thread.wake();
        }
        return;
    }
    task.work.set(work::FREEZE);
    if task.parked.load(SeqCst) && !task.frozen.swap(true, Relaxed) {
        group.freezer.frozen_tasks.fetch_add(1, Relaxed);
    }
    task.nudge();
}

/// Writes `cgroup.freeze`.
pub fn freeze(group: &Arc<Cgroup>, on: bool) -> Result<(), Errno> {
    let mut changes = Changes::new();
    {
        let tree = tree::lock();
        let held = lock();
        if group.is_dead() {
            return Err(Errno::ENOENT);
        }
        if group.freezer.wanted.swap(on, Relaxed) == on {
            return Ok(());
        }
        let now = sched::now();
        let mut changed = alloc::vec::Vec::new();
        for below in group.subtree() {
            let freezing = below.freeze_wanted() || below.parent().is_some_and(|p| p.is_freezing());
            if freezing != below.is_freezing() {
                below.set_freezing(freezing, now);
                changed.push(below);
            }
        }
        if !changed.is_empty() {
            for process in tree.processes(0) {
                for task in &process.sig().threads {
                    let seat = task.seat.lock();
                    if !seat.gone && seat.group.is_within(group) {
                        command(task, &seat.group);
                    }
                }
            }
        }
        for below in changed.iter().rev() {
            below.update_frozen(&held, &mut changes);
        }
        if changed.is_empty() {
            // A group above decides: whoever waits for a change is told that there will be none.
            changes.add(group, Notice::Events);
        }
    }
    changes.announce();
    Ok(())
}

/// Counts the task as frozen.
fn enter(task: &Task) {
    if task.frozen.load(Relaxed) {
        return;
    }
    let mut changes = Changes::new();
    {
        let held = lock();
        let group = task.cgroup();
        if !task.work.has(work::FREEZE) || group.is_root() || task.frozen.swap(true, Relaxed) {
            return;
        }
        group.freezer.frozen_tasks.fetch_add(1, Relaxed);
        group.update_frozen(&held, &mut changes);
    }
    changes.announce();
}

/// The task runs again: it does not count as frozen, unless its group is freezing by now and it is about to park.
pub(crate) fn leave(task: &Task) {
    if !task.frozen.load(Relaxed) {
        return;
    }
    let mut changes = Changes::new();
    {
        let held = lock();
        if task.work.has(work::FREEZE) || !task.frozen.swap(false, Relaxed) {
            return;
        }
        let group = task.cgroup();
        group.freezer.frozen_tasks.fetch_sub(1, Relaxed);
        group.update_frozen(&held, &mut changes);
    }
    changes.announce();
}

/// The running thread is about to wait where it cannot reach user mode (a stop, a vfork): it counts as frozen meanwhile.
#[inline]
pub(crate) fn parked(task: &Task) {
    task.parked.store(true, SeqCst);
    if task.work.has(work::FREEZE) {
        enter(task);
    }
}

/// Ends [`parked`].
#[inline]
pub(crate) fn unparked(task: &Task) {
    task.parked.store(false, SeqCst);
    leave(task);
}

/// Parks the running thread until its group thaws or something else is to be looked at. The caller looks and comes back.
pub(crate) fn park(cx: &mut Cx) {
    let task = cx.task.clone();
    enter(&task);
    let Some(thread) = task.thread() else { return };
    // What interrupted us so far has been seen; who comes from now on ends the sleep.
    thread.clear_flags(Flags::INTERRUPTED);
    let urgent = {
        let state = task.process().sig();
        state.group_exit.is_some()
            || state.exec_by.is_some_and(|tid| tid != task.tid())
            || trace::must_stop(&task, &state)
            || state.tell_parent.is_some()
    };
    if !urgent {
        let _ = sched::park(None, || (!task.work.has(work::FREEZE)).then_some(()));
    }
}
