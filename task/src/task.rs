//! One thread as others see it.

use crate::cgroup::{Cgroup, Seat};
use crate::ns::{NsProxy, PidNamespace};
use crate::pid::Pid;
use crate::process::Process;
use crate::users::{Place, UserCounts};
use crate::work::{self, Work};
use abi::signal::SigSet;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use machine::sync::{Once, SpinLock};
use mm::Mm;
use sched::{Completion, Thread, ThreadExt};
use vfs::{Cred, FdTable, FsContext};

/// Bytes of a thread's name, its NUL included.
pub const COMM_LEN: usize = 16;
/// A thread's name.
pub type Comm = [u8; COMM_LEN];

/// Work left for a thread to do on its way to user mode.
pub type Note = Box<dyn FnOnce(&mut crate::Cx) + Send>;

/// Bits of `Task::on_switch`.
pub(crate) mod on_switch {
    /// The registered restartable-sequence area must be brought up to date.
    pub const RSEQ: u32 = 1;
    /// Its tracer has set breakpoints.
    pub const DEBUG: u32 = 2;
}

/// What a thread uses.
#[derive(Clone)]
pub struct Handles {
    /// Address space.
    pub mm: Arc<Mm>,
    /// Descriptors.
    pub files: Arc<FdTable>,
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
    /// Credentials.
    pub cred: Arc<Cred>,
    /// Namespaces, but for those of the directories and the credentials.
    pub ns: Arc<NsProxy>,
}

/// The lock-protected part of a task; `handles` is gone once the thread has exited.
pub(crate) struct Shared {
    number: Pid,
    handles: Option<Handles>,
    /// Credentials outlive the other handles (a zombie still has an owner).
    cred: Arc<Cred>,
    place: Place,
    comm: Comm,
    /// Waiter of a vfork, told when this thread leaves the borrowed address space.
    vfork: Option<Arc<Completion>>,
    /// Work other floors left for this thread to do before it returns to user mode.
    notes: Vec<Note>,
}

/// One thread.
pub struct Task {
    /// Reasons for the slow path on the way to user mode.
    pub work: Work,
    /// Reasons for the slow path into system calls (`crate::entry`).
    pub entry: Work,
    /// What seccomp lets it call.
    pub seccomp: crate::seccomp::Seccomp,
    /// What pidfds of it name, once there was one, while it is not the leader.
    pub(crate) pidfs: SpinLock<Option<Arc<crate::pidfd::Identity>>>,
    tid: AtomicI32,
    /// The number in its own pid namespace.
    nr: AtomicI32,
    process: Arc<Process>,
    thread: Once<Arc<Thread>>,
    /// Blocked signals; written by the thread itself under the signal lock.
    pub(crate) blocked: AtomicU64,
    /// Pending signals of this thread alone; taken inside the process's signal lock.
    pub(crate) private: SpinLock<crate::signal::queue::Pending>,
    shared: SpinLock<Shared>,
    start_ns: u64,
    /// Signal sent to this thread's process when its parent thread ends (PR_SET_PDEATHSIG), 0 for none.
    pub pdeath_signal: AtomicI32,
    /// Execution domain (personality(2)).
    pub personality: AtomicU32,
    /// Slack of timeouts in ns (PR_SET_TIMERSLACK).
    pub timer_slack_ns: AtomicU64,
    /// What its list of semaphore operations to take back is known by (kcmp(2)), 0 without one.
    pub undo_list: AtomicUsize,
    /// Faults answered without and with I/O.
    pub faults: [AtomicU64; 2],
    /// What there is to do when it is switched to ([`on_switch`]).
    pub(crate) on_switch: Work,
    /// The thread's own mask while sigtimedwait has opened it.
    pub(crate) awaited: AtomicU64,
    stopped: AtomicBool,
    /// It runs kernel code for its process and never the program ([`crate::worker`]).
    worker: bool,
    /// Head of the robust futex list, 0 if there is none.
    pub robust_list: AtomicU64,
    /// Priority-inheriting futexes it owns or waits for.
    pub(crate) pi: crate::futex::Links,
    /// Its control group.
    pub(crate) seat: SpinLock<Seat>,
    /// It counts as frozen in its control group; changed under the lock of the hierarchy.
    pub(crate) frozen: AtomicBool,
    /// It waits where it cannot reach user mode, which is as good as frozen ([`crate::cgroup::freezer`]).
    pub(crate) parked: AtomicBool,
    pub(crate) trace: Once<Box<crate::trace::Trace>>,
    /// Children start with the default scheduling policy (SCHED_RESET_ON_FORK).
    pub reset_on_fork: AtomicBool,
}

/// A timeout may be late by this much unless the program says otherwise.
pub const DEFAULT_TIMER_SLACK_NS: u64 = 50_000;

impl Task {
    /// A thread of `process` named `comm` with the given handles; not yet in the tree, not yet running.
    pub(crate) fn new(
        number: &Pid,
        process: Arc<Process>,
        handles: Handles,
        comm: Comm,
        place: Place,
        group: Arc<Cgroup>,
    ) -> Task {
        Task {
            work: Work::new(),
            entry: Work::new(),
            seccomp: crate::seccomp::Seccomp::default(),
            pidfs: SpinLock::new(None),
            tid: AtomicI32::new(number.global()),
            nr: AtomicI32::new(number.nr()),
            process,
            thread: Once::new(),
            blocked: AtomicU64::new(0),
            private: SpinLock::new(crate::signal::queue::Pending::new()),
            shared: SpinLock::new(Shared {
                number: number.clone(),
                cred: handles.cred.clone(),
                handles: Some(handles),
                place,
                comm,
                vfork: None,
                notes: Vec::new(),
            }),
            start_ns: machine::time::now_ns(),
            pdeath_signal: AtomicI32::new(0),
            personality: AtomicU32::new(0),
            timer_slack_ns: AtomicU64::new(DEFAULT_TIMER_SLACK_NS),
            undo_list: AtomicUsize::new(0),
            faults: [const { AtomicU64::new(0) }; 2],
            on_switch: Work::new(),
            awaited: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            worker: false,
            robust_list: AtomicU64::new(0),
            pi: crate::futex::Links::new(),
            seat: SpinLock::new(Seat::new(group)),
            frozen: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            trace: Once::new(),
            reset_on_fork: AtomicBool::new(false),
        }
    }
    /// Its id.
    #[inline]
    pub fn tid(&self) -> i32 {
        self.tid.load(Ordering::Relaxed)
    }
    /// Its id in its own pid namespace (what gettid(2) gives).
    #[inline]
    pub fn nr(&self) -> i32 {
        self.nr.load(Ordering::Relaxed)
    }
    /// Its number in `ns`; 0 when it is not visible there.
    pub fn nr_in(&self, ns: &PidNamespace) -> i32 {
        if ns.level() == 0 { self.tid() } else { self.shared.lock().number.nr_in(ns) }
    }
    pub(crate) fn set_number(&self, number: &Pid) {
        self.shared.lock().number = number.clone();
        self.tid.store(number.global(), Ordering::Relaxed);
        self.nr.store(number.nr(), Ordering::Relaxed);
    }
    /// Its thread group.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
    /// Id of its thread group.
    #[inline]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
    /// It has the id of its group.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid()
    }
    /// The scheduler's record, `None` while it is being made.
    #[inline]
    pub fn thread(&self) -> Option<&Arc<Thread>> {
        self.thread.get()
    }
    pub(crate) fn set_thread(&self, thread: &Arc<Thread>) {
        let _ = self.thread.set(thread.clone());
    }
    /// Start on the monotonic clock.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }
    /// Blocked signals.
    #[inline]
    pub fn blocked(&self) -> SigSet {
        SigSet(self.blocked.load(Ordering::Relaxed))
    }
    /// What is blocked but waited for: such a signal does not act before its waiter has seen it.
    pub(crate) fn awaited(&self) -> SigSet {
        SigSet(self.awaited.load(Ordering::Relaxed))
    }
    pub(crate) fn resets_on_fork(&self) -> bool {
        self.reset_on_fork.load(Ordering::Relaxed)
    }
    /// The same as a worker: nothing but SIGKILL and stops reach it.
    pub(crate) fn into_worker(mut self) -> Task {
        self.worker = true;
        *self.blocked.get_mut() = SigSet(!0).minus(SigSet::UNBLOCKABLE).0;
        self
    }
    /// It runs kernel code for its process and never the program ([`crate::worker`]).
    #[inline]
    pub fn is_worker(&self) -> bool {
        self.worker
    }
    /// It is parked by job control.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
    pub(crate) fn set_stopped(&self, on: bool) {
        self.stopped.store(on, Ordering::Relaxed);
    }
    /// Signals pending for this thread alone.
    pub fn private_pending(&self) -> SigSet {
        self.private.lock().set()
    }
    /// What it uses, `None` once it has exited.
    pub fn handles(&self) -> Option<Handles> {
        self.shared.lock().handles.clone()
    }
    /// Its address space, `None` once it has exited and for kernel threads.
    pub fn mm(&self) -> Option<Arc<Mm>> {
        if self.process.is_kernel() {
            return None;
        }
        self.shared.lock().handles.as_ref().map(|h| h.mm.clone())
    }
    /// Whether its address space is the one of this id.
    pub(crate) fn uses_mm(&self, id: u64) -> bool {
        self.shared.lock().handles.as_ref().is_some_and(|h| h.mm.id() == id)
    }
    /// Its descriptors, `None` once it has exited.
    pub fn files(&self) -> Option<Arc<FdTable>> {
        self.shared.lock().handles.as_ref().map(|h| h.files.clone())
    }
    /// Its directories, `None` once it has exited.
    pub fn fs(&self) -> Option<Arc<FsContext>> {
        self.shared.lock().handles.as_ref().map(|h| h.fs.clone())
    }
    /// Its credentials.
    pub fn cred(&self) -> Arc<Cred> {
        self.shared.lock().cred.clone()
    }
    /// The counts its resources are charged to.
    pub fn user(&self) -> Arc<UserCounts> {
        self.shared.lock().place.user().clone()
    }
    /// Its name.
    pub fn comm(&self) -> Comm {
        self.shared.lock().comm
    }
    /// Sets its name, cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        self.shared.lock().comm = comm_of(name);
    }
    pub(crate) fn update_handles(&self, change: impl FnOnce(&mut Handles)) {
        if let Some(h) = self.shared.lock().handles.as_mut() {
            change(h);
        }
    }
    pub(crate) fn drop_handles(&self) {
        let gone = self.shared.lock().handles.take();
        drop(gone);
    }
    /// Installs credentials; a change of the real user moves the thread's count.
    pub(crate) fn change_cred(&self, cred: &Arc<Cred>) {
        let moved = (!self.user().are_of(cred)).then(|| Place::take(UserCounts::of(cred)));
        let mut shared = self.shared.lock();
        shared.cred = cred.clone();
        if let Some(h) = shared.handles.as_mut() {
            h.cred = cred.clone();
        }
        let old = moved.map(|to| core::mem::replace(&mut shared.place, to));
        drop(shared);
        drop(old);
    }
    /// It is reaped: what it counted for in its group and for its user is free.
    pub(crate) fn release(&self) {
        crate::cgroup::member::release(self);
        self.shared.lock().place.give_back();
    }
    pub(crate) fn set_vfork(&self, waiter: Arc<Completion>) {
        self.shared.lock().vfork = Some(waiter);
    }
    /// The borrowed address space is left: the parent of a vfork goes on.
    pub(crate) fn release_vfork(&self) {
        let waiter = self.shared.lock().vfork.take();
        if let Some(waiter) = waiter {
            waiter.complete();
        }
    }
    /// Leaves `f` to be run by this thread on its way to user mode. False when the thread has exited.
    pub fn note(&self, f: Note) -> bool {
        let mut shared = self.shared.lock();
        if shared.handles.is_none() || shared.notes.try_reserve(1).is_err() {
            return false;
        }
        shared.notes.push(f);
        drop(shared);
        self.work.set(work::NOTE);
        self.nudge();
        true
    }
    pub(crate) fn take_notes(&self) -> Vec<Note> {
        self.work.clear(work::NOTE);
        core::mem::take(&mut self.shared.lock().notes)
    }
    /// Ends an interruptible sleep, and makes user mode come back to the kernel if it runs on another CPU.
    pub(crate) fn nudge(&self) {
        if let Some(thread) = self.thread() {
            thread.interrupt();
        }
    }
    /// Counts a page fault of the running thread.
    #[inline]
    pub(crate) fn count_fault(&self, major: bool) {
        let [minor, with_io] = &self.faults;
        let counter = if major { with_io } else { minor };
        // Only the thread itself writes: no locked instruction is needed.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl ThreadExt for Task {
    fn switch_in(&self) {
        if let Some(h) = self.shared.lock().handles.as_ref() {
            h.mm.activate();
        }
        if self.on_switch.any() {
            if self.on_switch.has(on_switch::RSEQ) {
                self.work.set(work::RSEQ);
            }
            if self.on_switch.has(on_switch::DEBUG) {
                crate::trace::debug::switch_in(self);
            }
        }
    }
}

/// A name cut to 15 bytes and padded with NULs.
pub fn comm_of(name: &[u8]) -> Comm {
    let mut comm = [0; COMM_LEN];
    for (to, from) in comm.iter_mut().take(COMM_LEN - 1).zip(name.iter().take_while(|b| **b != 0)) {
        *to = *from;
    }
    comm
}
