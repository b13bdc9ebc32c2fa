//! `timens_offsets`: offsets of the clocks in the time namespace that a process's children will live in (time_namespaces(7)).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use alloc::sync::Arc;
use task::ns::TimeNamespace;
use task::ns::time::Offsets;
use vfs::ns::Namespace;
use vfs::{Cap, File};

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

/// Takes up to two lines of `CLOCK SECONDS NANOSECONDS`; the clock by name or number.
pub fn store(subject: &Subject, f: &File, input: &[u8]) -> Result<(), Errno> {
    if f.pos() != 0 || input.len() >= machine::PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    let text = core::str::from_utf8(input).map_err(|_| Errno::EINVAL)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut offsets = Offsets::default();
    let mut too_far = false;
    for line in text.split('\n').take(2) {
        let mut words = line.split_ascii_whitespace();
        let clock = words.next().ok_or(Errno::EINVAL)?;
        let sec: i64 = words.next().and_then(|w| w.parse().ok()).ok_or(Errno::EINVAL)?;
        let nsec: i64 = words.next().and_then(|w| w.parse().ok()).ok_or(Errno::EINVAL)?;
        if !(0..NSEC_PER_SEC).contains(&nsec) {
            return Err(Errno::EINVAL);
        }
        too_far |= !(-SECONDS_MAX..=SECONDS_MAX).contains(&sec);
        let value = Some(sec.saturating_mul(NSEC_PER_SEC).saturating_add(nsec));
        match clock {
            "monotonic" | "1" => offsets.monotonic = value,
            "boottime" | "7" => offsets.boottime = value,
            _ => return Err(Errno::EINVAL),
        }
    }
    let ns = namespace(subject)?;
    if !f.cred().capable_in(&ns.owner(), Cap::SysTime) {
        return Err(Errno::EPERM);
    }
    if too_far {
        return Err(Errno::ERANGE);
    }
    ns.set_offsets(offsets)
}
