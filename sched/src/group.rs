//! Groups of threads that share CPU time as one (the cpu controller of cgroups).
//!
//! There is one fair queue a CPU, not one a group. A group with a weight counts among its siblings like a thread of that weight;
//! what it gets is divided among its members by *their* weights. So a member's weight in the queue is its own times, for each group
//! up to the root, the group's weight by the weight of all runnable members ([`weight_of`]). It is brought up to date when the
//! thread wakes and when it is charged, which is as exact as the time between two charges.
//!
//! A quota is charged as its members run; when it is used up they leave the CPU at their next way to user mode, where they hold no
//! lock ([`wait_for_quota`]), until the period ends.
//!
//! Lock order: run queue, then the load of a group, then that of its parent.

use crate::policy::NICE_0_WEIGHT;
use crate::thread::Thread;
use crate::timer::Timer;
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::*};
use machine::sync::{IrqLock, Once};

/// The weight of a group that says nothing else.
pub const DEFAULT_WEIGHT: u64 = 100;
/// The weight of an idle group (cpu.idle).
const IDLE_SHARE: u64 = crate::policy::IDLE_WEIGHT;
/// No member weighs less.
const MIN_WEIGHT: u64 = 2;

/// A group. The threads in no group are the root's.
pub struct Group {
    parent: Option<Arc<Group>>,
    load: IrqLock<Load>,
    /// It counts among its siblings as one; if not, its members count as its parent's.
    weighted: AtomicBool,
    used: [AtomicU64; 2],
    quota: Quota,
}

struct Load {
    /// What it counts among its siblings while a member is runnable.
    share: u64,
    /// Sum of the weights of runnable members: threads, and groups below.
    members: u64,
    /// What the parent has been told.
    told: u64,
}

/// A limit of run time by period.
struct Quota {
    /// `u64::MAX` for none.
    ns: AtomicU64,
    period_ns: AtomicU64,
    burst_ns: AtomicU64,
    left: AtomicI64,
    /// What `left` was when the period began.
    filled: AtomicI64,
    timer: Once<Arc<Timer>>,
    out: WaitQueue,
    /// Since when its members wait, 0 if they do not.
    out_since: AtomicU64,
    periods: AtomicU64,
    outs: AtomicU64,
    out_ns: AtomicU64,
    bursts: AtomicU64,
    burst_used_ns: AtomicU64,
}

/// What a group has used and how its quota held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupStat {
    /// Run time of all members and of those of groups below.
    pub usage_ns: u64,
    /// The part in user mode.
    pub user_ns: u64,
    /// Periods in which it ran with a quota.
    pub periods: u64,
    /// Periods in which the quota was used up, and for how long its members waited.
    pub throttled: u64,
    /// Time for which its members waited.
    pub throttled_ns: u64,
    /// Periods in which more than the quota was used, and how much.
    pub bursts: u64,
    /// Time used beyond the quota in these.
    pub burst_ns: u64,
}

impl Group {
    /// A group below `parent` (`None`: the root) that only counts time.
    pub fn new(parent: Option<&Arc<Group>>) -> Arc<Group> {
        Arc::new(Group {
            parent: parent.cloned(),
            load: IrqLock::new(Load { share: share(DEFAULT_WEIGHT), members: 0, told: 0 }),
            weighted: AtomicBool::new(false),
            used: [const { AtomicU64::new(0) }; 2],
            quota: Quota {
                ns: AtomicU64::new(u64::MAX),
                period_ns: AtomicU64::new(100_000_000),
                burst_ns: AtomicU64::new(0),
                left: AtomicI64::new(0),
                filled: AtomicI64::new(0),
                timer: Once::new(),
                out: WaitQueue::new(),
                out_since: AtomicU64::new(0),
                periods: AtomicU64::new(0),
                outs: AtomicU64::new(0),
                out_ns: AtomicU64::new(0),
                bursts: AtomicU64::new(0),
                burst_used_ns: AtomicU64::new(0),
            },
        })
    }

    /// Whether the group counts among its siblings as one. To be changed while it has no runnable member, or at the price that
    /// the loads above are off until those have slept.
    pub fn set_weighted(&self, on: bool) {
        self.weighted.store(on, Relaxed);
    }
    /// Sets the weight (1 to 10000, [`DEFAULT_WEIGHT`] is that of a thread of nice 0).
    pub fn set_weight(&self, weight: u64) {
        self.set_share(share(weight.clamp(1, 10_000)));
    }
    /// Gives it only what nobody else wants, as threads of `SCHED_IDLE` get.
    pub fn set_idle(&self) {
        self.set_share(IDLE_SHARE);
    }
    fn set_share(&self, share: u64) {
        let mut load = self.load.lock();
        load.share = share;
        self.tell(&mut load);
    }
    /// Tells the parent of what the group counts now.
    fn tell(&self, load: &mut Load) {
        let counts = if load.members != 0 { load.share } else { 0 };
        if counts != load.told {
            if let Some(parent) = self.weighted_parent() {
                parent.add(counts as i64 - load.told as i64);
            }
            load.told = counts;
        }
    }
    fn add(&self, change: i64) {
        let mut load = self.load.lock();
        load.members = load.members.saturating_add_signed(change);
        self.tell(&mut load);
    }
    fn chain(&self) -> impl Iterator<Item = &Group> {
        core::iter::successors(Some(self), |group| group.parent.as_deref())
    }
    fn weighted_parent(&self) -> Option<&Group> {
        self.chain().skip(1).find(|group| group.weighted.load(Relaxed))
    }

    /// Sets the limit: `quota_ns` (`None` for no limit) in each `period_ns`, of which `burst_ns` may be saved up.
    pub fn set_max(self: &Arc<Self>, quota_ns: Option<u64>, period_ns: u64, burst_ns: u64) {
        let quota = &self.quota;
        quota.period_ns.store(period_ns.max(1_000_000), Relaxed);
        quota.burst_ns.store(burst_ns, Relaxed);
        quota.ns.store(quota_ns.unwrap_or(u64::MAX), Relaxed);
        quota.left.store(quota_ns.unwrap_or(0) as i64, Relaxed);
        quota.filled.store(quota_ns.unwrap_or(0) as i64, Relaxed);
        if quota_ns.is_some() {
            let me: Weak<Group> = Arc::downgrade(self);
            let timer = quota.timer.get_or_init(|| {
                Timer::new(Box::new(move || {
                    if let Some(group) = me.upgrade() {
                        group.refill();
                    }
                }))
            });
            let period = quota.period_ns.load(Relaxed);
            timer.arm_periodic(crate::now() + period, period);
        } else if let Some(timer) = quota.timer.get() {
            timer.cancel();
        }
        self.let_go();
    }

    /// A period has ended.
    fn refill(&self) {
        let quota = &self.quota;
        let ns = quota.ns.load(Relaxed);
        if ns == u64::MAX {
            return;
        }
        let left = quota.left.load(Relaxed);
        let most = ns.saturating_add(quota.burst_ns.load(Relaxed)) as i64;
        if left != most {
            quota.periods.fetch_add(1, Relaxed);
        }
        let over = quota.filled.load(Relaxed).saturating_sub(left).saturating_sub(ns as i64);
        if over > 0 && quota.burst_ns.load(Relaxed) != 0 {
            quota.bursts.fetch_add(1, Relaxed);
            quota.burst_used_ns.fetch_add(over as u64, Relaxed);
        }
        // What was run beyond the quota is owed.
        let now = left.saturating_add(ns as i64).min(most);
        quota.filled.store(now, Relaxed);
        quota.left.fetch_add(now - left, Relaxed);
        if now > 0 {
            self.let_go();
        }
    }
    fn let_go(&self) {
        let since = self.quota.out_since.swap(0, AcqRel);
        if since != 0 {
            self.quota.out_ns.fetch_add(crate::now().saturating_sub(since), Relaxed);
        }
        self.quota.out.wake_all();
    }
    fn is_out(&self) -> bool {
        self.quota.out_since.load(Acquire) != 0
    }

    /// What it has used so far.
    pub fn stat(&self) -> GroupStat {
        let quota = &self.quota;
        let [user, system] = [0, 1].map(|i: usize| self.used[i].load(Relaxed));
        GroupStat {
            usage_ns: user + system,
            user_ns: user,
            periods: quota.periods.load(Relaxed),
            throttled: quota.outs.load(Relaxed),
            throttled_ns: quota.out_ns.load(Relaxed),
            bursts: quota.bursts.load(Relaxed),
            burst_ns: quota.burst_used_ns.load(Relaxed),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(timer) = self.quota.timer.get() {
            timer.cancel();
        }
    }
}

const fn share(weight: u64) -> u64 {
    weight * NICE_0_WEIGHT / DEFAULT_WEIGHT
}

/// A member runs no more and waits no more. With its CPU's queue locked, as all that follow.
pub(crate) fn asleep(thread: &Thread) {
    let counted = thread.group_load.swap(0, Relaxed);
    if counted != 0 {
        thread.with_group(|group| {
            if let Some(group) = group.chain().find(|g| g.weighted.load(Relaxed)) {
                group.add(-(counted as i64));
            }
        });
    }
}

/// A member has become runnable.
pub(crate) fn runnable(thread: &Thread) {
    thread.with_group(|group| {
        if let Some(group) = group.chain().find(|g| g.weighted.load(Relaxed)) {
            let weight = thread.own_weight();
            thread.group_load.store(weight, Relaxed);
            group.add(weight as i64);
        }
        if out_of_quota(group).is_some() {
            // It looks when it goes to user mode.
            thread.set_flags(crate::Flags::NEED_RESCHED);
        }
    });
}

/// What a member weighs in the queue of its CPU.
pub(crate) fn weight_of(thread: &Thread) -> u64 {
    let mut weight = u128::from(thread.own_weight()) << 10;
    thread.with_group(|group| {
        for group in group.chain().filter(|g| g.weighted.load(Relaxed)) {
            let load = group.load.lock();
            weight = weight * u128::from(load.share) / u128::from(load.members.max(1));
        }
    });
    ((weight >> 10) as u64).clamp(MIN_WEIGHT, 1 << 30)
}

/// A member has run. If a quota is used up, it is told to leave the CPU.
pub(crate) fn charge(thread: &Thread, ran: u64) {
    let system = usize::from(!thread.sampled_user.load(Relaxed));
    thread.with_group(|group| {
        for group in group.chain() {
            group.used[system].fetch_add(ran, Relaxed);
            let quota = &group.quota;
            if quota.ns.load(Relaxed) == u64::MAX {
                continue;
            }
            let left = quota.left.fetch_sub(ran as i64, Relaxed) - ran as i64;
            if left <= 0 {
                if quota.out_since.compare_exchange(0, crate::now().max(1), AcqRel, Relaxed).is_ok() {
                    quota.outs.fetch_add(1, Relaxed);
                }
                thread.set_flags(crate::Flags::NEED_RESCHED);
            }
        }
    });
}

/// Nanoseconds a member may run before its quota is used up.
pub(crate) fn quota_left(thread: &Thread) -> u64 {
    let mut least = u64::MAX;
    thread.with_group(|group| {
        for group in group.chain().filter(|g| g.quota.ns.load(Relaxed) != u64::MAX) {
            least = least.min(group.quota.left.load(Relaxed).max(0) as u64);
        }
    });
    least
}

/// On the way to user mode: waits while a group of the current thread is out of quota. A fatal signal ends the wait.
#[inline]
pub fn wait_for_quota() {
    if crate::with_current(|me| me.is_grouped()) {
        wait();
    }
}

#[cold]
fn wait() {
    let me = crate::current();
    while let Some(group) = me.group().and_then(|group| out_of_quota(&group)) {
        if group.quota.out.wait_killable(|| (!group.is_out()).then_some(())).is_err() {
            return;
        }
    }
}

fn out_of_quota(group: &Arc<Group>) -> Option<Arc<Group>> {
    core::iter::successors(Some(group), |group| group.parent.as_ref()).find(|group| group.is_out()).cloned()
}
