//! The part of a group's CPU time that was run with a positive nice value (`cpu.stat`, `nice_usec`). The scheduler does not count
//! it: it is what live members that are nice have run in user mode since they came, plus what those that left had.

use super::tree::Cgroup;
use crate::tree;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Time of tasks that have left, and of groups below that were removed.
#[derive(Default)]
pub(super) struct NiceTime(AtomicU64);

impl NiceTime {
    /// A nice task leaves that had run `before_ns` in user mode when it came.
    pub fn add(&self, before_ns: u64, now_ns: u64) {
        self.0.fetch_add(now_ns.saturating_sub(before_ns), Relaxed);
    }
    /// A group below is removed.
    pub fn take_over(&self, gone: &NiceTime) {
        self.0.fetch_add(gone.0.load(Relaxed), Relaxed);
    }
}

/// Nanoseconds of nice user time in a group and below it.
pub fn nice_ns(group: &Arc<Cgroup>) -> u64 {
    let sum = NiceTime::default();
    for g in group.subtree() {
        sum.take_over(&g.nice_time);
    }
    let tree = tree::lock();
    for process in tree.processes(0) {
        for task in &process.sig().threads {
            let seat = task.seat.lock();
            if let Some(thread) = task.thread()
                && !seat.gone
                && thread.nice() > 0
                && seat.group.is_within(group)
            {
                sum.add(seat.user_before_ns, thread.times().user_ns);
            }
        }
    }
    drop(tree);
    sum.0.into_inner()
}
