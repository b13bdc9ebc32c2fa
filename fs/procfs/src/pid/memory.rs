//! Files that show a process's own memory: `cmdline`, `environ`, `auxv`, `mem`.

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use machine::VirtAddr;
use mm::Mm;
use mm::io::{Dst, Src};
use vfs::{File, FileOps};

type Shown = Result<(), Errno>;

/// Most of a command line or environment that is shown at once.
const MAX: u64 = 2 << 20;
/// Bytes moved at once.
const CHUNK: usize = 4096;

/// Appends the memory between two addresses, up to the first page that cannot be read.
fn range(mm: &Mm, start: u64, end: u64, out: &mut Text) -> Shown {
    let end = end.min(start.saturating_add(MAX));
    let mut buf = Vec::new();
    buf.try_reserve_exact(CHUNK).map_err(|_| Errno::ENOMEM)?;
    buf.resize(CHUNK, 0);
    let mut at = start;
    while at < end {
        let want = (end - at).min(CHUNK as u64) as usize;
        let part = buf.get_mut(..want).unwrap_or_default();
        let got = mm.copy_in(VirtAddr(at), part);
        out.bytes(part.get(..got).unwrap_or_default());
        if got < want {
            break;
        }
        at += got as u64;
    }
    Ok(())
}

/// `cmdline`: the arguments, each ended by NUL; a program that overwrote the end of them (setproctitle) shows up to the first
/// NUL after it.
pub fn cmdline(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let Some(mm) = subject.task()?.mm() else { return Ok(()) };
    let layout = mm.layout();
    if layout.arg_end <= layout.arg_start {
        return Ok(());
    }
    let mut last = [1u8];
    mm.copy_in(VirtAddr(layout.arg_end - 1), &mut last);
    if last == [0] || layout.env_end < layout.env_start || layout.env_start != layout.arg_end {
        return range(&mm, layout.arg_start, layout.arg_end, out);
    }
    let mut whole = Text::new();
    range(&mm, layout.arg_start, layout.env_end, &mut whole)?;
    let whole = whole.finish()?;
    let len = whole.iter().position(|b| *b == 0).map_or(whole.len(), |nul| nul + 1);
    out.bytes(whole.get(..len).unwrap_or_default());
    Ok(())
}

/// `environ`.
pub fn environ(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let mm = subject.task()?.mm().ok_or(Errno::ESRCH)?;
    let layout = mm.layout();
    range(&mm, layout.env_start, layout.env_end, out)
}

/// `auxv`.
pub fn auxv(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    out.bytes(&subject.process()?.auxv());
    Ok(())
}

/// `mem`: the address space as a file, empty once nobody lives in it any more. Whoever may open it may do there what a tracer
/// may.
struct MemFile(Weak<Mm>);

/// Opens `mem`.
pub fn open_mem(subject: &Arc<Subject>, _: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    let mm = subject.task()?.mm().ok_or(Errno::ESRCH)?;
    Ok(Arc::new(MemFile(Arc::downgrade(&mm))))
}

impl MemFile {
    fn buffer() -> Result<Vec<u8>, Errno> {
        let mut buf = Vec::new();
        buf.try_reserve_exact(CHUNK).map_err(|_| Errno::ENOMEM)?;
        buf.resize(CHUNK, 0);
        Ok(buf)
    }
}

impl FileOps for MemFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let Some(mm) = self.0.upgrade() else { return Ok(0) };
        let mut buf = MemFile::buffer()?;
        let mut done = 0;
        while dst.remaining() > 0 {
            let part = buf.get_mut(..dst.remaining().min(CHUNK)).unwrap_or_default();
            let got = mm.read_forced(VirtAddr(off.saturating_add(done as u64)), part);
            if got == 0 {
                return if done == 0 { Err(Errno::EIO) } else { Ok(done) };
            }
            done += dst.put(part.get(..got).unwrap_or_default())?;
        }
        Ok(done)
    }
    fn write_at(&self, _: &File, src: &mut Src<'_>, off: u64) -> Result<usize, Errno> {
        let Some(mm) = self.0.upgrade() else { return Ok(0) };
        let mut buf = MemFile::buffer()?;
        let mut done = 0;
        while src.remaining() > 0 {
            let want = src.remaining().min(CHUNK);
            let n = src.get(buf.get_mut(..want).unwrap_or_default())?;
            let wrote = mm.write_forced(VirtAddr(off.saturating_add(done as u64)), buf.get(..n).unwrap_or_default());
            done += wrote;
            if wrote < n {
                return if done == 0 { Err(Errno::EIO) } else { Ok(done) };
            }
        }
        Ok(done)
    }
    fn seek(&self, f: &File, off: i64, whence: u32) -> Option<Result<u64, Errno>> {
        seek(f, off, whence)
    }
}

/// Seeking in a file that is as long as an address space.
pub fn seek(f: &File, off: i64, whence: u32) -> Option<Result<u64, Errno>> {
    // Addresses beyond the middle are negative offsets; the end is unknown.
    match whence {
        0 => Some(Ok(off as u64)),
        1 => Some(Ok(f.pos().wrapping_add(off as u64))),
        _ => Some(Err(Errno::EINVAL)),
    }
}
