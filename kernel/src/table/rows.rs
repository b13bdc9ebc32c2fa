//! The rows, by number. A call that is not here returns ENOSYS.

use crate::table::Support::{Full, Partial};

crate::table::syscall_table! {}
