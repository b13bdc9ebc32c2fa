//! Signals.

use abi::Errno;
use abi::signal::{SIG_DFL, SIG_IGN, SIGINFO_SIZE, SaFlags, SigAction, SigInfo, SigSet, Signal, StackT, si};
use abi::time::{NSEC_PER_SEC, Timespec};
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::UserPtr;
use task::signal::{altstack, frame, mask, send};
use task::{Cx, Task, signalfd};
use zerocopy::IntoBytes;

/// Bytes of a signal set.
const SET_SIZE: usize = size_of::<SigSet>();

/// A signal number, or `None` for 0: "only check whether I may".
pub(crate) fn signal_or_probe(sig: i32) -> Result<Option<Signal>, Errno> {
    if sig == 0 { Ok(None) } else { Signal::from_raw(sig).map(Some).ok_or(Errno::EINVAL) }
}

/// rt_sigaction(2)
pub fn rt_sigaction(
    cx: &mut Cx,
    sig: i32,
    new: UserPtr<SigAction>,
    old: UserPtr<SigAction>,
    size: usize,
) -> Result<(), Errno> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let new = new.non_null().map(|p| p.read(cx.mm())).transpose()?;
    let sig = Signal::from_raw(sig).ok_or(Errno::EINVAL)?;
    if new.is_some() && SigSet::UNBLOCKABLE.has(sig) {
        return Err(Errno::EINVAL);
    }
    let was = change_action(cx, sig, new)?;
    old.write_opt(cx.mm(), &was)
}

/// Gives the action and installs a new one. A signal that is now ignored is no longer pending (POSIX).
fn change_action(cx: &Cx, sig: Signal, new: Option<SigAction>) -> Result<SigAction, Errno> {
    let mut state = cx.process().sig();
    let was = state.hand.get(sig);
    if was.flags().contains(SaFlags::IMMUTABLE) {
        return Err(Errno::EINVAL);
    }
    let Some(mut action) = new else { return Ok(was) };
    action.flags = (action.flags() - SaFlags::UNSUPPORTED - SaFlags::IMMUTABLE).bits();
    action.mask = action.mask.minus(SigSet::UNBLOCKABLE);
    state.hand.set(sig, action);
    let ignored = action.handler == SIG_IGN || (action.handler == SIG_DFL && SigSet::DEFAULT_IGNORED.has(sig));
    if ignored {
        state.discard(SigSet::EMPTY.with(sig));
    } else if was.handler == SIG_IGN {
        drop(state);
        task::timers::unignore(cx.process(), sig);
    }
    Ok(was)
}

/// rt_sigprocmask(2)
pub fn rt_sigprocmask(
    cx: &mut Cx,
    how: i32,
    set: UserPtr<SigSet>,
    old: UserPtr<SigSet>,
    size: usize,
) -> Result<(), Errno> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let set = set.non_null().map(|p| p.read(cx.mm())).transpose()?;
    let was = mask::sigprocmask(cx, how, set)?;
    old.write_opt(cx.mm(), &was)
}

/// rt_sigpending(2)
pub fn rt_sigpending(cx: &mut Cx, set: VirtAddr, size: usize) -> Result<(), Errno> {
    if size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let pending = mask::pending(cx);
    cx.mm().write_bytes(set, pending.as_bytes().get(..size).unwrap_or_default())
}

/// rt_sigsuspend(2)
pub fn rt_sigsuspend(cx: &mut Cx, set: UserPtr<SigSet>, size: usize) -> Result<(), Errno> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let set = set.read(cx.mm())?;
    Err(mask::sigsuspend(cx, set))
}

/// pause(2)
pub fn pause(cx: &mut Cx) -> Result<(), Errno> {
    Err(mask::pause(cx))
}

/// Writes a whole `siginfo_t`.
fn write_info(cx: &Cx, to: VirtAddr, info: &SigInfo) -> Result<(), Errno> {
    let mut all = [0u8; SIGINFO_SIZE];
    if let Some(head) = all.get_mut(..size_of::<SigInfo>()) {
        head.copy_from_slice(info.as_bytes());
    }
    cx.mm().write_bytes(to, &all)
}

/// rt_sigtimedwait(2)
pub fn rt_sigtimedwait(
    cx: &mut Cx,
    set: UserPtr<SigSet>,
    info: VirtAddr,
    timeout: UserPtr<Timespec>,
    size: usize,
) -> Result<i32, Errno> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let set = set.read(cx.mm())?;
    let deadline = match timeout.non_null() {
        None => None,
        Some(p) => {
            let t = p.read(cx.mm())?;
            if t.sec < 0 || !(0..NSEC_PER_SEC as i64).contains(&t.nsec) {
                return Err(Errno::EINVAL);
            }
            let ns = (t.sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(t.nsec as u64);
            Some(sched::now().saturating_add(ns))
        }
    };
    let got = mask::sigtimedwait(cx, set, deadline)?;
    if info.0 != 0 {
        write_info(cx, info, &got)?;
    }
    Ok(got.signo)
}

/// kill(2)
pub fn kill(cx: &mut Cx, pid: i32, sig: i32) -> Result<(), Errno> {
    // The number is looked at only once someone to send it to was found.
    let signal = Signal::from_raw(sig);
    if sig != 0 && signal.is_none() {
        send::kill(cx, pid, None)?;
        return Err(Errno::EINVAL);
    }
    send::kill(cx, pid, signal)
}

fn to_thread(cx: &Cx, tgid: Option<i32>, tid: i32, sig: i32, info: Option<SigInfo>) -> Result<(), Errno> {
    let target: Arc<Task> =
        cx.find_task(tid).filter(|t| tgid.is_none_or(|g| cx.nr_of(t.pid()) == g)).ok_or(Errno::ESRCH)?;
    let signal = signal_or_probe(sig)?;
    send::may_send(cx.process(), cx.cred(), target.process(), signal)?;
    let Some(signal) = signal else { return Ok(()) };
    let info = info.unwrap_or(SigInfo::user(signal, si::TKILL, cx.process().nr() as u32, cx.cred().uid));
    task::signal::send_task(&target, signal, &info)
}

/// tkill(2)
pub fn tkill(cx: &mut Cx, tid: i32, sig: i32) -> Result<(), Errno> {
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    to_thread(cx, None, tid, sig, None)
}

/// tgkill(2)
pub fn tgkill(cx: &mut Cx, tgid: i32, tid: i32, sig: i32) -> Result<(), Errno> {
    if tid <= 0 || tgid <= 0 {
        return Err(Errno::EINVAL);
    }
    to_thread(cx, Some(tgid), tid, sig, None)
}

/// Reads what a program wants to say in a signal, with kernel ids. `sig`: the number that counts in place of the one there.
pub(crate) fn read_info(cx: &Cx, sig: Option<i32>, info: UserPtr<SigInfo>) -> Result<SigInfo, Errno> {
    let mut given = info.read(cx.mm())?;
    given.signo = sig.unwrap_or(given.signo);
    if !given.is_known() {
        // What may lie behind the part that we keep would be lost.
        let mut rest = [0u8; SIGINFO_SIZE - size_of::<SigInfo>()];
        cx.mm().read_bytes(info.byte_add::<u8>(size_of::<SigInfo>()).addr(), &mut rest)?;
        if rest.iter().any(|b| *b != 0) {
            return Err(Errno::E2BIG);
        }
    }
    let ns = &cx.cred().user_ns;
    if !ns.is_first() && given.names_user() {
        given = given.with_uid(ns.kuid(given.uid()).unwrap_or(u32::MAX));
    }
    Ok(given)
}

/// Towards others nobody may pretend to be the kernel or kill(2).
pub(crate) fn may_say(given: &SigInfo, to_self: bool) -> Result<(), Errno> {
    if (given.code >= 0 || given.code == si::TKILL) && !to_self { Err(Errno::EPERM) } else { Ok(()) }
}

/// rt_sigqueueinfo(2)
pub fn rt_sigqueueinfo(cx: &mut Cx, pid: i32, sig: i32, info: UserPtr<SigInfo>) -> Result<(), Errno> {
    let given = read_info(cx, Some(sig), info)?;
    may_say(&given, pid == cx.process().nr())?;
    let target = cx.find_process(pid).or_else(|| cx.find_task(pid).map(|t| t.process().clone())).ok_or(Errno::ESRCH)?;
    let signal = signal_or_probe(sig)?;
    send::may_send(cx.process(), cx.cred(), &target, signal)?;
    signal.map_or(Ok(()), |s| task::signal::send_process(&target, s, &given))
}

/// rt_tgsigqueueinfo(2)
pub fn rt_tgsigqueueinfo(cx: &mut Cx, tgid: i32, tid: i32, sig: i32, info: UserPtr<SigInfo>) -> Result<(), Errno> {
    let given = read_info(cx, Some(sig), info)?;
    if tid <= 0 || tgid <= 0 {
        return Err(Errno::EINVAL);
    }
    may_say(&given, tid == cx.task.nr())?;
    to_thread(cx, Some(tgid), tid, sig, Some(given))
}

/// sigaltstack(2)
pub fn sigaltstack(cx: &mut Cx, new: UserPtr<StackT>, old: UserPtr<StackT>) -> Result<(), Errno> {
    let new = new.non_null().map(|p| p.read(cx.mm())).transpose()?;
    let sp = cx.user.regs.rsp;
    let was = altstack::describe(&cx.signal.altstack, sp);
    if let Some(new) = new {
        altstack::change(&mut cx.signal.altstack, &new, sp, mask::min_altstack())?;
    }
    old.write_opt(cx.mm(), &was)
}

/// rt_sigreturn(2)
pub fn rt_sigreturn(cx: &mut Cx) -> i64 {
    frame::sigreturn(cx)
}

/// restart_syscall(2)
pub fn restart_syscall(cx: &mut Cx) -> Result<i64, Errno> {
    match cx.restart.take() {
        Some(go_on) => go_on(cx),
        None => Err(Errno::EINTR),
    }
}

/// signalfd(2), the call of old
pub fn signalfd(cx: &mut Cx, fd: i32, set: UserPtr<SigSet>, size: usize) -> Result<i32, Errno> {
    signalfd4(cx, fd, set, size, 0)
}

/// signalfd(2)
pub fn signalfd4(cx: &mut Cx, fd: i32, set: UserPtr<SigSet>, size: usize, flags: u32) -> Result<i32, Errno> {
    const CLOEXEC: u32 = 0o2000000;
    const NONBLOCK: u32 = 0o4000;
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let set = set.read(cx.mm())?;
    if flags & !(CLOEXEC | NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    signalfd::open(cx, fd, set, flags & NONBLOCK != 0, flags & CLOEXEC != 0)
}
