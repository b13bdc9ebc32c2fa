//! Whole numbers as text that user space gives the kernel: parameters of mounts, control files, files in /proc.
//!
//! The notation is C's: a radix, or 0 for "by prefix" (`0x`, a leading `0`, else decimal). A text ends with its first NUL, and one newline at the
//! end is allowed, as in Linux's `kstrtoull` family (Linux `Documentation/core-api/kernel-api.rst`, "String Conversions").

use abi::Errno;

/// The digits a text begins with: their value, `None` if it has more than 64 bits, and what follows. `None` if there are none.
pub fn leading(text: &[u8], radix: u32) -> Option<(Option<u64>, &[u8])> {
    let (digits, radix) = match (radix, text) {
        (0, [b'0', b'x' | b'X', rest @ ..]) if rest.first().is_some_and(u8::is_ascii_hexdigit) => (rest, 16),
        (16, [b'0', b'x' | b'X', rest @ ..]) => (rest, 16),
        (0, [b'0', ..]) => (text, 8),
        (0, _) => (text, 10),
        _ => (text, radix),
    };
    let value = |b: &u8| char::from(*b).to_digit(radix);
    let end = digits.iter().position(|b| value(b).is_none()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
    let add = |sum: u64, b| sum.checked_mul(radix.into())?.checked_add(value(b)?.into());
    Some((digits.iter().try_fold(0, add), rest))
}

fn magnitude(text: &[u8], radix: u32) -> Result<u64, Errno> {
    let (value, rest) = leading(text, radix).ok_or(Errno::EINVAL)?;
    let value = value.ok_or(Errno::ERANGE)?;
    if matches!(rest, b"" | b"\n") { Ok(value) } else { Err(Errno::EINVAL) }
}

fn as_c(text: &[u8]) -> &[u8] {
    text.split(|b| *b == 0).next().unwrap_or_default()
}

/// A number without a minus sign. EINVAL if the text is none, ERANGE if it is too big.
pub fn unsigned<T: TryFrom<u64>>(text: &[u8], radix: u32) -> Result<T, Errno> {
    let text = as_c(text);
    let value = magnitude(text.strip_prefix(b"+").unwrap_or(text), radix)?;
    T::try_from(value).map_err(|_| Errno::ERANGE)
}

/// A number. EINVAL if the text is none, ERANGE if it is too big or too small.
pub fn signed<T: TryFrom<i64>>(text: &[u8], radix: u32) -> Result<T, Errno> {
    let text = as_c(text);
    let value = match text.strip_prefix(b"-") {
        Some(rest) => 0i64.checked_sub_unsigned(magnitude(rest, radix)?).ok_or(Errno::ERANGE)?,
        None => unsigned(text, radix)?,
    };
    T::try_from(value).map_err(|_| Errno::ERANGE)
}

/// A text without the white space around it, as Linux's `strstrip` leaves it.
pub fn strip(text: &[u8]) -> &[u8] {
    let text = as_c(text);
    let is_text = |b: &u8| !is_space(*b);
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// White space of C's locale.
pub fn is_space(b: u8) -> bool {
    b.is_ascii_whitespace() || b == 0x0b
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_notation_is_c_s() {
        for (text, value) in [
            ("0", Ok(0)),
            ("-3\n", Ok(-3)),
            ("+7", Ok(7)),
            ("0x1f", Ok(31)),
            ("010", Ok(8)),
            ("5\0junk", Ok(5)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("", Err(Errno::EINVAL)),
            ("08", Err(Errno::EINVAL)),
            ("0x", Err(Errno::EINVAL)),
            ("1 ", Err(Errno::EINVAL)),
            ("1\n\n", Err(Errno::EINVAL)),
            ("--1", Err(Errno::EINVAL)),
            ("-+1", Err(Errno::EINVAL)),
            ("9223372036854775808", Err(Errno::ERANGE)),
            ("99999999999999999999x", Err(Errno::ERANGE)),
        ] {
            assert_eq!(signed(text.as_bytes(), 0), value, "{text}");
        }
        assert_eq!(signed::<i32>(b"2147483648", 0), Err(Errno::ERANGE));
        assert_eq!((unsigned::<u32>(b"-0", 0), unsigned::<u32>(b"0755", 8)), (Err(Errno::EINVAL), Ok(493)));
        assert_eq!((unsigned::<u64>(b"0x", 16), unsigned::<u64>(b"0xf", 10)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        assert_eq!((strip(b" \t\x0bmax\n"), strip(b"  ")), (&b"max"[..], &b""[..]));
    }

    fn near_numbers() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(b"0123456789abfxX+-\n \0\xff".to_vec()), 0..24)
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_number_or_not(text in near_numbers(), radix in proptest::sample::select(alloc::vec![0, 8, 10, 16])) {
            let wide = signed::<i64>(&text, radix);
            // What was read is what it says: written anew it is the same number.
            if let Ok(n) = wide {
                prop_assert_eq!(signed::<i64>(n.to_string().as_bytes(), 10), Ok(n));
            }
            // Narrower types take the same numbers as far as they fit, and refuse the same texts.
            let narrow = wide.and_then(|n| i32::try_from(n).map_err(|_| Errno::ERANGE));
            prop_assert_eq!(signed::<i32>(&text, radix), narrow);
            if let Ok(n) = unsigned::<u64>(&text, radix) {
                prop_assert_eq!(wide, i64::try_from(n).map_err(|_| Errno::ERANGE));
            }
            if let Some((_, rest)) = leading(&text, radix) {
                prop_assert!(text.ends_with(rest) && rest.len() < text.len());
            }
        }

        #[test]
        fn every_number_is_read_back(n in any::<i64>()) {
            prop_assert_eq!(signed(n.to_string().as_bytes(), 10), Ok(n));
            prop_assert_eq!(unsigned(alloc::format!("{:#x}", n as u64).as_bytes(), 0), Ok(n as u64));
            prop_assert_eq!(unsigned(alloc::format!("0{:o}\n", n as u64).as_bytes(), 0), Ok(n as u64));
        }
    }
}
