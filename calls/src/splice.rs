//! Moving data between descriptors inside the kernel (sendfile(2), copy_file_range(2), splice(2), vmsplice(2)).
//!
//! All of it goes through one bounce buffer: read a piece, write it, and give back to the source what the target did not take. A pipe
//! is waited for once; after that the call moves what is there and fits.

use crate::io::{fsize, readable, writable, written};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::uio::{Iov, MAX_RW_COUNT};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mm::io::{Dst, Src, import_iov};
use mm::user::UserPtr;
use pipe::{Pipe, PipeEnd};
use task::Cx;
use vfs::file::MAX_OFFSET;
use vfs::{File, FileType};

/// Size of the bounce buffer.
const PIECE: usize = 16 << 10;

/// One end of a transfer: a file, the offset to use or its own position, and the pipe it is.
struct End {
    file: Arc<File>,
    off: Option<u64>,
    pipe: Option<Arc<Pipe>>,
}

impl End {
    fn new(file: Arc<File>, off: Option<u64>) -> End {
        let pipe = pipe_of(&file);
        End { file, off, pipe }
    }
    fn read(&mut self, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        let mut dst = Dst::kernel(buf);
        match (&self.pipe, &mut self.off) {
            (Some(pipe), _) => pipe.read(&mut dst, nonblock),
            (None, None) => self.file.read(&mut dst),
            (None, Some(off)) => {
                let n = self.file.pread(&mut dst, *off)?;
                *off += n as u64;
                Ok(n)
            }
        }
    }
    fn write(&mut self, bytes: &[u8], limit: u64) -> Result<usize, Errno> {
        let mut src = Src::kernel(bytes);
        match &mut self.off {
            None => self.file.write(&mut src, limit),
            Some(off) => {
                let n = self.file.pwrite(&mut src, *off, limit)?;
                *off += n as u64;
                Ok(n)
            }
        }
    }
    /// Takes back what was read and could not be written. A socket cannot: what it gave is gone.
    fn unread(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        match (&self.pipe, &mut self.off) {
            (Some(pipe), _) => pipe.unread(bytes),
            (None, Some(off)) => {
                *off -= bytes.len() as u64;
                Ok(())
            }
            (None, None) => {
                if self.file.is_seekable() {
                    self.file.set_pos(self.file.pos().saturating_sub(bytes.len() as u64));
                }
                Ok(())
            }
        }
    }
}

/// What can be passed on at once, at most `want`: pipes are waited for, the source first, and the target takes what it has
/// room for.
fn prepare(from: &End, to: &End, want: usize, nonblock: bool) -> Result<usize, Errno> {
    if let Some(pipe) = &from.pipe {
        pipe.wait_readable(nonblock)?;
    }
    let Some(pipe) = &to.pipe else { return Ok(want) };
    pipe.wait_writable(nonblock)?;
    if pipe.readers() == 0 { Err(Errno::EPIPE) } else { Ok(want.min(pipe.room())) }
}

/// Moves up to `count` bytes. `nonblock`: does not wait for pipes; once something was moved, nothing waits for them.
fn transfer(cx: &Cx, from: &mut End, to: &mut End, count: usize, nonblock: bool) -> Result<usize, Errno> {
    let limit = fsize(cx);
    let mut buf = Vec::new();
    buf.try_reserve_exact(count.min(PIECE)).map_err(|_| Errno::ENOMEM)?;
    buf.resize(count.min(PIECE), 0u8);
    // A stream gives what it has; asking again could wait.
    let once = from.pipe.is_none() && !from.file.is_seekable();
    let mut done = 0;
    while done < count {
        let nonblock = nonblock || done > 0;
        let read = prepare(from, to, buf.len().min(count - done), nonblock)
            .and_then(|want| from.read(buf.get_mut(..want).unwrap_or_default(), nonblock));
        let got = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(_) if done > 0 => break,
            Err(e) => return written(cx, Err(e)),
        };
        let mut put = 0;
        let mut failed = None;
        while put < got {
            match to.write(buf.get(put..got).unwrap_or_default(), limit) {
                Ok(0) => break,
                Ok(n) => put += n,
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        done += put;
        if put < got {
            from.unread(buf.get(put..got).unwrap_or_default())?;
        }
        match failed {
            Some(e) if done == 0 => return written(cx, Err(e)),
            _ if put < got || once => break,
            _ => {}
        }
        sched::cond_resched();
        if sched::with_current(|thread| thread.interrupted()) {
            break;
        }
    }
    Ok(done)
}

/// Reads an optional offset argument, which may be negative.
fn offset_in(cx: &Cx, off: UserPtr<i64>) -> Result<Option<i64>, Errno> {
    off.non_null().map(|ptr| ptr.read(cx.mm())).transpose()
}

/// An offset to start at.
fn start(off: Option<i64>) -> Result<Option<u64>, Errno> {
    off.map(|off| u64::try_from(off).map_err(|_| Errno::EINVAL)).transpose()
}

fn offset_out(cx: &Cx, ptr: UserPtr<i64>, end: &End) -> Result<(), Errno> {
    match end.off {
        Some(off) => ptr.write(cx.mm(), &(off as i64)),
        None => Ok(()),
    }
}

/// What cannot be a source (directories; eventfds and their like), and counts that are negative as Linux sees them.
fn source(file: &File, count: usize) -> Result<(), Errno> {
    let refused =
        file.path().dentry.kind() == FileType::Directory || file.is_anonymous() || isize::try_from(count).is_err();
    if refused { Err(Errno::EINVAL) } else { Ok(()) }
}

/// sendfile(2). The offset is written back whatever the result.
pub fn sendfile(cx: &mut Cx, out: i32, input: i32, off: UserPtr<i64>, count: usize) -> Result<usize, Errno> {
    let mut at = offset_in(cx, off)?;
    let result = send(cx, out, input, &mut at, count);
    match at {
        Some(at) => off.write(cx.mm(), &at).and(result),
        None => result,
    }
}

fn send(cx: &Cx, out: i32, input: i32, at: &mut Option<i64>, count: usize) -> Result<usize, Errno> {
    let input = readable(cx, input)?;
    if at.is_some() && !input.is_seekable() {
        return Err(Errno::ESPIPE);
    }
    let mut from = End::new(input, start(*at)?);
    let mut to = End::new(writable(cx, out)?, None);
    // A stream goes into pipes only, and what is in a pipe goes nowhere this way.
    let refused = match to.pipe {
        Some(_) => from.pipe.is_some(),
        None => !from.file.is_seekable() || to.file.flags().contains(OpenFlags::APPEND),
    };
    if refused {
        return Err(Errno::EINVAL);
    }
    source(&from.file, count)?;
    let nonblock = to.file.is_nonblocking();
    let result = transfer(cx, &mut from, &mut to, count.min(MAX_RW_COUNT), nonblock);
    *at = from.off.map(|off| off as i64);
    result
}

/// copy_file_range(2).
pub fn copy_file_range(
    cx: &mut Cx,
    input: i32,
    off_in: UserPtr<i64>,
    out: i32,
    off_out: UserPtr<i64>,
    len: usize,
    flags: u32,
) -> Result<usize, Errno> {
    let (from, to) = (cx.files().get(input)?, cx.files().get(out)?);
    let (start_in, start_out) = (offset_in(cx, off_in)?, offset_in(cx, off_out)?);
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let kinds = [&from, &to].map(|f| f.path().dentry.kind());
    if kinds.contains(&FileType::Directory) {
        return Err(Errno::EISDIR);
    }
    if kinds != [FileType::Regular; 2] {
        return Err(Errno::EINVAL);
    }
    if !from.is_readable() || !to.is_writable() || to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let (a, b) = (start_in.unwrap_or(from.pos() as i64), start_out.unwrap_or(to.pos() as i64));
    if [a, b].iter().any(|at| (*at as u64).checked_add(len as u64).is_none()) {
        return Err(Errno::EOVERFLOW);
    }
    let (Ok(a), Ok(b)) = (u64::try_from(a), u64::try_from(b)) else { return Err(Errno::EINVAL) };
    let n = (len.min(MAX_RW_COUNT) as u64).min(from.inode().size().saturating_sub(a));
    if b + n > MAX_OFFSET {
        return Err(Errno::EFBIG);
    }
    if Arc::ptr_eq(from.inode(), to.inode()) && a < b + n && b < a + n && n > 0 {
        return Err(Errno::EINVAL);
    }
    // Two instances cannot copy among themselves (since Linux 5.19), but for overlays, which do it by what lies below.
    let [source, target] = [&from, &to].map(|f| f.inode().sb());
    if !Arc::ptr_eq(source, target) && [source.fs_name(), target.fs_name()] != ["overlay"; 2] {
        return Err(Errno::EXDEV);
    }
    let mut from = End::new(from, start_in.map(|_| a));
    let mut to = End::new(to, start_out.map(|_| b));
    let result = transfer(cx, &mut from, &mut to, n as usize, false);
    offset_out(cx, off_in, &from)?;
    offset_out(cx, off_out, &to)?;
    result
}

fn pipe_of(file: &File) -> Option<Arc<Pipe>> {
    file.ops_as::<PipeEnd>().map(|end| end.pipe().clone())
}

/// `SPLICE_F_*` that change nothing here (MOVE, MORE, GIFT) and NONBLOCK.
pub(crate) const SPLICE_FLAGS: u32 = 15;
pub(crate) const SPLICE_F_NONBLOCK: u32 = 2;

/// splice(2). One end at least is a pipe.
pub fn splice(
    cx: &mut Cx,
    input: i32,
    off_in: UserPtr<i64>,
    out: i32,
    off_out: UserPtr<i64>,
    len: usize,
    flags: u32,
) -> Result<usize, Errno> {
    if len == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (cx.files().get(input)?, cx.files().get(out)?);
    let (pipe_in, pipe_out) = (pipe_of(&from), pipe_of(&to));
    if pipe_in.is_some() && !off_in.is_null() || pipe_out.is_some() && !off_out.is_null() {
        return Err(Errno::ESPIPE);
    }
    let (start_out, start_in) = (offset_in(cx, off_out)?, offset_in(cx, off_in)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    let same = || pipe_in.as_ref().zip(pipe_out.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
    if pipe_in.is_none() && pipe_out.is_none() || same() {
        return Err(Errno::EINVAL);
    }
    if to.flags().contains(OpenFlags::APPEND) && pipe_out.is_none()
        || start_in.is_some() && !from.is_seekable()
        || start_out.is_some() && !to.is_seekable()
    {
        return Err(Errno::EINVAL);
    }
    let nonblock = flags & SPLICE_F_NONBLOCK != 0
        || pipe_in.is_some() && from.is_nonblocking()
        || pipe_out.is_some() && to.is_nonblocking();
    source(&from, len)?;
    let (mut from, mut to) = (End::new(from, start(start_in)?), End::new(to, start(start_out)?));
    let result = transfer(cx, &mut from, &mut to, len.min(MAX_RW_COUNT), nonblock);
    offset_out(cx, off_in, &from)?;
    offset_out(cx, off_out, &to)?;
    result
}

/// vmsplice(2): to a pipe the memory is copied (which `SPLICE_F_GIFT` allows), from a pipe it is read.
pub fn vmsplice(cx: &mut Cx, fd: i32, iov: UserPtr<Iov>, count: usize, flags: u32) -> Result<usize, Errno> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd)?;
    if !file.is_readable() && !file.is_writable() {
        return Err(Errno::EBADF);
    }
    let list = import_iov(cx.mm(), iov.addr(), count)?;
    if list.iter().all(|v| v.len == 0) {
        return Ok(0);
    }
    let pipe = pipe_of(&file).ok_or(Errno::EBADF)?;
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    if !file.is_writable() {
        return pipe.read(&mut Dst::user_iov(cx.mm(), &list), nonblock);
    }
    let mut src = Src::user_iov(cx.mm(), &list);
    // Waits for the first free slot at most.
    let n = pipe.wait_writable(nonblock).and_then(|()| pipe.write(&mut src, true, false));
    written(cx, n)
}
