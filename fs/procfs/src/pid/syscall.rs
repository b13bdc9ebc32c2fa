//! `syscall`: the system call that a thread is in (proc_pid_syscall(5)).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use machine::user::Regs;
use vfs::File;

/// Number and arguments in hexadecimal, stack and instruction pointer; -1 for a thread that is in the kernel for another reason.
/// Of a thread that runs, or waits for a CPU, nothing is known. Who reads must be allowed to trace.
pub fn show(subject: &Subject, f: &File, out: &mut Text) -> Result<(), Errno> {
    let task = subject.task()?;
    subject.may_attach(f.cred())?;
    let own = crate::current().is_some_and(|me| me.tid() == task.tid());
    let Some(thread) = task.thread() else { return unknown(out) };
    // A thread of the kernel's has no program that could have called.
    let regs = if task.process().is_kernel() || task.is_worker() { Some(Regs::default()) } else { thread.user_regs() };
    match (regs, thread.state_char()) {
        (_, 'R') if !own => unknown(out),
        (_, 'X') => {
            out.str("-1 0x0 0x0\n");
            Ok(())
        }
        (Some(regs), _) => {
            let number = regs.orig_rax as i32;
            out.int(number.into());
            let arguments = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
            let shown = if number < 0 { &[][..] } else { &arguments };
            for value in shown.iter().chain([&regs.rsp, &regs.rip]) {
                out.str(" 0x").hex(*value, 1);
            }
            out.ch('\n');
            Ok(())
        }
        (None, _) => unknown(out),
    }
}

fn unknown(out: &mut Text) -> Result<(), Errno> {
    out.str("running\n");
    Ok(())
}
