//! A thread's scheduling record.
//!
//! `Arc<Thread>` is the handle everybody holds; it outlives the thread. The stack and saved context (`KernelThread`) belong to
//! the record only while the thread is not running (the CPU owns them then), and go when it has ended; with them goes the
//! thread's extension, so the two may refer to each other.

use crate::cpuset::{AtomicCpuSet, CpuSet};
use crate::group::Group;
use crate::policy::{self, Policy};
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::*,
};
use machine::cpu::CpuId;
use machine::sync::{IrqLock, SpinLock};
use machine::thread::KernelThread;
use machine::user::Regs;

/// What the owner of a thread (a task) hangs on it. The hooks run with interrupts off and must not lock anything that sleeps.
pub trait ThreadExt: Any + Send + Sync {
    /// The thread is about to run on this CPU.
    fn switch_in(&self) {}
    /// The thread leaves its CPU.
    fn switch_out(&self) {}
}

/// Bits of [`Thread::flags`]: reasons not to go on to user mode just now.
pub struct Flags;

impl Flags {
    /// Another thread should run, or timers are due: call [`crate::schedule`].
    pub const NEED_RESCHED: u32 = 1;
    /// A signal or the like waits; ends interruptible sleeps. Set and cleared by [`Thread::set_interrupted`].
    pub const INTERRUPTED: u32 = 2;
    /// A fatal signal waits; ends killable sleeps.
    pub const FATAL: u32 = 4;
    /// For the thread's owner: look at something before the next return to user mode. The scheduler ignores it.
    pub const NOTIFY: u32 = 8;
}

/// Time a thread has run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTimes {
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
}

/// States of a thread; the sleeping ones are bits so that a wake-up can name a set of them.
pub(crate) mod state {
    pub const RUNNING: u32 = 0;
    pub const INTERRUPTIBLE: u32 = 1;
    pub const KILLABLE: u32 = 2;
    pub const UNINTERRUPTIBLE: u32 = 4;
    /// Made, not yet started.
    pub const NEW: u32 = 8;
    /// Woken, on its way to a run queue.
    pub const WAKING: u32 = 16;
    pub const DEAD: u32 = 32;
    pub const ANY_SLEEP: u32 = INTERRUPTIBLE | KILLABLE | UNINTERRUPTIBLE;
}

/// The heaps of a run queue.
pub(crate) struct Lane;

impl Lane {
    pub const NONE: u8 = 0;
    pub const REALTIME: u8 = 1;
    pub const READY: u8 = 2;
    pub const EARLY: u8 = 3;
}

/// A thread, as the scheduler sees it.
pub struct Thread {
    pub(crate) flags: AtomicU32,
    pub(crate) state: AtomicU32,
    /// The CPU it runs on or ran on last; its run queue's lock guards `on_queue`.
    pub(crate) cpu: AtomicU32,
    /// Counted by its CPU's run queue: waiting there or running.
    pub(crate) on_queue: AtomicBool,
    /// User mode is entered or about to be.
    in_user: AtomicBool,
    /// Its class and, in the real-time one, its order ([`policy`]).
    pub(crate) key: AtomicU64,
    /// Its place in a fair queue: weight there, virtual runtime and deadline, and what it was owed when it left.
    pub(crate) weight: AtomicU64,
    pub(crate) vruntime: AtomicU64,
    pub(crate) deadline: AtomicU64,
    pub(crate) lag: AtomicI64,
    /// The slice it asked for, 0 for none.
    slice: AtomicU64,
    /// Bounds of the use of a CPU that it is to be taken for (sched_setattr(2)). They steer CPUs of different speeds; here all
    /// are the same, so they are only kept.
    util: [AtomicU16; 2],
    /// Its weight by its own parameters.
    own_weight: AtomicU64,
    group: IrqLock<Option<Arc<Group>>>,
    grouped: AtomicBool,
    /// What its group counts for it.
    pub(crate) group_load: AtomicU64,
    policy: AtomicU8,
    rt_priority: AtomicU8,
    nice: AtomicI8,
    /// The rank that who waits for this thread lends it, `u8::MAX` for none.
    boost: AtomicU8,
    /// The lesser of that and its own.
    rank: AtomicU8,
    pub(crate) runtime: AtomicU64,
    /// Samples of the tick: in user mode, in the kernel.
    pub(crate) ticks: [AtomicU32; 2],
    /// The last of them.
    pub(crate) sampled_user: AtomicBool,
    /// User and system time last reported.
    told: [AtomicU64; 2],
    pub(crate) voluntary: AtomicU64,
    pub(crate) involuntary: AtomicU64,
    pub(crate) affinity: AtomicCpuSet,
    /// Which heap of the run queue it sits in ([`Lane`]).
    pub(crate) lane: AtomicU8,
    /// Seats in that heap and in the timer queue's.
    pub(crate) run_seat: AtomicUsize,
    pub(crate) timer_seat: AtomicUsize,
    /// Number of the last wait begun, and of the last one a waker ended (`wait`).
    pub(crate) wait_begun: AtomicU32,
    pub(crate) wait_ended: AtomicU32,
    pub(crate) kernel: SpinLock<Option<Arc<KernelThread>>>,
    name: SpinLock<[u8; 16]>,
}

/// What a `KernelThread` carries.
pub(crate) struct Payload {
    pub thread: Arc<Thread>,
    pub ext: Option<Arc<dyn ThreadExt>>,
}

/// The payload of a kernel thread that this crate made.
#[inline]
pub(crate) fn payload(kernel: &KernelThread) -> Option<&Payload> {
    kernel.payload().downcast_ref::<Payload>()
}

impl Thread {
    pub(crate) fn new(name: &str, affinity: CpuSet, cpu: CpuId) -> Thread {
        let thread = Thread {
            flags: AtomicU32::new(0),
            state: AtomicU32::new(state::NEW),
            cpu: AtomicU32::new(cpu.0),
            on_queue: AtomicBool::new(false),
            in_user: AtomicBool::new(false),
            key: AtomicU64::new(policy::FAIR),
            weight: AtomicU64::new(policy::NICE_0_WEIGHT),
            vruntime: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            lag: AtomicI64::new(0),
            slice: AtomicU64::new(0),
            util: [AtomicU16::new(0), AtomicU16::new(policy::UTIL_FULL)],
            own_weight: AtomicU64::new(policy::NICE_0_WEIGHT),
            group: IrqLock::new(None),
            grouped: AtomicBool::new(false),
            group_load: AtomicU64::new(0),
            policy: AtomicU8::new(Policy::Normal as u8),
            rt_priority: AtomicU8::new(0),
            nice: AtomicI8::new(0),
            boost: AtomicU8::new(u8::MAX),
            rank: AtomicU8::new(policy::nice_rank(0)),
            runtime: AtomicU64::new(0),
            ticks: [const { AtomicU32::new(0) }; 2],
            sampled_user: AtomicBool::new(false),
            told: [const { AtomicU64::new(0) }; 2],
            voluntary: AtomicU64::new(0),
            involuntary: AtomicU64::new(0),
            affinity: AtomicCpuSet::new(),
            lane: AtomicU8::new(Lane::NONE),
            run_seat: AtomicUsize::new(posheap::NOWHERE),
            timer_seat: AtomicUsize::new(posheap::NOWHERE),
            wait_begun: AtomicU32::new(0),
            wait_ended: AtomicU32::new(0),
            kernel: SpinLock::new(None),
            name: SpinLock::new([0; 16]),
        };
        thread.affinity.store(&affinity);
        thread.set_name(name.as_bytes());
        thread
    }

    /// The word of [`Flags`] that the task loop looks at before it enters user mode.
    #[inline]
    pub fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }
    /// Sets bits of [`Flags`]; wakes nobody.
    pub fn set_flags(&self, bits: u32) {
        self.flags.fetch_or(bits, SeqCst);
    }
    /// Clears bits of [`Flags`].
    pub fn clear_flags(&self, bits: u32) {
        self.flags.fetch_and(!bits, SeqCst);
    }
    /// Whether interruptible sleeps end at once.
    pub fn interrupted(&self) -> bool {
        self.flags() & Flags::INTERRUPTED != 0
    }
    /// Sets or clears the mark of a waiting signal. Setting it ends an interruptible sleep.
    pub fn set_interrupted(self: &Arc<Self>, on: bool) {
        if on {
            self.interrupt();
        } else {
            self.clear_flags(Flags::INTERRUPTED);
        }
    }
    /// Ends an interruptible sleep, now or when it begins; makes the thread leave user mode.
    pub fn interrupt(self: &Arc<Self>) {
        self.set_flags(Flags::INTERRUPTED);
        if !self.wake_from(state::INTERRUPTIBLE) {
            self.kick();
        }
    }
    /// Ends killable sleeps too while set.
    pub fn set_fatal(self: &Arc<Self>, on: bool) {
        if on {
            self.set_flags(Flags::FATAL | Flags::INTERRUPTED);
            if !self.wake_from(state::INTERRUPTIBLE | state::KILLABLE) {
                self.kick();
            }
        } else {
            self.clear_flags(Flags::FATAL);
        }
    }
    /// Whether a fatal signal waits.
    pub fn fatal(&self) -> bool {
        self.flags() & Flags::FATAL != 0
    }
    /// Ends the thread's sleep, whatever kind it is. The sleeper looks at its condition again, so this is always allowed.
    pub fn wake(self: &Arc<Self>) -> bool {
        self.wake_from(state::ANY_SLEEP)
    }

    /// The state as /proc shows it: `R`, `S`, `D`, or `X` once ended.
    pub fn state_char(&self) -> char {
        match self.state.load(Relaxed) {
            state::INTERRUPTIBLE => 'S',
            state::KILLABLE | state::UNINTERRUPTIBLE => 'D',
            state::DEAD => 'X',
            _ => 'R',
        }
    }
    /// The registers of its program, as they were when it last entered the kernel: of a thread that does not run now, or of the current
    /// one. `None` of others, of those that were never in user mode and of those that have ended.
    pub fn user_regs(&self) -> Option<Regs> {
        let own = machine::thread::with_current(|k| {
            let k = k.filter(|k| payload(k).is_some_and(|p| core::ptr::eq(&*p.thread, self)))?;
            k.user_regs()
        });
        // Who is about to run it needs the lock first.
        own.or_else(|| self.kernel.lock().as_ref()?.user_regs())
    }
    /// The CPU it runs on, or ran on last.
    pub fn cpu(&self) -> CpuId {
        CpuId(self.cpu.load(Relaxed))
    }
    /// The thread's name.
    pub fn name(&self) -> [u8; 16] {
        *self.name.lock()
    }
    /// Renames the thread; what exceeds 15 bytes is cut off.
    pub fn set_name(&self, name: &[u8]) {
        let mut padded = [0; 16];
        padded.iter_mut().take(15).zip(name).for_each(|(to, from)| *to = *from);
        *self.name.lock() = padded;
    }

    /// The thread goes to user mode: samples are charged there.
    #[inline]
    pub fn user_enter(&self) {
        self.in_user.store(true, Relaxed);
    }
    /// The thread is back in the kernel.
    #[inline]
    pub fn user_exit(&self) {
        self.in_user.store(false, Relaxed);
    }
    pub(crate) fn in_user(&self) -> bool {
        self.in_user.load(Relaxed)
    }
    /// Time run so far. The sum is exact up to the last switch (for the current thread: up to now); its parts follow the tick's
    /// samples, and neither ever goes back.
    pub fn times(&self) -> CpuTimes {
        let total = self.runtime();
        let [user, system] = [0, 1].map(|i: usize| self.ticks[i].load(Relaxed) as u128);
        let sampled = if system == 0 { 0 } else { (total as u128 * system / (user + system)) as u64 };
        let [told_user, told_system] = [0, 1].map(|i: usize| self.told[i].load(Relaxed));
        let system_ns = sampled.max(told_system);
        let user_ns = total.saturating_sub(system_ns).max(told_user);
        let system_ns = total.saturating_sub(user_ns).max(told_system);
        self.told[0].fetch_max(user_ns, Relaxed);
        self.told[1].fetch_max(system_ns, Relaxed);
        CpuTimes { user_ns, system_ns }
    }
    /// Nanoseconds run so far.
    pub fn runtime(&self) -> u64 {
        self.runtime.load(Relaxed) + crate::switch::unaccounted(self)
    }
    /// Switches the thread asked for (it slept).
    pub fn voluntary_switches(&self) -> u64 {
        self.voluntary.load(Relaxed)
    }
    /// Switches forced on it.
    pub fn involuntary_switches(&self) -> u64 {
        self.involuntary.load(Relaxed)
    }

    /// The scheduling policy.
    pub fn policy(&self) -> Policy {
        Policy::from_raw(self.policy.load(Relaxed) as u32).unwrap_or(Policy::Normal)
    }
    /// The real-time priority, 0 for the other policies.
    pub fn rt_priority(&self) -> u8 {
        self.rt_priority.load(Relaxed)
    }
    /// The nice value.
    pub fn nice(&self) -> i8 {
        self.nice.load(Relaxed)
    }
    /// The slice it asked for, or the one of all ([`policy::base_slice_ns`]).
    #[inline]
    pub fn slice_ns(&self) -> u64 {
        match self.slice.load(Relaxed) {
            0 => policy::base_slice_ns(),
            ns => ns,
        }
    }
    /// The least and the most use of a CPU that it is to be taken for, of [`policy::UTIL_FULL`].
    pub fn util_clamp(&self) -> (u16, u16) {
        (self.util[0].load(Relaxed), self.util[1].load(Relaxed))
    }
    /// Sets these bounds.
    pub fn set_util_clamp(&self, (least, most): (u16, u16)) {
        self.util[0].store(least, Relaxed);
        self.util[1].store(most, Relaxed);
    }
    /// Whether it has asked for a slice of its own.
    pub fn has_own_slice(&self) -> bool {
        self.slice.load(Relaxed) != 0
    }
    pub(crate) fn store_slice(&self, ns: u64) {
        self.slice.store(ns, Relaxed);
    }
    pub(crate) fn own_weight(&self) -> u64 {
        self.own_weight.load(Relaxed)
    }
    /// Whether it is in a group other than the root.
    #[inline]
    pub(crate) fn is_grouped(&self) -> bool {
        self.grouped.load(Relaxed)
    }
    /// The group it is in, `None` for the root.
    pub fn group(&self) -> Option<Arc<Group>> {
        self.group.lock().clone()
    }
    pub(crate) fn with_group(&self, f: impl FnOnce(&Arc<Group>)) {
        if let Some(group) = &*self.group.lock() {
            f(group);
        }
    }
    /// Gives back the group it was in, to be dropped where that is allowed.
    pub(crate) fn store_group(&self, group: Option<Arc<Group>>) -> Option<Arc<Group>> {
        self.grouped.store(group.is_some(), Relaxed);
        self.weight.store(self.own_weight(), Relaxed);
        core::mem::replace(&mut *self.group.lock(), group)
    }
    /// CPUs it may run on.
    pub fn affinity(&self) -> CpuSet {
        self.affinity.load()
    }
    pub(crate) fn store_policy(&self, policy: Policy, rt_priority: u8, nice: i8) {
        self.policy.store(policy as u8, Relaxed);
        self.rt_priority.store(if policy.is_realtime() { rt_priority } else { 0 }, Relaxed);
        self.nice.store(nice, Relaxed);
        self.reconsider();
    }
    /// It is what a CPU runs when nobody else wants it.
    pub(crate) fn make_idle(&self) {
        self.key.store(policy::IDLE_KEY, Relaxed);
        self.rank.store(u8::MAX, Relaxed);
    }
    /// Works out what follows from the parameters.
    fn reconsider(&self) {
        let (own, boost) = (self.own_rank(), self.boost.load(Relaxed));
        let weight = match self.policy() {
            _ if boost < own && boost >= policy::FAIR_RANK => {
                policy::weight(boost.wrapping_sub(policy::nice_rank(0)) as i8)
            }
            Policy::Idle => policy::IDLE_WEIGHT,
            _ => policy::weight(self.nice()),
        };
        self.rank.store(own.min(boost), Relaxed);
        self.own_weight.store(weight, Relaxed);
        self.weight.store(weight, Relaxed);
    }
    /// The thread's place by its own parameters (see [`policy::FAIR_RANK`]).
    #[inline]
    pub fn own_rank(&self) -> u8 {
        match self.rt_priority() {
            0 => policy::nice_rank(self.nice()),
            priority => 99u8.saturating_sub(priority),
        }
    }
    /// The thread's place by its own parameters and what is lent to it.
    #[inline]
    pub fn rank(&self) -> u8 {
        self.rank.load(Relaxed)
    }
    pub(crate) fn boost(&self) -> u8 {
        self.boost.load(Relaxed)
    }
    pub(crate) fn store_boost(&self, rank: u8) -> bool {
        let before = self.rank();
        self.boost.store(rank, Relaxed);
        self.reconsider();
        self.rank() != before
    }
    /// Takes over the policy, nice value, slice, group and affinity of a parent. For a thread not yet started.
    pub fn inherit(&self, parent: &Thread, reset_on_fork: bool) {
        self.affinity.store(&parent.affinity());
        self.store_group(parent.group());
        self.store_slice(if reset_on_fork { 0 } else { parent.slice.load(Relaxed) });
        if !reset_on_fork {
            self.set_util_clamp(parent.util_clamp());
        }
        match parent.policy() {
            p if reset_on_fork && p.is_realtime() => self.store_policy(Policy::Normal, 0, 0),
            p => {
                let nice = if reset_on_fork { parent.nice().max(0) } else { parent.nice() };
                self.store_policy(p, parent.rt_priority(), nice)
            }
        }
    }
}
