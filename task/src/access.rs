//! Who may look into another task or take hold of it: ptrace(2), "Ptrace access mode checking".

use crate::process::Process;
use crate::{Cx, Task, yama};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use vfs::{Cap, Cred};

/// What is wanted of the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// To read what it does not show to everybody.
    Read,
    /// To change it.
    Attach,
}

/// Which ids of the caller count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Creds {
    /// Those for files: the access goes through /proc.
    Fs,
    /// The real ones.
    Real,
}

/// `dumpable` of a process whose memory its owner may see.
const DUMPABLE_USER: u8 = 1;

/// Whether the calling thread may; EPERM when not.
pub fn may_access(cx: &Cx, target: &Task, mode: Mode, creds: Creds) -> Result<(), Errno> {
    check(cx.process(), cx.cred(), target, mode, creds)
}

/// Whether a thread of `me` with credentials `cred` may.
pub fn check(me: &Arc<Process>, cred: &Cred, target: &Task, mode: Mode, creds: Creds) -> Result<(), Errno> {
    if Arc::ptr_eq(me, target.process()) {
        return Ok(());
    }
    let theirs = target.cred();
    let (uid, gid) = if creds == Creds::Fs { (cred.fsuid, cred.fsgid) } else { (cred.uid, cred.gid) };
    let same = [theirs.euid, theirs.suid, theirs.uid].iter().all(|id| *id == uid)
        && [theirs.egid, theirs.sgid, theirs.gid].iter().all(|id| *id == gid);
    let has_cap = cred.capable_in(&theirs.user_ns, Cap::SysPtrace);
    // Without an address space there is nothing left that could be hidden.
    let open = target.process().dumpable.load(Relaxed) == DUMPABLE_USER
        || target.mm().is_none()
        || cred.capable_in(&target.process().program_ns(), Cap::SysPtrace);
    let caps = if creds == Creds::Fs { cred.cap_effective } else { cred.cap_permitted };
    let no_more_rights = cred.user_ns == theirs.user_ns && theirs.cap_permitted.0 & !caps.0 == 0;
    if !(same || has_cap) || !open || !(no_more_rights || has_cap) {
        return Err(Errno::EPERM);
    }
    if mode == Mode::Attach { yama::check(me, cred, target) } else { Ok(()) }
}
