//! ptrace(2). What a stop is, and how tracer and tracee meet, is in `task::trace`; here requests are checked and data is moved.

mod info;
mod regs;
mod regset;

use abi::Errno;
use abi::ptrace::*;
use abi::signal::{SIGINFO_SIZE, SigInfo, SigSet, Signal};
use abi::uio::Iov;
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::UserPtr;
use task::trace::control::{self, How};
use task::trace::link;
use task::{Cx, Task};
use vfs::Cap;
use zerocopy::{FromBytes, IntoBytes};

/// ptrace(2)
pub fn ptrace(cx: &mut Cx, request: i64, pid: i32, addr: u64, data: u64) -> Result<i64, Errno> {
    if request == PTRACE_TRACEME {
        return link::trace_me(cx).map(|()| 0);
    }
    let task = cx.find_task(pid).ok_or(Errno::ESRCH)?;
    match request {
        PTRACE_ATTACH => link::attach(cx, &task, None)?,
        PTRACE_SEIZE => {
            if addr != 0 {
                return Err(Errno::EIO);
            }
            let options = Options::from_bits(data).ok_or(Errno::EIO)?;
            check_options(cx, options)?;
            link::attach(cx, &task, Some(options))?;
        }
        PTRACE_KILL => {
            control::mine(cx, &task)?;
            // A process that ends already needs no signal.
            let _ = task::signal::send_task(&task, Signal::KILL, &SigInfo::user(Signal::KILL, 0, 0, 0));
        }
        PTRACE_INTERRUPT => control::interrupt(cx, &task)?,
        _ => return stopped(cx, &task, request, addr, data),
    }
    Ok(0)
}

fn check_options(cx: &Cx, options: Options) -> Result<(), Errno> {
    if options.contains(Options::SUSPEND_SECCOMP) && !cx.cred().capable(Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// The requests that need a tracee in a stop.
fn stopped(cx: &mut Cx, task: &Arc<Task>, request: i64, addr: u64, data: u64) -> Result<i64, Errno> {
    drop(control::in_stop(cx, task)?);
    let to = VirtAddr(data);
    match request {
        PTRACE_PEEKTEXT | PTRACE_PEEKDATA => peek(cx, task, addr, to)?,
        PTRACE_POKETEXT | PTRACE_POKEDATA => poke(task, addr, data)?,
        PTRACE_PEEKUSR => regs::peek(cx, task, addr, to)?,
        PTRACE_POKEUSR => regs::poke(cx, task, addr, data)?,
        PTRACE_GETREGS => {
            let regs = regs::get(cx, task)?;
            cx.mm().write_bytes(to, regs.as_bytes())?;
        }
        PTRACE_SETREGS => {
            let regs: UserRegs = UserPtr::new(to).read(cx.mm())?;
            regs::set(cx, task, regs.as_bytes())?;
        }
        PTRACE_GETFPREGS => regset::get(cx, task, NT_PRFPREG, Iov { base: data, len: regset::FX_SIZE }).map(drop)?,
        PTRACE_SETFPREGS => regset::set(cx, task, NT_PRFPREG, Iov { base: data, len: regset::FX_SIZE }).map(drop)?,
        PTRACE_GETREGSET | PTRACE_SETREGSET => {
            let words: [u64; 2] = UserPtr::new(to).read(cx.mm())?;
            let iov = Iov { base: words[0], len: words[1] };
            let set = request == PTRACE_SETREGSET;
            let moved = if set { regset::set(cx, task, addr, iov)? } else { regset::get(cx, task, addr, iov)? };
            cx.mm().write_bytes(VirtAddr(data.wrapping_add(8)), moved.as_bytes())?;
        }
        PTRACE_CONT => resume(cx, task, How::Cont, data)?,
        PTRACE_SYSCALL => resume(cx, task, How::Call, data)?,
        PTRACE_SINGLESTEP => resume(cx, task, How::Step, data)?,
        PTRACE_SYSEMU => resume(cx, task, How::Emulate, data)?,
        PTRACE_SYSEMU_SINGLESTEP => resume(cx, task, How::EmulateStep, data)?,
        // PTRACE_SINGLEBLOCK needs a CPU that traps on branches, which this kernel does not drive: EIO as for any unknown request.
        PTRACE_DETACH => link::detach(cx, task, signal(data as u32 as u64)?)?,
        PTRACE_LISTEN => control::listen(cx, task)?,
        PTRACE_SETOPTIONS | PTRACE_OLDSETOPTIONS => {
            let options = Options::from_bits(data).ok_or(Errno::EINVAL)?;
            check_options(cx, options)?;
            control::in_stop(cx, task)?.options = options;
        }
        PTRACE_ARCH_PRCTL => regs::arch_prctl(cx, task, data, addr)?,
        _ => return info::request(cx, task, request, addr, to),
    }
    Ok(0)
}

/// A signal to go on with, or 0.
fn signal(data: u64) -> Result<i32, Errno> {
    i32::try_from(data).ok().filter(|s| *s <= abi::signal::NSIG as i32).ok_or(Errno::EIO)
}

fn resume(cx: &Cx, task: &Arc<Task>, how: How, data: u64) -> Result<(), Errno> {
    control::resume(cx, task, how, signal(data)?)
}

fn peek(cx: &Cx, task: &Task, addr: u64, to: VirtAddr) -> Result<(), Errno> {
    let mut word = [0u8; 8];
    let mm = task.mm().ok_or(Errno::EIO)?;
    if mm.read_forced(VirtAddr(addr), &mut word) != word.len() {
        return Err(Errno::EIO);
    }
    cx.mm().write_bytes(to, &word)
}

fn poke(task: &Task, addr: u64, word: u64) -> Result<(), Errno> {
    let mm = task.mm().ok_or(Errno::EIO)?;
    let word = word.to_ne_bytes();
    if mm.write_forced(VirtAddr(addr), &word) == word.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Writes a whole `siginfo_t`.
fn write_siginfo(cx: &Cx, to: VirtAddr, info: &SigInfo) -> Result<(), Errno> {
    let mut bytes = [0u8; SIGINFO_SIZE];
    bytes.iter_mut().zip(info.as_bytes()).for_each(|(to, from)| *to = *from);
    cx.mm().write_bytes(to, &bytes)
}

fn read_siginfo(cx: &Cx, from: VirtAddr) -> Result<SigInfo, Errno> {
    let mut bytes = [0u8; SIGINFO_SIZE];
    cx.mm().read_bytes(from, &mut bytes)?;
    SigInfo::read_from_prefix(&bytes).map(|(info, _)| info).map_err(|_| Errno::EFAULT)
}

/// The size argument of requests about signal masks.
fn check_set_size(size: u64) -> Result<(), Errno> {
    if size == size_of::<SigSet>() as u64 { Ok(()) } else { Err(Errno::EINVAL) }
}
