//! Pidfds: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).

use crate::signal::{may_say, read_info, signal_or_probe};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::pidfd::signal_scope;
use abi::signal::{SigInfo, si};
use mm::UserPtr;
use task::access::{Creds, Mode, may_access};
use task::signal::send::may_send;
use task::{Cx, pidfd, signal};

/// pidfd_open(2)
pub fn pidfd_open(cx: &mut Cx, pid: i32, flags: u32) -> Result<i32, Errno> {
    let known = OpenFlags::NONBLOCK | pidfd::THREAD;
    let flags = OpenFlags::from_bits(flags).filter(|f| known.contains(*f)).ok_or(Errno::EINVAL)?;
    if pid <= 0 {
        return Err(Errno::EINVAL);
    }
    pidfd::open(cx, pid, flags)
}

/// pidfd_send_signal(2)
pub fn pidfd_send_signal(cx: &mut Cx, fd: i32, sig: i32, info: UserPtr<SigInfo>, flags: u32) -> Result<(), Errno> {
    use signal_scope::{PROCESS_GROUP, THREAD, THREAD_GROUP};
    if flags & !(THREAD | THREAD_GROUP | PROCESS_GROUP) != 0 || flags.count_ones() > 1 {
        return Err(Errno::EINVAL);
    }
    let (target, kind) = pidfd::signalled(cx, fd)?;
    if target.seen_by(&cx.task) == 0 {
        return Err(Errno::EINVAL);
    }
    let scope = match flags {
        0 if kind.contains(pidfd::THREAD) => THREAD,
        0 => THREAD_GROUP,
        f => f,
    };
    let given = info.non_null().map(|p| read_info(cx, None, p)).transpose()?;
    if let Some(g) = &given {
        if g.signo != sig {
            return Err(Errno::EINVAL);
        }
        may_say(g, target.number() == cx.task.tid() && scope != PROCESS_GROUP)?;
    }
    let code = if scope == THREAD { si::TKILL } else { si::USER };
    let me = (cx.process().nr() as u32, cx.cred().uid);
    let make = |s| given.unwrap_or(SigInfo::user(s, code, me.0, me.1));
    if scope == PROCESS_GROUP {
        // The process must lead the group: its number is the group's.
        let group = task::tree::find_group(target.number()).ok_or(Errno::ESRCH)?;
        let signal = signal_or_probe(sig)?;
        let mut result = Err(Errno::ESRCH);
        for p in group.members() {
            let sent = may_send(cx.process(), cx.cred(), &p, signal)
                .and_then(|()| signal.map_or(Ok(()), |s| signal::send_process(&p, s, &make(s))));
            if sent.is_ok() || result.is_err() {
                result = sent;
            }
        }
        return result;
    }
    let task = target.task().ok_or(Errno::ESRCH)?;
    let signal = signal_or_probe(sig)?;
    may_send(cx.process(), cx.cred(), task.process(), signal)?;
    match signal {
        None => Ok(()),
        Some(s) if scope == THREAD => signal::send_task(&task, s, &make(s)),
        Some(s) => signal::send_process(task.process(), s, &make(s)),
    }
}

/// pidfd_getfd(2)
pub fn pidfd_getfd(cx: &mut Cx, fd: i32, target: i32, flags: u32) -> Result<i32, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = pidfd::get(cx, fd)?.0.task().ok_or(Errno::ESRCH)?;
    may_access(cx, &task, Mode::Attach, Creds::Real)?;
    let file = task.files().ok_or(Errno::ESRCH)?.get_any(target)?;
    cx.install(file, true)
}
