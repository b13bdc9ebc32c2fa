//! Sessions, process groups and terminals: what `vfs` and the terminal code ask of processes, and the end of a session.

use crate::pidfd::Identity;
use crate::process::Process;
use crate::signal::send_group;
use crate::task::Task;
use crate::tree;
use abi::Errno;
use abi::signal::{SigInfo, Signal};
use alloc::sync::Arc;
use core::any::Any;
use machine::sync::Once;
use vfs::{JobControl, ProcessId, SignalSource};

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
    fn controlling_tty(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.process().session().tty()
    }
    fn set_controlling_tty(&self, tty: Option<Arc<dyn Any + Send + Sync>>) {
        drop(self.process().session().set_tty(tty));
    }
}

fn signal_pgrp(pgid: i32, sig: i32, from: SignalSource) -> Result<(), Errno> {
    let sig = Signal::from_raw(sig).ok_or(Errno::EINVAL)?;
    let group = tree::find_group(pgid).ok_or(Errno::ESRCH)?;
    let info =
        if from.pid == 0 { SigInfo::kernel(sig) } else { SigInfo::user(sig, from.code, from.pid as u32, from.uid) };
    send_group(&group, sig, &info)
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
    fn controlling_tty(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        current().and_then(|t| t.controlling_tty())
    }
    fn set_controlling_tty(&self, tty: Option<Arc<dyn Any + Send + Sync>>) {
        if let Some(t) = current() {
            t.set_controlling_tty(tty);
        }
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

/// The leader of a session ends: its terminal is let go and the foreground group hangs up.
pub(crate) fn session_ends(leader: &Arc<Process>) {
    let Some(tty) = leader.session().set_tty(None) else { return };
    let foreground = TERMINAL_ENDS.get().and_then(|f| f(&tty));
    if let Some(group) = foreground.and_then(tree::find_group) {
        for sig in [Signal::HUP, Signal::CONT] {
            // An empty group has nobody to tell.
            let _ = send_group(&group, sig, &SigInfo::kernel(sig));
        }
    }
}
