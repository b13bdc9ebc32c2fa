//! Who makes a call, seen from below: the address space to copy from, the credentials, and what terminals need to know of
//! processes. `task` implements [`JobControl`]; this floor and the ones up to `task` only use it.

use crate::cred::Cred;
use crate::file::File;
use abi::Errno;
use alloc::sync::Arc;
use machine::sync::Once;
use mm::Mm;

/// What the sender of a signal says of itself (`siginfo_t` fields of kill-like signals).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSource {
    /// `si_code`.
    pub code: i32,
    /// Sending process, 0 for the kernel.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
}

/// What names a process for good, for those below the floor that knows what it is (pidfds over sockets).
pub type ProcessId = Arc<dyn core::any::Any + Send + Sync>;

/// The view a terminal (and SCM_CREDENTIALS, F_SETOWN) has of the calling process and of process groups.
pub trait JobControl: Sync {
    /// Thread id of the caller.
    fn tid(&self) -> i32;
    /// What names the caller's process for good.
    fn process_id(&self) -> Option<ProcessId> {
        None
    }
    /// Process id of the caller.
    fn pid(&self) -> i32;
    /// Process group of the caller.
    fn pgid(&self) -> i32;
    /// Session of the caller.
    fn sid(&self) -> i32;
    /// The caller leads its session.
    fn is_session_leader(&self) -> bool {
        self.sid() == self.pid()
    }
    /// Session that process group `pgid` belongs to, `None` if the group is empty.
    fn session_of_pgrp(&self, pgid: i32) -> Option<i32>;
    /// The caller's process group has no member with a parent outside it in the same session.
    fn is_orphaned_pgrp(&self) -> bool;
    /// The calling thread blocks or ignores `sig`.
    fn is_blocked_or_ignored(&self, sig: i32) -> bool;
    /// Sends `sig` to every process of the group.
    fn signal_pgrp(&self, pgid: i32, sig: i32, from: SignalSource) -> Result<(), Errno>;
    /// Out-of-band data came for an open file: its owner hears of it (SIGURG).
    fn urgent(&self, _file: &File) {}
    /// The controlling terminal of the caller's session.
    fn controlling_tty(&self) -> Option<Arc<dyn core::any::Any + Send + Sync>>;
    /// Gives the caller, who leads its session, a controlling terminal; or takes it away: from a leader for the whole session, from another
    /// process for itself and the children it will have.
    fn set_controlling_tty(&self, tty: Option<Arc<dyn core::any::Any + Send + Sync>>);
    /// The terminal of a session was hung up: the session has none any more and its leader hears of it (SIGHUP, SIGCONT), the group that had
    /// the foreground only when the leader ends.
    fn hang_up_session(&self, sid: i32, foreground: i32);
}

/// Passed to operations that act for a process: open and ioctl.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The address space its pointers refer to.
    pub mm: &'a Arc<Mm>,
    /// Its credentials.
    pub cred: &'a Arc<Cred>,
    /// Its process group and session.
    pub jobs: &'a dyn JobControl,
}

/// The kernel itself as a caller: no session, no terminal.
pub struct NoJobs;

impl JobControl for NoJobs {
    fn tid(&self) -> i32 {
        0
    }
    fn pid(&self) -> i32 {
        0
    }
    fn pgid(&self) -> i32 {
        0
    }
    fn sid(&self) -> i32 {
        0
    }
    fn is_session_leader(&self) -> bool {
        false
    }
    fn session_of_pgrp(&self, _pgid: i32) -> Option<i32> {
        None
    }
    fn is_orphaned_pgrp(&self) -> bool {
        true
    }
    fn is_blocked_or_ignored(&self, _sig: i32) -> bool {
        false
    }
    fn signal_pgrp(&self, _pgid: i32, _sig: i32, _from: SignalSource) -> Result<(), Errno> {
        Err(Errno::ESRCH)
    }
    fn controlling_tty(&self) -> Option<Arc<dyn core::any::Any + Send + Sync>> {
        None
    }
    fn set_controlling_tty(&self, _tty: Option<Arc<dyn core::any::Any + Send + Sync>>) {}
    fn hang_up_session(&self, _sid: i32, _foreground: i32) {}
}

static JOBS: Once<&'static dyn JobControl> = Once::new();

/// Installs the view of the *current* task that [`jobs`] gives; the first call counts.
pub fn install_jobs(jobs: &'static dyn JobControl) {
    let _ = JOBS.set(jobs);
}

/// Job control of the current task, for those who have no [`Caller`] (reads of terminals, signals from device input).
pub fn jobs() -> &'static dyn JobControl {
    JOBS.get().copied().unwrap_or(&NoJobs)
}
