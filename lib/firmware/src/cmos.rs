//! The registers of the CMOS real-time clock.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_from_1970() {
        let binary = |r| decode(r, 4 | 2);
        assert_eq!(binary([0, 0, 0, 1, 1, 70]), Some(0));
        assert_eq!(binary([59, 59, 23, 31, 12, 99]), Some(946_684_799));
        assert_eq!(binary([0, 0, 0, 29, 2, 24]), Some(1_709_164_800));
        assert_eq!(binary([0, 0, 0, 1, 3, 24]), Some(1_709_251_200));
    }

    #[test]
    fn digits_and_the_afternoon_are_decoded() {
        // 26-11-21 20:35:15, as digits and in the twelve-hour form.
        let seconds = decode([15, 35, 20, 21, 11, 26], 6);
        assert_eq!(decode([0x15, 0x35, 0x20, 0x21, 0x11, 0x26], 2), seconds);
        assert_eq!(decode([0x15, 0x35, 0x88, 0x21, 0x11, 0x26], 0), seconds);
        assert_eq!(decode([0, 0, 12, 1, 1, 70], 4), Some(0));
    }

    #[test]
    fn nonsense_is_no_date() {
        for bad in [[0, 60, 0, 1, 1, 0], [0, 0, 24, 1, 1, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 13, 0], [255; 6]] {
            assert_eq!(decode(bad, 6), None, "{bad:?}");
        }
    }
}
