//! What happens to a call of a confined thread.

use super::filter::PROBES;
use super::{Filter, log, notify};
use crate::Cx;
use crate::signal::{deliver, force};
use crate::trace::report;
use abi::Errno;
use abi::ptrace::Event;
use abi::seccomp::{SeccompData, action, mode};
use abi::signal::{AUDIT_ARCH_X86_64, SigInfo, Signal, si};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use sched::Flags;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It runs.
    Allow,
    /// It does not run; its result is in the result register.
    Skip,
}

/// The calls of strict mode: read, write, rt_sigreturn, exit.
const STRICT: [i32; 4] = [0, 1, 15, 60];

/// Asks the filters of the calling thread about the call in its registers. Runs only while `entry::SECCOMP` is set.
pub fn check(cx: &mut Cx) -> Verdict {
    if cx.seccomp.version != cx.task.seccomp.version.load(Ordering::Acquire) {
        refresh(cx);
    }
    match &cx.seccomp.filter {
        Some(f) if f.always_allowed(cx.user.regs.orig_rax as u32) => Verdict::Allow,
        _ if report::suspends_seccomp(cx) => Verdict::Allow,
        Some(f) => {
            let filter = f.clone();
            judge(cx, &filter, false)
        }
        None => without_filter(cx),
    }
}

/// Takes over what other threads (or this one's own last call) have changed.
#[cold]
fn refresh(cx: &mut Cx) {
    let task = cx.task.clone();
    let (state, version) = {
        let state = task.seccomp.state.lock();
        (state.clone(), task.seccomp.version.load(Ordering::Relaxed))
    };
    if state.no_new_privs && !cx.cred().no_new_privs {
        let mut cred = cx.cred().clone();
        Arc::make_mut(&mut cred).no_new_privs = true;
        cx.set_cred(cred);
    }
    cx.seccomp = super::Seen { version, mode: state.mode, filter: state.filter };
}

/// Strict mode. (A thread that a filter has killed comes to no further call.)
fn without_filter(cx: &mut Cx) -> Verdict {
    let nr = cx.user.regs.orig_rax as i32;
    if cx.seccomp.mode != mode::STRICT || STRICT.contains(&nr) || PROBES.contains(&nr) {
        return Verdict::Allow;
    }
    die(cx);
    log::tell(cx, action::KILL_THREAD, Signal::KILL.number(), true);
    cx.end_thread(Signal::KILL.number().into());
    Verdict::Skip
}

fn die(cx: &Cx) {
    cx.task.seccomp.change(|s| s.mode = mode::DEAD);
}

fn data_of(cx: &Cx) -> SeccompData {
    let r = &cx.user.regs;
    SeccompData {
        nr: r.orig_rax as i32,
        arch: AUDIT_ARCH_X86_64,
        ip: r.rip,
        args: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
    }
}

/// Runs the filters. `again`: a tracer has seen the call and may have changed it.
fn judge(cx: &mut Cx, filter: &Arc<Filter>, again: bool) -> Verdict {
    let data = data_of(cx);
    let (result, matched) = filter.run(&data);
    let (what, value) = (result & action::FULL, result & action::DATA);
    match what {
        action::ALLOW => return Verdict::Allow,
        action::LOG => {
            log::tell(cx, what, 0, true);
            return Verdict::Allow;
        }
        action::ERRNO => set_result(cx, -i64::from(value.min(action::MAX_ERRNO))),
        action::TRAP => {
            show_original(cx);
            force(cx, Signal::SYS, &info(&data, value));
        }
        action::TRACE if again => return Verdict::Allow,
        action::TRACE => {
            set_result(cx, Errno::ENOSYS.to_ret());
            if report::wants(cx, Event::Seccomp) {
                return ask_tracer(cx, filter, value);
            }
        }
        action::USER_NOTIF => {
            let answer = match matched.and_then(|f| f.notifier()) {
                Some(notifier) => notify::ask(cx, notifier, &data),
                None => Some(Errno::ENOSYS.to_ret()),
            };
            match answer {
                Some(result) => set_result(cx, result),
                None => return Verdict::Allow,
            }
        }
        _ => {
            kill(cx, what, &info(&data, value));
            return Verdict::Skip;
        }
    }
    log::tell(cx, what, 0, matched.is_some_and(|f| f.logs()));
    Verdict::Skip
}

/// Stops for the tracer, who may change the call or skip it; what he leaves is judged again.
fn ask_tracer(cx: &mut Cx, filter: &Arc<Filter>, value: u32) -> Verdict {
    report::event(cx, Event::Seccomp, value.into());
    let dies = cx.task.thread().is_some_and(|t| t.flags() & Flags::FATAL != 0);
    // Death may have come without the tracer having seen the stop: the call he wanted to change does not run.
    if dies || (cx.user.regs.orig_rax as i32) < 0 {
        return Verdict::Skip;
    }
    judge(cx, filter, true)
}

fn set_result(cx: &mut Cx, result: i64) {
    cx.user.regs.rax = result as u64;
}

/// The handler (or the core file) shows the registers as they were at the call.
fn show_original(cx: &mut Cx) {
    cx.user.regs.rax = cx.user.regs.orig_rax;
}

fn info(data: &SeccompData, value: u32) -> SigInfo {
    SigInfo { errno: value as i32, ..SigInfo::syscall(si::SYS_SECCOMP, data.ip, data.nr) }
}

/// The thread or the whole process dies of SIGSYS; the last thread takes the process with it.
fn kill(cx: &mut Cx, what: u32, info: &SigInfo) {
    die(cx);
    log::tell(cx, what, Signal::SYS.number(), true);
    if what == action::KILL_THREAD && cx.process().thread_count() > 1 {
        cx.end_thread(Signal::SYS.number().into());
        return;
    }
    show_original(cx);
    deliver::force_default(cx, Signal::SYS, info);
}
