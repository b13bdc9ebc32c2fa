//! The life of a user thread: user mode, system call, fault, and what has to be done before going back.

use crate::signal::frame::Trap;
use crate::signal::{Next, deliver, force};
use crate::trace::{debug, report};
use crate::{Cx, entry, exit, futex, oops, rseq, work};
use abi::signal::{SigInfo, Signal, si};
use machine::VirtAddr;
use machine::sync::Once;
use machine::user::{Exit, Fault};
use mm::{Access, FaultError};
use sched::{Flags, Thread};

/// Carries out the system call in the registers and gives what goes into the result register.
pub type Dispatch = fn(&mut Cx) -> i64;

static DISPATCH: Once<Dispatch> = Once::new();

/// Installs the dispatcher; once, by the kernel crate.
pub fn set_dispatch(dispatch: Dispatch) {
    let _ = DISPATCH.set(dispatch);
}

fn no_calls(_cx: &mut Cx) -> i64 {
    abi::Errno::ENOSYS.to_ret()
}

/// Runs the thread until it ends, if need be by a fault of the kernel in one of its calls.
pub fn run(mut cx: Cx) {
    let mut status = 0;
    let oops = machine::oops::guard(&mut || status = live(&mut cx));
    exit::exit(cx, oops.map_or(status, oops::status));
}

/// The life in and out of user mode; gives the wait status it ends with.
fn live(cx: &mut Cx) -> i32 {
    let Some(thread) = cx.task.thread().cloned() else { return 0 };
    let dispatch = DISPATCH.get().copied().unwrap_or(no_calls);
    let mut in_call = false;
    loop {
        if (thread.flags() != 0 || cx.task.work.any())
            && let Some(status) = before_user(cx, &thread, in_call)
        {
            return status;
        }
        thread.user_enter();
        let why = cx.user.run();
        thread.user_exit();
        in_call = matches!(why, Exit::Syscall);
        match why {
            Exit::Syscall if cx.task.entry.any() => cx.user.regs.rax = entry::call(cx, dispatch) as u64,
            Exit::Syscall => cx.user.regs.rax = dispatch(cx) as u64,
            Exit::Fault(f) => fault(cx, &f),
            Exit::Exception { vector, code } => exception(cx, vector, code),
            Exit::Interrupt => {}
        }
        mm::frames::relieve();
    }
}

/// Does what keeps the thread from user mode; gives the wait status when it is to end.
#[cold]
fn before_user(cx: &mut Cx, thread: &Thread, from_call: bool) -> Option<i32> {
    if !from_call {
        cx.user.regs.orig_rax = u64::MAX;
    }
    if cx.task.work.clear(work::CALL_EXIT) & (work::CALL_EXIT | work::EXIT) == work::CALL_EXIT && from_call {
        report::call_exit(cx);
    }
    // rt_sigreturn leaves no call behind that could be restarted.
    let mut in_call = from_call && cx.user.regs.orig_rax != u64::MAX;
    let mut interrupted = false;
    let mut interrupted_user = !from_call;
    loop {
        if thread.flags() & Flags::NEED_RESCHED != 0 {
            if interrupted_user && !cx.task.work.any() && rseq::grant_slice(cx) {
                thread.clear_flags(Flags::NEED_RESCHED);
            } else {
                sched::schedule();
                sched::group::wait_for_quota();
            }
            interrupted_user = false;
        }
        let todo = cx.task.work.get();
        if !from_call && todo & (work::EXIT | work::SIGNAL) != 0 {
            futex::finish_unlock(cx);
        }
        if todo & work::EXIT != 0 {
            return Some(cx.ending);
        }
        if todo & work::NOTE != 0 {
            for note in cx.task.take_notes() {
                note(cx);
            }
            crate::sigio::send_queued();
        }
        if todo & (work::SIGNAL | work::RESTORE_MASK | work::FREEZE) != 0 {
            match deliver::deliver(cx, in_call) {
                Next::User => in_call = false,
                Next::Exit(status) => return Some(status),
            }
        }
        if todo & work::RSEQ != 0 {
            rseq::update(cx, from_call);
        }
        let flags = thread.flags();
        interrupted |= flags & Flags::INTERRUPTED != 0;
        if flags & Flags::NEED_RESCHED == 0 && !cx.task.work.any() {
            if flags != 0 {
                // Reasons of others than us are over once we are here. Whoever comes now has set his bit of `work` first.
                thread.clear_flags(flags);
                if cx.task.work.any() {
                    continue;
                }
            }
            if in_call && interrupted {
                // Interrupted for something that is no signal: the call goes on. (A program may get such a code as a plain result
                // from the listener of its seccomp filter; it is not for the kernel to act on then.)
                deliver::restart(&mut cx.user.regs, None);
            }
            return None;
        }
    }
}

/// A page fault of user code.
fn fault(cx: &mut Cx, f: &Fault) {
    let access = Access { write: f.write, exec: f.exec };
    let failed = match cx.mm().fault(VirtAddr(f.addr), access) {
        Ok(()) => {
            cx.task.count_fault(false);
            return;
        }
        // The out-of-memory handler has chosen a victim, which needs the CPU to die; then the instruction is tried again.
        Err(FaultError::Oom) => return sched::yield_now(),
        Err(e) => e,
    };
    let (sig, code) = match failed {
        FaultError::AccErr => (Signal::SEGV, si::SEGV_ACCERR),
        FaultError::BusAdrErr => (Signal::BUS, si::BUS_ADRERR),
        FaultError::MapErr | FaultError::Oom => (Signal::SEGV, si::SEGV_MAPERR),
    };
    let bits = u64::from(f.present) | u64::from(f.write) << 1 | 4 | u64::from(f.exec) << 4;
    cx.signal.trap = Trap { number: 14, code: bits, cr2: f.addr };
    force(cx, sig, &SigInfo::fault(sig, code, f.addr));
}

/// Another exception of user code.
fn exception(cx: &mut Cx, vector: u8, code: u64) {
    let rip = cx.user.regs.rip;
    let info = match vector {
        0 => SigInfo::fault(Signal::FPE, si::FPE_INTDIV, rip),
        1 => match debug::struck(cx, code) {
            Some(info) => info,
            None => return,
        },
        3 => SigInfo::kernel(Signal::TRAP),
        6 => SigInfo::fault(Signal::ILL, si::ILL_ILLOPN, rip),
        10..=12 => SigInfo::kernel(Signal::BUS),
        16 | 19 => match float_code(cx, vector) {
            Some(code) => SigInfo::fault(Signal::FPE, code, rip),
            // The cause is gone already (a race with the program's own clean-up): go on.
            None => return,
        },
        17 => SigInfo::fault(Signal::BUS, si::BUS_ADRALN, 0),
        _ => SigInfo::kernel(Signal::SEGV),
    };
    let code = if vector == 1 { 0 } else { code };
    cx.signal.trap = Trap { number: u64::from(vector), code, cr2: cx.signal.trap.cr2 };
    if let Some(sig) = Signal::from_raw(info.signo) {
        force(cx, sig, &info);
    }
}

/// Which floating-point exception it was: of the x87 unit (vector 16) or of SSE (19).
fn float_code(cx: &mut Cx, vector: u8) -> Option<i32> {
    let state = cx.xstate_head()?;
    let half = |at: usize| state.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let raised = match vector {
        16 => half(2) & !half(0),
        _ => half(24) & !(half(24) >> 7),
    };
    Some(match raised {
        r if r & 0x01 != 0 => si::FPE_FLTINV,
        r if r & 0x04 != 0 => si::FPE_FLTDIV,
        r if r & 0x08 != 0 => si::FPE_FLTOVF,
        r if r & 0x12 != 0 => si::FPE_FLTUND,
        r if r & 0x20 != 0 => si::FPE_FLTRES,
        _ => return None,
    })
}
