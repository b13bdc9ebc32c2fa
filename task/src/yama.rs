//! Yama: an additional rule on who may take hold of a process with ptrace(2) (`/proc/sys/kernel/yama/ptrace_scope`, prctl(2) PR_SET_PTRACER; proc_sys_kernel(5)).
//!
//! The rule narrows [`crate::access`], never widens it. Who a process admits lies in the process and ends with it.

use crate::process::Process;
use crate::task::Task;
use abi::Errno;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use vfs::{Cap, Cred};

/// Everybody with the usual rights.
pub const SCOPE_CLASSIC: u8 = 0;
/// Ancestors, and whom the process admits.
pub const SCOPE_RELATIVES: u8 = 1;
/// Holders of CAP_SYS_PTRACE.
pub const SCOPE_CAPABLE: u8 = 2;
/// Nobody; this cannot be taken back.
pub const SCOPE_NOBODY: u8 = 3;

/// Classic, as distributions have it whose debuggers are to work without more ado.
static SCOPE: AtomicU8 = AtomicU8::new(SCOPE_CLASSIC);

/// The rule in force.
pub fn scope() -> u8 {
    SCOPE.load(Relaxed)
}

/// Changes the rule.
pub fn set_scope(to: u8) -> Result<(), Errno> {
    if to > SCOPE_NOBODY {
        return Err(Errno::EINVAL);
    }
    let last_word = |now| (now != SCOPE_NOBODY || to == SCOPE_NOBODY).then_some(to);
    SCOPE.fetch_update(Relaxed, Relaxed, last_word).map(drop).map_err(|_| Errno::EINVAL)
}

/// Whom a process admits besides its ancestors.
#[derive(Default, Clone)]
pub enum Admitted {
    /// Nobody.
    #[default]
    None,
    /// Everybody.
    All,
    /// This process and its descendants.
    Tree(Weak<Process>),
}

/// Whether a thread of `me` with credentials `cred` may take hold of `target`, which the usual rules allow.
pub fn check(me: &Arc<Process>, cred: &Cred, target: &Task) -> Result<(), Errno> {
    let allowed = match scope() {
        SCOPE_CLASSIC => true,
        SCOPE_RELATIVES => {
            let it = target.process();
            is_below(it, me) || admits(it, me) || cred.capable_in(&target.cred().user_ns, Cap::SysPtrace)
        }
        SCOPE_CAPABLE => cred.capable_in(&target.cred().user_ns, Cap::SysPtrace),
        _ => false,
    };
    if allowed { Ok(()) } else { Err(Errno::EPERM) }
}

fn admits(it: &Process, me: &Arc<Process>) -> bool {
    match it.admitted() {
        Admitted::None => false,
        Admitted::All => true,
        Admitted::Tree(root) => root.upgrade().is_some_and(|root| is_below(me, &root)),
    }
}

/// `child` is `parent` or a descendant of it.
fn is_below(child: &Arc<Process>, parent: &Arc<Process>) -> bool {
    let mut at = child.clone();
    while !Arc::ptr_eq(&at, parent) {
        let Some(up) = at.parent() else { return false };
        at = up;
    }
    true
}
