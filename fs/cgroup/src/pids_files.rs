//! Files of the pids controller.

use crate::file::Opened;
use crate::parse;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use task::cgroup::Cgroup;
use task::cgroup::pids::MAX;

type Done = Result<(), Errno>;

/// Limits from here on are out of range: the most numbers 64-bit Linux can give out, and one.
const TOO_MANY: i64 = 4 * 1024 * 1024 + 1;

/// A line with one number.
pub fn line(out: &mut String, value: u64) -> Done {
    writeln!(out, "{value}").map_err(|_| Errno::ENOMEM)
}

/// `pids.max`.
pub fn max(group: &Arc<Cgroup>, out: &mut String) -> Done {
    match group.pids_max() {
        MAX => out.push_str("max\n"),
        limit => line(out, limit)?,
    }
    Ok(())
}

/// Writing `pids.max`.
pub fn set_max(file: &Opened, input: &[u8]) -> Done {
    let limit = match parse::strip(input)? {
        "max" => MAX,
        _ => match parse::number(input)? {
            limit @ 0..TOO_MANY => limit as u64,
            _ => return Err(Errno::EINVAL),
        },
    };
    file.group().set_pids_max(limit);
    Ok(())
}

/// `pids.current`.
pub fn current(group: &Arc<Cgroup>, out: &mut String) -> Done {
    line(out, group.pids_current())
}

/// `pids.peak`.
pub fn peak(group: &Arc<Cgroup>, out: &mut String) -> Done {
    line(out, group.pids_peak())
}

/// `pids.events`.
pub fn events(group: &Arc<Cgroup>, out: &mut String) -> Done {
    out.push_str("max ");
    line(out, group.pids_events(false))
}

/// `pids.events.local`.
pub fn events_local(group: &Arc<Cgroup>, out: &mut String) -> Done {
    out.push_str("max ");
    line(out, group.pids_events(true))
}
