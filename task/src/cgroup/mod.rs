//! Control groups, version 2: the one tree of groups, who is in which, and the controllers.
//!
//! - [`tree`] is a group and the shape of the hierarchy, [`kinds`] the rules of threaded groups and of enabling controllers;
//! - [`member`] puts tasks into groups at fork and takes them out at exit, [`attach`] moves them;
//! - [`freezer`], [`kill`], [`pids`], [`cpu`] and [`usage`] act on the members; [`notice`] tells the files of a group that they changed.
//!
//! A task knows its group; a group knows only how many threads it has. Who they are is found by looking through the process
//! table, which only listings, freezing and killing do: fork and exit in the root group touch no shared memory here.
//! The file system is a crate above (`fs/cgroup`); it hangs a [`Directory`] on each group.
//!
//! Lock order:
//! ```text
//! task::tree::TREE                  whoever looks through processes, and fork when the child appears
//!   HIERARCHY                       shape, counts and states of all groups
//!     Process::sig, Task::seat, Cgroup::children (leaves)
//! ```
//! Notices are sent when all of these are let go.
//!
//! Sources: cgroups(7), Linux `Documentation/admin-guide/cgroup-v2.rst`.

pub mod attach;
pub mod cpu;
pub mod freezer;
pub mod kill;
pub mod kinds;
pub mod member;
pub mod notice;
pub mod pids;
pub mod tree;
pub mod usage;

#[cfg(test)]
mod tests;

pub(crate) use member::{Joined, Reservation, Seat};
pub use notice::{Directory, Notice};
pub use tree::{Cgroup, Controllers, root};

use alloc::sync::Arc;
use machine::sync::Once;
use vfs::File;

/// Finds the group that an open directory stands for.
pub type OfFile = fn(&File) -> Option<Arc<Cgroup>>;

static OF_FILE: Once<OfFile> = Once::new();

/// Installs the file system's part in CLONE_INTO_CGROUP.
pub fn set_of_file(f: OfFile) {
    let _ = OF_FILE.set(f);
}

/// The root of the calling thread's cgroup namespace.
pub fn seen_from() -> Arc<Cgroup> {
    crate::ns::current().map_or_else(|| root().clone(), |ns| ns.cgroup.root().clone())
}

/// The group whose directory is open as `file`, if it is one.
pub fn of_file(file: &File) -> Option<Arc<Cgroup>> {
    (OF_FILE.get()?)(file)
}
