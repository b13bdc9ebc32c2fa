//! What a pidfd names: the holder of a number, from its birth until the last file that names it is closed.

use super::pidfs::PidInode;
use crate::pid::Pid;
use crate::process::{Life, Process};
use crate::task::Task;
use crate::tree;
use abi::Errno;
use abi::pidfd::coredump;
use abi::signal::SigInfo;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::sync::SpinLock;
use sched::WaitQueue;
use vfs::xattrs::Xattrs;

/// Who holds the number.
enum Holder {
    /// A process: the number is its leader's.
    Process(Weak<Process>),
    /// A thread that is not the leader.
    Thread(Weak<Task>),
}

/// How the holder ended.
#[derive(Clone, Copy)]
pub struct End {
    /// Its wait status.
    pub status: i32,
    /// The control group it was in.
    pub cgroup: u64,
}

/// What was written of it at a fatal signal.
#[derive(Clone, Copy)]
pub struct Dump {
    /// `abi::pidfd::coredump` bits.
    pub mask: u32,
    /// The signal.
    pub signal: i32,
    /// Its `si_code`.
    pub code: i32,
}

#[derive(Default)]
struct Fate {
    end: Option<End>,
    dump: Option<Dump>,
}

/// The holder of a number.
pub struct Identity {
    ino: u64,
    number: Pid,
    holder: Holder,
    fate: SpinLock<Fate>,
    /// Woken when the holder has ended and when it has been reaped.
    wait: WaitQueue,
    pub(super) xattrs: Xattrs,
    pub(super) inode: SpinLock<Weak<PidInode>>,
}

static NEXT_INO: AtomicU64 = AtomicU64::new(2);
/// All by inode number, for file handles.
static ALL: SpinLock<BTreeMap<u64, Weak<Identity>>> = SpinLock::new(BTreeMap::new());

impl Identity {
    fn new(number: Pid, holder: Holder) -> Arc<Identity> {
        let identity = Arc::new(Identity {
            ino: NEXT_INO.fetch_add(1, Ordering::Relaxed),
            number,
            holder,
            fate: SpinLock::new(Fate::default()),
            wait: WaitQueue::new(),
            xattrs: Xattrs::new(),
            inode: SpinLock::new(Weak::new()),
        });
        ALL.lock().insert(identity.ino, Arc::downgrade(&identity));
        identity
    }
    /// That of a process; ESRCH when it has been reaped and nobody knew it before.
    pub fn of_process(process: &Arc<Process>) -> Result<Arc<Identity>, Errno> {
        let known = process.pidfs.get().is_some();
        let identity = process
            .pidfs
            .get_or_init(|| Identity::new(process.number().clone(), Holder::Process(Arc::downgrade(process))))
            .clone();
        if !known && process.life() == Life::Gone {
            return Err(Errno::ESRCH);
        }
        Ok(identity)
    }
    /// That of a thread; a leader's is its process's.
    pub fn of_task(task: &Arc<Task>) -> Result<Arc<Identity>, Errno> {
        // Held to the end: who leaves the tree meanwhile would tell of it before there is anyone to hear.
        let tree = tree::lock();
        if task.is_leader() {
            drop(tree);
            return Identity::of_process(task.process());
        }
        let mut mine = task.pidfs.lock();
        if let Some(known) = &*mine {
            return Ok(known.clone());
        }
        let number = tree.number(task.tid()).ok_or(Errno::ESRCH)?;
        let new = Identity::new(number, Holder::Thread(Arc::downgrade(task)));
        *mine = Some(new.clone());
        Ok(new)
    }
    /// The one with this inode number.
    pub(super) fn find(ino: u64) -> Option<Arc<Identity>> {
        ALL.lock().get(&ino)?.upgrade()
    }
    /// Its inode number, which no other one has had or will have.
    pub fn ino(&self) -> u64 {
        self.ino
    }
    /// The number, as the first pid namespace has it.
    pub fn number(&self) -> i32 {
        self.number.global()
    }
    /// The number in all namespaces.
    pub(super) fn numbers(&self) -> &Pid {
        &self.number
    }
    /// The number as `me` sees it; 0 when it does not.
    pub fn seen_by(&self, me: &Task) -> i32 {
        self.number.nr_in(me.pid_ns())
    }
    /// What announces the end.
    pub(super) fn wait(&self) -> &WaitQueue {
        &self.wait
    }
    /// The process it is or belongs to, until it is reaped.
    pub fn process(&self) -> Option<Arc<Process>> {
        match &self.holder {
            Holder::Process(p) => p.upgrade().filter(|p| p.life() != Life::Gone),
            Holder::Thread(t) => t.upgrade().filter(|_| self.end().is_none()).map(|t| t.process().clone()),
        }
    }
    /// The thread that has the number now, a zombie too.
    pub fn task(&self) -> Option<Arc<Task>> {
        match &self.holder {
            // While its first thread is being made it is in no table yet.
            Holder::Process(p) => {
                let process = p.upgrade().filter(|p| p.life() != Life::Gone)?;
                tree::find_task(self.number()).or_else(|| process.leader())
            }
            Holder::Thread(t) => t.upgrade().filter(|_| self.end().is_none()),
        }
    }
    /// Whether the holder has ended, and whether nobody can wait for it any more.
    pub(super) fn ended(&self) -> (bool, bool) {
        match &self.holder {
            Holder::Process(p) => match p.upgrade().map_or(Life::Gone, |p| p.life()) {
                Life::Running => (false, false),
                Life::Zombie => (true, false),
                Life::Gone => (true, true),
            },
            Holder::Thread(t) => {
                let ended = self.end().is_some() || t.strong_count() == 0;
                (ended, ended)
            }
        }
    }
    /// How it ended, once it has been reaped.
    pub fn end(&self) -> Option<End> {
        self.fate.lock().end
    }
    /// What was written of it at a fatal signal.
    pub(super) fn dump(&self) -> Option<Dump> {
        self.fate.lock().dump
    }
    /// It has been reaped.
    fn set_end(&self, end: End) {
        self.fate.lock().end.get_or_insert(end);
        self.wait.wake_all();
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        ALL.lock().remove(&self.ino);
    }
}

impl Process {
    /// Its last thread has ended, or it has been reaped: whoever watches it is told. The caller has changed its life before.
    pub(crate) fn tell_watchers(&self) {
        if let Some(identity) = self.pidfs.get() {
            identity.wait.wake_all();
        }
    }
    /// Keeps what pidfds tell of a process that is being reaped. `last`: the thread that had its number.
    pub(crate) fn keep_end(&self, last: Option<&Arc<Task>>) {
        if let Some(identity) = self.pidfs.get() {
            let cgroup = last.map_or(0, |t| t.cgroup().id());
            identity.set_end(End { status: self.exit_status(), cgroup });
        }
    }
    /// A core file (or what takes its place) was written because of `info`; `by_root`: for root's eyes only.
    pub fn dumped(&self, info: &SigInfo, by_root: bool) {
        if let Some(identity) = self.pidfs.get() {
            let whose = if by_root { coredump::ROOT } else { coredump::USER };
            let mask = coredump::COREDUMPED | whose;
            identity.fate.lock().dump = Some(Dump { mask, signal: info.signo, code: info.code });
        }
    }
}

/// A thread that was not the leader is out of the table.
pub(crate) fn thread_gone(task: &Task, status: i32) {
    let identity = task.pidfs.lock().take();
    if let Some(identity) = identity {
        identity.set_end(End { status, cgroup: task.cgroup().id() });
    }
}

/// A thread has taken over the leader's number (exec): with its own ended the old leader.
pub(crate) fn renamed(task: &Task, leader_status: i32) {
    thread_gone(task, leader_status);
}
