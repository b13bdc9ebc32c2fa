//! Texts written to control files.

use abi::Errno;

/// The text without the white space around it.
pub fn strip(input: &[u8]) -> Result<&str, Errno> {
    let text = input.split(|b| *b == 0).next().unwrap_or_default();
    core::str::from_utf8(text)
        .map(|t| t.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b'))
        .map_err(|_| Errno::EINVAL)
}

/// A number in C's notation (decimal, `0x`, leading `0` for octal) with an optional sign: EINVAL if it is none, ERANGE if it is
/// too big for `i64`.
pub fn number(text: &str) -> Result<i64, Errno> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..).unwrap_or_default()),
        [b'0', _, ..] => (8, digits.get(1..).unwrap_or_default()),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return Err(Errno::EINVAL);
    }
    let value = i64::from_str_radix(digits, radix).map_err(|_| Errno::ERANGE)?;
    Ok(if negative { -value } else { value })
}

/// A number that fits in an `int`.
pub fn int(text: &str) -> Result<i32, Errno> {
    i32::try_from(number(text)?).map_err(|_| Errno::ERANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, value) in [
            ("0", Ok(0)),
            ("10", Ok(10)),
            ("-3", Ok(-3)),
            ("+7", Ok(7)),
            ("0x1f", Ok(31)),
            ("010", Ok(8)),
            ("", Err(Errno::EINVAL)),
            ("1 2", Err(Errno::EINVAL)),
            ("0x", Err(Errno::EINVAL)),
            ("--1", Err(Errno::EINVAL)),
            ("9223372036854775808", Err(Errno::ERANGE)),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
        assert_eq!(int("2147483648"), Err(Errno::ERANGE));
        assert_eq!(strip(b" \tmax\n"), Ok("max"));
    }
}
