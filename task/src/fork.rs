//! Making threads and processes: fork, vfork, clone, clone3.
//!
//! Everything that can fail is done before the new task enters the tree; after that it only has to be started. Sources: clone(2).

use crate::cgroup::{self, Cgroup, Joined, Reservation};
use crate::cx::Cx;
use crate::limits::Limits;
use crate::ns::{PidNamespace, change};
use crate::pid::Pid;
use crate::process::{Parts, Process};
use crate::task::{Handles, Task};
use crate::trace::{link, report};
use crate::users::{Place, UserCounts};
use crate::{futex, pidfd, rseq, run, seccomp, tree, work};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::ptrace::Event;
use abi::resource::Resource;
use abi::sched::CloneFlags;
use abi::signal::Signal;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use machine::VirtAddr;
use machine::user::UserCtx;
use sched::Completion;
use vfs::Cred;
use vfs::cred::Cap;
use vfs::ns::Namespace;
use zerocopy::IntoBytes;

/// What kind of child is wanted; clone's and clone3's arguments in one form.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Sharing and side effects.
    pub flags: CloneFlags,
    /// Sent to the parent at the child's end.
    pub exit_signal: Option<Signal>,
    /// The child's first stack pointer; `None` keeps the parent's.
    pub stack: Option<u64>,
    /// Where the child's id is written in the parent.
    pub parent_tid: u64,
    /// Where the child's id is written or cleared in the child.
    pub child_tid: u64,
    /// Thread-local storage base.
    pub tls: u64,
    /// Where the pidfd is written in the parent.
    pub pidfd: u64,
    /// The ids the child is to have, in its own pid namespace first and then in those around it. Not more than there are.
    pub set_tid: Vec<i32>,
    /// The descriptor of the control group it is to be in, if not the parent's.
    pub cgroup: Option<i32>,
}

/// The rules on combinations of flags, in Linux's order.
pub fn check(req: &Request, caller_is_init: bool) -> Result<(), Errno> {
    use CloneFlags as F;
    let f = req.flags;
    let bad = f.intersects(F::NEWNS | F::EMPTY_MNTNS) && f.contains(F::FS)
        || f.contains(F::NEWUSER | F::FS)
        || (f.contains(F::THREAD) && !f.contains(F::SIGHAND))
        || (f.contains(F::SIGHAND) && !f.contains(F::VM))
        || (f.contains(F::PARENT) && caller_is_init)
        || (f.contains(F::THREAD) && f.intersects(F::NEWUSER | F::NEWPID))
        || f.contains(F::SIGHAND | F::CLEAR_SIGHAND)
        || f.contains(F::PIDFD | F::DETACHED)
        || (f.contains(F::AUTOREAP) && (f.intersects(F::THREAD | F::PARENT) || req.exit_signal.is_some()))
        || f.contains(F::NNP | F::THREAD)
        || (f.contains(F::PIDFD_AUTOKILL) && !f.contains(F::PIDFD | F::AUTOREAP));
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Makes a child of the calling thread; gives its id.
pub fn clone(cx: &mut Cx, req: &Request) -> Result<i32, Errno> {
    check(req, cx.process().is_init())?;
    if req.flags.contains(CloneFlags::THREAD) && !Arc::ptr_eq(&cx.ns().pid_for_children, cx.task.pid_ns()) {
        return Err(Errno::EINVAL);
    }
    if req.flags.contains(CloneFlags::PARENT) && cx.process().autoreap.load(Relaxed) {
        return Err(Errno::EINVAL);
    }
    // Without no_new_privs the child could become one that the caller may not kill.
    let cred = cx.cred();
    if req.flags.contains(CloneFlags::PIDFD_AUTOKILL)
        && !req.flags.contains(CloneFlags::NNP)
        && !cred.capable_in(&cred.user_ns, Cap::SysAdmin)
    {
        return Err(Errno::EPERM);
    }
    // What was sent to the parent before the fork is not for the child: it is delivered first.
    if cx.task.work.has(work::SIGNAL | work::FREEZE) {
        return Err(Errno::ERESTARTNOINTR);
    }
    let cred = child_cred(cx, req.flags)?;
    let user = if req.flags.contains(CloneFlags::NEWUSER) { UserCounts::of(&cred) } else { cx.task.user() };
    let place = place(cx, user)?;
    let handles = child_handles(cx, req.flags, cred)?;
    let ns = &handles.ns.pid_for_children;
    check_wanted(cx, ns, &req.set_tid)?;
    let number = tree::lock().allocate(ns, &req.set_tid)?;
    let event = traced_event(cx, req);
    let made = room_for(cx, req).and_then(|room| build(cx, req, &number, place, handles, room, event));
    tree::lock().settle(number.global());
    let (task, vfork) = made?;
    if let Some(thread) = task.thread() {
        thread.start();
    }
    drop(task);
    if let Some(event) = event {
        report::event(cx, event, seen_by_tracer(cx, &number));
    }
    if let Some(done) = vfork {
        // Killed while waiting: the child keeps the address space alive by itself.
        cgroup::freezer::parked(&cx.task);
        let freed = done.wait_killable();
        cgroup::freezer::unparked(&cx.task);
        if freed.is_ok() {
            report::event(cx, Event::VforkDone, seen_by_tracer(cx, &number));
        }
    }
    Ok(number.nr_in(cx.task.pid_ns()))
}

/// The child's number as the caller's tracer knows it.
fn seen_by_tracer(cx: &Cx, number: &Pid) -> u64 {
    cx.task.tracer().map_or(0, |t| number.nr_in(t.pid_ns()) as u64)
}

/// Whether the child may have the ids it is to have: they must be in range and the caller in charge of each namespace.
fn check_wanted(cx: &Cx, ns: &Arc<PidNamespace>, wanted: &[i32]) -> Result<(), Errno> {
    if wanted.len() > ns.level() as usize + 1 {
        return Err(Errno::EINVAL);
    }
    let chain = core::iter::successors(Some(ns), |n| n.parent());
    for (nr, ns) in wanted.iter().zip(chain) {
        if !(1..ns.pid_max()).contains(nr) {
            return Err(Errno::EINVAL);
        }
        let owner = ns.owner();
        if !cx.cred().capable_in(&owner, Cap::CheckpointRestore) && !cx.cred().capable_in(&owner, Cap::SysAdmin) {
            return Err(Errno::EPERM);
        }
    }
    Ok(())
}

/// The child's place in the group it is to be in.
fn room_for(cx: &Cx, req: &Request) -> Result<Reservation, Errno> {
    let group = req.cgroup.map(|fd| named_group(cx, req, fd)).transpose()?;
    Reservation::new(&cx.task, group.as_ref())
}

/// The group that CLONE_INTO_CGROUP names, if the caller could put the child there by writing its `cgroup.procs`.
fn named_group(cx: &Cx, req: &Request, fd: i32) -> Result<Arc<Cgroup>, Errno> {
    let file = cx.files().get_any(fd)?;
    let group = cgroup::of_file(&file).ok_or(Errno::EBADF)?;
    if group.is_dead() {
        return Err(Errno::ENOENT);
    }
    cgroup::attach::may_move(&group, cx.cred())?;
    let whole = !req.flags.contains(CloneFlags::THREAD);
    cgroup::attach::permit(&cx.task.cgroup(), &group, whole, cx.cred(), &cgroup::seen_from())?;
    Ok(group)
}

/// The event that the tracer of a traced parent has asked for.
fn traced_event(cx: &Cx, req: &Request) -> Option<Event> {
    if req.flags.contains(CloneFlags::UNTRACED) {
        return None;
    }
    let event = match req.exit_signal {
        _ if req.flags.contains(CloneFlags::VFORK) => Event::Vfork,
        Some(Signal::CHLD) => Event::Fork,
        _ => Event::Clone,
    };
    report::wants(cx, event).then_some(event)
}

/// A place for one thread more of this user; EAGAIN when he has as many as he may, or the machine has.
pub(crate) fn place(cx: &mut Cx, user: Arc<UserCounts>) -> Result<Place, Errno> {
    let place = Place::take(user);
    let user = place.user();
    let limit = cx.process().limits.soft(Resource::Nproc);
    let cred = cx.cred();
    let privileged = || user.uid() == 0 || cred.capable(Cap::SysResource) || cred.capable(Cap::SysAdmin);
    if user.over_limit(limit) && !privileged() {
        return Err(Errno::EAGAIN);
    }
    cx.too_many_tasks = false;
    if tree::lock().task_count() >= max_tasks() {
        return Err(Errno::EAGAIN);
    }
    Ok(place)
}

/// The most threads the machine's memory bears (`kernel.threads-max`).
pub fn max_tasks() -> usize {
    let pages = machine::mem::extent().1 as usize;
    // An eighth of memory in the smallest stacks, as Linux has it.
    (pages / 8 / 4).clamp(64, tree::PID_MAX as usize)
}

type Made = (Arc<Task>, Option<Arc<Completion>>);

fn build(
    cx: &mut Cx,
    req: &Request,
    number: &Pid,
    place: Place,
    handles: Handles,
    room: Reservation,
    event: Option<Event>,
) -> Result<Made, Errno> {
    use CloneFlags as F;
    let f = req.flags;
    let parent = cx.process().clone();
    let process = if f.contains(F::THREAD) { parent.clone() } else { Arc::new(child_process(cx, req, number)) };
    let comm = cx.task.comm();
    let task = Arc::new(Task::new(number, process.clone(), handles.clone(), comm, place, room.group().clone()));
    task.blocked.store(cx.task.blocked().0, Relaxed);
    task.personality.store(cx.task.personality.load(Relaxed), Relaxed);
    task.timer_slack_ns.store(cx.task.timer_slack_ns.load(Relaxed), Relaxed);

    let mut child = Cx::new(task.clone(), child_registers(cx, req)?, handles);
    child.attributes = cx.attributes;
    if f.contains(F::CHILD_CLEARTID) {
        child.clear_child_tid = req.child_tid;
    }
    if !f.contains(F::VM) || f.contains(F::VFORK) {
        child.signal.altstack = cx.signal.altstack;
    }
    if !f.contains(F::VM) {
        rseq::inherit(&mut child, cx);
    }
    if f.contains(F::SYSVSEM) {
        child.sysv = cx.sysv.share();
        cx.show_undo();
        child.show_undo();
    }
    let set_tid = if f.contains(F::CHILD_SETTID) { req.child_tid } else { 0 };
    let pidfd = tell_parent(cx, req, number.nr_in(cx.task.pid_ns()), &task)?;
    let name = core::str::from_utf8(&comm).unwrap_or_default().trim_end_matches('\0');
    let spawned = sched::spawn(name, Some(task.clone()), Box::new(move || first_steps(child, set_tid)));
    let thread = match spawned {
        Ok(thread) => thread,
        Err(_) => {
            if let Some(fd) = pidfd {
                let _ = cx.files().close(fd);
            }
            return Err(Errno::ENOMEM);
        }
    };
    if let Some(mine) = cx.task.thread() {
        thread.inherit(mine, cx.task.resets_on_fork());
    }
    task.set_thread(&thread);
    let vfork = f.contains(F::VFORK).then(|| {
        let done = Arc::new(Completion::new());
        task.set_vfork(done.clone());
        done
    });
    let followed = event.is_some() || f.contains(F::PTRACE);
    enter(cx, req, &task, &process, &parent, room, followed).announce();
    if followed {
        link::first_signal(&task);
    }
    Ok((task, vfork))
}

/// Writes the ids the parent asked for; gives the pidfd.
fn tell_parent(cx: &Cx, req: &Request, tid: i32, task: &Arc<Task>) -> Result<Option<i32>, Errno> {
    let f = req.flags;
    let mut pidfd = None;
    if f.contains(CloneFlags::PIDFD) {
        let kind = if f.contains(CloneFlags::THREAD) { pidfd::THREAD } else { OpenFlags::empty() };
        let autokill = f.contains(CloneFlags::PIDFD_AUTOKILL);
        let fd = pidfd::install(cx, &pidfd::Identity::of_task(task)?, kind, autokill)?;
        if let Err(e) = cx.mm().write_bytes(VirtAddr(req.pidfd), fd.as_bytes()) {
            let _ = cx.files().close(fd);
            return Err(e);
        }
        pidfd = Some(fd);
    }
    if f.contains(CloneFlags::PARENT_SETTID) {
        // As on Linux a bad pointer is not an error here.
        let _ = cx.mm().write_bytes(VirtAddr(req.parent_tid), tid.as_bytes());
    }
    Ok(pidfd)
}

fn child_cred(cx: &Cx, f: CloneFlags) -> Result<Arc<Cred>, Errno> {
    let mut cred = if f.contains(CloneFlags::NEWUSER) { cx.child_user_ns()? } else { cx.cred().clone() };
    if f.contains(CloneFlags::NNP) && !cred.no_new_privs {
        Arc::make_mut(&mut cred).no_new_privs = true;
    }
    Ok(cred)
}

fn child_handles(cx: &Cx, f: CloneFlags, cred: Arc<Cred>) -> Result<Handles, Errno> {
    let fs = if f.contains(CloneFlags::FS) { cx.fs().clone() } else { cx.fs().fork() };
    let ns = change::for_child(cx, f, &cred, &fs)?;
    let mm = if f.contains(CloneFlags::VM) {
        futex::share(cx.mm(), cx.process().thread_count())?;
        cx.mm().clone()
    } else {
        cx.mm().fork()?
    };
    if !Arc::ptr_eq(&ns.time, &cx.ns().time) {
        crate::exec::enter_time(&mm, &ns.time)?;
    }
    Ok(Handles {
        files: if f.contains(CloneFlags::FILES) { cx.files().clone() } else { cx.files().fork()? },
        fs,
        mm,
        cred,
        ns,
    })
}

fn child_process(cx: &Cx, req: &Request, number: &Pid) -> Process {
    let me = cx.process();
    let f = req.flags;
    let hand = me.sig().hand.clone();
    let hand =
        if f.contains(CloneFlags::SIGHAND) { hand } else { Arc::new(hand.fork(f.contains(CloneFlags::CLEAR_SIGHAND))) };
    let limits: Limits = me.limits.fork();
    let (parent, parent_tid, exit_signal) = if f.contains(CloneFlags::PARENT) {
        let family = me.family();
        (family.parent.clone(), family.parent_tid, family.exit_signal)
    } else {
        (Arc::downgrade(me), cx.task.tid(), req.exit_signal)
    };
    let number = number.clone();
    let parts = Parts {
        number,
        limits,
        hand,
        group: me.group(),
        parent,
        parent_tid,
        exit_signal,
        exe: me.exe(),
        program_ns: me.program_ns(),
        auxv: me.auxv(),
    };
    let child = Process::new(parts);
    child.dumpable.store(me.dumpable.load(Relaxed), Relaxed);
    child.core_filter.store(me.core_filter.load(Relaxed), Relaxed);
    child.oom_score_adj.store(me.oom_score_adj.load(Relaxed), Relaxed);
    child.thp_disable.store(me.thp_disable.load(Relaxed), Relaxed);
    child.autoreap.store(f.contains(CloneFlags::AUTOREAP), Relaxed);
    child.left_tty.store(me.left_tty.load(Relaxed), Relaxed);
    child.under_subreaper.store(me.subreaper.load(Relaxed) || me.under_subreaper.load(Relaxed), Relaxed);
    child
}

fn child_registers(cx: &mut Cx, req: &Request) -> Result<UserCtx, Errno> {
    let mut user = cx.user.fork().map_err(|_| Errno::ENOMEM)?;
    user.regs.rax = 0;
    user.regs.orig_rax = u64::MAX;
    if let Some(sp) = req.stack {
        user.regs.rsp = sp;
    }
    if req.flags.contains(CloneFlags::SETTLS) {
        if req.tls >= machine::USER_MAX {
            return Err(Errno::EPERM);
        }
        user.load_fs_base(req.tls);
    }
    Ok(user)
}

/// The child's first steps, on its own stack and in its own address space.
fn first_steps(cx: Cx, set_tid: u64) {
    if set_tid != 0 {
        // As on Linux a bad pointer is the child's own affair.
        let _ = cx.mm().write_bytes(VirtAddr(set_tid), cx.task.nr().as_bytes());
    }
    run::run(cx);
}

/// The child becomes visible.
pub(crate) fn enter(
    cx: &Cx,
    req: &Request,
    task: &Arc<Task>,
    process: &Arc<Process>,
    me: &Arc<Process>,
    room: Reservation,
    followed: bool,
) -> Joined {
    let mut tree = tree::lock();
    tree.add_task(task);
    if followed {
        link::follow(&tree, &cx.task, task);
    }
    let joined = room.join(task, &cx.task);
    let is_thread = req.flags.contains(CloneFlags::THREAD);
    // Whoever kills a group holds the tree lock: a child either is seen by him or sees here what became of its parent.
    let parent_dies = {
        let state = me.sig();
        seccomp::inherit(task, &cx.task);
        state.group_exit
    };
    if !is_thread {
        // Our group and parent may have changed since we looked.
        let (group, parent, parent_tid) = {
            let mine = me.family();
            (mine.group.clone(), mine.parent.clone(), mine.parent_tid)
        };
        {
            let mut family = process.family();
            family.group = group;
            if req.flags.contains(CloneFlags::PARENT) {
                family.parent = parent;
                family.parent_tid = parent_tid;
            }
        }
        tree.add_process(process);
        if process.is_init() {
            process.number().ns().set_reaper(process);
        }
        let parent = process.family().parent.upgrade();
        if let Some(parent) = parent {
            parent.family().children.push(process.clone());
        }
    }
    let mut state = process.sig();
    if is_thread {
        // A sibling's TSYNC may have come in between.
        seccomp::inherit(task, &cx.task);
    }
    state.add_thread(task);
    let dying = state.group_exit.is_some() || state.exec_by.is_some_and(|by| by != cx.task.tid());
    if is_thread && dying {
        crate::signal::send::kill_thread(task);
    } else if let Some(status) = parent_dies {
        crate::signal::send::begin_group_exit(&mut state, status, None);
    } else if state.stop.is_some() {
        task.work.set(work::SIGNAL);
    }
    joined
}

/// Links used when there is no parent: the first process.
pub(crate) const NO_PARENT: Weak<Process> = Weak::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_together_as_the_manual_says() {
        use CloneFlags as F;
        let req = |flags| Request { flags, ..Request::default() };
        for bad in [
            F::THREAD,
            F::THREAD | F::VM,
            F::SIGHAND,
            F::NEWNS | F::FS,
            F::EMPTY_MNTNS | F::FS,
            F::SIGHAND | F::VM | F::CLEAR_SIGHAND,
            F::PIDFD | F::DETACHED,
        ] {
            assert_eq!(check(&req(bad), false), Err(Errno::EINVAL), "{bad:?}");
        }
        let threads = F::VM | F::FS | F::FILES | F::SIGHAND | F::THREAD | F::SETTLS | F::CHILD_CLEARTID;
        assert_eq!(check(&req(threads), false), Ok(()));
        assert_eq!(check(&req(F::PARENT), true), Err(Errno::EINVAL));
    }
}
