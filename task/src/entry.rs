//! The slow way into a system call: of threads that something wants to look at before the call runs.
//!
//! `Task::entry` is one flag word that [`crate::run`] tests once a call; threads with nothing in it never come here. The order is
//! Linux's: syscall user dispatch, the tracer, seccomp. What has to be done after the call (the tracer's exit stop) is left as a
//! bit of the thread's work word, so that the way out needs no test of its own.

use crate::run::Dispatch;
use crate::seccomp::{self, Verdict};
use crate::trace::report;
use crate::{Cx, rseq, sud, work};

/// Syscall user dispatch is on.
pub const SUD: u32 = 1;
/// The tracer wants to stop at calls.
pub const TRACE: u32 = 2;
/// A seccomp mode is on.
pub const SECCOMP: u32 = 4;
/// The tracer carries the calls out itself (PTRACE_SYSEMU).
pub const EMU: u32 = 8;
/// The thread is single-stepped by its tracer: a call is one step.
pub const STEP: u32 = 16;
/// The thread runs on a granted extension of its slice.
pub const SLICE: u32 = 32;

/// Carries out the call in the registers unless someone takes it away; gives what goes into the result register.
#[cold]
#[inline(never)]
pub(crate) fn call(cx: &mut Cx, dispatch: Dispatch) -> i64 {
    let bits = cx.task.entry.get();
    if bits & SLICE != 0 {
        rseq::end_slice(cx, cx.user.regs.orig_rax == rseq::YIELD_CALL);
    }
    if bits & SUD != 0 && sud::takes(cx) {
        return cx.user.regs.orig_rax as i64;
    }
    if bits & (TRACE | EMU) != 0 && (report::call_entry(cx) || bits & EMU != 0) {
        return leave(cx, None);
    }
    if bits & SECCOMP != 0 && seccomp::check(cx) == Verdict::Skip {
        return leave(cx, None);
    }
    // Tracers and filters skip a call by giving it the number -1; its result is what they have put there.
    let result = if cx.user.regs.orig_rax as i32 == -1 { None } else { Some(dispatch(cx)) };
    leave(cx, result)
}

fn leave(cx: &mut Cx, result: Option<i64>) -> i64 {
    if cx.task.entry.has(TRACE | STEP) {
        cx.task.work.set(work::CALL_EXIT);
    }
    result.unwrap_or(cx.user.regs.rax as i64)
}
