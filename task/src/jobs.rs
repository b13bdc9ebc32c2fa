//! Sessions, process groups and terminals: what `vfs` and the terminal code ask of processes, and the end of a session.

use crate::pidfd::Identity;
use crate::process::Process;
use crate::signal::{send_group, send_process};
use crate::task::Task;
use crate::tree;
use abi::Errno;
use abi::signal::{SigInfo, Signal};
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::Ordering::Relaxed;
use machine::sync::Once;
use vfs::{File, JobControl, ProcessId, SignalSource};

/// The thread that runs now, if it belongs to a process.
pub fn current() -> Option<Arc<Task>> {
    sched::with_current_ext(|ext| {
        let ext: Arc<dyn Any + Send + Sync> = ext?.clone();
        ext.downcast::<Task>().ok()
    })
}

impl JobControl for Task {
    fn process_id(&self) -> Option<ProcessId> {
        let identity = Identity::of_process(self.process()).ok()?;
        Some(identity)
    }
    fn tid(&self) -> i32 {
        Task::tid(self)
    }
    fn pid(&self) -> i32 {
        Task::pid(self)
    }
    fn pgid(&self) -> i32 {
        self.process().group().pgid()
    }
    fn sid(&self) -> i32 {
        self.process().session().sid()
    }
    fn session_of_pgrp(&self, pgid: i32) -> Option<i32> {
        tree::find_group(pgid).map(|g| g.session().sid())
    }
    fn is_orphaned_pgrp(&self) -> bool {
        let group = self.process().group();
        tree::lock().is_orphaned(&group, None)
    }
    fn is_blocked_or_ignored(&self, sig: i32) -> bool {
        let Some(sig) = Signal::from_raw(sig) else { return false };
        self.blocked().has(sig) || self.process().sig().hand.get(sig).handler == abi::signal::SIG_IGN
    }
    fn signal_pgrp(&self, pgid: i32, sig: i32, from: SignalSource) -> Result<(), Errno> {
        signal_pgrp(pgid, sig, from)
    }
    fn urgent(&self, file: &File) {
        crate::sigio::tell_urgent(file);
    }
    fn controlling_tty(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        if self.process().left_tty.load(Relaxed) { None } else { self.process().session().tty() }
    }
    fn set_controlling_tty(&self, tty: Option<Arc<dyn Any + Send + Sync>>) {
        let leads = self.is_session_leader();
        if leads {
            drop(self.process().session().set_tty(tty));
        }
        self.process().left_tty.store(!leads, Relaxed);
    }
    fn hang_up_session(&self, sid: i32, foreground: i32) {
        hang_up_session(sid, foreground);
    }
}

fn signal_pgrp(pgid: i32, sig: i32, from: SignalSource) -> Result<(), Errno> {
    let sig = Signal::from_raw(sig).ok_or(Errno::EINVAL)?;
    let group = tree::find_group(pgid).ok_or(Errno::ESRCH)?;
    let info =
        if from.pid == 0 { SigInfo::kernel(sig) } else { SigInfo::user(sig, from.code, from.pid as u32, from.uid) };
    send_group(&group, sig, &info)
}

fn hang_up_session(sid: i32, foreground: i32) {
    let Some(leader) = tree::find_process(sid) else { return };
    let session = leader.session();
    if session.sid() != sid {
        return;
    }
    drop(session.set_tty(None));
    session.hung_up.store(foreground, Relaxed);
    for sig in [Signal::HUP, Signal::CONT] {
        // A leader that has ended needs no notice.
        let _ = send_process(&leader, sig, &SigInfo::kernel(sig));
    }
}

/// Job control of whatever thread runs now.
struct Current;

impl JobControl for Current {
    fn process_id(&self) -> Option<ProcessId> {
        current()?.process_id()
    }
    fn tid(&self) -> i32 {
        current().map_or(0, |t| t.tid())
    }
    fn pid(&self) -> i32 {
        current().map_or(0, |t| t.pid())
    }
    fn pgid(&self) -> i32 {
        current().map_or(0, |t| t.pgid())
    }
    fn sid(&self) -> i32 {
        current().map_or(0, |t| t.sid())
    }
    fn session_of_pgrp(&self, pgid: i32) -> Option<i32> {
        tree::find_group(pgid).map(|g| g.session().sid())
    }
    fn is_orphaned_pgrp(&self) -> bool {
        current().is_none_or(|t| t.is_orphaned_pgrp())
    }
    fn is_blocked_or_ignored(&self, sig: i32) -> bool {
        current().is_some_and(|t| t.is_blocked_or_ignored(sig))
    }
    fn signal_pgrp(&self, pgid: i32, sig: i32, from: SignalSource) -> Result<(), Errno> {
        signal_pgrp(pgid, sig, from)
    }
    fn urgent(&self, file: &File) {
        crate::sigio::tell_urgent(file);
    }
    fn controlling_tty(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        current().and_then(|t| t.controlling_tty())
    }
    fn set_controlling_tty(&self, tty: Option<Arc<dyn Any + Send + Sync>>) {
        if let Some(t) = current() {
            t.set_controlling_tty(tty);
        }
    }
    fn hang_up_session(&self, sid: i32, foreground: i32) {
        hang_up_session(sid, foreground);
    }
}

/// Gives `vfs` the view of the current task.
pub fn init() {
    vfs::install_jobs(&Current);
}

/// What a terminal does when the leader of its session ends; gives its foreground process group.
pub type TerminalEnds = fn(&Arc<dyn Any + Send + Sync>) -> Option<i32>;

static TERMINAL_ENDS: Once<TerminalEnds> = Once::new();

/// Installs the terminal code's part in the end of a session.
pub fn set_terminal_ends(f: TerminalEnds) {
    let _ = TERMINAL_ENDS.set(f);
}

/// The leader of a session ends: its terminal is let go and the foreground group gets SIGHUP; if the terminal was hung up before, the
/// group that had the foreground then gets SIGHUP and SIGCONT.
pub(crate) fn session_ends(leader: &Arc<Process>) {
    let session = leader.session();
    let before = session.hung_up.swap(0, Relaxed);
    let (foreground, signals): (_, &[Signal]) = match session.set_tty(None) {
        Some(tty) => (TERMINAL_ENDS.get().and_then(|f| f(&tty)), &[Signal::HUP]),
        None => (Some(before).filter(|group| *group != 0), &[Signal::HUP, Signal::CONT]),
    };
    if let Some(group) = foreground.and_then(tree::find_group) {
        for sig in signals.iter().copied() {
            // An empty group has nobody to tell.
            let _ = send_group(&group, sig, &SigInfo::kernel(sig));
        }
    }
}
