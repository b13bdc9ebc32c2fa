//! General registers of a tracee, one by one (`struct user`) and together (`struct user_regs_struct`).

use abi::Errno;
use abi::prctl::{ARCH_GET_FS, ARCH_GET_GS, ARCH_SET_FS, ARCH_SET_GS};
use abi::ptrace::{USER_DEBUGREG, USER_SIZE, UserRegs};
use machine::segment::Selectors;
use machine::user::Regs;
use machine::{USER_MAX, VirtAddr};
use mm::UserPtr;
use task::regset::user_regs;
use task::trace::control::in_stop;
use task::trace::{State, step};
use task::{Cx, Task};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of `struct user_regs_struct`.
pub const SIZE: u64 = size_of::<UserRegs>() as u64;

/// What the tracer sees.
fn show(state: &State) -> Option<UserRegs> {
    let stop = state.stop.as_ref()?;
    let eflags = step::shown_flags(stop.regs.eflags, state.forces_tf());
    Some(UserRegs { eflags, ..user_regs(&stop.regs, stop.bases, &stop.selectors) })
}

/// A data segment selector that a tracer may set: what it names is looked at when the tracee runs.
fn selector(word: u64) -> Result<u16, Errno> {
    let s = word as u16;
    if s == 0 || s & 3 == 3 { Ok(s) } else { Err(Errno::EIO) }
}

/// As [`selector`], for those that cannot be null.
fn live_selector(word: u64) -> Result<u64, Errno> {
    selector(word).and_then(|s| if s == 0 { Err(Errno::EIO) } else { Ok(s.into()) })
}

/// Takes over what the tracer has changed.
fn store(state: &mut State, new: &UserRegs) -> Result<(), Errno> {
    if state.stop.is_none() {
        return Err(Errno::ESRCH);
    }
    let (cs, ss) = (live_selector(new.cs)?, live_selector(new.ss)?);
    let selectors =
        Selectors { ds: selector(new.ds)?, es: selector(new.es)?, fs: selector(new.fs)?, gs: selector(new.gs)? };
    if new.fs_base >= USER_MAX || new.gs_base >= USER_MAX {
        return Err(Errno::EIO);
    }
    let eflags = new.eflags;
    state.change_registers(|stop, forced_tf| {
        let regs = &mut stop.regs;
        *regs = Regs {
            r15: new.r15,
            r14: new.r14,
            r13: new.r13,
            r12: new.r12,
            rbp: new.rbp,
            rbx: new.rbx,
            r11: new.r11,
            r10: new.r10,
            r9: new.r9,
            r8: new.r8,
            rax: new.rax,
            rcx: new.rcx,
            rdx: new.rdx,
            rsi: new.rsi,
            rdi: new.rdi,
            orig_rax: new.orig_rax,
            rip: new.rip,
            rsp: new.rsp,
            cs,
            ss,
            eflags: regs.eflags,
        };
        step::set_flags(regs, forced_tf, eflags);
        stop.bases = [new.fs_base, new.gs_base];
        stop.selectors = selectors;
    });
    Ok(())
}

/// PTRACE_GETREGS.
pub fn get(cx: &Cx, task: &Task) -> Result<UserRegs, Errno> {
    show(&*in_stop(cx, task)?).ok_or(Errno::ESRCH)
}

/// PTRACE_SETREGS; bytes that are not given stay.
pub fn set(cx: &Cx, task: &Task, bytes: &[u8]) -> Result<(), Errno> {
    let mut state = in_stop(cx, task)?;
    let mut regs = show(&state).ok_or(Errno::ESRCH)?;
    regs.as_mut_bytes().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    store(&mut state, &regs)
}

/// A word of `struct user`, by offset.
fn check(addr: u64) -> Result<usize, Errno> {
    if addr.is_multiple_of(8) && addr < USER_SIZE { Ok(addr as usize) } else { Err(Errno::EIO) }
}

/// PTRACE_PEEKUSER.
pub fn peek(cx: &Cx, task: &Task, addr: u64, to: VirtAddr) -> Result<(), Errno> {
    let at = check(addr)?;
    let word = match addr {
        ..SIZE => {
            let regs = get(cx, task)?;
            regs.as_bytes().get(at..at + 8).and_then(|b| u64::read_from_bytes(b).ok()).unwrap_or(0)
        }
        USER_DEBUGREG.. => in_stop(cx, task)?.debug.get((addr - USER_DEBUGREG) as usize / 8),
        _ => 0,
    };
    UserPtr::<u64>::new(to).write(cx.mm(), &word)
}

/// PTRACE_POKEUSER.
pub fn poke(cx: &Cx, task: &Task, addr: u64, word: u64) -> Result<(), Errno> {
    let at = check(addr)?;
    match addr {
        ..SIZE => {
            let mut state = in_stop(cx, task)?;
            let mut regs = show(&state).ok_or(Errno::ESRCH)?;
            regs.as_mut_bytes().get_mut(at..at + 8).ok_or(Errno::EIO)?.copy_from_slice(word.as_bytes());
            store(&mut state, &regs)
        }
        USER_DEBUGREG.. => in_stop(cx, task)?.debug.set((addr - USER_DEBUGREG) as usize / 8, word),
        _ => Err(Errno::EIO),
    }
}

/// PTRACE_ARCH_PRCTL: arch_prctl(2) for the tracee, with its result in the tracer's memory.
pub fn arch_prctl(cx: &Cx, task: &Task, op: u64, addr: u64) -> Result<(), Errno> {
    let mut state = in_stop(cx, task)?;
    let stop = state.stop.as_mut().ok_or(Errno::ESRCH)?;
    let op = i32::try_from(op).map_err(|_| Errno::EINVAL)?;
    let [fs, gs] = &mut stop.bases;
    let (base, selector) = match op {
        ARCH_SET_FS | ARCH_GET_FS => (fs, &mut stop.selectors.fs),
        ARCH_SET_GS | ARCH_GET_GS => (gs, &mut stop.selectors.gs),
        _ => return Err(Errno::EINVAL),
    };
    if matches!(op, ARCH_SET_FS | ARCH_SET_GS) {
        if addr >= USER_MAX {
            return Err(Errno::EPERM);
        }
        (*base, *selector) = (addr, 0);
        return Ok(());
    }
    let value = *base;
    drop(state);
    UserPtr::<u64>::new(VirtAddr(addr)).write(cx.mm(), &value)
}
