//! What becomes of faults of the kernel's own, in `/proc/sys/kernel`: limits and consequences of oopses and warnings, and the taint
//! (Linux `admin-guide/sysctl/kernel.rst`).

use crate::file::parse_number;
use crate::root::Entry;
use crate::text::Text;
use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;
use machine::oops;
use vfs::Cap;

type Shown = Result<(), Errno>;

/// `oops_limit`.
pub const OOPS_LIMIT: Entry = Entry::write(
    "oops_limit",
    |out| number(out, oops::OOPS_LIMIT.load(Relaxed).into()),
    |input| {
        oops::OOPS_LIMIT.store(parse_number(input)?, Relaxed);
        Ok(())
    },
);

/// `warn_limit`.
pub const WARN_LIMIT: Entry = Entry::write(
    "warn_limit",
    |out| number(out, oops::WARN_LIMIT.load(Relaxed).into()),
    |input| {
        oops::WARN_LIMIT.store(parse_number(input)?, Relaxed);
        Ok(())
    },
);

/// `panic_on_oops`.
pub const PANIC_ON_OOPS: Entry = Entry::write(
    "panic_on_oops",
    |out| number(out, oops::PANIC_ON_OOPS.load(Relaxed).into()),
    |input| {
        oops::PANIC_ON_OOPS.store(parse_number(input)?, Relaxed);
        Ok(())
    },
);

/// `panic_on_warn`.
pub const PANIC_ON_WARN: Entry = Entry::write(
    "panic_on_warn",
    |out| number(out, oops::PANIC_ON_WARN.load(Relaxed).into()),
    |input| match parse_number::<i32>(input)? {
        on @ 0..=1 => {
            oops::PANIC_ON_WARN.store(on == 1, Relaxed);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    },
);

/// `tainted`: what is written is added.
pub const TAINTED: Entry = Entry::write(
    "tainted",
    |out| number(out, oops::taint() as i64),
    |input| {
        if !crate::current().is_some_and(|me| me.cred().capable(Cap::SysAdmin)) {
            return Err(Errno::EPERM);
        }
        oops::add_taint(parse_number(input)?);
        Ok(())
    },
);

fn number(out: &mut Text, value: i64) -> Shown {
    out.int(value).ch('\n');
    Ok(())
}
