//! Taking signals on the way to user mode: handlers, default actions, restart of the interrupted call.

use super::hand::{Default, default_action};
use super::{frame, mask, send, stop};
use crate::process::{Process, SigState};
use crate::trace::{self, report};
use crate::{Cx, cgroup, coredump, tree, work};
use abi::Errno;
use abi::signal::{SIG_DFL, SIG_IGN, SaFlags, SigAction, SigInfo, SigSet, Signal};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::sync::SpinGuard;
use machine::user::Regs;

/// What a thread does after it has looked at its signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Back to user mode.
    User,
    /// It ends, with this wait status if it is the last of its group.
    Exit(i32),
}

/// Number of restart_syscall(2).
const NR_RESTART_SYSCALL: u64 = 219;
/// Length of the `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

/// How the result of an interrupted call is turned into a restart or EINTR. `handler`: the flags of the action that will
/// run, `None` when no handler runs.
pub fn restart(regs: &mut Regs, handler: Option<SaFlags>) {
    let code = (regs.rax as i64).checked_neg().and_then(|v| u32::try_from(v).ok()).and_then(Errno::from_raw);
    let again = match (code, handler) {
        (Some(Errno::ERESTARTNOINTR), _) => true,
        (Some(Errno::ERESTARTSYS), Some(flags)) => flags.contains(SaFlags::RESTART),
        (Some(Errno::ERESTARTNOHAND | Errno::ERESTART_RESTARTBLOCK), Some(_)) => false,
        (Some(Errno::ERESTARTSYS | Errno::ERESTARTNOHAND), None) => true,
        (Some(Errno::ERESTART_RESTARTBLOCK), None) => {
            regs.orig_rax = NR_RESTART_SYSCALL;
            true
        }
        _ => return,
    };
    if again {
        regs.rax = regs.orig_rax;
        regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
    } else {
        regs.rax = Errno::EINTR.to_ret() as u64;
    }
}

/// Takes what is pending. `in_call`: the thread comes from a system call, whose result may ask for a restart.
pub(crate) fn deliver(cx: &mut Cx, mut in_call: bool) -> Next {
    loop {
        match next_action(cx) {
            Step::Exit(status) => return Next::Exit(status),
            // A tracer may have set the registers to those of an interrupted call, or to others.
            Step::Again if cx.task.is_traced() => in_call = in_interrupted_call(cx),
            Step::Again => {}
            Step::Handler(action, info) => {
                if cx.task.is_traced() {
                    in_call = in_interrupted_call(cx);
                }
                if in_call {
                    restart(&mut cx.user.regs, Some(action.flags()));
                    in_call = false;
                }
                run_handler(cx, &action, &info);
            }
            Step::None => break,
        }
    }
    if in_call {
        restart(&mut cx.user.regs, None);
    }
    if let Some(old) = cx.signal.saved_mask.take() {
        cx.task.work.clear(work::RESTORE_MASK);
        mask::set_blocked(&cx.task, old);
    }
    Next::User
}

fn in_interrupted_call(cx: &Cx) -> bool {
    cx.user.regs.orig_rax != u64::MAX
}

enum Step {
    Exit(i32),
    Again,
    Handler(SigAction, SigInfo),
    None,
}

fn next_action(cx: &mut Cx) -> Step {
    let process = cx.process().clone();
    let mut state = process.sig();
    if let Some(status) = state.group_exit {
        return Step::Exit(status);
    }
    if state.exec_by.is_some_and(|tid| tid != cx.task.tid()) {
        return Step::Exit(0);
    }
    if let Some(why) = state.tell_parent.take() {
        drop(state);
        stop::tell_parent(&process, why);
        return Step::Again;
    }
    if trace::must_stop(&cx.task, &state) {
        drop(state);
        if !report::job_trap(cx) {
            stop::park(cx);
        }
        return Step::Again;
    }
    if cx.task.work.has(work::FREEZE) {
        drop(state);
        cgroup::freezer::park(cx);
        return Step::Again;
    }
    if cx.task.frozen.load(Ordering::Relaxed) {
        drop(state);
        cgroup::freezer::leave(&cx.task);
        return Step::Again;
    }
    let wanted = SigSet(!cx.task.blocked().0);
    let Some(mut taken) = mask::take_locked(&cx.task, &mut state, wanted) else {
        mask::recalculate(&cx.task, &state);
        return Step::None;
    };
    let conts = state.conts;
    if taken.info.signo != i32::from(Signal::KILL.number()) && cx.task.is_traced() && !is_final(&state, &taken.info) {
        drop(state);
        let Some(chosen) = report::signal(cx, taken) else { return Step::Again };
        taken = chosen;
        state = process.sig();
    }
    let Some(sig) = Signal::from_raw(taken.info.signo) else { return Step::Again };
    // Its sender has a last word, which may be that the signal is no longer meant; that takes locks that come before ours.
    let (state, info) = match taken.origin {
        None => (state, taken.info),
        Some(_) => {
            drop(state);
            let Some(info) = mask::finish(taken) else { return Step::Again };
            (process.sig(), info)
        }
    };
    let action = state.hand.get(sig);
    if action.handler > SIG_IGN {
        if action.flags().contains(SaFlags::RESETHAND) {
            state.hand.set(sig, SigAction { handler: SIG_DFL, ..action });
        }
        drop(state);
        return Step::Handler(action, info);
    }
    if action.handler == SIG_IGN || (process.is_init() && !SigSet::UNBLOCKABLE.has(sig)) {
        return Step::Again;
    }
    by_default(cx, &process, state, sig, &info, conts)
}

/// What a signal does that has no handler and is not ignored (signal(7)). It was taken when `conts` SIGCONTs had been sent.
fn by_default(
    cx: &mut Cx,
    process: &Arc<Process>,
    mut state: SpinGuard<'_, SigState>,
    sig: Signal,
    info: &SigInfo,
    conts: u32,
) -> Step {
    let default = default_action(sig);
    if default == Default::Ignore {
        return Step::Again;
    }
    if default == Default::Stop {
        drop(state);
        if sig == Signal::STOP || !is_orphaned(cx) {
            stop::begin(&mut process.sig(), sig, conts);
        }
        return Step::Again;
    }
    let dumps = default == Default::Core && state.group_exit.is_none() && coredump::is_wanted(process);
    let core = dumps.then(|| coredump::begin(&mut state, &cx.task, sig));
    let status = i32::from(sig.number());
    send::begin_group_exit(&mut state, status, Some(&cx.task));
    drop(state);
    if SigSet::SYNCHRONOUS.has(sig) && info.code > 0 {
        report(cx, sig);
    }
    Step::Exit(core.map_or(status, |core| coredump::run(cx, &core, info)))
}

/// The kernel ends the process by this signal.
fn is_final(state: &SigState, info: &SigInfo) -> bool {
    Signal::from_raw(info.signo).is_some_and(|sig| state.hand.get(sig).flags().contains(SaFlags::IMMUTABLE))
}

/// A program dies of its own fault: a line for the log.
fn report(cx: &Cx, sig: Signal) {
    let (name, trap, regs) = (cx.task.comm(), &cx.signal.trap, &cx.user.regs);
    let name = core::str::from_utf8(&name).unwrap_or("?").trim_end_matches('\0');
    machine::kinfo_limited!(
        "{name}[{}]: signal {} at {:x} ip {:x} sp {:x} trap {} error {:x}",
        cx.task.tid(),
        sig.number(),
        trap.cr2,
        regs.rip,
        regs.rsp,
        trap.number,
        trap.code
    );
}

/// Terminal stops do nothing in an orphaned group: nobody could continue it.
fn is_orphaned(cx: &Cx) -> bool {
    let group = cx.process().group();
    tree::lock().is_orphaned(&group, None)
}

fn run_handler(cx: &mut Cx, action: &SigAction, info: &SigInfo) {
    let Some(sig) = Signal::from_raw(info.signo) else { return };
    crate::rseq::before_signal(cx);
    let stepped = report::before_handler(cx);
    let old = cx.signal.saved_mask.take();
    if old.is_some() {
        cx.task.work.clear(work::RESTORE_MASK);
    }
    let blocked = cx.task.blocked();
    if frame::push(cx, action, info, old.unwrap_or(blocked)).is_err() {
        // No room for the frame: nothing can be told to the program any more.
        if sig == Signal::SEGV {
            cx.process().sig().hand.set(Signal::SEGV, SigAction::default());
        }
        force(cx, Signal::SEGV, &SigInfo::kernel(Signal::SEGV));
        return;
    }
    let mut new = blocked.union(action.mask);
    if !action.flags().contains(SaFlags::NODEFER) {
        new = new.with(sig);
    }
    mask::set_blocked(&cx.task, new);
    if stepped {
        report::handler_reached(cx);
    }
}

/// Sends the thread a signal about its own instruction: it cannot be blocked or ignored away.
pub fn force(cx: &Cx, sig: Signal, info: &SigInfo) {
    let task = &cx.task;
    let mut state = task.process().sig();
    let action = state.hand.get(sig);
    if task.process().is_init() && action.handler == SIG_DFL {
        // Even the first process does not survive its own faults.
        send::begin_group_exit(&mut state, i32::from(sig.number()), None);
        return;
    }
    let blocked = task.blocked().has(sig);
    if blocked || action.handler == SIG_IGN {
        state.hand.set(sig, SigAction::default());
        task.blocked.store(task.blocked().without(sig).0, Ordering::Relaxed);
    }
    let user = task.user();
    let pay = super::queue::Payment { user: &user, limit: u64::MAX };
    // A signal that is pending already tells as much.
    let _ = task.private.lock().add(sig, info, &pay);
    send::nudge(task);
}

/// Ends the process by `sig` whatever it does on that signal.
pub fn force_exit(cx: &Cx, sig: Signal) {
    force_default(cx, sig, &SigInfo::kernel(sig));
}

/// Like [`force`], but no handler runs and no tracer hears of it first: the process ends.
pub(crate) fn force_default(cx: &Cx, sig: Signal, info: &SigInfo) {
    cx.process().sig().hand.set(sig, SigAction { flags: SaFlags::IMMUTABLE.bits(), ..SigAction::default() });
    cx.task.blocked.store(cx.task.blocked().without(sig).0, Ordering::Relaxed);
    force(cx, sig, info);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: i64, handler: Option<SaFlags>) -> (i64, u64, u64) {
        let mut regs = Regs { rax: code as u64, orig_rax: 35, rip: 0x1002, ..Regs::default() };
        restart(&mut regs, handler);
        (regs.rax as i64, regs.rip, regs.orig_rax)
    }

    #[test]
    fn calls_restart_by_the_rules_of_signal_7() {
        let (plain, again) = (Some(SaFlags::empty()), Some(SaFlags::RESTART));
        let eintr = (-4, 0x1002, 35);
        let redo = (35, 0x1000, 35);
        for (code, none, without, with) in [
            (Errno::ERESTARTSYS, redo, eintr, redo),
            (Errno::ERESTARTNOINTR, redo, redo, redo),
            (Errno::ERESTARTNOHAND, redo, eintr, eintr),
            (Errno::ERESTART_RESTARTBLOCK, (219, 0x1000, 219), eintr, eintr),
        ] {
            assert_eq!(run(code.to_ret(), None), none, "{code}");
            assert_eq!(run(code.to_ret(), plain), without, "{code}");
            assert_eq!(run(code.to_ret(), again), with, "{code}");
        }
        assert_eq!(run(5, plain), (5, 0x1002, 35));
        assert_eq!(run(-4, again), eintr);
    }
}
