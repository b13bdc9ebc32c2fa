//! What programs can change of the processor's own ways: modify_ldt(2) and arch_prctl(2).
//!
//! Neither 16-bit nor 32-bit code runs, so that a local descriptor table holds 32-bit data segments only, and those
//! options of arch_prctl that a Linux without such code, shadow stacks and address masking does not have are not there. Source for the
//! order of checks: `arch/x86/kernel/ldt.c`, `process_64.c`, `fpu/xstate.c`.

use abi::Errno;
use abi::prctl::*;
use abi::x86::UserDesc;
use alloc::vec::Vec;
use machine::segment::{Descriptor, LDT_ENTRIES, Segment};
use machine::user::UserCtx;
use machine::{USER_MAX, VirtAddr};
use mm::UserPtr;
use task::Cx;
use zerocopy::IntoBytes;

/// Bytes of a descriptor.
const ENTRY: usize = 8;
/// Bytes of the table that a program without one is shown.
const DEFAULT_SIZE: usize = 128;

/// modify_ldt(2). The result is an `int`: the upper half of the register is zero, also with an error.
pub fn modify_ldt(cx: &mut Cx, func: i32, ptr: VirtAddr, bytecount: usize) -> i64 {
    let done = match func {
        0 => read(cx, ptr, bytecount),
        1 => write(cx, ptr, bytecount, true),
        2 => {
            let size = bytecount.min(DEFAULT_SIZE);
            cx.mm().zero_bytes(ptr, size).map(|()| size)
        }
        0x11 => write(cx, ptr, bytecount, false),
        _ => Err(Errno::ENOSYS),
    };
    let value = match done {
        Ok(n) => n as u32,
        Err(e) => e.to_ret() as u32,
    };
    value.into()
}

/// Gives the table, and zeroes behind it up to what was asked for; nothing if there is no table.
fn read(cx: &Cx, ptr: VirtAddr, bytecount: usize) -> Result<usize, Errno> {
    let count = cx.mm().descriptor_count();
    if count == 0 {
        return Ok(0);
    }
    let size = bytecount.min(LDT_ENTRIES * ENTRY);
    let mut table: Vec<u64> = Vec::new();
    table.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    table.resize(count, 0);
    cx.mm().descriptors(&mut table);
    let bytes = table.as_slice().as_bytes();
    let known = bytes.get(..size).unwrap_or(bytes);
    cx.mm().write_bytes(ptr, known)?;
    cx.mm().zero_bytes(VirtAddr(ptr.0.wrapping_add(known.len() as u64)), size - known.len())?;
    Ok(size)
}

/// Sets one descriptor; `old` is the form of the call that knew fewer kinds.
fn write(cx: &Cx, ptr: VirtAddr, bytecount: usize, old: bool) -> Result<usize, Errno> {
    if bytecount != size_of::<UserDesc>() {
        return Err(Errno::EINVAL);
    }
    let d = UserPtr::<UserDesc>::new(ptr).read(cx.mm())?;
    let index = d.entry_number as usize;
    let conforming = d.contents() == 3 && (old || !d.seg_not_present());
    if index >= LDT_ENTRIES || conforming {
        return Err(Errno::EINVAL);
    }
    let cleared = d.is_empty() || old && d.base_addr == 0 && d.limit == 0;
    let descriptor = if cleared {
        Descriptor::EMPTY
    } else if d.seg_32bit() {
        let segment = Segment {
            base: d.base_addr,
            limit: d.limit,
            pages: d.limit_in_pages(),
            kind: d.contents() << 1 | u8::from(!d.read_exec_only()),
            present: !d.seg_not_present(),
            available: d.useable() && !old,
        };
        Descriptor::new(&segment).ok_or(Errno::EINVAL)?
    } else {
        return Err(Errno::EINVAL);
    };
    cx.mm().set_descriptor(index, descriptor)?;
    Ok(0)
}

/// arch_prctl(2)
pub fn arch_prctl(cx: &mut Cx, op: i32, addr: u64) -> Result<i64, Errno> {
    let put = |cx: &Cx, value: u64| UserPtr::<u64>::new(VirtAddr(addr)).write(cx.mm(), &value);
    match op {
        ARCH_SET_FS | ARCH_SET_GS if addr >= USER_MAX => return Err(Errno::EPERM),
        ARCH_SET_FS => cx.user.load_fs_base(addr),
        ARCH_SET_GS => cx.user.load_gs_base(addr),
        ARCH_GET_FS | ARCH_GET_GS => {
            cx.user.sync_bases();
            put(cx, if op == ARCH_GET_FS { cx.user.fs_base } else { cx.user.gs_base })?;
        }
        // CPUID never faults.
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID => return Err(Errno::ENODEV),
        // All the state that is switched is every program's from the start, and every guest's.
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM | ARCH_GET_XCOMP_GUEST_PERM => put(cx, UserCtx::xstate_mask())?,
        ARCH_REQ_XCOMP_PERM | ARCH_REQ_XCOMP_GUEST_PERM => {
            return Err(if addr < XFEATURE_MAX { Errno::EOPNOTSUPP } else { Errno::EINVAL });
        }
        ARCH_MAP_VDSO_64 => return task::exec::map_vdso_again(cx, VirtAddr(addr)).map(|size| size as i64),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
