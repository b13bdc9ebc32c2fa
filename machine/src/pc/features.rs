//! Protections and instructions that CPUID may offer, switched on in CR4.

use super::{usercopy, x86};
use core::sync::atomic::{AtomicU64, Ordering};

const UMIP: u64 = 1 << 11;
const FSGSBASE: u64 = 1 << 16;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;
const PGE: u64 = 1 << 7;

/// CR4 bits that every CPU gets.
static WANTED: AtomicU64 = AtomicU64::new(0);

/// Decides on the boot CPU; patches SMAP's instructions away where it is missing.
pub fn init() {
    let seven = x86::cpuid(7, 0);
    let mut bits = PGE;
    for (there, bit) in
        [(seven.ebx & 1, FSGSBASE), (seven.ebx & 1 << 7, SMEP), (seven.ebx & 1 << 20, SMAP), (seven.ecx & 1 << 2, UMIP)]
    {
        if there != 0 {
            bits |= bit;
        }
    }
    if bits & SMAP == 0 {
        usercopy::remove_smap();
    }
    WANTED.store(bits, Ordering::Release);
    init_cpu();
}

/// Sets the bits on this CPU.
pub fn init_cpu() {
    // SAFETY: each bit was listed by CPUID, and the kernel obeys what they enforce.
    unsafe { x86::write_cr4(x86::read_cr4() | WANTED.load(Ordering::Acquire)) };
    if has_tsc_aux() {
        // SAFETY: the register exists; RDTSCP and RDPID hand its value, the CPU's number, to programs.
        unsafe { x86::wrmsr(x86::MSR_TSC_AUX, u64::from(super::cpu::this().0)) };
    }
}

/// RDTSCP gives the CPU's number.
pub fn has_tsc_aux() -> bool {
    x86::cpuid(0x8000_0001, 0).edx & 1 << 27 != 0
}

/// Programs may use RDFSBASE and its kin.
pub fn has_fsgsbase() -> bool {
    WANTED.load(Ordering::Relaxed) & FSGSBASE != 0
}

/// The CPU is QEMU's emulation (TCG).
pub fn is_tcg() -> bool {
    let id = x86::cpuid(0x4000_0000, 0);
    x86::cpuid(1, 0).ecx & 1 << 31 != 0 && [id.ebx, id.ecx, id.edx] == [0x5447_4354, 0x4354_4743, 0x4743_5447]
}
