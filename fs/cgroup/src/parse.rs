//! Texts written to control files.

use abi::Errno;
use vfs::number;

/// The text without the white space around it.
pub fn strip(input: &[u8]) -> Result<&str, Errno> {
    core::str::from_utf8(number::strip(input)).map_err(|_| Errno::EINVAL)
}

/// A number by prefix: EINVAL if it is none, ERANGE if it is too big or too small.
pub fn number<T: TryFrom<i64>>(input: &[u8]) -> Result<T, Errno> {
    number::signed(number::strip(input), 0)
}

/// A number without a minus sign.
pub fn unsigned(input: &[u8]) -> Result<u64, Errno> {
    number::unsigned(number::strip(input), 0)
}

/// Quota and period of `cpu.max`: the first is `max` or a number, the second is left out where it is no number.
pub fn max(input: &[u8]) -> Result<(Option<u64>, Option<u64>), Errno> {
    let mut words = strip(input)?.split_ascii_whitespace();
    let quota = match words.next().ok_or(Errno::EINVAL)? {
        "max" => None,
        word => Some(leading(word).ok_or(Errno::EINVAL)?),
    };
    Ok((quota, words.next().and_then(leading)))
}

/// The decimal number that a word begins with, as C's scanf takes it.
fn leading(word: &str) -> Option<u64> {
    number::leading(word.as_bytes(), 10)?.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_read_without_the_white_space_around() {
        assert_eq!((strip(b" \tmax\n"), number(b" 0x10\n"), unsigned(b"-0")), (Ok("max"), Ok(16), Err(Errno::EINVAL)));
        assert_eq!(number::<i32>(b"2147483648"), Err(Errno::ERANGE));
    }

    #[test]
    fn the_second_number_of_cpu_max_may_be_missing_or_none() {
        assert_eq!(max(b"max\n"), Ok((None, None)));
        assert_eq!(max(b"max x"), Ok((None, None)));
        assert_eq!(max(b" 5000us 100000x"), Ok((Some(5000), Some(100_000))));
        for bad in [&b""[..], b"min 5", b"-1", b"99999999999999999999"] {
            assert_eq!(max(bad), Err(Errno::EINVAL));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(text in proptest::collection::vec(proptest::sample::select(b"0189xmax +-\n\0\xff".to_vec()), 0..24)) {
            for error in [strip(&text).err(), max(&text).err()].into_iter().flatten() {
                prop_assert_eq!(error, Errno::EINVAL);
            }
            let (wide, narrow) = (number::<i64>(&text), number::<i32>(&text));
            prop_assert_eq!(narrow, wide.and_then(|n| i32::try_from(n).map_err(|_| Errno::ERANGE)));
        }
    }
}
