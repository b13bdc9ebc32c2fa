//! RDSEED, RDRAND, and timing where the CPU has neither.

use super::x86;
use core::arch::asm;

fn hardware() -> Option<u64> {
    let has_seed = x86::cpuid(7, 0).ebx & 1 << 18 != 0;
    let has_rand = x86::cpuid(1, 0).ecx & 1 << 30 != 0;
    for _ in 0..16 {
        let (v, ok): (u64, u8);
        // SAFETY: CPUID lists the instruction that is executed.
        unsafe {
            if has_seed {
                asm!("rdseed {}", "setc {}", out(reg) v, out(reg_byte) ok, options(nomem, nostack));
            } else if has_rand {
                asm!("rdrand {}", "setc {}", out(reg) v, out(reg_byte) ok, options(nomem, nostack));
            } else {
                return None;
            }
        }
        if ok != 0 {
            return Some(v);
        }
    }
    None
}

/// Finalizer of SplitMix64: spreads timing bits over the word.
fn mix(mut v: u64) -> u64 {
    v = (v ^ v >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    v = (v ^ v >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ v >> 31
}

pub fn fill(buf: &mut [u8]) -> bool {
    let mut all = true;
    for part in buf.chunks_mut(8) {
        let word = hardware().unwrap_or_else(|| {
            all = false;
            mix(x86::rdtsc() ^ super::time::boot_wall_ns())
        });
        part.copy_from_slice(&(word ^ mix(x86::rdtsc())).to_le_bytes()[..part.len()]);
    }
    all
}
