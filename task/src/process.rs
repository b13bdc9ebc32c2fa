//! A thread group: what its threads share.

use crate::limits::Limits;
use crate::pid::Pid;
use crate::pidfd::Identity;
use crate::signal::hand::SigHand;
use crate::signal::queue::Pending;
use crate::task::Task;
use crate::tree::{Group, Session};
use crate::usage::Sum;
use crate::yama::Admitted;
use abi::signal::{SigSet, Signal};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use machine::sync::{Once, SpinGuard, SpinLock};
use sched::WaitQueue;
use smallvec::SmallVec;
use vfs::{Cred, File, UserNamespace};

/// How far the group's life has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It has threads.
    Running,
    /// All threads are gone; the parent has not asked yet.
    Zombie,
    /// Nobody will ask any more.
    Gone,
}

/// Links to other processes. Changed under the tree lock.
pub struct Family {
    /// Who is told of our end.
    pub parent: Weak<Process>,
    /// The thread of the parent that made us (for __WNOTHREAD and PR_SET_PDEATHSIG).
    pub parent_tid: i32,
    /// Oldest first, zombies included.
    pub children: Vec<Arc<Process>>,
    /// Threads that this process's threads trace.
    pub tracees: Vec<Arc<Task>>,
    /// Process group; it knows the session.
    pub group: Arc<Group>,
    /// Running, zombie or gone.
    pub life: Life,
    /// Sent to the parent at the end; `None` for nothing.
    pub exit_signal: Option<Signal>,
    /// It has called execve since it was made (setpgid(2) refuses such children).
    pub has_execed: bool,
}

/// State that the signal lock guards.
pub struct SigState {
    /// Signals for the group as a whole.
    pub pending: Pending,
    /// What to do on each signal.
    pub hand: Arc<SigHand>,
    /// Live threads, the leader first (until it exits), workers last.
    pub threads: SmallVec<[Arc<Task>; 1]>,
    /// How many of them are workers ([`crate::worker`]).
    pub(crate) workers: usize,
    /// The core dump that the group ends with.
    pub core: Option<Arc<crate::coredump::Core>>,
    /// The group ends with this wait status.
    pub group_exit: Option<i32>,
    /// A thread that is in the middle of execve and lives on alone.
    pub exec_by: Option<i32>,
    /// The group stops, or has stopped, because of this signal.
    pub stop: Option<Signal>,
    /// Threads that have stopped.
    pub stopped: usize,
    /// The stop is complete: all threads had parked.
    pub stop_complete: bool,
    /// What wait(2) has not told yet: the stop.
    pub stop_report: Option<Signal>,
    /// What wait(2) has not told yet: the continuation.
    pub cont_report: bool,
    /// SIGCONTs sent so far: a signal that was taken before the last one does not stop the group any more.
    pub conts: u32,
    /// A thread is to tell the parent that the group stopped or continued (`CLD_*`).
    pub tell_parent: Option<i32>,
}

impl SigState {
    /// A thread joins the group.
    pub(crate) fn add_thread(&mut self, task: &Arc<Task>) {
        let at = if task.is_worker() { self.threads.len() } else { self.ordinary_threads() };
        self.threads.insert(at, task.clone());
        self.workers += usize::from(task.is_worker());
    }

    /// A thread leaves it.
    pub(crate) fn remove_thread(&mut self, task: &Arc<Task>) {
        self.threads.retain(|t| !Arc::ptr_eq(t, task));
        self.workers -= usize::from(task.is_worker());
    }

    /// Live threads that run the program.
    pub(crate) fn ordinary_threads(&self) -> usize {
        self.threads.len() - self.workers
    }

    /// Forgets pending signals of the group and of all its threads.
    pub fn discard(&mut self, set: SigSet) {
        self.pending.discard(set);
        for t in &self.threads {
            t.private.lock().discard(set);
        }
    }

    /// Forgets the signals of timers.
    pub fn discard_origins(&mut self) {
        self.pending.discard_origins();
        for t in &self.threads {
            t.private.lock().discard_origins();
        }
    }
}

/// Times and counts of threads and children that are gone.
#[derive(Default, Clone, Copy)]
pub struct Usage {
    /// Of threads that have exited.
    pub dead_threads: Sum,
    /// Of children that were waited for.
    pub children: Sum,
}

/// What another floor keeps with each process (timers, io contexts, ...).
pub trait Attachment: Any + Send + Sync {
    /// The process runs another program from now on.
    fn on_exec(&self) {}
    /// The last thread has ended.
    fn on_exit(&self) {}
    /// For downcasts.
    fn as_any(&self) -> &dyn Any;
}

/// A thread group.
pub struct Process {
    number: Pid,
    /// The number in its own namespace.
    nr: i32,
    /// Resource limits.
    pub limits: Limits,
    family: SpinLock<Family>,
    sig: SpinLock<SigState>,
    /// Its waits for children sleep here.
    pub child_wait: WaitQueue,
    /// What pidfds of it name, once there was one.
    pub(crate) pidfs: Once<Arc<Identity>>,
    /// Readers of signalfds, told of every signal that is queued.
    pub(crate) signal_wait: WaitQueue,
    /// Its stopped threads sleep here, and an execve waiting for the others to end.
    pub(crate) stop_wait: WaitQueue,
    /// Ended threads that tracers have not asked about: until they have, nobody is told of the end of the group.
    held: AtomicUsize,
    /// Its threads that are traced.
    traced: AtomicUsize,
    /// Wait status once it is a zombie.
    exit_status: AtomicI32,
    start_ns: u64,
    usage: SpinLock<Usage>,
    exe: SpinLock<Option<Arc<File>>>,
    /// The auxiliary vector of its program, for /proc.
    auxv: SpinLock<Arc<[u8]>>,
    /// Credentials of the leading thread, kept for when no thread is left.
    last_cred: SpinLock<Option<Arc<Cred>>>,
    /// Keeps orphaned descendants (PR_SET_CHILD_SUBREAPER).
    pub subreaper: AtomicBool,
    /// An ancestor is a subreaper.
    pub under_subreaper: AtomicBool,
    /// It gave up its session's terminal (TIOCNOTTY by one who does not lead the session); children inherit it.
    pub left_tty: AtomicBool,
    /// It never becomes a zombie and tells nobody of its end (CLONE_AUTOREAP).
    pub(crate) autoreap: AtomicBool,
    /// It is a thread of the kernel's ([`crate::kthread`]).
    pub(crate) kernel: AtomicBool,
    /// PR_SET_DUMPABLE.
    pub dumpable: AtomicU8,
    /// What core dumps keep (`mm::space::DumpFilter`).
    pub core_filter: AtomicU32,
    /// How much the OOM killer likes it, -1000 to 1000.
    pub oom_score_adj: AtomicI32,
    /// PR_SET_THP_DISABLE: 0, or 1 with the flags it was set with.
    pub thp_disable: AtomicU8,
    /// Whom it admits as tracer under Yama's rule.
    admitted: SpinLock<Admitted>,
    /// The namespace whose CAP_SYS_PTRACE opens what is not dumpable: the one its program was started in.
    program_ns: SpinLock<Arc<UserNamespace>>,
    attachments: SpinLock<SmallVec<[Arc<dyn Attachment>; 1]>>,
}

/// What a process is made of.
pub(crate) struct Parts {
    pub number: Pid,
    pub limits: Limits,
    pub hand: Arc<SigHand>,
    pub group: Arc<Group>,
    pub parent: Weak<Process>,
    pub parent_tid: i32,
    pub exit_signal: Option<Signal>,
    pub exe: Option<Arc<File>>,
    /// The user namespace its program was started in.
    pub program_ns: Arc<UserNamespace>,
    pub auxv: Arc<[u8]>,
}

impl Process {
    pub(crate) fn new(parts: Parts) -> Process {
        Process {
            nr: parts.number.nr(),
            number: parts.number,
            limits: parts.limits,
            family: SpinLock::new(Family {
                parent: parts.parent,
                parent_tid: parts.parent_tid,
                children: Vec::new(),
                tracees: Vec::new(),
                group: parts.group,
                life: Life::Running,
                exit_signal: parts.exit_signal,
                has_execed: false,
            }),
            sig: SpinLock::new(SigState {
                pending: Pending::new(),
                hand: parts.hand,
                threads: SmallVec::new(),
                workers: 0,
                core: None,
                group_exit: None,
                exec_by: None,
                stop: None,
                stopped: 0,
                stop_complete: false,
                stop_report: None,
                cont_report: false,
                conts: 0,
                tell_parent: None,
            }),
            child_wait: WaitQueue::new(),
            pidfs: Once::new(),
            signal_wait: WaitQueue::new(),
            stop_wait: WaitQueue::new(),
            held: AtomicUsize::new(0),
            traced: AtomicUsize::new(0),
            exit_status: AtomicI32::new(0),
            start_ns: machine::time::now_ns(),
            usage: SpinLock::new(Usage::default()),
            exe: SpinLock::new(parts.exe),
            auxv: SpinLock::new(parts.auxv),
            last_cred: SpinLock::new(None),
            subreaper: AtomicBool::new(false),
            under_subreaper: AtomicBool::new(false),
            left_tty: AtomicBool::new(false),
            autoreap: AtomicBool::new(false),
            kernel: AtomicBool::new(false),
            dumpable: AtomicU8::new(1),
            core_filter: AtomicU32::new(mm::space::DumpFilter::DEFAULT.bits()),
            oom_score_adj: AtomicI32::new(0),
            thp_disable: AtomicU8::new(0),
            admitted: SpinLock::new(Admitted::None),
            program_ns: SpinLock::new(parts.program_ns),
            attachments: SpinLock::new(SmallVec::new()),
        }
    }
    /// Its id.
    #[inline]
    pub fn pid(&self) -> i32 {
        self.number.global()
    }
    /// Its id in its own pid namespace (what getpid(2) gives).
    #[inline]
    pub fn nr(&self) -> i32 {
        self.nr
    }
    /// Its id in each pid namespace.
    #[inline]
    pub fn number(&self) -> &Pid {
        &self.number
    }
    /// Its links. Changing them needs the tree lock too.
    pub fn family(&self) -> SpinGuard<'_, Family> {
        self.family.lock()
    }
    /// Its signal state.
    pub fn sig(&self) -> SpinGuard<'_, SigState> {
        self.sig.lock()
    }
    /// The parent, `None` for the first process and for orphans of a dying system.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.family.lock().parent.upgrade()
    }
    /// Id of the parent, 0 when it has none.
    pub fn ppid(&self) -> i32 {
        self.parent().map_or(0, |p| p.pid())
    }
    /// Its process group.
    pub fn group(&self) -> Arc<Group> {
        self.family.lock().group.clone()
    }
    /// Its session.
    pub fn session(&self) -> Arc<Session> {
        self.family.lock().group.session().clone()
    }
    /// Running, zombie or gone.
    pub fn life(&self) -> Life {
        self.family.lock().life
    }
    /// The leading thread, or any other when that has exited.
    pub fn leader(&self) -> Option<Arc<Task>> {
        self.sig.lock().threads.first().cloned()
    }
    /// Live threads.
    pub fn threads(&self) -> SmallVec<[Arc<Task>; 1]> {
        self.sig.lock().threads.clone()
    }
    /// How many live threads it has.
    pub fn thread_count(&self) -> usize {
        self.sig.lock().threads.len()
    }
    /// Wait status (meaningful once it is a zombie).
    pub fn exit_status(&self) -> i32 {
        self.exit_status.load(Ordering::Acquire)
    }
    pub(crate) fn set_exit_status(&self, status: i32) {
        self.exit_status.store(status, Ordering::Release);
    }
    /// Some of its threads are traced.
    pub(crate) fn has_tracees(&self) -> bool {
        self.traced.load(Ordering::Acquire) != 0
    }
    pub(crate) fn count_tracees(&self, more: bool) {
        if more {
            self.traced.fetch_add(1, Ordering::AcqRel);
        } else {
            self.traced.fetch_sub(1, Ordering::AcqRel);
        }
    }
    /// A tracer is still to ask about one of its ended threads.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) != 0
    }
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::AcqRel);
    }
    /// One less; true when it was the last.
    pub(crate) fn release_held(&self) -> bool {
        self.held.fetch_sub(1, Ordering::AcqRel) == 1
    }
    /// Start on the monotonic clock.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }
    /// Times and counts of what is gone.
    pub fn usage(&self) -> SpinGuard<'_, Usage> {
        self.usage.lock()
    }
    /// The program it runs.
    pub fn exe(&self) -> Option<Arc<File>> {
        self.exe.lock().clone()
    }
    pub(crate) fn set_exe(&self, file: Option<Arc<File>>) {
        let old = core::mem::replace(&mut *self.exe.lock(), file);
        drop(old);
    }
    /// The user namespace its program was started in.
    pub fn program_ns(&self) -> Arc<UserNamespace> {
        self.program_ns.lock().clone()
    }
    pub(crate) fn set_program_ns(&self, ns: Arc<UserNamespace>) {
        let old = core::mem::replace(&mut *self.program_ns.lock(), ns);
        drop(old);
    }
    /// Whom it admits as tracer.
    pub fn admitted(&self) -> Admitted {
        self.admitted.lock().clone()
    }
    /// PR_SET_PTRACER.
    pub fn admit(&self, whom: Admitted) {
        let old = core::mem::replace(&mut *self.admitted.lock(), whom);
        drop(old);
    }
    /// The auxiliary vector of its program.
    pub fn auxv(&self) -> Arc<[u8]> {
        self.auxv.lock().clone()
    }
    /// Replaces it.
    pub fn set_auxv(&self, auxv: Arc<[u8]>) {
        let old = core::mem::replace(&mut *self.auxv.lock(), auxv);
        drop(old);
    }
    /// Credentials it had when its last thread ended.
    pub(crate) fn last_cred(&self) -> Arc<Cred> {
        self.last_cred.lock().clone().unwrap_or_default()
    }
    pub(crate) fn keep_cred(&self, cred: Arc<Cred>) {
        *self.last_cred.lock() = Some(cred);
    }
    /// The attachment of type `T`, made by `make` the first time.
    pub fn attachment<T: Attachment>(&self, make: impl FnOnce() -> Arc<T>) -> Arc<dyn Attachment> {
        let mut all = self.attachments.lock();
        if let Some(a) = all.iter().find(|a| a.as_any().is::<T>()) {
            return a.clone();
        }
        let new = make();
        all.push(new.clone());
        new
    }
    /// The attachment of type `T`, if one was made.
    pub fn attached<T: Attachment>(&self) -> Option<Arc<dyn Attachment>> {
        self.attachments.lock().iter().find(|a| a.as_any().is::<T>()).cloned()
    }
    pub(crate) fn attachments(&self) -> SmallVec<[Arc<dyn Attachment>; 1]> {
        self.attachments.lock().clone()
    }
    pub(crate) fn take_attachments(&self) -> SmallVec<[Arc<dyn Attachment>; 1]> {
        core::mem::take(&mut *self.attachments.lock())
    }
    /// Hands the memory limits on to the address space.
    pub fn apply_memory_limits(&self) {
        if let Some(mm) = self.leader().and_then(|t| t.mm()) {
            mm.set_limits(crate::exec::limits_of(self));
        }
    }
    /// It is the first process of its pid namespace: signals without a handler do not end it, orphans go to it.
    #[inline]
    pub fn is_init(&self) -> bool {
        self.nr == 1
    }
    /// It is a thread of the kernel's, without memory or a program.
    #[inline]
    pub fn is_kernel(&self) -> bool {
        self.kernel.load(Ordering::Relaxed)
    }
    /// It is the first process of the system.
    pub fn is_first(&self) -> bool {
        self.pid() == 1
    }
}
