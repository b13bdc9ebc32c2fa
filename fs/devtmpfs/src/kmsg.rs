//! /dev/kmsg: kernel messages, one record a read; what is written becomes a message (Linux's
//! Documentation/ABI/testing/dev-kmsg).

use abi::Errno;
use abi::fcntl::{OpenFlags, SEEK_DATA, SEEK_END, SEEK_SET};
use alloc::sync::Arc;
use core::any::Any;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::log;
use mm::{Dst, Src};
use sched::WaitQueue;
use vfs::{Caller, File, FileOps, PollEvents, PollTable};

/// Told of each message.
static ARRIVED: WaitQueue = WaitQueue::new();

/// The longest message that may be written.
const WRITE_MAX: usize = 992;
/// Level of messages written without one: warning.
const DEFAULT_LEVEL: u8 = 4;
/// Facility "user", in the bits above the level.
const USER: u8 = 1 << 3;

struct Kmsg {
    /// Number of the next message to read.
    next: AtomicU64,
}

/// Opens the device.
pub fn open(_flags: OpenFlags, _caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    log::set_listener(|| ARRIVED.wake_all());
    Ok(Arc::new(Kmsg { next: AtomicU64::new(log::range().0) }))
}

/// A record as text; what does not fit is cut.
struct Text {
    bytes: [u8; 4 * log::LINE_MAX + 64],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        for b in s.bytes() {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = b;
                self.len += 1;
            }
        }
        Ok(())
    }
}

impl Text {
    fn of(record: &log::Record, text: &[u8]) -> Text {
        let mut out = Text { bytes: [0; 4 * log::LINE_MAX + 64], len: 0 };
        let us = record.time_ns / 1000;
        // A `Text` takes everything.
        let _ = write!(out, "{},{},{},-;", record.level, record.seq, us);
        for &b in text {
            let _ = match b {
                b'\\' | 0..0x20 | 0x7f.. => write!(out, "\\x{b:02x}"),
                _ => out.write_char(char::from(b)),
            };
        }
        let _ = out.write_char('\n');
        out
    }
}

/// Bytes as text, what is not UTF-8 replaced.
struct Lossy<'a>(&'a [u8]);

impl core::fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.utf8_chunks().try_for_each(|c| {
            f.write_str(c.valid())?;
            if c.invalid().is_empty() { Ok(()) } else { f.write_char(char::REPLACEMENT_CHARACTER) }
        })
    }
}

/// Splits the `<N>` that a message may begin with off: its level and facility, and the rest.
fn split_level(text: &[u8]) -> (u8, &[u8]) {
    let parsed = || {
        let rest = text.strip_prefix(b"<")?;
        let end = rest.iter().position(|&b| b == b'>')?;
        let number: u32 = core::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
        let (level, facility) = ((number & 7) as u8, (number & 0xf8) as u8);
        // User space cannot speak as the kernel (facility 0).
        Some((level | if facility == 0 { USER } else { facility }, rest.get(end + 1..)?))
    };
    parsed().unwrap_or((DEFAULT_LEVEL | USER, text))
}

impl FileOps for Kmsg {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        let next = self.next.load(Ordering::Relaxed);
        let ready = || (log::range().1 > next).then_some(());
        if ready().is_none() {
            if f.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            ARRIVED.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)?;
        }
        let mut text = [0; log::LINE_MAX];
        let record = log::read(next, &mut text).ok_or(Errno::EAGAIN)?;
        if record.seq != next {
            // Messages were lost: say so once, and go on with the oldest.
            self.next.store(record.seq, Ordering::Relaxed);
            return Err(Errno::EPIPE);
        }
        let out = Text::of(&record, text.get(..record.len).unwrap_or(&text));
        if out.len > dst.remaining() {
            return Err(Errno::EINVAL);
        }
        let n = dst.put(out.bytes.get(..out.len).unwrap_or_default())?;
        self.next.store(next + 1, Ordering::Relaxed);
        Ok(n)
    }
    fn write_at(&self, _f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        let len = src.remaining();
        if len > WRITE_MAX {
            return Err(Errno::EINVAL);
        }
        let mut buf = [0; WRITE_MAX];
        let n = src.get(buf.get_mut(..len).unwrap_or_default())?;
        let text = buf.get(..n).unwrap_or_default();
        let (level, text) = split_level(text.strip_suffix(b"\n").unwrap_or(text));
        log::print(level, format_args!("{}", Lossy(text)));
        Ok(len)
    }
    fn seek(&self, _f: &File, off: i64, whence: u32) -> Option<Result<u64, Errno>> {
        let (first, next) = log::range();
        let to = match (off, whence) {
            (0, SEEK_SET | SEEK_DATA) => first,
            (0, SEEK_END) => next,
            (0, _) => return Some(Err(Errno::EINVAL)),
            _ => return Some(Err(Errno::ESPIPE)),
        };
        self.next.store(to, Ordering::Relaxed);
        Some(Ok(0))
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&ARRIVED);
        let (first, next) = log::range();
        let mine = self.next.load(Ordering::Relaxed);
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

    #[test]
    fn levels_are_read_and_never_the_kernels_own() {
        assert_eq!(split_level(b"hi"), (12, &b"hi"[..]));
        assert_eq!(split_level(b"<3>hi"), (11, &b"hi"[..]));
        assert_eq!(split_level(b"<30>hi"), (30, &b"hi"[..]));
        assert_eq!(split_level(b"<x>hi"), (12, &b"<x>hi"[..]));
        assert_eq!(split_level(b"<3"), (12, &b"<3"[..]));
    }

    #[test]
    fn records_are_one_line_with_escapes() {
        let record = log::Record { seq: 7, level: 6, time_ns: 5_000_000, len: 4 };
        let text = Text::of(&record, b"a\nb\\");
        assert_eq!(&text.bytes[..text.len], b"6,7,5000,-;a\\x0ab\\x5c\n");
    }
}
