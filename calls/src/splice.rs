//! Moving data between descriptors inside the kernel (sendfile(2), copy_file_range(2), splice(2), vmsplice(2)).
//!
//! All of it goes through one bounce buffer: read a piece, write it, and give back to the source what the target did not take.

use crate::io::{fsize, readable, writable, written};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::uio::{Iov, MAX_RW_COUNT};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mm::io::{Dst, Src, import_iov};
use mm::user::UserPtr;
use task::Cx;
use vfs::file::MAX_OFFSET;
use vfs::{File, FileType};

/// Size of the bounce buffer.
const PIECE: usize = 16 << 10;

/// One end of a transfer: a file and the offset to use, or its own position.
struct End {
    file: Arc<File>,
    off: Option<u64>,
}

impl End {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut dst = Dst::kernel(buf);
        match &mut self.off {
            None => self.file.read(&mut dst),
            Some(off) => {
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
    /// Gives `n` bytes back to something with positions; from a stream they are gone.
    fn unread(&mut self, n: usize) {
        match &mut self.off {
            Some(off) => *off -= n as u64,
            None if self.file.is_seekable() => self.file.set_pos(self.file.pos().saturating_sub(n as u64)),
            None => {}
        }
    }
}

fn transfer(cx: &Cx, from: &mut End, to: &mut End, count: usize) -> Result<usize, Errno> {
    let limit = fsize(cx);
    let mut buf = Vec::new();
    buf.try_reserve_exact(count.min(PIECE)).map_err(|_| Errno::ENOMEM)?;
    buf.resize(count.min(PIECE), 0u8);
    let from_stream = !from.file.is_seekable();
    let mut done = 0;
    while done < count {
        let want = buf.len().min(count - done);
        let got = match from.read(buf.get_mut(..want).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
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
        if put < got {
            from.unread(got - put);
        }
        done += put;
        match failed {
            Some(e) if done == 0 => return written(cx, Err(e)),
            Some(_) => break,
            None => {}
        }
        // A stream gives what it has; asking again could wait.
        if put < got || from_stream {
            break;
        }
        sched::cond_resched();
        if sched::with_current(|thread| thread.interrupted()) {
            break;
        }
    }
    Ok(done)
}

/// Reads an optional offset argument.
fn offset_in(cx: &Cx, off: UserPtr<i64>) -> Result<Option<u64>, Errno> {
    match off.non_null() {
        None => Ok(None),
        Some(ptr) => u64::try_from(ptr.read(cx.mm())?).map(Some).map_err(|_| Errno::EINVAL),
    }
}

fn offset_out(cx: &Cx, ptr: UserPtr<i64>, end: &End) -> Result<(), Errno> {
    match end.off {
        Some(off) => ptr.write(cx.mm(), &(off as i64)),
        None => Ok(()),
    }
}

/// sendfile(2).
pub fn sendfile(cx: &mut Cx, out: i32, input: i32, off: UserPtr<i64>, count: usize) -> Result<usize, Errno> {
    let start = offset_in(cx, off)?;
    let mut from = End { file: readable(cx, input)?, off: start };
    if !from.file.is_seekable() {
        return Err(if start.is_some() { Errno::ESPIPE } else { Errno::EINVAL });
    }
    let mut to = End { file: writable(cx, out)?, off: None };
    if to.file.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let result = transfer(cx, &mut from, &mut to, count.min(MAX_RW_COUNT));
    offset_out(cx, off, &from)?;
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
    for f in [&from, &to] {
        match f.path().dentry.kind() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    if !from.is_readable() || !to.is_writable() || to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let (a, b) = (start_in.unwrap_or(from.pos()), start_out.unwrap_or(to.pos()));
    let n = (len.min(MAX_RW_COUNT) as u64).min(from.inode().size().saturating_sub(a));
    if a.checked_add(n).is_none_or(|e| e > MAX_OFFSET) || b.checked_add(n).is_none_or(|e| e > MAX_OFFSET) {
        return Err(Errno::EOVERFLOW);
    }
    if Arc::ptr_eq(from.inode(), to.inode()) && a < b + n && b < a + n && n > 0 {
        return Err(Errno::EINVAL);
    }
    // Instances of different types cannot copy among themselves (since Linux 5.19).
    if from.inode().sb().fs_name() != to.inode().sb().fs_name() {
        return Err(Errno::EXDEV);
    }
    let mut from = End { file: from, off: start_in };
    let mut to = End { file: to, off: start_out };
    let result = transfer(cx, &mut from, &mut to, n as usize);
    offset_out(cx, off_in, &from)?;
    offset_out(cx, off_out, &to)?;
    result
}

fn is_pipe(file: &File) -> bool {
    file.path().dentry.kind() == FileType::Fifo
}

/// `SPLICE_F_*` that change nothing here (MOVE, MORE, GIFT) and NONBLOCK.
const SPLICE_FLAGS: u32 = 15;
const SPLICE_F_NONBLOCK: u32 = 2;

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
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (readable(cx, input)?, writable(cx, out)?);
    let (pipe_in, pipe_out) = (is_pipe(&from), is_pipe(&to));
    if pipe_in && !off_in.is_null() || pipe_out && !off_out.is_null() {
        return Err(Errno::ESPIPE);
    }
    if !pipe_in && !pipe_out || Arc::ptr_eq(from.inode(), to.inode()) {
        return Err(Errno::EINVAL);
    }
    if to.flags().contains(OpenFlags::APPEND) && !pipe_out {
        return Err(Errno::EINVAL);
    }
    if !off_in.is_null() && !from.is_seekable() || !off_out.is_null() && !to.is_seekable() {
        return Err(Errno::EINVAL);
    }
    if flags & SPLICE_F_NONBLOCK != 0 && !ready(&from, &to) {
        return Err(Errno::EAGAIN);
    }
    let mut from = End { file: from, off: offset_in(cx, off_in)? };
    let mut to = End { file: to, off: offset_in(cx, off_out)? };
    let result = transfer(cx, &mut from, &mut to, len.min(MAX_RW_COUNT));
    offset_out(cx, off_in, &from)?;
    offset_out(cx, off_out, &to)?;
    result
}

fn ready(from: &File, to: &File) -> bool {
    use vfs::{PollEvents, PollTable};
    let readable = from.ops().poll(from, &mut PollTable::none());
    let writable = to.ops().poll(to, &mut PollTable::none());
    readable.intersects(PollEvents::IN | PollEvents::HUP | PollEvents::ERR)
        && writable.intersects(PollEvents::OUT | PollEvents::ERR)
}

/// vmsplice(2): to a pipe the memory is copied (which `SPLICE_F_GIFT` allows), from a pipe it is read.
pub fn vmsplice(cx: &mut Cx, fd: i32, iov: UserPtr<Iov>, count: usize, flags: u32) -> Result<usize, Errno> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd)?;
    if !is_pipe(&file) {
        return Err(Errno::EBADF);
    }
    let list = import_iov(cx.mm(), iov.addr(), count)?;
    if file.is_writable() {
        let n = file.write(&mut Src::user_iov(cx.mm(), &list), fsize(cx));
        written(cx, n)
    } else {
        file.read(&mut Dst::user_iov(cx.mm(), &list))
    }
}
