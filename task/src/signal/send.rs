//! Sending signals.

use super::queue::{Origin, Payment};
use crate::process::{Process, SigState};
use crate::task::Task;
use crate::tree::{self, Group};
use crate::work;
use abi::Errno;
use abi::resource::Resource;
use abi::signal::{SIG_DFL, SigInfo, SigSet, Signal, si};
use alloc::sync::Arc;
use vfs::Cred;
use vfs::cred::Cap;

use super::hand::{Default, default_action};

/// Sends to a process as a whole. A zombie swallows it.
pub fn send_process(to: &Arc<Process>, sig: Signal, info: &SigInfo) -> Result<(), Errno> {
    send(to, None, sig, info)
}

/// Sends to one thread.
pub fn send_task(to: &Arc<Task>, sig: Signal, info: &SigInfo) -> Result<(), Errno> {
    send(to.process(), Some(to), sig, info)
}

/// Sends the signal of somebody who owns it and is told what becomes of it ([`Origin`]); it must not be in a queue yet. If the signal
/// is ignored it is dropped.
pub fn send_origin(
    to: &Arc<Process>,
    thread: Option<&Arc<Task>>,
    sig: Signal,
    info: &SigInfo,
    origin: Arc<dyn Origin>,
) {
    let mut state = to.sig();
    // A thread that runs already need not be woken: the one here, if it is of the group.
    let here = crate::jobs::current().filter(|t| Arc::ptr_eq(t.process(), to) && !t.work.has(work::EXIT));
    let Some(main) = thread.or(here.as_ref()).or(state.threads.first()).cloned() else { return };
    if !prepare(to, &mut state, &main, sig, info.code == si::KERNEL) {
        return origin.dropped();
    }
    match thread {
        Some(t) => t.private.lock().add_origin(sig, info, origin),
        None => state.pending.add_origin(sig, info, origin),
    }
    to.signal_wait.wake_all();
    complete(to, &mut state, &main, thread.is_some(), sig);
}

/// Sends to every member of a process group; ESRCH when it has none.
pub fn send_group(group: &Group, sig: Signal, info: &SigInfo) -> Result<(), Errno> {
    let mut result = Err(Errno::ESRCH);
    for member in group.members() {
        let sent = send_process(&member, sig, info);
        if sent.is_ok() || result.is_err() {
            result = sent;
        }
    }
    result
}

fn send(to: &Arc<Process>, thread: Option<&Arc<Task>>, sig: Signal, info: &SigInfo) -> Result<(), Errno> {
    let (info, from_outside) = &as_seen_by(to, sig, info);
    let mut state = to.sig();
    let Some(main) = thread.or(state.threads.first()).cloned() else { return Ok(()) };
    if !prepare(to, &mut state, &main, sig, info.code == si::KERNEL || *from_outside) {
        return Ok(());
    }
    let info = &in_words_of(&main, info);
    let user = main.user();
    let pay = Payment { user: &user, limit: to.limits.soft(Resource::Sigpending) };
    let added = match thread {
        Some(t) => t.private.lock().add(sig, info, &pay)?,
        None => state.pending.add(sig, info, &pay)?,
    };
    if added {
        to.signal_wait.wake_all();
        complete(to, &mut state, &main, thread.is_some(), sig);
    }
    Ok(())
}

/// What a process in a nested pid namespace sees of a signal, and whether it comes from outside: then the sender has no number there, and the
/// first process of the namespace is not spared.
fn as_seen_by(to: &Process, sig: Signal, info: &SigInfo) -> (SigInfo, bool) {
    let ns = to.number().ns();
    let names_sender = info.code == si::USER
        || info.code < 0 && info.code != si::TIMER && info.code != si::SIGIO
        || sig == Signal::CHLD && info.code > 0 && info.code < si::KERNEL;
    if ns.level() == 0 || !names_sender {
        return (*info, false);
    }
    match crate::current() {
        Some(me) if !me.pid_ns().is_in(ns) => (info.with_pid(0), true),
        _ => (*info, false),
    }
}

/// The user a signal names, as the receiver's user namespace calls him.
fn in_words_of(receiver: &Task, info: &SigInfo) -> SigInfo {
    if vfs::user_ns::any_child() && info.names_user() {
        return info.with_uid(receiver.cred().user_ns.show_uid(info.uid()));
    }
    *info
}

/// Side effects of a signal on stops, and whether it is worth queueing.
fn prepare(to: &Process, state: &mut SigState, main: &Arc<Task>, sig: Signal, forced: bool) -> bool {
    if state.group_exit.is_some() {
        // All that still counts is an end to its core dump.
        if sig == Signal::KILL && state.core.is_some() {
            state.threads.iter().filter_map(|t| t.thread()).for_each(|t| t.set_fatal(true));
        }
        return false;
    }
    if SigSet::STOPS.has(sig) {
        state.discard(SigSet::EMPTY.with(Signal::CONT));
    } else if sig == Signal::CONT {
        state.discard(SigSet::STOPS);
        super::stop::cont(to, state);
    }
    !is_ignored(to, state, main, sig, forced)
}

/// A blocked signal, also one that is waited for, is never ignored: its action may be another one when it is unblocked.
fn is_ignored(to: &Process, state: &SigState, main: &Task, sig: Signal, forced: bool) -> bool {
    // Nor is one that a tracer wants to see.
    if main.blocked().has(sig) || main.awaited().has(sig) || sig != Signal::KILL && main.is_traced() {
        return false;
    }
    // The first process of a namespace gets only what it has a handler for, unless the kernel or somebody outside forces it.
    if to.is_init() && state.hand.get(sig).handler == SIG_DFL {
        return !(forced && SigSet::UNBLOCKABLE.has(sig));
    }
    state.hand.ignores(sig)
}

/// Finds a thread for the signal and nudges it; a signal that ends the process is seen to at once.
fn complete(to: &Arc<Process>, state: &mut SigState, main: &Arc<Task>, only_main: bool, sig: Signal) {
    let wants = |t: &Arc<Task>| (sig == Signal::KILL || !t.blocked().has(sig)) && !t.work.has(work::EXIT);
    let chosen = if wants(main) && (only_main || !main.work.has(work::SIGNAL)) {
        Some(main)
    } else if only_main {
        None
    } else {
        let idle = state.threads.iter().find(|t| wants(t) && !t.work.has(work::SIGNAL));
        idle.or_else(|| state.threads.iter().find(|t| wants(t)))
    };
    let Some(chosen) = chosen.cloned() else { return };
    let action = state.hand.get(sig);
    let fatal = action.handler == SIG_DFL
        && default_action(sig) == Default::Terminate
        && !chosen.awaited().has(sig)
        && (sig == Signal::KILL || !chosen.is_traced());
    if fatal && (sig == Signal::KILL || !to.is_init()) {
        begin_group_exit(state, i32::from(sig.number()), None);
        return;
    }
    nudge(&chosen);
}

/// Tells a thread to look for signals.
pub(crate) fn nudge(task: &Task) {
    task.work.set(work::SIGNAL);
    task.nudge();
}

/// Every thread of the group ends; `status` is the wait status unless one was set before. `but` needs no telling.
pub(crate) fn begin_group_exit(state: &mut SigState, status: i32, but: Option<&Task>) {
    if state.group_exit.is_none() {
        state.group_exit = Some(status);
    }
    // A stopped group must run to end.
    state.stop = None;
    for t in &state.threads {
        if but.is_some_and(|b| b.tid() == t.tid()) {
            continue;
        }
        kill_thread(t);
    }
}

/// One thread is to end.
pub(crate) fn kill_thread(task: &Task) {
    task.work.set(work::SIGNAL);
    if let Some(thread) = task.thread() {
        thread.set_fatal(true);
    }
}

/// Whether a process with credentials `from` in `sender` may send `sig` to `to` (kill(2)).
pub fn may_send(sender: &Arc<Process>, from: &Cred, to: &Arc<Process>, sig: Option<Signal>) -> Result<(), Errno> {
    if Arc::ptr_eq(sender, to) {
        return Ok(());
    }
    let target = to.cred();
    let same_user =
        from.euid == target.suid || from.euid == target.uid || from.uid == target.suid || from.uid == target.uid;
    if same_user || from.capable_in(&target.user_ns, Cap::Kill) {
        return Ok(());
    }
    if sig == Some(Signal::CONT) && Arc::ptr_eq(&sender.session(), &to.session()) {
        return Ok(());
    }
    Err(Errno::EPERM)
}

/// kill(2): `sig` is `None` for the permission check alone.
pub fn kill(cx: &crate::Cx, pid: i32, sig: Option<Signal>) -> Result<(), Errno> {
    let me = cx.process();
    let send_one = |p: &Arc<Process>| -> Result<(), Errno> {
        may_send(me, cx.cred(), p, sig)?;
        let Some(sig) = sig else { return Ok(()) };
        send_process(p, sig, &SigInfo::user(sig, si::USER, me.nr() as u32, cx.cred().uid))
    };
    match pid {
        1.. if pid == me.nr() => send_one(me),
        1.. => {
            let found = cx.find_process(pid).or_else(|| cx.find_task(pid).map(|t| t.process().clone()));
            send_one(&found.ok_or(Errno::ESRCH)?)
        }
        i32::MIN => Err(Errno::ESRCH),
        -1 => {
            let ns = me.number().ns();
            let others = ns.processes();
            let others = others.iter().filter(|p| p.number().nr_in(ns) > 1 && !Arc::ptr_eq(p, me));
            let mut result = Err(Errno::ESRCH);
            let mut any = false;
            for p in others {
                let sent = send_one(p);
                if !any {
                    result = Ok(());
                }
                any = true;
                if sent.is_err() && sent != Err(Errno::EPERM) {
                    result = sent;
                }
            }
            result
        }
        _ => {
            let group = if pid == 0 { me.group() } else { cx.find_group(-pid).ok_or(Errno::ESRCH)? };
            let mut result = Err(Errno::ESRCH);
            let mut done = false;
            // No child is born into the group meanwhile.
            let _shape = tree::lock();
            for p in group.members() {
                let sent = send_one(&p);
                done |= sent.is_ok();
                result = sent;
            }
            if done { Ok(()) } else { result }
        }
    }
}
