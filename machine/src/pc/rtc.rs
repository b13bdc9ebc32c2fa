//! The CMOS real-time clock: wall-clock time at boot.

use super::x86;

fn cmos(reg: u8) -> u8 {
    // SAFETY: index and data port of the CMOS; bit 7 keeps NMIs off while it is read.
    unsafe {
        x86::outb(0x70, 0x80 | reg);
        x86::inb(0x71)
    }
}

/// Nanoseconds since 1970 now, 0 when there is no clock.
pub fn read_ns() -> u64 {
    let registers = || [0, 2, 4, 7, 8, 9].map(cmos);
    for _ in 0..4 {
        if cmos(0x0a) & 0x80 != 0 {
            continue;
        }
        let first = registers();
        if first == registers() {
            return firmware::cmos::decode(first, cmos(0x0b)).map_or(0, |s| s * 1_000_000_000);
        }
    }
    0
}
