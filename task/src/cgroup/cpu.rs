//! The cpu controller: weights and quotas, which the scheduler's groups ([`sched::Group`]) enforce.
//!
//! Every group but the root has one of the scheduler's, which counts its time; it is weighted and limited only where the controller
//! is enabled.

use super::tree::{Cgroup, Controllers};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::SpinLock;
use sched::{Group, GroupStat};

/// The scheduler's weight of a thread of nice 0, and the group's weight that stands for it.
const NICE_0: u64 = 1024;
const DEFAULT_WEIGHT: u64 = 100;
/// The scheduler's weight of an idle group.
const IDLE: u64 = 3;
/// Bounds of periods and quotas in microseconds.
const SHORTEST_US: u64 = 1_000;
const LONGEST_US: u64 = 1_000_000;
/// The greatest quota with what may be saved up beside it: what Linux counts in 44 bits.
const MOST_US: u64 = (1 << 44) - 1;

/// Limit of run time by period, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Max {
    /// `None` for no limit.
    pub quota_us: Option<u64>,
    /// The period.
    pub period_us: u64,
    /// What may be saved up.
    pub burst_us: u64,
}

const UNLIMITED: Max = Max { quota_us: None, period_us: 100_000, burst_us: 0 };

/// State of the controller in one group.
pub(super) struct Cpu {
    group: Option<Arc<Group>>,
    /// As the scheduler counts weights: finer than `cpu.weight`, so that nice values come back as they were set.
    weight: AtomicU64,
    max: SpinLock<Max>,
}

impl Cpu {
    /// That of a child of `parent`; the root has no parent and no group.
    pub fn new(parent: Option<&Cpu>) -> Cpu {
        let group = parent.map(|p| Group::new(p.group.as_ref()));
        Cpu { group, weight: AtomicU64::new(NICE_0), max: SpinLock::new(UNLIMITED) }
    }
    /// What the scheduler is to count a member in.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()
    }
    /// The controller is enabled or disabled here; disabled it forgets what was set.
    pub fn enable(&self, on: bool) {
        let Some(group) = &self.group else { return };
        if !on {
            self.weight.store(NICE_0, Relaxed);
            group.set_weight(DEFAULT_WEIGHT);
            *self.max.lock() = UNLIMITED;
            group.set_max(None, UNLIMITED.period_us * 1000, 0);
        }
        group.set_weighted(on);
    }
}

fn to_scheduler(weight: u64) -> u64 {
    (weight * NICE_0 + DEFAULT_WEIGHT / 2) / DEFAULT_WEIGHT
}

fn from_scheduler(weight: u64) -> u64 {
    ((weight * DEFAULT_WEIGHT + NICE_0 / 2) / NICE_0).clamp(1, 10_000)
}

impl Cgroup {
    /// It runs only when nobody else wants to.
    pub fn cpu_idle(&self) -> bool {
        self.cpu.weight.load(Relaxed) == IDLE
    }
    /// Its weight among its siblings, 1 to 10000.
    pub fn cpu_weight(&self) -> u64 {
        from_scheduler(self.cpu.weight.load(Relaxed))
    }
    /// The nice value that comes nearest to its weight.
    pub fn cpu_weight_nice(&self) -> i32 {
        let mine = self.cpu.weight.load(Relaxed);
        (-20..20).min_by_key(|nice| sched::policy::weight(*nice).abs_diff(mine)).map_or(0, i32::from)
    }
    /// Sets the weight, 1 to 10000.
    pub fn set_cpu_weight(&self, weight: u64) -> Result<(), Errno> {
        if !(1..=10_000).contains(&weight) {
            return Err(Errno::ERANGE);
        }
        self.store_weight(to_scheduler(weight), weight)
    }
    /// Sets the weight that a thread with this nice value has.
    pub fn set_cpu_weight_nice(&self, nice: i64) -> Result<(), Errno> {
        let nice = i8::try_from(nice).ok().filter(|n| (-20..20).contains(n)).ok_or(Errno::ERANGE)?;
        let weight = sched::policy::weight(nice);
        self.store_weight(weight, from_scheduler(weight))
    }
    fn store_weight(&self, exact: u64, weight: u64) -> Result<(), Errno> {
        if self.cpu_idle() {
            return Err(Errno::EINVAL);
        }
        self.cpu.weight.store(exact, Relaxed);
        if let Some(group) = self.cpu.group() {
            group.set_weight(weight);
        }
        Ok(())
    }
    /// Makes it idle or not; then it has the weight it began with.
    pub fn set_cpu_idle(&self, on: bool) {
        let Some(group) = self.cpu.group() else { return };
        if on == self.cpu_idle() {
            return;
        }
        if on {
            self.cpu.weight.store(IDLE, Relaxed);
            group.set_idle();
        } else {
            self.cpu.weight.store(NICE_0, Relaxed);
            group.set_weight(DEFAULT_WEIGHT);
        }
    }
    /// Its limit of run time.
    pub fn cpu_max(&self) -> Max {
        *self.cpu.max.lock()
    }
    /// Sets the limit of run time.
    pub fn set_cpu_max(&self, max: Max) -> Result<(), Errno> {
        let quota_fits = max
            .quota_us
            .is_none_or(|quota| (SHORTEST_US..=MOST_US).contains(&quota) && max.burst_us <= quota.min(MOST_US - quota));
        if !(SHORTEST_US..=LONGEST_US).contains(&max.period_us) || !quota_fits || max.burst_us > u64::MAX / 1_000 {
            return Err(Errno::EINVAL);
        }
        let mut now = self.cpu.max.lock();
        *now = max;
        if let Some(group) = self.cpu.group() {
            group.set_max(max.quota_us.map(|us| us * 1000), max.period_us * 1000, max.burst_us * 1000);
        }
        Ok(())
    }
    /// Time used in it and below it, and how its limit held; `None` for the root.
    pub fn cpu_stat(&self) -> Option<GroupStat> {
        self.cpu.group().map(|g| g.stat())
    }
    /// The controller is enabled in it.
    pub fn has_cpu(self: &Arc<Cgroup>) -> bool {
        self.available().contains(Controllers::CPU)
    }
}
