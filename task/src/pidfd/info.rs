//! The ioctls of pidfds: what is known of the process, and its namespaces.

use super::Identity;
use crate::access::{self, Creds, Mode};
use crate::jobs;
use crate::ns::{self, Which};
use crate::task::Task;
use abi::Errno;
use abi::pidfd::{PidfdInfo, coredump, info, ioctl as cmds};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use machine::VirtAddr;
use mm::UserPtr;
use vfs::{Caller, NsKind};
use zerocopy::IntoBytes;

pub(super) fn ioctl(of: &Identity, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
    let size = (cmd >> 16 & 0x3fff) as usize;
    match cmd {
        // Inode numbers are never used twice.
        cmds::GETVERSION if arg == 0 => Err(Errno::EINVAL),
        cmds::GETVERSION => UserPtr::new(VirtAddr(arg)).write(caller.mm, &0u32).map(|()| 0),
        _ if cmd & !cmds::SIZE_MASK == cmds::GET_INFO && size >= info::SIZE_VER0 => get_info(of, caller, arg, size),
        _ => match namespace(cmd) {
            Some(which) => open_namespace(of, caller, which, arg),
            None => Err(Errno::ENOTTY),
        },
    }
}

/// The namespace that a command asks for.
fn namespace(cmd: u32) -> Option<Which> {
    Some(match cmd {
        cmds::CGROUP_NAMESPACE => Which::Own(NsKind::Cgroup),
        cmds::IPC_NAMESPACE => Which::Own(NsKind::Ipc),
        cmds::MNT_NAMESPACE => Which::Own(NsKind::Mnt),
        cmds::NET_NAMESPACE => Which::Own(NsKind::Net),
        cmds::PID_NAMESPACE => Which::Own(NsKind::Pid),
        cmds::PID_FOR_CHILDREN_NAMESPACE => Which::PidForChildren,
        cmds::TIME_NAMESPACE => Which::Own(NsKind::Time),
        cmds::TIME_FOR_CHILDREN_NAMESPACE => Which::TimeForChildren,
        cmds::USER_NAMESPACE => Which::Own(NsKind::User),
        cmds::UTS_NAMESPACE => Which::Own(NsKind::Uts),
        _ => return None,
    })
}

fn open_namespace(of: &Identity, caller: &Caller<'_>, which: Which, arg: u64) -> Result<i64, Errno> {
    let task = of.task().ok_or(Errno::ESRCH)?;
    if arg != 0 {
        return Err(Errno::EINVAL);
    }
    let me = jobs::current().ok_or(Errno::ESRCH)?;
    access::check(me.process(), caller.cred, &task, Mode::Read, Creds::Fs).map_err(|_| Errno::EACCES)?;
    if task.handles().is_none() {
        return Err(Errno::ESRCH);
    }
    let found = ns::of_task(&task, which).ok_or(Errno::EOPNOTSUPP)?;
    ns::nsfs::open(&me, found, caller.cred).map(i64::from)
}

fn get_info(of: &Identity, caller: &Caller<'_>, arg: u64, size: usize) -> Result<i64, Errno> {
    if arg == 0 {
        return Err(Errno::EINVAL);
    }
    let mask: u64 = UserPtr::new(VirtAddr(arg)).read(caller.mm)?;
    let me = jobs::current().ok_or(Errno::ESRCH)?;
    if of.seen_by(&me) == 0 {
        return Err(Errno::EREMOTE);
    }
    let mut out = PidfdInfo::default();
    if mask & info::EXIT != 0
        && let Some(end) = of.end()
    {
        out.mask |= info::EXIT | info::CGROUPID;
        (out.exit_code, out.cgroupid) = (end.status, end.cgroup);
    }
    if mask & info::COREDUMP != 0
        && let Some(dump) = of.dump()
    {
        out.mask |= info::COREDUMP | info::COREDUMP_SIGNAL | info::COREDUMP_CODE;
        out.coredump_mask = dump.mask;
        (out.coredump_signal, out.coredump_code) = (dump.signal as u32, dump.code as u32);
    }
    match of.task() {
        Some(task) => describe(&task, &me, caller, mask, &mut out)?,
        // All that is left of it is how it ended.
        None if mask & info::EXIT == 0 => return Err(Errno::ESRCH),
        None => {}
    }
    if mask & info::SUPPORTED_MASK != 0 {
        out.mask |= info::SUPPORTED_MASK;
        out.supported_mask = info::SUPPORTED;
    }
    write_sized(caller, arg, size, out.as_bytes())?;
    Ok(0)
}

fn describe(task: &Arc<Task>, me: &Task, caller: &Caller<'_>, mask: u64, out: &mut PidfdInfo) -> Result<(), Errno> {
    let process = task.process();
    if mask & info::COREDUMP != 0 && out.coredump_mask == 0 {
        out.mask |= info::COREDUMP;
        out.coredump_mask = match process.dumpable.load(Relaxed) {
            0 => coredump::SKIP,
            1 => coredump::USER,
            _ => coredump::ROOT,
        };
    }
    let (cred, ns) = (task.cred(), &caller.cred.user_ns);
    [out.ruid, out.euid, out.suid, out.fsuid] = [cred.uid, cred.euid, cred.suid, cred.fsuid].map(|id| ns.show_uid(id));
    [out.rgid, out.egid, out.sgid, out.fsgid] = [cred.gid, cred.egid, cred.sgid, cred.fsgid].map(|id| ns.show_gid(id));
    if out.cgroupid == 0 {
        out.cgroupid = task.cgroup().id();
    }
    out.ppid = me.nr_of(process.ppid()) as u32;
    out.tgid = me.nr_of(process.pid()) as u32;
    out.pid = me.nr_of(task.tid()) as u32;
    out.mask |= info::CREDS | info::CGROUPID | info::PID;
    if out.pid == 0 || out.tgid == 0 { Err(Errno::ESRCH) } else { Ok(()) }
}

/// Copies out as much as the caller has room for; what it has more is zeroed.
fn write_sized(caller: &Caller<'_>, at: u64, size: usize, known: &[u8]) -> Result<(), Errno> {
    caller.mm.write_bytes(VirtAddr(at), known.get(..size).unwrap_or(known))?;
    let zeros = [0u8; 64];
    let mut done = known.len();
    while done < size {
        let part = zeros.get(..(size - done).min(zeros.len())).unwrap_or_default();
        caller.mm.write_bytes(VirtAddr(at.wrapping_add(done as u64)), part)?;
        done += part.len();
    }
    Ok(())
}
