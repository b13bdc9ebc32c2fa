//! CPU time per group (`cpu.stat`). Nothing is charged while tasks run: a group's time is what its live tasks have run since they
//! came, plus what those that left had.

use super::tree::Cgroup;
use crate::tree;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sched::CpuTimes;

/// Time of tasks that have left, and of groups below that were removed.
#[derive(Default)]
pub(super) struct Spent {
    user_ns: AtomicU64,
    system_ns: AtomicU64,
    nice_ns: AtomicU64,
}

impl Spent {
    /// A task leaves that had run `before` when it came.
    pub fn add(&self, before: &CpuTimes, now: &CpuTimes, nice: bool) {
        let user = now.user_ns.saturating_sub(before.user_ns);
        self.user_ns.fetch_add(user, Relaxed);
        self.system_ns.fetch_add(now.system_ns.saturating_sub(before.system_ns), Relaxed);
        if nice {
            self.nice_ns.fetch_add(user, Relaxed);
        }
    }
    /// A group below is removed.
    pub fn take_over(&self, gone: &Spent) {
        self.user_ns.fetch_add(gone.user_ns.load(Relaxed), Relaxed);
        self.system_ns.fetch_add(gone.system_ns.load(Relaxed), Relaxed);
        self.nice_ns.fetch_add(gone.nice_ns.load(Relaxed), Relaxed);
    }
}

/// CPU time in nanoseconds.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// The part of `user_ns` with a positive nice value.
    pub nice_ns: u64,
}

/// Time used in a group and below it.
pub fn usage(group: &Arc<Cgroup>) -> Usage {
    let sum = Spent::default();
    for g in group.subtree() {
        sum.take_over(&g.spent);
    }
    let tree = tree::lock();
    for process in tree.processes(0) {
        for task in &process.sig().threads {
            let seat = task.seat.lock();
            let Some(thread) = task.thread() else { continue };
            if !seat.gone && seat.group.is_within(group) {
                sum.add(&seat.before, &thread.times(), thread.nice() > 0);
            }
        }
    }
    drop(tree);
    Usage {
        user_ns: sum.user_ns.load(Relaxed),
        system_ns: sum.system_ns.load(Relaxed),
        nice_ns: sum.nice_ns.load(Relaxed),
    }
}
