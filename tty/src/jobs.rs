//! Job control: which process group may use the terminal now, how a session gets and loses it (POSIX.1-2017 section
//! 11.1; credentials(7), tty_ioctl(4)).
//!
//! The terminal's record is the truth: a process's controlling terminal counts only while the terminal names the
//! process's session.

use crate::tty::Tty;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use vfs::{Cap, Cred, JobControl, SignalSource};

pub(crate) const SIGHUP: i32 = 1;
pub(crate) const SIGCONT: i32 = 18;
pub(crate) const SIGTTIN: i32 = 21;
pub(crate) const SIGTTOU: i32 = 22;
pub(crate) const SIGWINCH: i32 = 28;
/// `SI_KERNEL`: nobody in particular sent it.
pub(crate) const FROM_KERNEL: SignalSource = SignalSource { code: 0x80, pid: 0, uid: 0 };

impl Tty {
    /// It is the caller's controlling terminal.
    pub(crate) fn is_controlling(&self, jobs: &dyn JobControl) -> bool {
        let session = self.session();
        session != 0 && session == jobs.sid() && jobs.controlling_tty().is_some_and(|t| self.is_same(&t))
    }

    fn is_same(&self, other: &Arc<dyn Any + Send + Sync>) -> bool {
        other.downcast_ref::<Tty>().is_some_and(|t| core::ptr::eq(t, self))
    }

    /// A background process that uses its terminal gets `sig` (and tries again), or EIO where it cannot be stopped.
    pub(crate) fn check_background(&self, sig: i32) -> Result<(), Errno> {
        let foreground = self.foreground();
        if foreground == 0 {
            return Ok(());
        }
        let jobs = vfs::jobs();
        if foreground == jobs.pgid() || !self.is_controlling(jobs) {
            return Ok(());
        }
        if jobs.is_blocked_or_ignored(sig) {
            return if sig == SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
        }
        if jobs.is_orphaned_pgrp() {
            return Err(Errno::EIO);
        }
        jobs.signal_pgrp(jobs.pgid(), sig, FROM_KERNEL)?;
        Err(Errno::ERESTARTSYS)
    }

    /// Opening without O_NOCTTY: a session leader without a terminal gets this one if it is free.
    pub(crate) fn adopt_on_open(self: &Arc<Tty>) {
        let jobs = vfs::jobs();
        if jobs.is_session_leader() && jobs.controlling_tty().is_none() && self.session() == 0 {
            self.give_to(jobs);
        }
    }

    fn give_to(self: &Arc<Tty>, jobs: &dyn JobControl) {
        let mut s = self.state.lock();
        s.session = jobs.sid();
        s.pgrp = jobs.pgid();
        drop(s);
        jobs.set_controlling_tty(Some(self.clone()));
    }

    /// TIOCSCTTY.
    pub(crate) fn set_controlling(
        self: &Arc<Tty>,
        readable: bool,
        steal: bool,
        jobs: &dyn JobControl,
        cred: &Cred,
    ) -> Result<(), Errno> {
        let session = self.session();
        if jobs.is_session_leader() && session == jobs.sid() {
            return Ok(());
        }
        if !jobs.is_session_leader() || jobs.controlling_tty().is_some() {
            return Err(Errno::EPERM);
        }
        let admin = cred.capable(Cap::SysAdmin);
        if session != 0 && !(steal && admin) || !readable && !admin {
            return Err(Errno::EPERM);
        }
        self.give_to(jobs);
        Ok(())
    }

    /// TIOCNOTTY: the caller gives its terminal up; a leader for its whole session.
    pub(crate) fn give_up(&self, jobs: &dyn JobControl) -> Result<(), Errno> {
        if !self.is_controlling(jobs) {
            return Err(Errno::ENOTTY);
        }
        if jobs.is_session_leader() {
            let foreground = self.detach_session();
            for sig in [SIGHUP, SIGCONT] {
                // The group may be empty by now.
                let _ = jobs.signal_pgrp(foreground, sig, FROM_KERNEL);
            }
        }
        jobs.set_controlling_tty(None);
        Ok(())
    }

    /// The terminal controls no session any more; gives the foreground group it had.
    fn detach_session(&self) -> i32 {
        let mut s = self.state.lock();
        s.session = 0;
        core::mem::take(&mut s.pgrp)
    }

    /// TIOCGPGRP and TIOCGSID: `own` when asked through the terminal itself, not through the pty master.
    pub(crate) fn foreground_for(&self, own: bool, jobs: &dyn JobControl) -> Result<i32, Errno> {
        if own && !self.is_controlling(jobs) { Err(Errno::ENOTTY) } else { Ok(self.foreground()) }
    }

    /// TIOCGSID.
    pub(crate) fn session_for(&self, own: bool, jobs: &dyn JobControl) -> Result<i32, Errno> {
        match self.session() {
            0 => Err(Errno::ENOTTY),
            _ if own && !self.is_controlling(jobs) => Err(Errno::ENOTTY),
            sid => Ok(sid),
        }
    }

    /// TIOCSPGRP.
    pub(crate) fn set_foreground(
        &self,
        jobs: &dyn JobControl,
        pgrp: impl FnOnce() -> Result<i32, Errno>,
    ) -> Result<(), Errno> {
        self.check_background(SIGTTOU).map_err(|e| if e == Errno::EIO { Errno::ENOTTY } else { e })?;
        let pgrp = pgrp()?;
        if pgrp < 0 {
            return Err(Errno::EINVAL);
        }
        if !self.is_controlling(jobs) {
            return Err(Errno::ENOTTY);
        }
        match jobs.session_of_pgrp(pgrp) {
            None => Err(Errno::ESRCH),
            Some(sid) if sid != jobs.sid() => Err(Errno::EPERM),
            Some(_) => {
                self.state.lock().pgrp = pgrp;
                Ok(())
            }
        }
    }
}

/// A session leader exits: its controlling terminal, as kept by `task`, is freed, and hung up if it is not a pty's. Returns the foreground
/// group, which the caller tells of it.
pub fn leader_exits(tty: &Arc<dyn Any + Send + Sync>) -> Option<i32> {
    let tty = tty.downcast_ref::<Tty>()?;
    let foreground = tty.detach_session();
    if !tty.is_pty() {
        tty.hangup();
    }
    Some(foreground).filter(|&pgrp| pgrp != 0)
}

/// What `/proc/PID/stat` says of a controlling terminal: its device number and foreground group.
pub fn describe(tty: &Arc<dyn Any + Send + Sync>) -> Option<(u32, i32)> {
    tty.downcast_ref::<Tty>().map(|t| (t.dev(), t.foreground()))
}
