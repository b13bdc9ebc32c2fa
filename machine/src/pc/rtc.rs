//! The CMOS real-time clock: wall-clock time at boot.

use super::x86;

fn cmos(reg: u8) -> u8 {
    // SAFETY: index and data port of the CMOS; bit 7 keeps NMIs off while it is read.
    unsafe {
        x86::outb(0x70, 0x80 | reg);
        x86::inb(0x71)
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since 1970 from the clock's registers: seconds, minutes, hours, day, month, year; `b` is status register B.
pub fn decode(mut r: [u8; 6], b: u8) -> Option<u64> {
    let afternoon = r[2] & 0x80 != 0;
    r[2] &= 0x7f;
    if b & 4 == 0 {
        r = r.map(|v| (v >> 4) * 10 + (v & 15));
    }
    if b & 2 == 0 {
        r[2] = r[2] % 12 + if afternoon { 12 } else { 0 };
    }
    let [s, m, h, day, month, year] = r.map(i64::from);
    if s > 60 || m > 59 || h > 23 || !(1..=31).contains(&day) || !(1..=12).contains(&month) || year > 99 {
        return None;
    }
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    u64::try_from(days(year, month, day) * 86400 + h * 3600 + m * 60 + s).ok()
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
            return decode(first, cmos(0x0b)).map_or(0, |s| s * 1_000_000_000);
        }
    }
    0
}
