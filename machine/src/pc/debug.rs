//! DR0 to DR7.

use crate::debug::{COUNT, Registers};
use core::arch::asm;

/// What the reserved bits of DR6 read as when nothing has happened.
const DR6_CLEAR: u64 = 0xffff_0ff0;
/// DR7's bit that is always one.
const DR7_ONE: u64 = 0x400;

/// Loads breakpoints; none strikes while they change.
pub fn load(set: &Registers) {
    let (addresses, control): (&[u64; COUNT], u64) = set.raw();
    // SAFETY: `Registers` names user memory only and never the bit that guards the registers themselves, so the traps that these
    // cause are those of user code, or come from copies of user memory, which `debug_trap` passes over.
    unsafe {
        asm!("mov dr7, {}", in(reg) DR7_ONE, options(nostack, preserves_flags));
        if control != 0 {
            asm!(
                "mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", "mov dr7, {}",
                in(reg) addresses[0], in(reg) addresses[1], in(reg) addresses[2], in(reg) addresses[3],
                in(reg) control | DR7_ONE,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Reads why the last debug exception came (bits that are one say so) and clears it.
pub fn take_status() -> u64 {
    let status: u64;
    // SAFETY: DR6 only reports.
    unsafe {
        asm!("mov {}, dr6", out(reg) status, options(nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) DR6_CLEAR, options(nostack, preserves_flags));
    }
    status ^ DR6_CLEAR
}
