//! The local APIC, through model-specific registers (x2APIC) where there are any, else through its page.

use super::{cpu, features, paging, traps, x86};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ID: u32 = 0x02;
const TPR: u32 = 0x08;
const EOI: u32 = 0x0b;
const SPURIOUS: u32 = 0x0f;
const ICR: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const LVT_LINT0: u32 = 0x35;
const LVT_LINT1: u32 = 0x36;
const LVT_ERROR: u32 = 0x37;
const TIMER_INITIAL: u32 = 0x38;
const TIMER_CURRENT: u32 = 0x39;
const TIMER_DIVIDE: u32 = 0x3e;
const MSR_X2APIC: u32 = 0x800;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_1: u32 = 0x0b;

static X2: AtomicBool = AtomicBool::new(false);
/// Address of the register page when not in x2APIC mode.
static PAGE: AtomicU64 = AtomicU64::new(0);

fn read(reg: u32) -> u32 {
    // SAFETY: `init_cpu` has set the mode and mapped the page.
    unsafe {
        if X2.load(Ordering::Relaxed) {
            x86::rdmsr(MSR_X2APIC + reg) as u32
        } else {
            x86::mmio_read32(PAGE.load(Ordering::Relaxed) + u64::from(reg) * 16)
        }
    }
}

fn write(reg: u32, v: u32) {
    // SAFETY: as in `read`; this module is the only user of the APIC.
    unsafe {
        if X2.load(Ordering::Relaxed) {
            x86::wrmsr(MSR_X2APIC + reg, u64::from(v));
        } else {
            x86::mmio_write32(PAGE.load(Ordering::Relaxed) + u64::from(reg) * 16, v);
        }
    }
}

/// Chooses the mode; boot CPU, once. False when the register page cannot be mapped.
pub fn init() -> bool {
    // QEMU's emulator stops at an RDMSR that reads its clock while it counts instructions ("Bad icount read"), so there the
    // page serves; x2APIC ids above 254 do not occur there.
    // SAFETY: every x86-64 CPU has this register.
    let on_already = unsafe { x86::rdmsr(x86::MSR_APIC_BASE) } & 0x400 != 0;
    if on_already || x86::cpuid(1, 0).ecx & 1 << 21 != 0 && !features::is_tcg() {
        X2.store(true, Ordering::Release);
        return true;
    }
    // SAFETY: every x86-64 CPU has this register.
    let base = unsafe { x86::rdmsr(x86::MSR_APIC_BASE) } & 0xf_ffff_f000;
    match paging::map_device(base, 4096) {
        Some(va) => {
            PAGE.store(va, Ordering::Release);
            true
        }
        None => false,
    }
}

/// Switches this CPU's APIC on.
pub fn init_cpu() {
    // SAFETY: sets the enable bits, at the address the APIC already has.
    unsafe {
        let mode = if X2.load(Ordering::Relaxed) { 0xc00 } else { 0x800 };
        x86::wrmsr(x86::MSR_APIC_BASE, x86::rdmsr(x86::MSR_APIC_BASE) | mode);
    }
    write(TPR, 0);
    write(LVT_LINT0, MASKED);
    write(LVT_LINT1, MASKED);
    write(LVT_ERROR, MASKED);
    write(LVT_TIMER, MASKED | u32::from(traps::VECTOR_TIMER));
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(SPURIOUS, 0x100 | u32::from(traps::VECTOR_SPURIOUS));
    cpu::current().apic_id.store(id(), Ordering::Release);
}

/// This CPU's APIC id.
pub fn id() -> u32 {
    if X2.load(Ordering::Relaxed) { read(ID) } else { read(ID) >> 24 }
}

/// Acknowledges the interrupt being handled.
#[inline]
pub fn eoi() {
    write(EOI, 0);
}

fn command(target: u32, low: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: as in `write`. Earlier stores must be visible to the target: WRMSR to the x2APIC does not order them.
        unsafe {
            core::arch::asm!("mfence", options(nostack, preserves_flags));
            x86::wrmsr(MSR_X2APIC + ICR, u64::from(target) << 32 | u64::from(low));
        }
        return;
    }
    let irq = crate::cpu::IrqOff::new();
    write(ICR_HIGH, target << 24);
    write(ICR, low);
    for _ in 0..100_000 {
        if read(ICR) & 1 << 12 == 0 {
            break;
        }
        core::hint::spin_loop();
    }
    drop(irq);
}

/// Interrupts the CPU with this APIC id.
pub fn send_ipi(target: u32, vector: u8) {
    command(target, 0x4000 | u32::from(vector));
}

/// INIT.
pub fn send_init(target: u32) {
    command(target, 0x4500);
}

/// Start at physical page `page`.
pub fn send_startup(target: u32, page: u8) {
    command(target, 0x4600 | u32::from(page));
}

/// Starts the count-down of this CPU's timer; 0 stops it.
#[inline]
pub fn timer_start(count: u32) {
    write(TIMER_INITIAL, count);
}

/// What is left of the count-down.
pub fn timer_left() -> u32 {
    read(TIMER_CURRENT)
}

/// Lets the timer interrupt, by count-down or by TSC deadline.
pub fn timer_enable(tsc_deadline: bool) {
    let mode = if tsc_deadline { 2 << 17 } else { 0 };
    write(LVT_TIMER, u32::from(traps::VECTOR_TIMER) | mode);
    // SAFETY: a fence; orders the mode before the first deadline write, as the manual asks.
    unsafe { core::arch::asm!("mfence", options(nostack, preserves_flags)) };
}

/// Sets the TSC deadline of this CPU; 0 stops it.
#[inline]
pub fn tsc_deadline(at: u64) {
    // SAFETY: called only where CPUID lists the deadline timer.
    unsafe { x86::wrmsr(MSR_TSC_DEADLINE, at) };
}
