//! Telling the files of a group that what they say has changed. Collected under the locks, sent without them.

use super::tree::Cgroup;
use abi::Errno;
use alloc::sync::Arc;
use smallvec::SmallVec;
use vfs::Cred;

/// Which file changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// `cgroup.events`.
    Events,
    /// `pids.events`.
    PidsEvents,
    /// `pids.events.local`.
    PidsEventsLocal,
}

/// A group's directory in the file system.
pub trait Directory: Send + Sync {
    /// Whether these credentials may write the group's `cgroup.procs`.
    fn may_move(&self, cred: &Cred) -> Result<(), Errno>;
    /// A file has something new to say.
    fn changed(&self, what: Notice);
}

/// Changes still to be told.
#[must_use]
pub(super) struct Changes(SmallVec<[(Arc<Cgroup>, Notice); 2]>);

impl Changes {
    pub fn new() -> Changes {
        Changes(SmallVec::new())
    }
    /// One more, once.
    pub fn add(&mut self, group: &Arc<Cgroup>, what: Notice) {
        if !self.0.iter().any(|(g, w)| g.id() == group.id() && *w == what) {
            self.0.push((group.clone(), what));
        }
    }
    /// Tells all.
    pub fn announce(self) {
        for (group, what) in self.0 {
            if let Some(directory) = group.directory() {
                directory.changed(what);
            }
        }
    }
}
