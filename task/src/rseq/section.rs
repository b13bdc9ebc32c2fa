//! Critical sections: a thread that was switched away or gets a signal inside one goes on at its abort handler.

use super::at;
use crate::{Cx, tree, work};
use abi::Errno;
use machine::cpu::CpuId;
use machine::{USER_MAX, VirtAddr};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// `struct rseq_cs`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Section {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

/// Bytes of the signature before an abort handler.
const SIGNATURE_SIZE: u64 = 4;

/// Sends the thread to the abort handler if it is inside a critical section.
pub(super) fn leave(cx: &mut Cx) -> Result<(), Errno> {
    let rseq = cx.rseq;
    let mut pointer = 0u64;
    cx.mm().read_bytes(rseq.at(at::SECTION), pointer.as_mut_bytes())?;
    if pointer == 0 {
        return Ok(());
    }
    let mut section = Section::new_zeroed();
    cx.mm().read_bytes(VirtAddr(pointer), section.as_mut_bytes())?;
    if cx.user.regs.rip.wrapping_sub(section.start) >= section.length {
        return cx.mm().write_bytes(rseq.at(at::SECTION), &[0; 8]);
    }
    let ends_well = section.start.checked_add(section.length).is_some_and(|end| end <= USER_MAX);
    let outside = section.abort.wrapping_sub(section.start) >= section.length;
    if section.version != 0 || !ends_well || !outside || !(SIGNATURE_SIZE..USER_MAX).contains(&section.abort) {
        return Err(Errno::EINVAL);
    }
    let mut signature = 0u32;
    cx.mm().read_bytes(VirtAddr(section.abort - SIGNATURE_SIZE), signature.as_mut_bytes())?;
    if signature != rseq.signature {
        return Err(Errno::EINVAL);
    }
    cx.mm().write_bytes(rseq.at(at::SECTION), &[0; 8])?;
    cx.user.regs.rip = section.abort;
    Ok(())
}

/// Has the threads of the caller's address space, or those of them that are on `cpu`, look at their areas before they go on in
/// user mode. On return each of them has left user mode.
pub fn interrupt_all(cx: &Cx, cpu: Option<CpuId>) {
    let id = cx.mm().id();
    for process in tree::all_processes() {
        let tasks = process.threads();
        for task in tasks.iter().filter(|task| task.uses_mm(id)) {
            if cpu.is_none_or(|cpu| task.thread().is_some_and(|thread| thread.cpu() == cpu)) {
                task.work.set(work::RSEQ);
            }
        }
    }
    machine::cpu::barrier_everywhere();
}
