//! The kernel log: syslog(2).

use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;
use klog::DMESG_RESTRICT;
use klog::syslog as log;
use machine::VirtAddr;
use task::Cx;
use vfs::Cap;

/// The actions, as the manual numbers them.
mod action {
    pub const CLOSE: i32 = 0;
    pub const OPEN: i32 = 1;
    pub const READ: i32 = 2;
    pub const READ_ALL: i32 = 3;
    pub const READ_CLEAR: i32 = 4;
    pub const CLEAR: i32 = 5;
    pub const CONSOLE_OFF: i32 = 6;
    pub const CONSOLE_ON: i32 = 7;
    pub const CONSOLE_LEVEL: i32 = 8;
    pub const SIZE_UNREAD: i32 = 9;
    pub const SIZE_BUFFER: i32 = 10;
}

/// syslog(2).
pub fn syslog(cx: &mut Cx, kind: i32, buf: VirtAddr, len: i32) -> Result<usize, Errno> {
    let open = !DMESG_RESTRICT.load(Relaxed) && matches!(kind, action::READ_ALL | action::SIZE_BUFFER);
    if !open && !cx.cred().capable(Cap::Syslog) {
        return Err(Errno::EPERM);
    }
    match kind {
        action::CLOSE | action::OPEN => Ok(0),
        action::READ | action::READ_ALL | action::READ_CLEAR => {
            let size = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
            if buf.0 == 0 {
                return Err(Errno::EINVAL);
            }
            if size == 0 {
                return Ok(0);
            }
            if !mm::io::access_ok(buf, size) {
                return Err(Errno::EFAULT);
            }
            let mut at = buf;
            let put = |text: &[u8]| {
                cx.mm().write_bytes(at, text)?;
                at = VirtAddr(at.0.wrapping_add(text.len() as u64));
                Ok(())
            };
            if kind == action::READ {
                log::read(size, put)
            } else {
                log::read_all(size, kind == action::READ_CLEAR, put)
            }
        }
        action::CLEAR => {
            log::clear();
            Ok(0)
        }
        action::CONSOLE_OFF => {
            log::console_off();
            Ok(0)
        }
        action::CONSOLE_ON => {
            log::console_on();
            Ok(0)
        }
        action::CONSOLE_LEVEL => {
            let level = u8::try_from(len).ok().filter(|l| (1..=8).contains(l)).ok_or(Errno::EINVAL)?;
            log::set_level(level);
            Ok(0)
        }
        action::SIZE_UNREAD => log::unread(),
        action::SIZE_BUFFER => Ok(log::SIZE),
        _ => Err(Errno::EINVAL),
    }
}
