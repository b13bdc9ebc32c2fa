//! Times and counts: getrusage(2), times(2), the figures of SIGCHLD and wait.

use crate::process::{Process, Usage};
use crate::task::Task;
use abi::resource::{Rusage, UsageTime};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use vfs::Cred;

/// Nanoseconds of one clock tick as user space counts them (`sysconf(_SC_CLK_TCK)` is 100).
pub const NS_PER_TICK: u64 = 10_000_000;

/// User and system time in ns, and the counts of a `struct rusage` whose times are still to be filled in.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    /// User time.
    pub user_ns: u64,
    /// System time.
    pub system_ns: u64,
    /// Everything else.
    pub counts: Rusage,
}

impl Sum {
    /// Adds what someone else has used.
    pub(crate) fn add(&mut self, other: &Sum) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        let (to, from) = (&mut self.counts, &other.counts);
        to.maxrss = to.maxrss.max(from.maxrss);
        to.minflt += from.minflt;
        to.majflt += from.majflt;
        to.inblock += from.inblock;
        to.oublock += from.oublock;
        to.nvcsw += from.nvcsw;
        to.nivcsw += from.nivcsw;
    }
    /// As user space sees it.
    pub fn rusage(&self) -> Rusage {
        Rusage { utime: UsageTime::from_ns(self.user_ns), stime: UsageTime::from_ns(self.system_ns), ..self.counts }
    }
}

impl Task {
    /// What this thread has used.
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        let [minor, major] = &self.faults;
        sum.counts.minflt = minor.load(Relaxed) as i64;
        sum.counts.majflt = major.load(Relaxed) as i64;
        if let Some(thread) = self.thread() {
            let times = thread.times();
            (sum.user_ns, sum.system_ns) = (times.user_ns, times.system_ns);
            sum.counts.nvcsw = thread.voluntary_switches() as i64;
            sum.counts.nivcsw = thread.involuntary_switches() as i64;
        }
        sum
    }
}

impl Usage {
    /// A thread has ended.
    pub(crate) fn add_thread(&mut self, sum: &Sum) {
        self.dead_threads.add(sum);
    }
    /// A child was waited for.
    pub(crate) fn add_child(&mut self, own: &Sum, its_children: &Sum) {
        self.children.add(own);
        self.children.add(its_children);
    }
}

impl Process {
    /// What its threads have used, gone ones included; the peak of memory only of those.
    pub fn threads_sum(&self) -> Sum {
        let mut sum = self.usage().dead_threads;
        for t in &self.sig().threads {
            sum.add(&t.sum());
        }
        sum
    }
    /// What it has used.
    pub fn sum(&self) -> Sum {
        let mut sum = self.threads_sum();
        if let Some(mm) = self.leader().and_then(|t| t.mm()) {
            sum.counts.maxrss = sum.counts.maxrss.max(peak_rss_kib(&mm));
        }
        sum
    }
    /// What the children that were waited for have used.
    pub fn children_sum(&self) -> Sum {
        self.usage().children
    }
    /// User and system time in clock ticks.
    pub fn times_in_ticks(&self) -> (u64, u64) {
        let sum = self.threads_sum();
        (sum.user_ns / NS_PER_TICK, sum.system_ns / NS_PER_TICK)
    }
    /// Credentials of its leading thread.
    pub fn cred(&self) -> Arc<Cred> {
        if let Some(leader) = self.sig().threads.first() {
            return leader.cred();
        }
        self.last_cred()
    }
}

/// The most memory an address space has had resident, in KiB.
pub(crate) fn peak_rss_kib(mm: &mm::Mm) -> i64 {
    let stats = mm.stats();
    (stats.rss_peak.max(stats.rss_anon + stats.rss_shared) * 4) as i64
}
