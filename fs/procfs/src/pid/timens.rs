//! `timens_offsets`: offsets of the clocks in the time namespace that a process's children will live in (time_namespaces(7)).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use alloc::sync::Arc;
use task::ns::TimeNamespace;
use task::ns::time::Offsets;
use vfs::ns::Namespace;
use vfs::{Cap, File, number};

const NSEC_PER_SEC: i64 = 1_000_000_000;
/// The most seconds a clock can show.
const SECONDS_MAX: i64 = i64::MAX / NSEC_PER_SEC;

fn namespace(subject: &Subject) -> Result<Arc<TimeNamespace>, Errno> {
    Ok(subject.task()?.handles().ok_or(Errno::ESRCH)?.ns.time_for_children.clone())
}

fn seconds(value: i64) -> (i64, u64) {
    (value.div_euclid(NSEC_PER_SEC), value.rem_euclid(NSEC_PER_SEC) as u64)
}

/// Shows both offsets as seconds and nanoseconds.
pub fn show(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let ns = namespace(subject)?;
    for (clock, offset) in [("monotonic", ns.monotonic_ns()), ("boottime", ns.boottime_ns())] {
        let (sec, nsec) = seconds(offset);
        let sec = alloc::format!("{sec:>10}");
        out.left(clock, 10).ch(' ').str(&sec).ch(' ').dec_width(nsec, 9).ch('\n');
    }
    Ok(())
}

/// Offsets as they are written: up to two lines of `CLOCK SECONDS NANOSECONDS`, the clock by name or number.
#[derive(Default)]
struct Written {
    offsets: Offsets,
    /// A clock would show more seconds than it can.
    too_far: bool,
}

fn parse(text: &[u8]) -> Result<Written, Errno> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut written = Written::default();
    for line in text.split(|b| *b == b'\n').take(2) {
        let mut words = line.split(|b| number::is_space(*b)).filter(|word| !word.is_empty());
        let mut word = || words.next().ok_or(Errno::EINVAL);
        let (clock, sec, nsec) = (word()?, word()?, word()?);
        if sec.starts_with(b"+") {
            return Err(Errno::EINVAL);
        }
        let sec: i64 = number::signed(sec, 10).map_err(|_| Errno::EINVAL)?;
        // As by C's scanf, what follows the last number does not count.
        let nsec = number::leading(nsec, 10).and_then(|(nsec, _)| i64::try_from(nsec?).ok());
        let nsec = nsec.filter(|nsec| *nsec < NSEC_PER_SEC).ok_or(Errno::EINVAL)?;
        written.too_far |= !(-SECONDS_MAX..=SECONDS_MAX).contains(&sec);
        let value = Some(sec.saturating_mul(NSEC_PER_SEC).saturating_add(nsec));
        match clock {
            b"monotonic" | b"1" => written.offsets.monotonic = value,
            b"boottime" | b"7" => written.offsets.boottime = value,
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(written)
}

/// Takes offsets.
pub fn store(subject: &Subject, f: &File, input: &[u8]) -> Result<(), Errno> {
    if f.pos() != 0 || input.len() >= machine::PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    let written = parse(input)?;
    let ns = namespace(subject)?;
    if !f.cred().capable_in(&ns.owner(), Cap::SysTime) {
        return Err(Errno::EPERM);
    }
    if written.too_far {
        return Err(Errno::ERANGE);
    }
    ns.set_offsets(written.offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Result<(Option<i64>, Option<i64>, bool), Errno> {
        parse(text.as_bytes()).map(|w| (w.offsets.monotonic, w.offsets.boottime, w.too_far))
    }

    #[test]
    fn lines_name_a_clock_and_its_offset() {
        assert_eq!(written("monotonic 5 7\n7 -2 1x\n"), Ok((Some(5_000_000_007), Some(-1_999_999_999), false)));
        assert_eq!(written("1 9223372037 0"), Ok((Some(i64::MAX), None, true)));
        assert_eq!(written("1 1 0\n1 2 0\njunk"), Ok((Some(2_000_000_000), None, false)));
        for bad in ["", "\n", "1 1", "realtime 1 0", "1 +1 0", "1 1 -1", "1 1 1000000000", "1 1x 0", "\n1 1 0"] {
            assert_eq!(written(bad), Err(Errno::EINVAL), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_offsets_or_not(text in proptest::collection::vec(proptest::sample::select(b"179 \n-+\0\xff".to_vec()), 0..80)) {
            if let Err(e) = parse(&text) {
                prop_assert_eq!(e, Errno::EINVAL);
            }
        }

        #[test]
        fn what_is_written_is_kept(sec: i64, nsec in 0..NSEC_PER_SEC) {
            let exact = i128::from(sec) * i128::from(NSEC_PER_SEC) + i128::from(nsec);
            let (value, other, too_far) = written(&alloc::format!("monotonic {sec} {nsec}\n")).unwrap();
            prop_assert_eq!((too_far, other), (sec.unsigned_abs() > SECONDS_MAX as u64, None));
            if let Ok(exact) = i64::try_from(exact) {
                prop_assert_eq!(value, Some(exact));
            }
        }
    }
}
