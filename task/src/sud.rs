//! Syscall user dispatch: system calls made outside a range of code become SIGSYS, for programs that emulate another system.
//!
//! The state belongs to one thread, lives in its [`Cx`], and is gone in its children and after exec; `entry::SUD` is set while it
//! is on. Source: prctl(2), PR_SET_SYSCALL_USER_DISPATCH.

use crate::signal::deliver::force_exit;
use crate::signal::force;
use crate::{Cx, entry};
use abi::Errno;
use abi::prctl::{PR_SYS_DISPATCH_EXCLUSIVE_ON, PR_SYS_DISPATCH_INCLUSIVE_ON, PR_SYS_DISPATCH_OFF};
use abi::signal::{SigInfo, Signal, si};
use machine::{USER_MAX, VirtAddr};

/// The selector lets the call through.
const ALLOW: u8 = 0;
/// The selector turns the call into a signal.
const BLOCK: u8 = 1;

/// The range of code whose calls run, and the byte that can switch dispatching off. A range that wraps stands for all code but
/// the part it leaves out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sud {
    /// First address of the range.
    pub offset: u64,
    /// Its length.
    pub len: u64,
    /// Address of the selector byte, 0 for none.
    pub selector: u64,
}

impl Sud {
    /// Checks what prctl(2) or a tracer asks for; `None` switches dispatching off.
    pub fn parse(mode: u64, offset: u64, len: u64, selector: u64) -> Result<Option<Sud>, Errno> {
        let (offset, len) = match mode {
            PR_SYS_DISPATCH_OFF if offset | len | selector == 0 => return Ok(None),
            PR_SYS_DISPATCH_EXCLUSIVE_ON if offset == 0 || len != 0 && offset.checked_add(len).is_some() => {
                (offset, len)
            }
            PR_SYS_DISPATCH_INCLUSIVE_ON if len != 0 && offset.checked_add(len).is_some() => {
                (offset.wrapping_add(len), len.wrapping_neg())
            }
            _ => return Err(Errno::EINVAL),
        };
        if selector >= USER_MAX { Err(Errno::EFAULT) } else { Ok(Some(Sud { offset, len, selector })) }
    }
    fn allows(&self, rip: u64) -> bool {
        rip.wrapping_sub(self.offset) < self.len
    }
}

/// Installs a checked state in the calling thread.
pub fn set(cx: &mut Cx, new: Option<Sud>) {
    cx.sud = new.unwrap_or_default();
    if new.is_some() {
        cx.task.entry.set(entry::SUD);
    } else {
        cx.task.entry.clear(entry::SUD);
    }
}

/// Whether the call is taken away from the kernel: its thread has a signal instead, or dies.
pub(crate) fn takes(cx: &mut Cx) -> bool {
    let Sud { selector, .. } = cx.sud;
    let rip = cx.user.regs.rip;
    if cx.sud.allows(rip) {
        return false;
    }
    if selector != 0 {
        let mut state = [0u8];
        if cx.mm().read_bytes(VirtAddr(selector), &mut state).is_err() {
            force_exit(cx, Signal::SEGV);
            return true;
        }
        match state {
            [ALLOW] => return false,
            [BLOCK] => {}
            _ => {
                force_exit(cx, Signal::SYS);
                return true;
            }
        }
    }
    let number = cx.user.regs.orig_rax as i32;
    force(cx, Signal::SYS, &SigInfo::syscall(si::SYS_USER_DISPATCH, rip, number));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_in_both_modes() {
        let parse = |mode, offset, len| Sud::parse(mode, offset, len, 0);
        assert_eq!(parse(0, 0, 0), Ok(None));
        assert_eq!(parse(0, 1, 0), Err(Errno::EINVAL));
        assert_eq!(parse(1, 0, 0), Ok(Some(Sud::default())));
        assert_eq!(parse(1, 0, u64::MAX).unwrap().unwrap().len, u64::MAX);
        assert_eq!(parse(1, 8, 0), Err(Errno::EINVAL));
        assert_eq!(parse(1, 8, u64::MAX - 7), Err(Errno::EINVAL));
        assert_eq!(parse(2, 0, 0), Err(Errno::EINVAL));
        assert_eq!(parse(3, 0, 0), Err(Errno::EINVAL));
        assert_eq!(Sud::parse(1, 0, 0, u64::MAX), Err(Errno::EFAULT));
    }

    #[test]
    fn ranges_include_or_leave_out() {
        let outside = Sud::parse(1, 0x1000, 0x100, 0).unwrap().unwrap();
        assert!(outside.allows(0x1000) && outside.allows(0x10ff) && !outside.allows(0x1100) && !outside.allows(0xfff));
        let inside = Sud::parse(2, 0x1000, 0x100, 0).unwrap().unwrap();
        assert!(!inside.allows(0x1000) && !inside.allows(0x10ff) && inside.allows(0x1100) && inside.allows(0xfff));
        assert_eq!((inside.offset, inside.len), (0x1100, 0x100u64.wrapping_neg()));
    }
}
