//! Requests about what a tracee has stopped for, and about state that is not in its registers.

use super::{check_set_size, read_siginfo, write_siginfo};
use abi::Errno;
use abi::ptrace::*;
use abi::seccomp::{FilterFlags, SockFilter, mode};
use abi::signal::{AUDIT_ARCH_X86_64, SIGINFO_SIZE, SigSet};
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::UserPtr;
use task::sud::{self, Sud};
use task::trace::Stop;
use task::trace::control::{in_stop, run_on};
use task::{Cx, Task, entry, seccomp};
use vfs::Cap;
use zerocopy::{FromZeros, IntoBytes};

const TRAP: i32 = 5;

/// Carries out a request on a stopped tracee; EIO for one that is unknown.
pub fn request(cx: &mut Cx, task: &Arc<Task>, request: i64, addr: u64, data: VirtAddr) -> Result<i64, Errno> {
    match request {
        PTRACE_GETEVENTMSG => event_message(cx, task, data)?,
        PTRACE_GETSIGINFO => {
            let info = in_stop(cx, task)?.stop.as_ref().and_then(|s| s.info).ok_or(Errno::EINVAL)?;
            write_siginfo(cx, data, &info)?;
        }
        PTRACE_SETSIGINFO => {
            let new = read_siginfo(cx, data)?;
            let mut state = in_stop(cx, task)?;
            *state.stop.as_mut().and_then(|s| s.info.as_mut()).ok_or(Errno::EINVAL)? = new;
        }
        PTRACE_PEEKSIGINFO => return peek_siginfo(cx, task, VirtAddr(addr), data),
        PTRACE_GETSIGMASK => {
            check_set_size(addr)?;
            let mask = run_on(cx, task, |cx| cx.signal.saved_mask.unwrap_or(cx.task.blocked()))?;
            UserPtr::new(data).write(cx.mm(), &mask)?;
        }
        PTRACE_SETSIGMASK => {
            check_set_size(addr)?;
            let mask: SigSet = UserPtr::new(data).read(cx.mm())?;
            run_on(cx, task, move |cx| cx.replace_mask(mask))?;
        }
        PTRACE_GET_SYSCALL_INFO => return get_syscall_info(cx, task, addr, data),
        PTRACE_SET_SYSCALL_INFO => set_syscall_info(cx, task, addr, data)?,
        PTRACE_GET_RSEQ_CONFIGURATION => {
            let (pointer, size, signature) = run_on(cx, task, |cx| cx.rseq.configuration())?;
            let conf = RseqConfiguration { pointer, size, signature, flags: 0, pad: 0 };
            let len = addr.min(size_of::<RseqConfiguration>() as u64) as usize;
            cx.mm().write_bytes(data, conf.as_bytes().get(..len).unwrap_or_default())?;
            return Ok(size_of::<RseqConfiguration>() as i64);
        }
        PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG => {
            check_config_size(addr)?;
            let config = run_on(cx, task, |cx| SudConfig {
                mode: cx.task.entry.has(entry::SUD).into(),
                selector: cx.sud.selector,
                offset: cx.sud.offset,
                len: cx.sud.len,
            })?;
            UserPtr::new(data).write(cx.mm(), &config)?;
        }
        PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG => {
            check_config_size(addr)?;
            let c: SudConfig = UserPtr::new(data).read(cx.mm())?;
            let new = Sud::parse(c.mode, c.offset, c.len, c.selector)?;
            run_on(cx, task, move |cx| sud::set(cx, new))?;
        }
        PTRACE_SECCOMP_GET_FILTER => return seccomp_filter(cx, task, addr, data),
        PTRACE_SECCOMP_GET_METADATA => return seccomp_metadata(cx, task, addr, data),
        _ => return Err(Errno::EIO),
    }
    Ok(0)
}

/// Filters are shown to the privileged who are under none themselves.
fn may_see_filters(cx: &Cx) -> Result<(), Errno> {
    let free = cx.task.seccomp.mode() == mode::DISABLED && cx.cred().capable(Cap::SysAdmin);
    if free { Ok(()) } else { Err(Errno::EACCES) }
}

/// Number of instructions of a filter, and the instructions if `to` is not NULL.
fn seccomp_filter(cx: &Cx, task: &Task, nth: u64, to: VirtAddr) -> Result<i64, Errno> {
    may_see_filters(cx)?;
    let (source, _) = seccomp::nth_filter(task, nth)?;
    if to.0 != 0 {
        let out = UserPtr::<SockFilter>::new(to);
        for (i, f) in source.iter().enumerate() {
            out.at(i).write(cx.mm(), &SockFilter { code: f.code, jt: f.jt, jf: f.jf, k: f.k })?;
        }
    }
    Ok(source.len() as i64)
}

/// The flags a filter was installed with; the caller's structure says which filter.
fn seccomp_metadata(cx: &Cx, task: &Task, size: u64, at: VirtAddr) -> Result<i64, Errno> {
    may_see_filters(cx)?;
    let size = size.min(16) as usize;
    if size < 8 {
        return Err(Errno::EINVAL);
    }
    let nth: u64 = UserPtr::new(at).read(cx.mm())?;
    let (_, logs) = seccomp::nth_filter(task, nth)?;
    let flags = if logs { FilterFlags::LOG } else { FilterFlags::empty() };
    let out = [nth, u64::from(flags.bits())];
    cx.mm().write_bytes(at, out.as_bytes().get(..size).unwrap_or_default())?;
    Ok(size as i64)
}

fn check_config_size(size: u64) -> Result<(), Errno> {
    if size == size_of::<SudConfig>() as u64 { Ok(()) } else { Err(Errno::EINVAL) }
}

fn event_message(cx: &Cx, task: &Task, to: VirtAddr) -> Result<(), Errno> {
    let (code, message) = in_stop(cx, task)?.stop.as_ref().map(|s| (s.code, s.message)).ok_or(Errno::ESRCH)?;
    // Events about children, and execve, name a thread.
    let names_thread = matches!(code >> 8, 1..=5);
    let message = if names_thread { cx.nr_of(message as i32) as u64 } else { message };
    UserPtr::<u64>::new(to).write(cx.mm(), &message)
}

/// Copies pending signals out without taking them; gives how many.
fn peek_siginfo(cx: &Cx, task: &Arc<Task>, args: VirtAddr, to: VirtAddr) -> Result<i64, Errno> {
    let args: PeekSigInfo = UserPtr::new(args).read(cx.mm())?;
    if args.flags & !PEEKSIGINFO_SHARED != 0 || args.nr < 0 {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    while done < i64::from(args.nr) {
        let Some(at) = args.off.checked_add(done as u64) else { break };
        let Some(info) = task.peek_signal(args.flags & PEEKSIGINFO_SHARED != 0, at as usize) else { break };
        let to = VirtAddr(to.0.wrapping_add((done as u64).wrapping_mul(SIGINFO_SIZE as u64)));
        if let Err(e) = write_siginfo(cx, to, &info) {
            return if done > 0 { Ok(done) } else { Err(e) };
        }
        done += 1;
        if cx.task.work.any() {
            break;
        }
        sched::cond_resched();
    }
    Ok(done)
}

/// What kind of stop about a call this is.
fn kind(stop: &Stop) -> u8 {
    match stop.info.map_or(0, |i| i.code) {
        code if code == TRAP | 0x80 => match stop.message {
            EVENTMSG_SYSCALL_ENTRY => SYSCALL_INFO_ENTRY,
            EVENTMSG_SYSCALL_EXIT => SYSCALL_INFO_EXIT,
            _ => SYSCALL_INFO_NONE,
        },
        code if code == TRAP | (Event::Seccomp as i32) << 8 => SYSCALL_INFO_SECCOMP,
        _ => SYSCALL_INFO_NONE,
    }
}

/// Results from here on are errors.
const MAX_ERRNO: u64 = 4095;

fn get_syscall_info(cx: &Cx, task: &Task, size: u64, to: VirtAddr) -> Result<i64, Errno> {
    const HEAD: usize = 24;
    let (info, len) = {
        let state = in_stop(cx, task)?;
        let stop = state.stop.as_ref().ok_or(Errno::ESRCH)?;
        let r = &stop.regs;
        let mut info = SyscallInfo {
            op: kind(stop),
            arch: AUDIT_ARCH_X86_64,
            instruction_pointer: r.rip,
            stack_pointer: r.rsp,
            ..SyscallInfo::default()
        };
        let call = [i64::from(r.orig_rax as i32) as u64, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9, 0];
        let len = match info.op {
            SYSCALL_INFO_ENTRY => {
                info.words = call;
                HEAD + 7 * 8
            }
            SYSCALL_INFO_SECCOMP => {
                info.words = call;
                info.words[7] = u64::from(stop.message as u32);
                HEAD + 7 * 8 + 4
            }
            SYSCALL_INFO_EXIT => {
                let failed = r.rax >= MAX_ERRNO.wrapping_neg();
                info.words[..2].copy_from_slice(&[r.rax, failed.into()]);
                HEAD + 9
            }
            _ => HEAD,
        };
        (info, len)
    };
    let copied = (size as usize).min(len);
    cx.mm().write_bytes(to, info.as_bytes().get(..copied).unwrap_or_default())?;
    Ok(len as i64)
}

fn set_syscall_info(cx: &Cx, task: &Task, size: u64, from: VirtAddr) -> Result<(), Errno> {
    let mut info = SyscallInfo::new_zeroed();
    if size < size_of::<SyscallInfo>() as u64 {
        return Err(Errno::EINVAL);
    }
    cx.mm().read_bytes(from, info.as_mut_bytes())?;
    let mut state = in_stop(cx, task)?;
    let stop = state.stop.as_mut().ok_or(Errno::ESRCH)?;
    if info.flags != 0 || info.reserved != 0 || info.op != kind(stop) {
        return Err(Errno::EINVAL);
    }
    let regs = &mut stop.regs;
    match info.op {
        SYSCALL_INFO_ENTRY | SYSCALL_INFO_SECCOMP => {
            let [number, arguments @ .., _] = info.words;
            let number = i32::try_from(number as i64).map_err(|_| Errno::ERANGE)?;
            regs.orig_rax = i64::from(number) as u64;
            if number != -1 {
                [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = arguments;
            }
        }
        SYSCALL_INFO_EXIT => {
            let [value, is_error, ..] = info.words;
            let error = i64::from(value as i32);
            regs.rax = if is_error as u8 != 0 && error != 0 {
                error as u64
            } else if is_error as u8 != 0 {
                0
            } else {
                value
            };
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}
