//! Which actions are told to the kernel log, and the telling.

use crate::Cx;
use abi::Errno;
use abi::seccomp::action;
use abi::signal::AUDIT_ARCH_X86_64;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Names of the actions by priority, as the files below `/proc/sys/kernel/seccomp` show them.
pub const NAMES: [(&str, u32); 8] = [
    ("kill_process", action::KILL_PROCESS),
    ("kill_thread", action::KILL_THREAD),
    ("trap", action::TRAP),
    ("errno", action::ERRNO),
    ("user_notif", action::USER_NOTIF),
    ("trace", action::TRACE),
    ("log", action::LOG),
    ("allow", action::ALLOW),
];

/// One bit for each of [`NAMES`].
static LOGGED: AtomicU32 = AtomicU32::new(0x7f);

/// The bit of an action; what is no action kills the process.
fn bit_of(what: u32) -> u32 {
    NAMES.iter().position(|(_, a)| *a == what).map_or(1, |i| 1 << i)
}

/// Names of the logged actions.
pub fn logged() -> impl Iterator<Item = &'static str> {
    let set = LOGGED.load(Relaxed);
    NAMES.iter().enumerate().filter(move |(i, _)| set >> i & 1 != 0).map(|(_, (name, _))| *name)
}

/// Sets the logged actions from their names; EINVAL for an unknown one and for `allow`.
pub fn set_logged(text: &[u8]) -> Result<(), Errno> {
    let words = text.split(|b| b.is_ascii_whitespace() || *b == 0).filter(|w| !w.is_empty());
    let mut set = 0;
    for word in words {
        let at = NAMES.iter().position(|(name, a)| name.as_bytes() == word && *a != action::ALLOW);
        set |= 1 << at.ok_or(Errno::EINVAL)?;
    }
    LOGGED.store(set, Relaxed);
    Ok(())
}

/// Tells of a call that was not simply allowed. `signal`: what it brings, 0 for none; `requested`: its filter wants that.
pub(super) fn tell(cx: &Cx, what: u32, signal: u8, requested: bool) {
    /// One line in this time is enough.
    const GAP_NS: u64 = 10_000_000;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let always = matches!(what, action::LOG | action::KILL_THREAD | action::KILL_PROCESS);
    if what == action::ALLOW || !(always || requested) || LOGGED.load(Relaxed) & bit_of(what) == 0 {
        return;
    }
    let now = sched::now();
    if now.saturating_sub(LAST.swap(now, Relaxed)) < GAP_NS {
        return;
    }
    let (cred, regs, name) = (cx.cred(), &cx.user.regs, cx.task.comm());
    let name = core::str::from_utf8(&name).unwrap_or("?").trim_end_matches('\0');
    machine::kinfo!(
        "seccomp: uid={} gid={} pid={} comm=\"{name}\" sig={signal} arch={AUDIT_ARCH_X86_64:x} syscall={} ip={:#x} code={what:#x}",
        cred.uid,
        cred.gid,
        cx.task.tid(),
        regs.orig_rax as i32,
        regs.rip,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn logged_actions_are_set_by_name() {
        assert_eq!(logged().count(), 7);
        assert_eq!(set_logged(b"trap allow"), Err(Errno::EINVAL));
        assert_eq!(set_logged(b"trap trapp"), Err(Errno::EINVAL));
        set_logged(b" trace\tkill_thread\n").unwrap();
        assert_eq!(logged().collect::<Vec<_>>(), ["kill_thread", "trace"]);
        set_logged(b"").unwrap();
        assert_eq!(logged().count(), 0);
    }
}
