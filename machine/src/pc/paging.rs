//! The kernel's own address space: direct map, image with W^X rights, device registers, stacks.
//!
//! Layout of the upper half (one root entry is 512 GiB):
//! `0xffff8000…` direct map of RAM; `0xffffc000…` kernel stacks; `0xffffd000…` device registers, at their physical address;
//! `0xffffffff80…` the image. The root entries are all present after `init`, so user spaces copy them once.

use super::entry::{BOOT_MAPPED, BOOT_STACK, DIRECT_BASE, KERNEL_BASE};
use super::{bootmem, mem, x86};
use crate::sync::IrqLock;
use core::sync::atomic::{AtomicU64, Ordering};

pub const P: u64 = 1;
pub const W: u64 = 2;
pub const U: u64 = 4;
pub const CACHE_OFF: u64 = 0x18;
pub const LARGE: u64 = 0x80;
pub const GLOBAL: u64 = 0x100;
pub const NX: u64 = 1 << 63;
pub const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// Kernel stacks.
pub const STACK_BASE: u64 = 0xffff_c000_0000_0000;
/// Device registers.
const DEVICE_BASE: u64 = 0xffff_d000_0000_0000;
/// Root entries that user spaces copy.
pub const KERNEL_ENTRIES: core::ops::Range<usize> = 256..512;

/// Physical address of the kernel's root table.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Orders changes of kernel tables.
static LOCK: IrqLock<()> = IrqLock::new(());

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __image_end: u8;
    static boot_stack_guard: u8;
}

/// Physical address of the kernel's root table.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Page numbers of the image: start, end of text, end of read-only data, end.
pub fn image() -> [u32; 4] {
    [&raw const __image_start, &raw const __text_end, &raw const __rodata_end, &raw const __image_end]
        .map(|p| ((p as u64 - KERNEL_BASE) >> 12) as u32)
}

/// A zeroed table page (never freed: kernel tables only grow).
fn new_table() -> Option<u64> {
    let pfn = match mem::extent().0 {
        0 => bootmem::take(1, (BOOT_MAPPED >> 12) as u32)?,
        _ => mem::take_kind(0, mem::KIND_TABLE)?,
    };
    // SAFETY: a fresh page, reachable through the direct map (of the boot tables at first).
    unsafe { core::ptr::write_bytes(mem::direct(pfn) as *mut u64, 0, 512) };
    Some(u64::from(pfn) << 12)
}

fn entry(table: u64, index: u64) -> *mut u64 {
    (DIRECT_BASE + (table & ADDR)).wrapping_add(8 * (index & 511)) as *mut u64
}

/// The entry for `va` at `level` (0: 4 KiB, 1: 2 MiB, 2: 1 GiB), with tables made on the way.
fn slot(va: u64, level: u32) -> Option<*mut u64> {
    let mut table = root();
    let mut at = 3;
    loop {
        let e = entry(table, va >> (12 + 9 * at));
        if at == level {
            return Some(e);
        }
        // SAFETY: `e` lies in a kernel table; `LOCK` is held, or the boot CPU is alone.
        unsafe {
            if *e & P == 0 {
                *e = new_table()? | P | W;
            }
            table = *e;
        }
        at -= 1;
    }
}

fn set(va: u64, level: u32, value: u64) -> bool {
    let Some(e) = slot(va, level) else { return false };
    // SAFETY: as in `slot`; the value maps what the caller owns.
    unsafe { e.write_volatile(value) };
    true
}

/// Maps the direct range `[start, end)` of page numbers with the largest pages that fit.
fn map_direct(start: u32, end: u32, huge: bool) -> bool {
    let [image, text_end, ro_end, image_end] = image();
    let (first_2m, last_2m) = (image >> 9, (image_end - 1) >> 9);
    let mut at = start;
    while at < end {
        let va = mem::direct(at);
        let pa = u64::from(at) << 12;
        let has_image = |level: u32| {
            at >> (9 * level) <= last_2m >> (9 * (level - 1)) && at >> (9 * level) >= first_2m >> (9 * (level - 1))
        };
        let ok;
        if huge && at.is_multiple_of(1 << 18) && end - at >= 1 << 18 && !has_image(2) {
            ok = set(va, 2, pa | P | W | LARGE | GLOBAL | NX);
            at += 1 << 18;
        } else if at.is_multiple_of(512) && end - at >= 512 && !has_image(1) {
            ok = set(va, 1, pa | P | W | LARGE | GLOBAL | NX);
            at += 512;
        } else {
            // The image's text and constants stay unwritable through this map too.
            let rights = if (image..ro_end.max(text_end)).contains(&at) { 0 } else { W };
            ok = set(va, 0, pa | P | rights | GLOBAL | NX);
            at += 1;
        }
        if !ok {
            return false;
        }
    }
    true
}

/// Builds the kernel's tables for the given RAM and loads them. Boot CPU only, once. Returns false when memory is short.
pub fn init(ram: &bootmem::Ranges) -> bool {
    let huge = x86::cpuid(0x8000_0001, 0).edx & 1 << 26 != 0;
    let Some(root) = new_table() else { return false };
    ROOT.store(root, Ordering::Release);
    for r in ram.iter() {
        if !map_direct(r.start, r.end, huge) {
            return false;
        }
    }
    let [start, text_end, ro_end, end] = image();
    let guard = ((&raw const boot_stack_guard as u64 - KERNEL_BASE) >> 12) as u32;
    for pfn in start..end {
        let rights = match pfn {
            p if p < text_end => 0,
            p if p < ro_end => NX,
            p if p == guard => continue,
            _ => W | NX,
        };
        if !set(KERNEL_BASE + (u64::from(pfn) << 12), 0, u64::from(pfn) << 12 | P | GLOBAL | rights) {
            return false;
        }
    }
    // Every root entry that may ever be used exists from now on.
    for base in [STACK_BASE, DEVICE_BASE, DEVICE_BASE + (1 << 39)] {
        if slot(base, 2).is_none() {
            return false;
        }
    }
    // SAFETY: the new tables map the running code, the stack and all data as before.
    unsafe { x86::write_cr3(root) };
    true
}

/// Bounds of the boot CPU's first stack, for backtraces.
pub fn boot_stack() -> (u64, u64) {
    let low = &raw const boot_stack_guard as u64 + 4096;
    (low, low + BOOT_STACK as u64)
}

/// Maps device registers, uncached; the address is valid forever. `None` when memory is short or the address is beyond reach.
pub fn map_device(phys: u64, len: u64) -> Option<u64> {
    let end = phys.checked_add(len)?;
    if end > 1 << 40 {
        return None;
    }
    let _guard = LOCK.lock();
    for page in phys >> 12..end.div_ceil(4096) {
        if !set(DEVICE_BASE + (page << 12), 0, page << 12 | P | W | GLOBAL | NX | CACHE_OFF) {
            return None;
        }
    }
    Some(DEVICE_BASE + phys)
}

/// Maps one page of a kernel stack.
pub fn map_stack_page(va: u64, pfn: u32) -> bool {
    let _guard = LOCK.lock();
    set(va, 0, u64::from(pfn) << 12 | P | W | GLOBAL | NX)
}

/// Removes the mapping of a stack page; the caller flushes it on every CPU before the page or the address is used again.
pub fn unmap_stack_page(va: u64) -> Option<u32> {
    let _guard = LOCK.lock();
    let e = slot(va, 0)?;
    // SAFETY: as in `slot`.
    let old = unsafe { core::ptr::replace(e, 0) };
    (old & P != 0).then_some(((old & ADDR) >> 12) as u32)
}
