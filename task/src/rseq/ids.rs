//! The numbers in the area: CPU, node and concurrency id.
//!
//! Concurrency ids are small, and different for threads of an address space that run at the same time. As long as a space has no
//! more registered threads than there are CPUs, each owns one for good, so that the only thread of a program has 0 wherever it runs.
//! The first thread that finds none free turns the space over to CPU numbers, after which all threads go by those: it
//! interrupts every CPU, so that nobody goes on in user mode under an id it owned.

use super::{Rseq, at, section};
use crate::Cx;
use abi::Errno;
use core::sync::atomic::Ordering::*;
use mm::Mm;
use zerocopy::IntoBytes;

/// The bit of [`Mm::concurrency_ids`] that says: by CPU. The others are the ids that threads own.
const BY_CPU: u64 = 1 << 63;
const CPU_UNINITIALIZED: u32 = u32::MAX;

/// What the area shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ids {
    cpu: u32,
    cid: u32,
}

fn write(cx: &Cx, cpu_start: u32, cpu: u32, cid: u32) -> Result<(), Errno> {
    let rseq = cx.rseq;
    cx.mm().write_bytes(rseq.at(at::CPU_START), [cpu_start, cpu].as_bytes())?;
    cx.mm().write_bytes(rseq.at(at::NODE), [0, cid].as_bytes())
}

/// The area of an ended registration.
pub(super) fn clear(cx: &Cx) -> Result<(), Errno> {
    write(cx, 0, CPU_UNINITIALIZED, 0)
}

/// Writes what has changed.
pub(super) fn update(cx: &mut Cx) -> Result<(), Errno> {
    let cpu = machine::cpu::this().0;
    let ids = Ids { cpu, cid: cid(cx, cpu) };
    let rseq = cx.rseq;
    if rseq.shown == Some(ids) {
        // Of the first layout a program may have changed the first number to be told of switches that way.
        if rseq.is_strict() || cx.mm().load_u32(rseq.at(at::CPU_START))? == cpu {
            return Ok(());
        }
    } else if rseq.is_strict() && !shows(cx, &rseq)? {
        return Err(Errno::EINVAL);
    }
    write(cx, cpu, cpu, ids.cid)?;
    cx.rseq.shown = Some(ids);
    Ok(())
}

/// Whether the area is as the kernel left it.
fn shows(cx: &Cx, rseq: &Rseq) -> Result<bool, Errno> {
    let Some(ids) = rseq.shown else { return Ok(true) };
    let (mut cpus, mut rest) = ([0u32; 2], [0u32; 2]);
    cx.mm().read_bytes(rseq.at(at::CPU_START), cpus.as_mut_bytes())?;
    cx.mm().read_bytes(rseq.at(at::NODE), rest.as_mut_bytes())?;
    Ok(cpus == [ids.cpu; 2] && rest == [0, ids.cid])
}

/// The concurrency id of the current thread while it runs on `cpu`.
fn cid(cx: &mut Cx, cpu: u32) -> u32 {
    if cx.mm().concurrency_ids().load(Acquire) & BY_CPU != 0 {
        return cpu;
    }
    if let Some(own) = cx.rseq.own_cid {
        return own;
    }
    match own(cx.mm()) {
        Some(cid) => {
            cx.rseq.own_cid = Some(cid);
            cid
        }
        None => {
            if cx.mm().concurrency_ids().fetch_or(BY_CPU, AcqRel) & BY_CPU == 0 {
                section::interrupt_all(cx, None);
            }
            cpu
        }
    }
}

/// Takes the least id that is free.
fn own(mm: &Mm) -> Option<u32> {
    let most = (machine::cpu::count() as u32).min(BY_CPU.trailing_zeros());
    let ids = mm.concurrency_ids();
    let mut seen = ids.load(Acquire);
    loop {
        let cid = seen.trailing_ones();
        if seen & BY_CPU != 0 || cid >= most {
            return None;
        }
        match ids.compare_exchange_weak(seen, seen | 1 << cid, AcqRel, Acquire) {
            Ok(_) => return Some(cid),
            Err(now) => seen = now,
        }
    }
}

/// Gives the thread's id back.
pub(super) fn disown(cx: &mut Cx) {
    if let Some(cid) = cx.rseq.own_cid.take() {
        cx.mm().concurrency_ids().fetch_and(!(1 << cid), AcqRel);
    }
}
