//! Restartable sequences (rseq(2)): a program's area that always names the CPU its thread runs on, and critical sections that are
//! sent to their abort handler when the thread was moved or interrupted inside.

use crate::task::on_switch;
use crate::{Cx, work};
use abi::Errno;
use abi::signal::{SigInfo, Signal};
use machine::{USER_MAX, VirtAddr};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of the area every user of the call provides.
const AREA_SIZE: u32 = 32;
/// Bytes of the area this kernel knows (AT_RSEQ_FEATURE_SIZE).
pub const FEATURE_SIZE: u64 = 28;
/// AT_RSEQ_ALIGN.
pub const ALIGN: u64 = 32;
const UNREGISTER: u32 = 1;
const CPU_UNINITIALIZED: u32 = u32::MAX;

/// Where `struct rseq` has `rseq_cs` (after `cpu_id_start` and `cpu_id`).
const CS_AT: u64 = 8;
/// Where it has `node_id` and, right behind, `mm_cid`.
const NODE_AT: u64 = 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Section {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

/// A thread's registration.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rseq {
    /// The area, 0 if there is none.
    area: u64,
    len: u32,
    signature: u32,
    /// The CPU number the area shows.
    cpu: Option<u32>,
}

impl Rseq {
    /// Area, its length and signature, for tracers.
    pub fn configuration(&self) -> (u64, u32, u32) {
        (self.area, self.len, self.signature)
    }
}

/// rseq(2).
pub fn register(cx: &mut Cx, area: u64, len: u32, flags: u32, signature: u32) -> Result<(), Errno> {
    let now = cx.rseq;
    if flags & UNREGISTER != 0 {
        if flags != UNREGISTER || now.area == 0 || now.area != area || now.len != len {
            return Err(Errno::EINVAL);
        }
        if now.signature != signature {
            return Err(Errno::EPERM);
        }
        write_ids(cx, 0, CPU_UNINITIALIZED, 0)?;
        set(cx, Rseq::default());
        return Ok(());
    }
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if now.area != 0 {
        return Err(match () {
            () if now.area != area || now.len != len => Errno::EINVAL,
            () if now.signature != signature => Errno::EPERM,
            () => Errno::EBUSY,
        });
    }
    if len < AREA_SIZE || !area.is_multiple_of(ALIGN) {
        return Err(Errno::EINVAL);
    }
    if area == 0 || area.checked_add(u64::from(len)).is_none_or(|end| end > USER_MAX) {
        return Err(Errno::EFAULT);
    }
    cx.mm().write_bytes(VirtAddr(area + CS_AT), &[0; 8])?;
    set(cx, Rseq { area, len, signature, cpu: None });
    cx.task.work.set(work::RSEQ);
    Ok(())
}

fn set(cx: &mut Cx, rseq: Rseq) {
    cx.rseq = rseq;
    if rseq.area != 0 {
        cx.task.on_switch.set(on_switch::RSEQ);
    } else {
        cx.task.on_switch.clear(on_switch::RSEQ);
    }
}

/// Exec, and threads made with CLONE_VM, start without.
pub(crate) fn reset(cx: &mut Cx) {
    set(cx, Rseq::default());
}

/// A fork child keeps its parent's registration: it has a copy of the area.
pub(crate) fn inherit(child: &mut Cx, parent: &Cx) {
    set(child, Rseq { cpu: None, ..parent.rseq });
}

fn write_ids(cx: &Cx, cpu_start: u32, cpu: u32, cid: u32) -> Result<(), Errno> {
    let (mm, at) = (cx.mm(), cx.rseq.area);
    mm.write_bytes(VirtAddr(at), [cpu_start, cpu].as_bytes())?;
    mm.write_bytes(VirtAddr(at + NODE_AT), [0, cid].as_bytes())
}

/// Brings the area up to date after the thread was switched to. `in_call`: it was not inside user code, so it can not have
/// been inside a critical section.
pub(crate) fn update(cx: &mut Cx, in_call: bool) {
    cx.task.work.clear(work::RSEQ);
    if cx.rseq.area == 0 {
        return;
    }
    let cpu = machine::cpu::this().0;
    let moved = cx.rseq.cpu != Some(cpu);
    let mut done = Ok(());
    if moved {
        // Concurrency ids need only be small and different between threads that run at the same time: CPU numbers are.
        done = write_ids(cx, cpu, cpu, cpu);
        cx.rseq.cpu = Some(cpu);
    }
    if done.is_ok() && !in_call {
        done = leave_section(cx);
    }
    if done.is_err() {
        crate::signal::force(cx, Signal::SEGV, &SigInfo::kernel(Signal::SEGV));
    }
}

/// A handler is about to run: a critical section is given up before its frame is built.
pub(crate) fn before_signal(cx: &mut Cx) {
    if cx.rseq.area != 0 && leave_section(cx).is_err() {
        crate::signal::force(cx, Signal::SEGV, &SigInfo::kernel(Signal::SEGV));
    }
}

/// Sends the thread to the abort handler if it is inside a critical section.
fn leave_section(cx: &mut Cx) -> Result<(), Errno> {
    let cs_at = VirtAddr(cx.rseq.area + CS_AT);
    let mut pointer = 0u64;
    cx.mm().read_bytes(cs_at, pointer.as_mut_bytes())?;
    if pointer == 0 {
        return Ok(());
    }
    let mut section = Section::new_zeroed();
    cx.mm().read_bytes(VirtAddr(pointer), section.as_mut_bytes())?;
    let rip = cx.user.regs.rip;
    if section.version != 0 || section.abort >= USER_MAX || section.start.checked_add(section.length).is_none() {
        return Err(Errno::EINVAL);
    }
    if rip.wrapping_sub(section.start) >= section.length {
        return cx.mm().write_bytes(cs_at, &[0; 8]);
    }
    if section.abort.wrapping_sub(section.start) < section.length {
        return Err(Errno::EINVAL);
    }
    let mut signature = 0u32;
    cx.mm().read_bytes(VirtAddr(section.abort.wrapping_sub(4)), signature.as_mut_bytes())?;
    if signature != cx.rseq.signature {
        return Err(Errno::EINVAL);
    }
    cx.mm().write_bytes(cs_at, &[0; 8])?;
    cx.user.regs.rip = section.abort;
    Ok(())
}
