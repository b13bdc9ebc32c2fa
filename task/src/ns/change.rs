//! Making and joining namespaces: clone(2), unshare(2), setns(2).
//!
//! Everything is made or checked first and installed at the end, so that a refused call changes nothing.

use super::nsfs::NsFile;
use super::{CgroupNamespace, NsProxy, PidNamespace, TimeNamespace, UtsNamespace};
use crate::cx::Cx;
use crate::{access, pidfd};
use abi::Errno;
use abi::sched::CloneFlags;
use alloc::sync::Arc;
use core::any::Any;
use ipc::IpcNamespace;
use net::NetNamespace;
use vfs::ns::{Namespace, NsKind};
use vfs::user_ns::{self, UserNamespace};
use vfs::{Cap, Cred, Dirs, FsContext, MountNamespace};

/// The kinds that [`NsProxy`] and the mount tree hold.
const MADE: CloneFlags = CloneFlags::NAMESPACES.difference(CloneFlags::NEWUSER);

/// New namespaces as the flags ask, the others as they are. `fs` is moved into a new mount namespace; it must be the caller's to change.
fn make(cx: &Cx, f: CloneFlags, owner: &Arc<UserNamespace>, fs: &FsContext) -> Result<NsProxy, Errno> {
    let old = cx.ns();
    if f.intersects(CloneFlags::NEWNS | CloneFlags::EMPTY_MNTNS) {
        new_mounts(fs, owner, f.contains(CloneFlags::EMPTY_MNTNS))?;
    }
    let mut new = NsProxy::clone(old);
    if f.contains(CloneFlags::NEWUTS) {
        new.uts = old.uts.copy(owner);
    }
    if f.contains(CloneFlags::NEWIPC) {
        new.ipc = IpcNamespace::new(owner);
    }
    if f.contains(CloneFlags::NEWCGROUP) {
        new.cgroup = CgroupNamespace::new(owner, cx.task.cgroup());
    }
    if f.contains(CloneFlags::NEWNET) {
        new.net = NetNamespace::new(owner);
    }
    if f.contains(CloneFlags::NEWPID) {
        if !Arc::ptr_eq(cx.task.pid_ns(), &old.pid_for_children) {
            return Err(Errno::EINVAL);
        }
        new.pid_for_children = PidNamespace::child_of(&old.pid_for_children, owner)?;
    }
    if f.contains(CloneFlags::NEWTIME) {
        new.time_for_children = old.time_for_children.copy(owner);
    }
    Ok(new)
}

/// Puts `fs` into a copy of its mount namespace, or into one with nothing but the bottom of the tree.
fn new_mounts(fs: &FsContext, owner: &Arc<UserNamespace>, empty: bool) -> Result<(), Errno> {
    let mut dirs = Dirs::clone(&fs.dirs());
    if empty {
        let ns = dirs.ns.empty_copy(owner);
        let root = ns.root_path();
        fs.set_dirs(Dirs { root: root.clone(), cwd: root, ns });
        return Ok(());
    }
    let old = dirs.ns.clone();
    dirs.ns = old.copy(owner, |from, to| {
        for place in [&mut dirs.root, &mut dirs.cwd] {
            if Arc::ptr_eq(&place.mnt, from) {
                place.mnt = to.clone();
            }
        }
    })?;
    fs.set_dirs(dirs);
    Ok(())
}

/// The namespaces of a child made with these flags, which has these credentials and directories.
pub(crate) fn for_child(cx: &Cx, f: CloneFlags, cred: &Cred, fs: &FsContext) -> Result<Arc<NsProxy>, Errno> {
    let old = cx.ns();
    let enters_time = !f.contains(CloneFlags::VM) && !Arc::ptr_eq(&old.time, &old.time_for_children);
    if !f.intersects(MADE) {
        if !enters_time {
            return Ok(old.clone());
        }
    } else if !cred.capable_in(&cred.user_ns, Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    // The semaphores whose adjustments would be shared are out of the child's reach.
    if f.contains(CloneFlags::NEWIPC | CloneFlags::SYSVSEM) {
        return Err(Errno::EINVAL);
    }
    let mut new = make(cx, f, &cred.user_ns, fs)?;
    if !f.contains(CloneFlags::VM) {
        enter_time(&mut new);
    }
    Ok(Arc::new(new))
}

fn enter_time(ns: &mut NsProxy) {
    if !Arc::ptr_eq(&ns.time, &ns.time_for_children) {
        ns.time = ns.time_for_children.clone();
        ns.time.enter();
    }
}

/// A program is about to start: it enters the time namespace that was made for children.
pub(crate) fn on_exec(cx: &mut Cx) {
    let old = cx.ns();
    if !Arc::ptr_eq(&old.time, &old.time_for_children) {
        let mut new = NsProxy::clone(old);
        enter_time(&mut new);
        cx.set_ns(Arc::new(new));
    }
}

/// The namespace part of unshare(2): makes what the flags ask for on behalf of `cred` (the credentials after the call); `fs` are the caller's
/// directories after the call.
pub fn unshare(cx: &Cx, f: CloneFlags, cred: &Cred, fs: &FsContext) -> Result<Option<Arc<NsProxy>>, Errno> {
    if !f.intersects(MADE) {
        return Ok(None);
    }
    if !cred.capable_in(&cred.user_ns, Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    make(cx, f, &cred.user_ns, fs).map(|new| Some(Arc::new(new)))
}

/// What a setns(2) is about to install.
struct Plan {
    ns: NsProxy,
    cred: Arc<Cred>,
    dirs: Option<Dirs>,
}

/// setns(2).
pub fn setns(cx: &mut Cx, fd: i32, flags: i32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    let mut plan = Plan { ns: NsProxy::clone(cx.ns()), cred: cx.cred().clone(), dirs: None };
    if let Some(named) = file.ops_as::<NsFile>() {
        let ns = named.namespace();
        if flags != 0 && ns.kind().clone_flag() != flags as u64 {
            return Err(Errno::EINVAL);
        }
        join(cx, &mut plan, ns)?;
    } else if let Some(named) = file.ops_as::<pidfd::PidFd>() {
        let known = CloneFlags::NAMESPACES.difference(CloneFlags::EMPTY_MNTNS);
        let mask = CloneFlags::from_bits(u64::from(flags as u32)).filter(|f| known.contains(*f) && !f.is_empty());
        let mask = mask.ok_or(Errno::EINVAL)?;
        let target = named.identity().task().ok_or(Errno::ESRCH)?;
        access::may_access(cx, &target, access::Mode::Read, access::Creds::Real)?;
        // In the order in which namespaces are made: the user namespace decides over the others.
        for kind in ORDER.into_iter().filter(|k| mask.bits() & k.clone_flag() != 0) {
            let ns = super::of_task(&target, super::Which::Own(kind)).ok_or(Errno::ESRCH)?;
            join(cx, &mut plan, &ns)?;
        }
    } else {
        return Err(Errno::EINVAL);
    }
    if !Arc::ptr_eq(&plan.ns.time, &cx.ns().time) {
        plan.ns.time.enter();
        crate::exec::enter_time(cx.mm(), &plan.ns.time)?;
    }
    if !Arc::ptr_eq(&plan.cred, cx.cred()) {
        cx.set_cred(plan.cred);
    }
    if let Some(dirs) = plan.dirs {
        cx.fs().set_dirs(dirs);
    }
    if !Arc::ptr_eq(&plan.ns.ipc, &cx.ns().ipc) {
        cx.sysv.leave_undo();
        cx.show_undo();
    }
    cx.set_ns(Arc::new(plan.ns));
    Ok(())
}

const ORDER: [NsKind; 8] =
    [NsKind::User, NsKind::Mnt, NsKind::Uts, NsKind::Ipc, NsKind::Pid, NsKind::Cgroup, NsKind::Net, NsKind::Time];

/// Checks that the caller may join `ns` and notes it in the plan.
fn join(cx: &Cx, plan: &mut Plan, ns: &Arc<dyn Namespace>) -> Result<(), Errno> {
    let me = cx.cred();
    let permit = |ok: bool| if ok { Ok(()) } else { Err(Errno::EPERM) };
    let kind = ns.kind();
    if kind == NsKind::User {
        return join_user(cx, plan, ns);
    }
    // Tasks of a group share their clocks.
    if kind == NsKind::Time && cx.process().thread_count() > 1 {
        return Err(Errno::EUSERS);
    }
    permit(me.capable_in(&ns.owner(), Cap::SysAdmin))?;
    permit(kind != NsKind::Mnt || me.capable_in(&plan.cred.user_ns, Cap::SysChroot))?;
    permit(me.capable_in(&plan.cred.user_ns, Cap::SysAdmin))?;
    let ns: Arc<dyn Any + Send + Sync> = ns.clone();
    match kind {
        NsKind::Mnt => {
            if shares_fs(cx) {
                return Err(Errno::EINVAL);
            }
            let ns = downcast::<MountNamespace>(ns)?;
            let root = ns.root_path();
            plan.dirs = Some(Dirs { root: root.clone(), cwd: root, ns });
        }
        NsKind::Uts => plan.ns.uts = downcast::<UtsNamespace>(ns)?,
        NsKind::Pid => {
            let ns = downcast::<PidNamespace>(ns)?;
            // A process and its children never leave the namespace they are in.
            if !ns.is_in(cx.task.pid_ns()) {
                return Err(Errno::EINVAL);
            }
            plan.ns.pid_for_children = ns;
        }
        NsKind::Time => {
            let ns = downcast::<TimeNamespace>(ns)?;
            plan.ns.time_for_children = ns.clone();
            plan.ns.time = ns;
        }
        NsKind::Ipc => plan.ns.ipc = downcast::<IpcNamespace>(ns)?,
        NsKind::Cgroup => plan.ns.cgroup = downcast::<CgroupNamespace>(ns)?,
        NsKind::Net => plan.ns.net = downcast::<NetNamespace>(ns)?,
        // Was seen to above.
        NsKind::User => {}
    }
    Ok(())
}

fn downcast<T: Any + Send + Sync>(ns: Arc<dyn Any + Send + Sync>) -> Result<Arc<T>, Errno> {
    ns.downcast().map_err(|_| Errno::EINVAL)
}

/// Somebody else uses the caller's root and working directory too.
fn shares_fs(cx: &Cx) -> bool {
    // The caller's own reference and the one that others see.
    Arc::strong_count(cx.fs()) > 2
}

fn join_user(cx: &Cx, plan: &mut Plan, ns: &Arc<dyn Namespace>) -> Result<(), Errno> {
    let ns: Arc<dyn Any + Send + Sync> = ns.clone();
    let ns = downcast::<UserNamespace>(ns)?;
    // Capabilities cannot be had back by entering the namespace again.
    if *ns == *cx.cred().user_ns || cx.process().thread_count() > 1 || shares_fs(cx) {
        return Err(Errno::EINVAL);
    }
    if !cx.cred().capable_in(&ns, Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    plan.cred = Arc::new(user_ns::cred_inside(cx.cred(), &ns));
    Ok(())
}
