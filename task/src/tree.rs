//! Numbers and kinship: the pid table, process groups, sessions.
//!
//! One lock guards the shape of the tree: who is whose child, which group a process is in, which number names what. It is
//! taken for short moments and never in interrupts.

use crate::cgroup;
use crate::process::Process;
use crate::task::Task;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::{SpinGuard, SpinLock};

/// Numbers stay below this (`kernel.pid_max`; Linux's default on machines of up to 32 CPUs).
pub const PID_MAX: i32 = 32_768;
/// After the first wrap-around numbers below this are left alone.
const RESERVED: i32 = 300;

/// What one number names. A number is free when it names nothing.
#[derive(Default)]
struct Entry {
    /// Given out to a task that is being made.
    reserved: bool,
    task: Option<Arc<Task>>,
    process: Option<Arc<Process>>,
    group: Option<Arc<Group>>,
    session: Option<Arc<Session>>,
}

impl Entry {
    fn is_free(&self) -> bool {
        !self.reserved
            && self.task.is_none()
            && self.process.is_none()
            && self.group.is_none()
            && self.session.is_none()
    }
}

/// The table of numbers.
pub struct Tree {
    entries: BTreeMap<i32, Entry>,
    last: i32,
    tasks: usize,
    forks: u64,
}

static TREE: SpinLock<Tree> = SpinLock::new(Tree { entries: BTreeMap::new(), last: 0, tasks: 0, forks: 0 });

/// Takes the tree lock.
pub fn lock() -> SpinGuard<'static, Tree> {
    TREE.lock()
}

/// A process group.
pub struct Group {
    pgid: i32,
    session: Arc<Session>,
    members: SpinLock<Vec<Arc<Process>>>,
}

/// A session.
pub struct Session {
    sid: i32,
    groups: SpinLock<usize>,
    tty: SpinLock<Option<Arc<dyn Any + Send + Sync>>>,
}

impl Group {
    /// Its id.
    pub fn pgid(&self) -> i32 {
        self.pgid
    }
    /// Its session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
    /// Its members now.
    pub fn members(&self) -> Vec<Arc<Process>> {
        self.members.lock().clone()
    }
    /// Whether any member satisfies `test`.
    pub fn any(&self, test: impl FnMut(&Arc<Process>) -> bool) -> bool {
        self.members.lock().iter().any(test)
    }
}

impl Session {
    /// Its id.
    pub fn sid(&self) -> i32 {
        self.sid
    }
    /// Its controlling terminal.
    pub fn tty(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.tty.lock().clone()
    }
    /// Sets or clears its controlling terminal; gives the old one.
    pub fn set_tty(&self, tty: Option<Arc<dyn Any + Send + Sync>>) -> Option<Arc<dyn Any + Send + Sync>> {
        core::mem::replace(&mut *self.tty.lock(), tty)
    }
}

impl Tree {
    /// Reserves the next free number, in Linux's order: upwards, starting again at 300 after the highest.
    pub(crate) fn next_number(&mut self) -> Result<i32, Errno> {
        let mut candidate = self.last + 1;
        for _ in 0..PID_MAX {
            if candidate >= PID_MAX {
                candidate = RESERVED;
            }
            if !self.entries.contains_key(&candidate) {
                self.last = candidate;
                self.entries.entry(candidate).or_default().reserved = true;
                return Ok(candidate);
            }
            candidate += 1;
        }
        Err(Errno::EAGAIN)
    }
    /// Reserves a chosen number (clone3's set_tid).
    pub(crate) fn reserve(&mut self, number: i32) -> Result<i32, Errno> {
        if self.entries.contains_key(&number) {
            return Err(Errno::EEXIST);
        }
        self.entries.entry(number).or_default().reserved = true;
        Ok(number)
    }
    /// Ends a reservation, after the number's owner was entered or given up.
    pub(crate) fn settle(&mut self, number: i32) {
        self.update(number, |e| e.reserved = false);
    }
    /// The number given out last (`/proc/loadavg`).
    pub fn last_number(&self) -> i32 {
        self.last
    }
    /// The last number given out is `pid` (`ns_last_pid`).
    pub fn set_last_number(&mut self, pid: i32) {
        self.last = pid.clamp(0, PID_MAX - 1);
    }
    /// Threads in all.
    pub fn task_count(&self) -> usize {
        self.tasks
    }
    /// Threads ever made.
    pub fn forks(&self) -> u64 {
        self.forks
    }
    /// Enters a thread.
    pub(crate) fn add_task(&mut self, task: &Arc<Task>) {
        self.tasks += 1;
        self.forks += 1;
        self.entries.entry(task.tid()).or_default().task = Some(task.clone());
    }
    /// The last thread of a group takes the number of the leader, which has ended (exec by a thread that was not the leader).
    pub(crate) fn replace_leader(&mut self, task: &Arc<Task>, pid: i32) -> Option<Arc<Task>> {
        self.tasks = self.tasks.saturating_sub(1);
        self.update(task.tid(), |e| e.task = None);
        task.set_tid(pid);
        let old = self.entries.entry(pid).or_default().task.replace(task.clone());
        if let Some(old) = &old {
            cgroup::member::release(old);
        }
        old
    }
    /// Takes a thread out; the caller drops it after the lock.
    pub(crate) fn remove_task(&mut self, tid: i32) -> Option<Arc<Task>> {
        self.tasks = self.tasks.saturating_sub(1);
        let mut out = None;
        self.update(tid, |e| out = e.task.take());
        if let Some(task) = &out {
            cgroup::member::release(task);
        }
        out
    }
    pub(crate) fn add_process(&mut self, process: &Arc<Process>) {
        self.entries.entry(process.pid()).or_default().process = Some(process.clone());
        let group = process.group();
        group.members.lock().push(process.clone());
    }
    /// Forgets a process: its number, its place in its group.
    pub(crate) fn remove_process(&mut self, process: &Arc<Process>) {
        self.update(process.pid(), |e| e.process = None);
        self.leave_group(process);
    }
    fn update(&mut self, number: i32, change: impl FnOnce(&mut Entry)) {
        if let Some(e) = self.entries.get_mut(&number) {
            change(e);
            if e.is_free() {
                self.entries.remove(&number);
            }
        }
    }
    /// The number names something.
    pub(crate) fn is_used(&self, number: i32) -> bool {
        self.entries.contains_key(&number)
    }
    /// The thread with this id.
    pub fn task(&self, tid: i32) -> Option<&Arc<Task>> {
        self.entries.get(&tid)?.task.as_ref()
    }
    /// The process with this id, zombies included.
    pub fn process(&self, pid: i32) -> Option<&Arc<Process>> {
        self.entries.get(&pid)?.process.as_ref()
    }
    /// The process group with this id.
    pub fn group(&self, pgid: i32) -> Option<&Arc<Group>> {
        self.entries.get(&pgid)?.group.as_ref()
    }
    /// The session with this id.
    pub fn session(&self, sid: i32) -> Option<&Arc<Session>> {
        self.entries.get(&sid)?.session.as_ref()
    }
    /// All processes by number, from `from` on.
    pub fn processes(&self, from: i32) -> impl Iterator<Item = &Arc<Process>> {
        self.entries.range(from..).filter_map(|(_, e)| e.process.as_ref())
    }
    /// Makes a session with one group for a process with number `pid`.
    pub(crate) fn new_session(&mut self, pid: i32) -> Arc<Group> {
        let session = Arc::new(Session { sid: pid, groups: SpinLock::new(0), tty: SpinLock::new(None) });
        self.entries.entry(pid).or_default().session = Some(session.clone());
        self.new_group(pid, session)
    }
    fn new_group(&mut self, pgid: i32, session: Arc<Session>) -> Arc<Group> {
        *session.groups.lock() += 1;
        let group = Arc::new(Group { pgid, session, members: SpinLock::new(Vec::new()) });
        self.entries.entry(pgid).or_default().group = Some(group.clone());
        group
    }
    fn leave_group(&mut self, process: &Arc<Process>) {
        let group = process.group();
        let empty = {
            let mut members = group.members.lock();
            members.retain(|m| !Arc::ptr_eq(m, process));
            members.is_empty()
        };
        if !empty {
            return;
        }
        self.update(group.pgid, |e| e.group = None);
        let last = {
            let mut groups = group.session.groups.lock();
            *groups = groups.saturating_sub(1);
            *groups == 0
        };
        if last {
            self.update(group.session.sid, |e| e.session = None);
        }
    }
    fn move_to(&mut self, process: &Arc<Process>, group: Arc<Group>) {
        // Joining before leaving keeps a session alive whose only group changes.
        group.members.lock().push(process.clone());
        self.leave_group(process);
        process.family().group = group;
    }

    /// setsid(2) for `process`.
    pub fn setsid(&mut self, process: &Arc<Process>) -> Result<i32, Errno> {
        let pid = process.pid();
        if self.group(pid).is_some() || self.session(pid).is_some() {
            return Err(Errno::EPERM);
        }
        let group = self.new_session(pid);
        self.move_to(process, group);
        Ok(pid)
    }

    /// setpgid(2): `caller` puts the process `pid` (itself or a child that has not called execve) into group `pgid`.
    pub fn setpgid(&mut self, caller: &Arc<Process>, pid: i32, pgid: i32) -> Result<(), Errno> {
        let pid = if pid == 0 { caller.pid() } else { pid };
        let pgid = if pgid == 0 { pid } else { pgid };
        if pgid < 0 {
            return Err(Errno::EINVAL);
        }
        let target = self.process(pid).ok_or(Errno::ESRCH)?.clone();
        let session = caller.session();
        let its_session = target.session();
        if target.parent().is_some_and(|p| Arc::ptr_eq(&p, caller)) {
            if !Arc::ptr_eq(&its_session, &session) {
                return Err(Errno::EPERM);
            }
            if target.family().has_execed {
                return Err(Errno::EACCES);
            }
        } else if !Arc::ptr_eq(&target, caller) {
            return Err(Errno::ESRCH);
        }
        if its_session.sid == pid {
            return Err(Errno::EPERM);
        }
        let group = match self.group(pgid) {
            Some(g) if Arc::ptr_eq(&g.session, &session) => g.clone(),
            Some(_) => return Err(Errno::EPERM),
            None if pgid == pid => self.new_group(pgid, its_session),
            None => return Err(Errno::EPERM),
        };
        if target.group().pgid != pgid {
            self.move_to(&target, group);
        }
        Ok(())
    }

    /// No member of the group has a parent in another group of the same session (POSIX: an orphaned process group).
    /// `leaving` is a process on its way out that no longer counts.
    pub fn is_orphaned(&self, group: &Group, leaving: Option<&Arc<Process>>) -> bool {
        !group.any(|member| {
            if leaving.is_some_and(|l| Arc::ptr_eq(l, member)) || member.life() != crate::process::Life::Running {
                return false;
            }
            let Some(parent) = member.parent() else { return false };
            let theirs = parent.group();
            !parent.is_init() && theirs.pgid != group.pgid && Arc::ptr_eq(&theirs.session, &group.session)
        })
    }
}

/// The thread with this id.
pub fn find_task(tid: i32) -> Option<Arc<Task>> {
    lock().task(tid).cloned()
}

/// The process with this id, zombies included.
pub fn find_process(pid: i32) -> Option<Arc<Process>> {
    lock().process(pid).cloned()
}

/// The process group with this id.
pub fn find_group(pgid: i32) -> Option<Arc<Group>> {
    lock().group(pgid).cloned()
}

/// The first process with a number of `from` or more, for listings of /proc.
pub fn next_process(from: i32) -> Option<Arc<Process>> {
    lock().processes(from).next().cloned()
}

/// All processes now.
pub fn all_processes() -> Vec<Arc<Process>> {
    lock().processes(0).cloned().collect()
}
