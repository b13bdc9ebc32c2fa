//! /dev/kmsg: kernel messages, one record a read; what is written becomes a message (Linux's
//! Documentation/ABI/testing/dev-kmsg).

use abi::Errno;
use abi::fcntl::{OpenFlags, SEEK_DATA, SEEK_END, SEEK_SET};
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use klog::format::{Buf, kmsg_line};
use klog::{ARRIVED, DMESG_RESTRICT, DevKmsg};
use machine::log::{self, RateLimit};
use mm::{Dst, Src};
use vfs::{Caller, Cap, File, FileOps, PollEvents, PollTable};

/// Facility "user", in the bits above the level.
const USER: u32 = 1 << 3;
/// The longest record as text: each byte may become an escape.
const TEXT_MAX: usize = 4 * log::RECORD_MAX + 64;

struct Kmsg {
    /// Number of the next message to read.
    next: AtomicU64,
    /// What may be written through this file.
    limit: RateLimit,
}

/// Opens the device.
pub fn open(flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    if klog::devkmsg() == DevKmsg::Off {
        return Err(Errno::EPERM);
    }
    if flags.wants_read() && DMESG_RESTRICT.load(Relaxed) && !caller.cred.capable(Cap::Syslog) {
        return Err(Errno::EPERM);
    }
    Ok(Arc::new(Kmsg { next: AtomicU64::new(log::range().0), limit: RateLimit::new() }))
}

/// Splits the `<N>` that a message may begin with off: its priority, and the rest. User space cannot speak as the kernel
/// (facility 0).
fn split_priority(text: &[u8], default_level: u8) -> (u32, &[u8]) {
    let parsed = || {
        let rest = text.strip_prefix(b"<")?;
        let end = rest.iter().position(|&b| !b.is_ascii_digit())?;
        if rest.get(end) != Some(&b'>') {
            return None;
        }
        let digits = core::str::from_utf8(rest.get(..end)?).ok()?;
        let number = digits.bytes().fold(0u32, |n, d| n.wrapping_mul(10).wrapping_add(u32::from(d - b'0')));
        // The facility has eight bits.
        let facility = number & 0x7f8;
        Some((number & 7 | if facility == 0 { USER } else { facility }, rest.get(end + 1..)?))
    };
    parsed().unwrap_or((u32::from(default_level) | USER, text))
}

impl FileOps for Kmsg {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        let next = self.next.load(Relaxed);
        let ready = || (log::range().1 > next).then_some(());
        if ready().is_none() {
            if f.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            ARRIVED.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)?;
        }
        let mut text = [0; log::RECORD_MAX];
        let record = log::read(next, &mut text).ok_or(Errno::EAGAIN)?;
        if record.seq != next {
            // Messages were lost: say so once, and go on with the oldest.
            self.next.store(record.seq, Relaxed);
            return Err(Errno::EPIPE);
        }
        self.next.store(next + 1, Relaxed);
        let mut out = Buf::<TEXT_MAX>::new();
        kmsg_line(&record, text.get(..record.len).unwrap_or(&text), |part| out.push(part));
        if out.text().len() > dst.remaining() {
            return Err(Errno::EINVAL);
        }
        dst.put(out.text())
    }
    fn write_at(&self, _f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        let len = src.remaining();
        if len > log::RECORD_MAX {
            return Err(Errno::EINVAL);
        }
        let silent = match klog::devkmsg() {
            DevKmsg::On => false,
            DevKmsg::Off => true,
            DevKmsg::RateLimit => self.limit.pass().is_none(),
        };
        if silent {
            return Ok(len);
        }
        let mut buf = [0; log::RECORD_MAX];
        let n = src.get(buf.get_mut(..len).unwrap_or_default())?;
        // A message is a C string.
        let text = buf.get(..n).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
        let (priority, text) = split_priority(text, log::DEFAULT_LEVEL.load(Relaxed));
        log::write(priority, text.strip_suffix(b"\n").unwrap_or(text));
        Ok(len)
    }
    fn seek(&self, _f: &File, off: i64, whence: u32) -> Option<Result<u64, Errno>> {
        let (first, next) = log::range();
        let to = match (off, whence) {
            (0, SEEK_SET) => first,
            (0, SEEK_DATA) => klog::syslog::cleared().max(first),
            (0, SEEK_END) => next,
            (0, _) => return Some(Err(Errno::EINVAL)),
            _ => return Some(Err(Errno::ESPIPE)),
        };
        self.next.store(to, Relaxed);
        Some(Ok(0))
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&ARRIVED);
        let (first, next) = log::range();
        let mine = self.next.load(Relaxed);
        let mut events = PollEvents::WRITABLE;
        events.set(PollEvents::READABLE, mine < next);
        events.set(PollEvents::ERR | PollEvents::PRI, mine < first);
        events
    }
    fn pollable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn priorities_are_read_and_never_the_kernels_own() {
        for (text, expected) in [
            (&b"hi"[..], (12, &b"hi"[..])),
            (b"<3>hi", (11, b"hi")),
            (b"<30>hi", (30, b"hi")),
            (b"<x>hi", (12, b"<x>hi")),
            (b"<3", (12, b"<3")),
            (b"<>hi", (8, b"hi")),
            (b"<2051>hi", (11, b"hi")),
            (b"<4294967299>hi", (11, b"hi")),
        ] {
            assert_eq!(split_priority(text, 4), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_priority_of_user_space(text in proptest::collection::vec(proptest::sample::select(b"<>0189x\xff".to_vec()), 0..16)) {
            let (priority, rest) = split_priority(&text, 4);
            prop_assert!((USER..0x800).contains(&priority) && text.ends_with(rest));
        }
    }
}
