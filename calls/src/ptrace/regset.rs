//! Register sets of a tracee: PTRACE_GETREGSET and its relatives. The extended state is reached on the tracee itself.

use super::regs;
use abi::Errno;
use abi::ptrace::{NT_PRFPREG, NT_PRSTATUS, NT_X86_XSTATE};
use abi::uio::Iov;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;
use task::regset::{FpRegs, Xstate};
use task::trace::control::run_on;
use task::{Cx, Task};
use zerocopy::IntoBytes;

/// Bytes of `struct user_fpregs_struct`.
pub const FX_SIZE: u64 = 512;
/// `NT_386_IOPERM`.
const NT_386_IOPERM: u64 = 0x201;

/// Bytes of a set, and of its parts.
fn sizes(kind: u64) -> Result<(u64, u64), Errno> {
    match kind {
        NT_PRSTATUS => Ok((regs::SIZE, 8)),
        NT_PRFPREG => Ok((FX_SIZE, 8)),
        NT_X86_XSTATE => Ok((Xstate::size() as u64, 8)),
        // Port permissions: there are none.
        NT_386_IOPERM => Err(Errno::ENXIO),
        _ => Err(Errno::EINVAL),
    }
}

fn check(kind: u64, iov: &Iov) -> Result<usize, Errno> {
    let (size, part) = sizes(kind)?;
    if iov.len.is_multiple_of(part) { Ok(iov.len.min(size) as usize) } else { Err(Errno::EINVAL) }
}

/// Copies a set, or its beginning, to the tracer; gives the bytes copied.
pub fn get(cx: &Cx, task: &Arc<Task>, kind: u64, iov: Iov) -> Result<u64, Errno> {
    let len = check(kind, &iov)?;
    let bytes = match kind {
        NT_PRSTATUS => Vec::from(regs::get(cx, task)?.as_bytes()),
        NT_PRFPREG => run_on(cx, task, FpRegs::get)??,
        _ => run_on(cx, task, Xstate::get)??,
    };
    cx.mm().write_bytes(VirtAddr(iov.base), bytes.get(..len).unwrap_or_default())?;
    Ok(len as u64)
}

/// Sets registers from the tracer's copy of a set, or of its beginning; gives the bytes used.
pub fn set(cx: &Cx, task: &Arc<Task>, kind: u64, iov: Iov) -> Result<u64, Errno> {
    let len = check(kind, &iov)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    cx.mm().read_bytes(VirtAddr(iov.base), &mut bytes)?;
    match kind {
        NT_PRSTATUS => regs::set(cx, task, &bytes)?,
        NT_PRFPREG => run_on(cx, task, move |cx| FpRegs::set(cx, &bytes))??,
        // All or nothing, as on Linux.
        _ if len != Xstate::size() => return Err(Errno::EFAULT),
        _ => run_on(cx, task, move |cx| Xstate::set(cx, &bytes))??,
    }
    Ok(len as u64)
}
