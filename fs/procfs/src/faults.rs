//! What becomes of faults of the kernel's own, in `/proc/sys/kernel`: limits and consequences of oopses and warnings, and the taint
//! (Linux `admin-guide/sysctl/kernel.rst`).

use crate::file::parse_number;
use crate::root::Entry;
use crate::sysctl::{admin_only, setting, switch};
use machine::oops;

/// `oops_limit`.
pub const OOPS_LIMIT: Entry = setting!("oops_limit", oops::OOPS_LIMIT);

/// `warn_limit`.
pub const WARN_LIMIT: Entry = setting!("warn_limit", oops::WARN_LIMIT);

/// `panic_on_oops`.
pub const PANIC_ON_OOPS: Entry = setting!("panic_on_oops", oops::PANIC_ON_OOPS);

/// `panic_on_warn`.
pub const PANIC_ON_WARN: Entry = switch!("panic_on_warn", oops::PANIC_ON_WARN);

/// `tainted`: what is written is added.
pub const TAINTED: Entry = Entry::setting(
    "tainted",
    |out| {
        out.dec(oops::taint()).ch('\n');
        Ok(())
    },
    |input| {
        admin_only()?;
        oops::add_taint(parse_number(input)?);
        Ok(())
    },
);
