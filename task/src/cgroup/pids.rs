//! The pids controller: no more tasks in a subtree than its limit, at fork.
//!
//! Counts are kept in every group but the root whether the controller is enabled there or not, so that enabling it needs no
//! census; the limit counts only where it is enabled. A task counts from fork until it is reaped.

use super::notice::{Changes, Notice};
use super::tree::{Cgroup, Controllers};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// No limit.
pub const MAX: u64 = u64::MAX;

/// The `pids_localevents` mount option: `pids.events` counts only what failed in the group itself.
pub static LOCAL_EVENTS: AtomicBool = AtomicBool::new(false);

/// State of the controller in one group.
pub(super) struct Pids {
    current: AtomicU64,
    limit: AtomicU64,
    peak: AtomicU64,
    /// Forks that failed on a limit at or below this group, on this group's limit, and from within this group.
    events: AtomicU64,
    events_local: AtomicU64,
    fork_failures: AtomicU64,
}

impl Pids {
    pub const fn new() -> Pids {
        Pids {
            current: AtomicU64::new(0),
            limit: AtomicU64::new(MAX),
            peak: AtomicU64::new(0),
            events: AtomicU64::new(0),
            events_local: AtomicU64::new(0),
            fork_failures: AtomicU64::new(0),
        }
    }
    /// The controller was disabled here: enabled again it starts afresh.
    pub fn reset(&self) {
        self.limit.store(MAX, Relaxed);
        self.peak.store(self.current.load(Relaxed), Relaxed);
        for count in [&self.events, &self.events_local, &self.fork_failures] {
            count.store(0, Relaxed);
        }
    }
    fn add(&self) -> u64 {
        self.current.fetch_add(1, Relaxed) + 1
    }
    fn note_peak(&self, now: u64) {
        self.peak.fetch_max(now, Relaxed);
    }
}

fn counting(group: &Arc<Cgroup>) -> impl Iterator<Item = &Arc<Cgroup>> {
    group.ancestry().filter(|g| !g.is_root())
}

fn has_controller(group: &Arc<Cgroup>) -> bool {
    group.available().contains(Controllers::PIDS)
}

/// Counts a task that is about to be made in `group`; EAGAIN where a limit is reached.
pub(super) fn try_charge(group: &Arc<Cgroup>) -> Result<(), Errno> {
    for (done, g) in counting(group).enumerate() {
        let now = g.pids.add();
        if now > g.pids.limit.load(Relaxed) && has_controller(g) {
            for back in counting(group).take(done + 1) {
                back.pids.current.fetch_sub(1, Relaxed);
            }
            refused(group, g);
            return Err(Errno::EAGAIN);
        }
        g.pids.note_peak(now);
    }
    Ok(())
}

/// Counts a task whatever the limits are (it moved here).
pub(super) fn charge(group: &Arc<Cgroup>) {
    for g in counting(group) {
        g.pids.note_peak(g.pids.add());
    }
}

/// A task is gone or has moved away.
pub(super) fn uncharge(group: &Arc<Cgroup>) {
    for g in counting(group) {
        g.pids.current.fetch_sub(1, Relaxed);
    }
}

/// A fork in `group` failed on the limit of `over`.
fn refused(group: &Arc<Cgroup>, over: &Arc<Cgroup>) {
    let mut changes = Changes::new();
    // Where the controller is not enabled, the failure is counted where it is.
    let group = counting(group).find(|g| has_controller(g)).unwrap_or(over);
    group.pids.fork_failures.fetch_add(1, Relaxed);
    if LOCAL_EVENTS.load(Relaxed) {
        changes.add(group, Notice::PidsEvents);
        changes.add(group, Notice::PidsEventsLocal);
    } else {
        over.pids.events_local.fetch_add(1, Relaxed);
        changes.add(over, Notice::PidsEventsLocal);
        for g in counting(over) {
            g.pids.events.fetch_add(1, Relaxed);
            changes.add(g, Notice::PidsEvents);
        }
    }
    changes.announce();
}

impl Cgroup {
    /// Tasks in it and below it.
    pub fn pids_current(&self) -> u64 {
        self.pids.current.load(Relaxed)
    }
    /// The most tasks there ever were.
    pub fn pids_peak(&self) -> u64 {
        self.pids.peak.load(Relaxed)
    }
    /// The limit, [`MAX`] for none.
    pub fn pids_max(&self) -> u64 {
        self.pids.limit.load(Relaxed)
    }
    /// Sets the limit.
    pub fn set_pids_max(&self, limit: u64) {
        self.pids.limit.store(limit, Relaxed);
    }
    /// What `pids.events` (or `pids.events.local`) counts.
    pub fn pids_events(&self, local: bool) -> u64 {
        let count = match (LOCAL_EVENTS.load(Relaxed), local) {
            (true, _) => &self.pids.fork_failures,
            (false, true) => &self.pids.events_local,
            (false, false) => &self.pids.events,
        };
        count.load(Relaxed)
    }
}
