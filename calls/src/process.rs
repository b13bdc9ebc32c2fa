//! Processes: making, ending, waiting, groups and sessions, limits, usage.

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::resource::{Resource, Rlimit, Rusage, prio, who};
use abi::sched::{CLONE_ARGS_SIZE_VER0, CLONE_ARGS_SIZE_VER2, CSIGNAL, CloneArgs, CloneFlags};
use abi::signal::Signal;
use abi::wait::{WaitOptions, id_type};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use machine::{PAGE_SIZE, VirtAddr};
use mm::UserPtr;
use task::access::{Creds, Mode, may_access};
use task::fork::{self, Request};
use task::wait::{self, Which};
use task::{Cx, Process, Task, pidfd, tree};
use vfs::Cap;
use zerocopy::{FromZeros, IntoBytes};

/// fork(2)
pub fn fork(cx: &mut Cx) -> Result<i32, Errno> {
    fork::clone(cx, &Request { exit_signal: Some(Signal::CHLD), ..Request::default() })
}

/// vfork(2)
pub fn vfork(cx: &mut Cx) -> Result<i32, Errno> {
    let flags = CloneFlags::VFORK | CloneFlags::VM;
    fork::clone(cx, &Request { flags, exit_signal: Some(Signal::CHLD), ..Request::default() })
}

/// clone(2)
pub fn clone(
    cx: &mut Cx,
    flags: u64,
    stack: VirtAddr,
    parent_tid: VirtAddr,
    child_tid: VirtAddr,
    tls: u64,
) -> Result<i32, Errno> {
    let exit_signal = Signal::from_raw((flags & CSIGNAL) as i32);
    // The call has only 32 bits of flags.
    let flags = CloneFlags::from_bits_truncate(flags & 0xffff_ffff & !CSIGNAL);
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        flags,
        exit_signal,
        stack: (stack.0 != 0).then_some(stack.0),
        parent_tid: parent_tid.0,
        child_tid: child_tid.0,
        tls,
        pidfd: parent_tid.0,
        set_tid: Vec::new(),
        cgroup: None,
    };
    fork::clone(cx, &request)
}

/// clone3(2)
pub fn clone3(cx: &mut Cx, args: UserPtr<CloneArgs>, size: usize) -> Result<i32, Errno> {
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let mut a = CloneArgs::new_zeroed();
    crate::support::read_extensible(cx, args.addr(), size, a.as_mut_bytes())?;
    if a.flags & CloneFlags::INTO_CGROUP.bits() != 0 && size < CLONE_ARGS_SIZE_VER2 {
        return Err(Errno::EINVAL);
    }
    let request = check_clone_args(cx, &a)?;
    fork::clone(cx, &request)
}

/// The rules of clone3 that do not concern combinations of flags.
fn check_clone_args(cx: &Cx, a: &CloneArgs) -> Result<Request, Errno> {
    let count = match (a.set_tid, a.set_tid_size) {
        (_, 33..) => return Err(Errno::EINVAL),
        (0, 0) => 0,
        (0, _) | (_, 0) => return Err(Errno::EINVAL),
        (_, n) => n as usize,
    };
    let mut set_tid = Vec::new();
    set_tid.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    let from = UserPtr::<i32>::new(VirtAddr(a.set_tid));
    for i in 0..count {
        set_tid.push(from.at(i).read(cx.mm())?);
    }
    if a.exit_signal > 64 {
        return Err(Errno::EINVAL);
    }
    let flags = CloneFlags::from_bits(a.flags).ok_or(Errno::EINVAL)?;
    let child = flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
    if flags.contains(CloneFlags::DETACHED) || (child && a.exit_signal != 0) || (a.stack == 0) != (a.stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) && a.pidfd == a.parent_tid {
        return Err(Errno::EINVAL);
    }
    let cgroup = match flags.contains(CloneFlags::INTO_CGROUP) {
        true => Some(i32::try_from(a.cgroup).map_err(|_| Errno::EINVAL)?),
        false => None,
    };
    Ok(Request {
        flags,
        exit_signal: Signal::from_raw(a.exit_signal as i32),
        stack: (a.stack != 0).then_some(a.stack.wrapping_add(a.stack_size)),
        parent_tid: a.parent_tid,
        child_tid: a.child_tid,
        tls: a.tls,
        pidfd: a.pidfd,
        set_tid,
        cgroup,
    })
}

/// _exit(2) of one thread
pub fn exit(cx: &mut Cx, status: i32) -> Result<(), Errno> {
    cx.end_thread(abi::wait::exited(status));
    Ok(())
}

/// exit_group(2)
pub fn exit_group(cx: &mut Cx, status: i32) -> Result<(), Errno> {
    cx.end_group(abi::wait::exited(status));
    Ok(())
}

/// wait4(2)
pub fn wait4(cx: &mut Cx, pid: i32, status: UserPtr<i32>, options: u32, usage: UserPtr<Rusage>) -> Result<i32, Errno> {
    let options = WaitOptions::from_bits(options).ok_or(Errno::EINVAL)?;
    if options.intersects(WaitOptions::EXITED | WaitOptions::NOWAIT) {
        return Err(Errno::EINVAL);
    }
    let which = match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Which::Any,
        0 => Which::Group(cx.process().group().pgid()),
        1.. => Which::Pid(cx.global_of(pid).ok_or(Errno::ECHILD)?),
        _ => Which::Group(cx.global_of(-pid).ok_or(Errno::ECHILD)?),
    };
    let Some(report) = wait::wait(cx, &which, options | WaitOptions::EXITED)? else { return Ok(0) };
    status.write_opt(cx.mm(), &report.status)?;
    if let Some(usage) = usage.non_null() {
        usage.write(cx.mm(), &report.usage.rusage())?;
    }
    Ok(report.pid)
}

/// waitid(2). What it says of the child is written also when there is none, even with an error: zeroes.
pub fn waitid(
    cx: &mut Cx,
    id_type: i32,
    id: i32,
    info: VirtAddr,
    options: u32,
    usage: UserPtr<Rusage>,
) -> Result<i32, Errno> {
    let result = wait_by_id(cx, id_type, id, options);
    let found = result.as_ref().ok().and_then(Option::as_ref);
    if let (Some(report), Some(usage)) = (found, usage.non_null()) {
        usage.write(cx.mm(), &report.usage.rusage())?;
    }
    if info.0 != 0 {
        let (head, tail) = match found {
            Some(r) => (
                [i32::from(Signal::CHLD.number()), 0, r.code],
                [r.pid, cx.cred().user_ns.show_uid(r.uid) as i32, r.value],
            ),
            None => ([0; 3], [0; 3]),
        };
        // The alignment word between the two stays as it is.
        cx.mm().write_bytes(info, head.as_bytes())?;
        cx.mm().write_bytes(VirtAddr(info.0.wrapping_add(16)), tail.as_bytes())?;
    }
    result.map(|_| 0)
}

/// The child that waitid(2) means.
fn wait_by_id(cx: &mut Cx, id_type: i32, id: i32, options: u32) -> Result<Option<wait::Report>, Errno> {
    let mut options = WaitOptions::from_bits(options).ok_or(Errno::EINVAL)?;
    if !options.intersects(WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED) {
        return Err(Errno::EINVAL);
    }
    let mut nonblock = false;
    let which = match id_type {
        id_type::ALL => Which::Any,
        id_type::PID if id > 0 => Which::Pid(cx.global_of(id).ok_or(Errno::ECHILD)?),
        id_type::PGID if id > 0 => Which::Group(cx.global_of(id).ok_or(Errno::ECHILD)?),
        id_type::PGID if id == 0 => Which::Group(cx.process().group().pgid()),
        id_type::PIDFD if id >= 0 => {
            let (identity, flags) = pidfd::get(cx, id)?;
            nonblock = flags.contains(OpenFlags::NONBLOCK);
            // A reaped process and a thread are nobody's children.
            let child = identity.process().filter(|p| p.pid() == identity.number());
            Which::Process(child.ok_or(Errno::ECHILD)?)
        }
        _ => return Err(Errno::EINVAL),
    };
    nonblock &= !options.contains(WaitOptions::NOHANG);
    if nonblock {
        options |= WaitOptions::NOHANG;
    }
    let found = wait::wait(cx, &which, options)?;
    if found.is_none() && nonblock {
        return Err(Errno::EAGAIN);
    }
    Ok(found)
}

/// getpid(2)
#[inline]
pub fn getpid(cx: &mut Cx) -> Result<i32, Errno> {
    Ok(cx.process().nr())
}

/// gettid(2)
#[inline]
pub fn gettid(cx: &mut Cx) -> Result<i32, Errno> {
    Ok(cx.task.nr())
}

/// getppid(2)
pub fn getppid(cx: &mut Cx) -> Result<i32, Errno> {
    Ok(cx.nr_of(cx.process().ppid()))
}

fn process_or_self(cx: &Cx, pid: i32) -> Result<Arc<Process>, Errno> {
    if pid == 0 {
        return Ok(cx.process().clone());
    }
    cx.find_task(pid).map(|t| t.process().clone()).or_else(|| cx.find_process(pid)).ok_or(Errno::ESRCH)
}

/// getpgid(2)
pub fn getpgid(cx: &mut Cx, pid: i32) -> Result<i32, Errno> {
    Ok(cx.nr_of(process_or_self(cx, pid)?.group().pgid()))
}

/// getpgrp(2)
pub fn getpgrp(cx: &mut Cx) -> Result<i32, Errno> {
    Ok(cx.nr_of(cx.process().group().pgid()))
}

/// setpgid(2)
pub fn setpgid(cx: &mut Cx, pid: i32, pgid: i32) -> Result<(), Errno> {
    let me = cx.process().clone();
    tree::lock().setpgid(&me, pid, pgid)
}

/// getsid(2)
pub fn getsid(cx: &mut Cx, pid: i32) -> Result<i32, Errno> {
    Ok(cx.nr_of(process_or_self(cx, pid)?.session().sid()))
}

/// setsid(2)
pub fn setsid(cx: &mut Cx) -> Result<i32, Errno> {
    let me = cx.process().clone();
    tree::lock().setsid(&me)
}

/// set_tid_address(2)
pub fn set_tid_address(cx: &mut Cx, at: VirtAddr) -> Result<i32, Errno> {
    cx.clear_child_tid = at.0;
    Ok(cx.task.nr())
}

/// Bytes of `struct robust_list_head`.
const ROBUST_HEAD_SIZE: usize = 24;

/// set_robust_list(2)
pub fn set_robust_list(cx: &mut Cx, head: VirtAddr, len: usize) -> Result<(), Errno> {
    if len != ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    cx.task.robust_list.store(head.0, Relaxed);
    Ok(())
}

/// get_robust_list(2)
pub fn get_robust_list(cx: &mut Cx, pid: i32, head: UserPtr<u64>, len: UserPtr<u64>) -> Result<(), Errno> {
    let task = if pid == 0 { cx.task.clone() } else { cx.find_task(pid).ok_or(Errno::ESRCH)? };
    may_access(cx, &task, Mode::Read, Creds::Real)?;
    len.write(cx.mm(), &(ROBUST_HEAD_SIZE as u64))?;
    head.write(cx.mm(), &task.robust_list.load(Relaxed))
}

/// getrlimit(2)
pub fn getrlimit(cx: &mut Cx, resource: u32, limit: UserPtr<Rlimit>) -> Result<(), Errno> {
    let which = Resource::from_raw(resource).ok_or(Errno::EINVAL)?;
    let now = cx.process().limits.get(which);
    limit.write(cx.mm(), &now)
}

/// setrlimit(2)
pub fn setrlimit(cx: &mut Cx, resource: u32, limit: UserPtr<Rlimit>) -> Result<(), Errno> {
    let new = limit.read(cx.mm())?;
    let which = Resource::from_raw(resource).ok_or(Errno::EINVAL)?;
    let process = cx.process().clone();
    set_limit(cx, &process, which, new).map(drop)
}

fn set_limit(cx: &Cx, of: &Arc<Process>, which: Resource, new: Rlimit) -> Result<Rlimit, Errno> {
    let old = of.limits.set(which, new, cx.cred().capable(Cap::SysResource))?;
    of.apply_memory_limits();
    Ok(old)
}

/// prlimit(2)
pub fn prlimit64(
    cx: &mut Cx,
    pid: i32,
    resource: u32,
    new: UserPtr<Rlimit>,
    old: UserPtr<Rlimit>,
) -> Result<(), Errno> {
    let which = Resource::from_raw(resource);
    let wanted = new.non_null().map(|p| p.read(cx.mm())).transpose()?;
    let target = if pid == 0 { cx.process().clone() } else { process_or_self(cx, pid)? };
    if !Arc::ptr_eq(&target, cx.process()) {
        may_limit(cx, &target)?;
    }
    let which = which.ok_or(Errno::EINVAL)?;
    let before = match wanted {
        Some(new) => set_limit(cx, &target, which, new)?,
        None => target.limits.get(which),
    };
    old.write_opt(cx.mm(), &before)
}

/// The target must run entirely under the caller's ids.
fn may_limit(cx: &Cx, target: &Process) -> Result<(), Errno> {
    let (me, it) = (cx.cred(), target.cred());
    let same = [it.euid, it.suid, it.uid].iter().all(|id| *id == me.uid)
        && [it.egid, it.sgid, it.gid].iter().all(|id| *id == me.gid);
    if same || me.capable_in(&it.user_ns, Cap::SysResource) { Ok(()) } else { Err(Errno::EPERM) }
}

/// getrusage(2)
pub fn getrusage(cx: &mut Cx, whose: i32, usage: UserPtr<Rusage>) -> Result<(), Errno> {
    let sum = match whose {
        who::SELF => cx.process().sum(),
        who::CHILDREN => cx.process().children_sum(),
        who::THREAD => {
            let mut own = cx.task.sum();
            own.counts.maxrss = cx.process().sum().counts.maxrss;
            own
        }
        _ => return Err(Errno::EINVAL),
    };
    usage.write(cx.mm(), &sum.rusage())
}

/// Threads that getpriority(2) and setpriority(2) mean.
pub(crate) fn priority_targets(cx: &Cx, which: i32, who: i32) -> Result<alloc::vec::Vec<Arc<Task>>, Errno> {
    let of_all = |test: &dyn Fn(&Process) -> bool| {
        let all = tree::all_processes();
        all.iter().filter(|p| test(p)).flat_map(|p| p.threads()).collect()
    };
    match which {
        prio::PROCESS if who == 0 => Ok(alloc::vec![cx.task.clone()]),
        prio::PROCESS => Ok(cx.find_task(who).into_iter().collect()),
        prio::PGRP => {
            let group = if who == 0 { Some(cx.process().group()) } else { cx.find_group(who) };
            Ok(group.into_iter().flat_map(|g| g.members()).flat_map(|p| p.threads()).collect())
        }
        prio::USER => {
            let cred = cx.cred();
            let uid = if who == 0 { Some(cred.uid) } else { cred.user_ns.kuid(who as u32) };
            Ok(of_all(&|p| Some(p.cred().uid) == uid))
        }
        _ => Err(Errno::EINVAL),
    }
}
