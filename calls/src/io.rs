//! Reading, writing and what goes with it (read(2), readv(2), preadv2(2), lseek(2), truncate(2), fallocate(2), fsync(2), sync(2)).

use crate::at;
use abi::Errno;
use abi::fcntl::{AT_FDCWD, FallocFlags, OpenFlags};
use abi::resource::{RLIM_INFINITY, Resource};
use abi::signal::{SigInfo, Signal};
use abi::uio::Iov;
use machine::VirtAddr;
use mm::io::{Dst, Src, access_ok, import_iov};
use mm::user::{UserCStr, UserPtr};
use task::Cx;
use vfs::file::MAX_OFFSET;
use vfs::{File, FileType, Path, SetAttr, may, ops};

/// RLIMIT_FSIZE of the caller.
#[inline]
pub fn fsize(cx: &Cx) -> u64 {
    cx.process().limits.soft(Resource::Fsize)
}

/// The signals that go with the errors of a write: SIGPIPE, and SIGXFSZ for a file at its limit.
#[inline]
pub fn written<T>(cx: &Cx, result: Result<T, Errno>) -> Result<T, Errno> {
    match result {
        Err(e @ (Errno::EPIPE | Errno::EFBIG)) => Err(write_failed(cx, e)),
        other => other,
    }
}

#[cold]
fn write_failed(cx: &Cx, e: Errno) -> Errno {
    let sig = match e {
        Errno::EPIPE => Signal::PIPE,
        _ if fsize(cx) != RLIM_INFINITY => Signal::XFSZ,
        _ => return e,
    };
    let info = SigInfo::user(sig, 0, cx.process().nr() as u32, cx.cred().uid);
    // A signal that cannot be queued is still pending as a bit; nothing more can be done about it here.
    let _ = task::signal::send_task(&cx.task, sig, &info);
    e
}

/// The buffer lies in user space; one above `isize::MAX` never does.
#[inline]
fn buffer_ok(buf: VirtAddr, count: usize) -> Result<(), Errno> {
    if access_ok(buf, count) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// What it was opened for, then what it is.
fn may_read(file: &File) -> Result<(), Errno> {
    match (file.is_readable(), file.ops().can_read()) {
        (false, _) => Err(Errno::EBADF),
        (true, false) => Err(Errno::EINVAL),
        (true, true) => Ok(()),
    }
}

/// The same for writing.
fn may_write(file: &File) -> Result<(), Errno> {
    match (file.is_writable(), file.ops().can_write()) {
        (false, _) => Err(Errno::EBADF),
        (true, false) => Err(Errno::EINVAL),
        (true, true) => Ok(()),
    }
}

fn offset(off: i64) -> Result<u64, Errno> {
    u64::try_from(off).map_err(|_| Errno::EINVAL)
}

/// Where an offset is given there must be offsets, before anything else of the file is looked at.
fn positioned(file: &File, off: Option<u64>) -> Result<(), Errno> {
    if off.is_none() || file.is_seekable() { Ok(()) } else { Err(Errno::ESPIPE) }
}

/// read(2).
#[inline]
pub fn read(cx: &mut Cx, fd: i32, buf: VirtAddr, count: usize) -> Result<usize, Errno> {
    let file = cx.files().get(fd)?;
    if let Err(e) = buffer_ok(buf, count) {
        return Err(may_read(&file).err().unwrap_or(e));
    }
    file.read(&mut Dst::user(cx.mm(), buf, count))
}

/// write(2).
#[inline]
pub fn write(cx: &mut Cx, fd: i32, buf: VirtAddr, count: usize) -> Result<usize, Errno> {
    let file = cx.files().get(fd)?;
    if let Err(e) = buffer_ok(buf, count) {
        return Err(may_write(&file).err().unwrap_or(e));
    }
    let n = file.write(&mut Src::user(cx.mm(), buf, count), fsize(cx));
    written(cx, n)
}

/// pread64(2).
pub fn pread64(cx: &mut Cx, fd: i32, buf: VirtAddr, count: usize, off: i64) -> Result<usize, Errno> {
    let off = offset(off)?;
    let file = cx.files().get(fd)?;
    positioned(&file, Some(off))?;
    may_read(&file)?;
    buffer_ok(buf, count)?;
    file.pread(&mut Dst::user(cx.mm(), buf, count), off)
}

/// pwrite64(2).
pub fn pwrite64(cx: &mut Cx, fd: i32, buf: VirtAddr, count: usize, off: i64) -> Result<usize, Errno> {
    let off = offset(off)?;
    let file = cx.files().get(fd)?;
    positioned(&file, Some(off))?;
    may_write(&file)?;
    buffer_ok(buf, count)?;
    let n = file.pwrite(&mut Src::user(cx.mm(), buf, count), off, fsize(cx));
    written(cx, n)
}

/// readv(2).
pub fn readv(cx: &mut Cx, fd: i32, iov: UserPtr<Iov>, count: usize) -> Result<usize, Errno> {
    vector_read(cx, fd, (iov, count), None, 0)
}

/// writev(2).
pub fn writev(cx: &mut Cx, fd: i32, iov: UserPtr<Iov>, count: usize) -> Result<usize, Errno> {
    vector_write(cx, fd, (iov, count), None, 0)
}

/// preadv(2).
pub fn preadv(cx: &mut Cx, fd: i32, iov: UserPtr<Iov>, count: usize, lo: i64, _hi: i64) -> Result<usize, Errno> {
    vector_read(cx, fd, (iov, count), Some(offset(lo)?), 0)
}

/// pwritev(2).
pub fn pwritev(cx: &mut Cx, fd: i32, iov: UserPtr<Iov>, count: usize, lo: i64, _hi: i64) -> Result<usize, Errno> {
    vector_write(cx, fd, (iov, count), Some(offset(lo)?), 0)
}

const RWF_HIPRI: u32 = 1;
const RWF_DSYNC: u32 = 2;
const RWF_SYNC: u32 = 4;
const RWF_APPEND: u32 = 16;
const RWF_NOAPPEND: u32 = 32;
const RWF_NOSIGNAL: u32 = 256;
const RWF_KNOWN: u32 = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_NOAPPEND | RWF_NOSIGNAL;

/// The offset of preadv2 and pwritev2, where -1 is "at the position".
fn offset2(off: i64) -> Result<Option<u64>, Errno> {
    if off == -1 { Ok(None) } else { offset(off).map(Some) }
}

/// preadv2(2).
pub fn preadv2(
    cx: &mut Cx,
    fd: i32,
    iov: UserPtr<Iov>,
    count: usize,
    lo: i64,
    _hi: i64,
    flags: u32,
) -> Result<usize, Errno> {
    vector_read(cx, fd, (iov, count), offset2(lo)?, flags)
}

/// pwritev2(2).
pub fn pwritev2(
    cx: &mut Cx,
    fd: i32,
    iov: UserPtr<Iov>,
    count: usize,
    lo: i64,
    _hi: i64,
    flags: u32,
) -> Result<usize, Errno> {
    vector_write(cx, fd, (iov, count), offset2(lo)?, flags)
}

/// Refuses flags; where there is nothing to move Linux does not look at them.
fn check_rwf(flags: u32, known: u32) -> Result<(), Errno> {
    // RWF_NOWAIT needs transfers that can be refused half-way; no file here offers it.
    if flags & !known != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & (RWF_APPEND | RWF_NOAPPEND) == RWF_APPEND | RWF_NOAPPEND { Err(Errno::EINVAL) } else { Ok(()) }
}

type Vector = (UserPtr<Iov>, usize);

fn vector_read(cx: &Cx, fd: i32, (iov, count): Vector, off: Option<u64>, flags: u32) -> Result<usize, Errno> {
    let file = cx.files().get(fd)?;
    positioned(&file, off)?;
    may_read(&file)?;
    let list = import_iov(cx.mm(), iov.addr(), count)?;
    let mut dst = Dst::user_iov(cx.mm(), &list);
    if dst.remaining() == 0 {
        return Ok(0);
    }
    // A directory has nothing that could take flags.
    let mut known = RWF_KNOWN;
    if file.path().dentry.kind() == FileType::Directory {
        known = RWF_HIPRI;
    }
    check_rwf(flags, known)?;
    match off {
        None => file.read(&mut dst),
        Some(off) => file.pread(&mut dst, off),
    }
}

fn vector_write(cx: &Cx, fd: i32, (iov, count): Vector, off: Option<u64>, flags: u32) -> Result<usize, Errno> {
    let file = cx.files().get(fd)?;
    positioned(&file, off)?;
    may_write(&file)?;
    let list = import_iov(cx.mm(), iov.addr(), count)?;
    let mut src = Src::user_iov(cx.mm(), &list);
    if src.remaining() == 0 {
        return Ok(0);
    }
    check_rwf(flags, RWF_KNOWN)?;
    let append = (file.flags().contains(OpenFlags::APPEND) || flags & RWF_APPEND != 0) && flags & RWF_NOAPPEND == 0;
    let n = match off {
        None => file.write_opts(&mut src, fsize(cx), append),
        Some(off) => file.pwrite_opts(&mut src, off, fsize(cx), append),
    };
    let quiet = flags & RWF_NOSIGNAL != 0 && n == Err(Errno::EPIPE);
    let n = if quiet { n } else { written(cx, n) }?;
    if flags & (RWF_DSYNC | RWF_SYNC) != 0 {
        file.ops().fsync(&file, flags & RWF_SYNC == 0)?;
    }
    Ok(n)
}

/// lseek(2).
#[inline]
pub fn lseek(cx: &mut Cx, fd: i32, off: i64, whence: u32) -> Result<u64, Errno> {
    cx.files().get(fd)?.seek(off, whence)
}

fn new_size(cx: &Cx, len: u64) -> Result<(), Errno> {
    if len > fsize(cx) { written(cx, Err(Errno::EFBIG)) } else { Ok(()) }
}

fn set_size(cx: &Cx, path: &Path, len: u64) -> Result<(), Errno> {
    if len > path.inode().size() {
        new_size(cx, len)?;
    }
    let now = vfs::now();
    let mode = path.inode().base().mode();
    let kept = vfs::inode::without_setid(mode);
    let mode = if kept != mode && !cx.cred().capable(vfs::Cap::Fsetid) { Some(kept) } else { None };
    ops::set_attr(path, SetAttr { size: Some(len), mode, mtime: Some(now), ..SetAttr::default() })
}

/// truncate(2).
pub fn truncate(cx: &mut Cx, path: UserCStr, len: i64) -> Result<(), Errno> {
    let len = offset(len)?;
    let place = at::lookup(cx, AT_FDCWD, path, 0, true)?;
    match place.dentry.kind() {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    place.mnt.want_write()?;
    place.inode().check(cx.cred(), may::WRITE)?;
    let base = place.inode().base();
    base.get_write_access()?;
    let result = set_size(cx, &place, len);
    base.put_write_access();
    result
}

/// ftruncate(2).
pub fn ftruncate(cx: &mut Cx, fd: i32, len: i64) -> Result<(), Errno> {
    let len = offset(len)?;
    let file = cx.files().get(fd)?;
    if file.path().dentry.kind() != FileType::Regular || !file.is_writable() {
        return Err(Errno::EINVAL);
    }
    set_size(cx, file.path(), len)
}

/// fallocate(2).
pub fn fallocate(cx: &mut Cx, fd: i32, mode: u32, off: i64, len: i64) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    if off < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    let mode = FallocFlags::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?;
    let kinds = mode - FallocFlags::KEEP_SIZE;
    let keeps = mode.contains(FallocFlags::KEEP_SIZE);
    let moves = FallocFlags::COLLAPSE_RANGE | FallocFlags::INSERT_RANGE | FallocFlags::WRITE_ZEROES;
    if kinds.iter().count() > 1 || mode.contains(FallocFlags::PUNCH_HOLE) && !keeps || mode.intersects(moves) && keeps {
        return Err(Errno::EOPNOTSUPP);
    }
    if !file.is_writable() {
        return Err(Errno::EBADF);
    }
    match file.path().dentry.kind() {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE),
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    let (off, len) = (off as u64, len as u64);
    if off + len > MAX_OFFSET {
        return Err(Errno::EFBIG);
    }
    if !mode.contains(FallocFlags::PUNCH_HOLE) && off + len > file.inode().size() {
        new_size(cx, off + len)?;
    }
    file.fallocate(mode, off, len)
}

/// fsync(2).
pub fn fsync(cx: &mut Cx, fd: i32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    file.ops().fsync(&file, false)
}

/// fdatasync(2).
pub fn fdatasync(cx: &mut Cx, fd: i32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    file.ops().fsync(&file, true)
}

/// sync_file_range(2): writes the whole file back, which is more than was asked.
pub fn sync_file_range(cx: &mut Cx, fd: i32, off: i64, len: i64, flags: u32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    if flags & !7 != 0 || off < 0 || len < 0 || off.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    match file.path().dentry.kind() {
        FileType::Regular if file.inode().cache().is_none() => Ok(()),
        FileType::Regular | FileType::Directory | FileType::BlockDevice => file.ops().fsync(&file, true),
        _ => Err(Errno::ESPIPE),
    }
}

/// sync(2).
pub fn sync(cx: &mut Cx) -> Result<(), Errno> {
    for mnt in cx.fs().dirs().ns.mounts() {
        // sync(2) has no way to report an error.
        let _ = mnt.sb().ops().sync();
    }
    Ok(())
}

/// syncfs(2).
pub fn syncfs(cx: &mut Cx, fd: i32) -> Result<(), Errno> {
    cx.files().get(fd)?.path().mnt.sb().ops().sync()
}

const FADV_MAX: u32 = 5;
const FADV_DONTNEED: u32 = 4;

/// posix_fadvise(2): readahead adapts by itself; "not needed" drops clean pages.
pub fn fadvise64(cx: &mut Cx, fd: i32, off: i64, len: i64, advice: u32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    if file.path().dentry.kind() == FileType::Fifo {
        return Err(Errno::ESPIPE);
    }
    if off < 0 || len < 0 || advice > FADV_MAX {
        return Err(Errno::EINVAL);
    }
    if advice == FADV_DONTNEED
        && let Some(cache) = file.inode().cache()
    {
        let first = (off as u64).div_ceil(machine::PAGE_SIZE as u64);
        let end = if len == 0 { u64::MAX } else { (off as u64).saturating_add(len as u64) };
        let last = end / machine::PAGE_SIZE as u64;
        cache.invalidate(first, last);
    }
    Ok(())
}

/// readahead(2).
pub fn readahead(cx: &mut Cx, fd: i32, off: i64, count: usize) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    if !file.is_readable() {
        return Err(Errno::EBADF);
    }
    let off = offset(off)?;
    offset(count as i64)?;
    if file.path().dentry.kind() != FileType::Regular || file.inode().sb().fs_name() == "pidfs" {
        return Err(Errno::EINVAL);
    }
    let Some(cache) = file.inode().cache() else { return Ok(()) };
    let page = machine::PAGE_SIZE as u64;
    let end = off.saturating_add(count as u64).min(cache.size());
    // At most 2 MiB, as Linux bounds it by the device's window.
    let first = off / page;
    cache.read_ahead(first, end.div_ceil(page).min(first.saturating_add(512)))
}

/// The file behind a descriptor that may be read (for calls that move data between files).
pub fn readable(cx: &Cx, fd: i32) -> Result<alloc::sync::Arc<File>, Errno> {
    cx.files().get(fd).and_then(|f| if f.is_readable() { Ok(f) } else { Err(Errno::EBADF) })
}

/// The file behind a descriptor that may be written.
pub fn writable(cx: &Cx, fd: i32) -> Result<alloc::sync::Arc<File>, Errno> {
    cx.files().get(fd).and_then(|f| if f.is_writable() { Ok(f) } else { Err(Errno::EBADF) })
}
