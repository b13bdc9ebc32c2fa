//! Numbers and kinship: the pid table, process groups, sessions.
//!
//! One lock guards the shape of the tree: who is whose child, which group a process is in, which number names what. It is
//! taken for short moments and never in interrupts.

use crate::ns::PidNamespace;
use crate::ns::pid::next_free;
use crate::pid::{Deeper, Pid};
use crate::process::Process;
use crate::task::Task;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::AtomicI32;
use machine::sync::{SpinGuard, SpinLock};

/// Numbers stay below this unless `kernel.pid_max` says otherwise (Linux's default on machines of up to 32 CPUs).
pub const PID_MAX: i32 = 32_768;

/// What one number names. A number is free when it names nothing.
#[derive(Default)]
struct Entry {
    /// Given out to a task that is being made.
    reserved: bool,
    /// Its numbers in nested pid namespaces.
    deeper: Option<Arc<Deeper>>,
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
    number: Pid,
    session: Arc<Session>,
    members: SpinLock<Vec<Arc<Process>>>,
}

/// A session.
pub struct Session {
    number: Pid,
    groups: SpinLock<usize>,
    tty: SpinLock<Option<Arc<dyn Any + Send + Sync>>>,
    /// The foreground group when the terminal was hung up, 0 for none: told when the leader ends.
    pub(crate) hung_up: AtomicI32,
}

impl Group {
    /// Its id.
    pub fn pgid(&self) -> i32 {
        self.number.global()
    }
    /// Its id in each pid namespace.
    pub fn number(&self) -> &Pid {
        &self.number
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
        self.number.global()
    }
    /// Its id in each pid namespace.
    pub fn number(&self) -> &Pid {
        &self.number
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
    /// Reserves a number in each namespace from the first down to `ns`: those in `wanted` (the deepest namespace's first), else the next free one,
    /// upwards, starting again at 300 after the highest. The caller has checked that `wanted` is not too long.
    pub(crate) fn allocate(&mut self, ns: &Arc<PidNamespace>, wanted: &[i32]) -> Result<Pid, Errno> {
        let first = PidNamespace::first();
        if ns.level() == 0 {
            return self.reserve(wanted.first().copied(), first.pid_max()).map(Pid::plain);
        }
        // Deepest first, as Linux looks for them.
        let chain = || core::iter::successors(Some(ns), |n| n.parent()).take(ns.level() as usize);
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(ns.level() as usize).map_err(|_| Errno::ENOMEM)?;
        let mut reserve_all = || {
            for (i, n) in chain().enumerate() {
                numbers.push(n.reserve(wanted.get(i).copied())?);
            }
            let global = self.reserve(wanted.get(ns.level() as usize).copied(), first.pid_max())?;
            let open = chain().try_for_each(|n| n.check_open());
            open.map(|()| global).inspect_err(|_| self.settle(global))
        };
        match reserve_all() {
            Ok(global) => {
                chain().zip(&numbers).for_each(|(n, nr)| n.bind(*nr, global));
                numbers.reverse();
                let pid = Pid::nested(global, ns.clone(), numbers);
                self.entries.entry(global).or_default().deeper = pid.deeper().cloned();
                Ok(pid)
            }
            Err(e) => {
                chain().zip(&numbers).for_each(|(n, nr)| n.release(*nr));
                Err(e)
            }
        }
    }
    fn reserve(&mut self, wanted: Option<i32>, max: i32) -> Result<i32, Errno> {
        let number = match wanted {
            Some(number) if self.entries.contains_key(&number) => return Err(Errno::EEXIST),
            Some(number) => number,
            None => {
                let taken = |n| self.entries.contains_key(&n);
                self.last = next_free(self.last, max, taken).ok_or(Errno::EAGAIN)?;
                self.last
            }
        };
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
        self.last = pid;
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
    /// The last thread of a group takes the numbers of the leader, which has ended (exec by a thread that was not the leader).
    pub(crate) fn replace_leader(&mut self, task: &Arc<Task>, leader: &Pid) -> Option<Arc<Task>> {
        self.tasks = self.tasks.saturating_sub(1);
        self.update(task.tid(), |e| e.task = None);
        task.set_number(leader);
        let old = self.entries.entry(leader.global()).or_default().task.replace(task.clone());
        if let Some(old) = &old {
            old.release();
        }
        old
    }
    /// Takes a thread out; the caller drops it after the lock.
    pub(crate) fn remove_task(&mut self, tid: i32) -> Option<Arc<Task>> {
        self.tasks = self.tasks.saturating_sub(1);
        let mut out = None;
        self.update(tid, |e| out = e.task.take());
        if let Some(task) = &out {
            task.release();
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
                let deeper = self.entries.remove(&number).and_then(|e| e.deeper);
                if let Some(deeper) = deeper {
                    let chain = core::iter::successors(Some(&deeper.ns), |n| n.parent());
                    chain.zip(deeper.numbers.iter().rev()).for_each(|(n, nr)| n.release(*nr));
                }
            }
        }
    }
    /// The number names something.
    pub(crate) fn is_used(&self, number: i32) -> bool {
        self.entries.contains_key(&number)
    }
    /// All numbers of what has this one.
    pub fn number(&self, global: i32) -> Option<Pid> {
        let entry = self.entries.get(&global)?;
        Some(match &entry.deeper {
            Some(deeper) => Pid::from_deeper(global, deeper.clone()),
            None => Pid::plain(global),
        })
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
    pub(crate) fn new_session(&mut self, pid: &Pid) -> Arc<Group> {
        let session = Arc::new(Session {
            number: pid.clone(),
            groups: SpinLock::new(0),
            tty: SpinLock::new(None),
            hung_up: AtomicI32::new(0),
        });
        self.entries.entry(pid.global()).or_default().session = Some(session.clone());
        self.new_group(pid, session)
    }
    fn new_group(&mut self, number: &Pid, session: Arc<Session>) -> Arc<Group> {
        *session.groups.lock() += 1;
        let group = Arc::new(Group { number: number.clone(), session, members: SpinLock::new(Vec::new()) });
        self.entries.entry(number.global()).or_default().group = Some(group.clone());
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
        self.update(group.pgid(), |e| e.group = None);
        let last = {
            let mut groups = group.session.groups.lock();
            *groups = groups.saturating_sub(1);
            *groups == 0
        };
        if last {
            self.update(group.session.sid(), |e| e.session = None);
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
        let group = self.new_session(process.number());
        self.move_to(process, group);
        Ok(process.nr())
    }

    /// setpgid(2): `caller` puts the process it calls `pid` (itself or a child that has not called execve) into the group it calls `pgid`.
    pub fn setpgid(&mut self, caller: &Arc<Process>, pid: i32, pgid: i32) -> Result<(), Errno> {
        let pid = if pid == 0 { caller.nr() } else { pid };
        let pgid = if pgid == 0 { pid } else { pgid };
        if pgid < 0 {
            return Err(Errno::EINVAL);
        }
        let ns = caller.number().ns();
        let find = |nr| ns.global_of(nr);
        let target = find(pid).and_then(|pid| self.process(pid)).ok_or(Errno::ESRCH)?.clone();
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
        if its_session.sid() == target.pid() {
            return Err(Errno::EPERM);
        }
        let group = match find(pgid).and_then(|pgid| self.group(pgid)) {
            Some(g) if Arc::ptr_eq(&g.session, &session) => g.clone(),
            Some(_) => return Err(Errno::EPERM),
            None if pgid == pid => self.new_group(target.number(), its_session),
            None => return Err(Errno::EPERM),
        };
        if target.group().pgid() != group.pgid() {
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
            !parent.is_first() && theirs.pgid() != group.pgid() && Arc::ptr_eq(&theirs.session, &group.session)
        })
    }
}

/// A group and session of number 0, which no number leads to: where kernel threads are.
pub(crate) fn kernel_group() -> Arc<Group> {
    let session = Arc::new(Session {
        number: Pid::plain(0),
        groups: SpinLock::new(1),
        tty: SpinLock::new(None),
        hung_up: AtomicI32::new(0),
    });
    Arc::new(Group { number: Pid::plain(0), session, members: SpinLock::new(Vec::new()) })
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
