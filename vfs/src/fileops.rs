//! What an open file can do.

use crate::attr::FileType;
use crate::caller::Caller;
use crate::file::File;
use crate::poll::{PollEvents, PollTable};
use abi::Errno;
use abi::fcntl::cmd::{F_GETPIPE_SZ, F_SETPIPE_SZ};
use abi::fcntl::{FallocFlags, OpenFlags};
use alloc::sync::Arc;
use core::any::Any;
use mm::io::{Dst, Src};

/// Whom `O_ASYNC` on a file lets know of its readiness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signals {
    /// Nobody: the flag is only kept.
    Never,
    /// The owner set with F_SETOWN, if any.
    ToOwner,
    /// The same; without one this process group (0 for the process that sets the flag) becomes it.
    ToGroup(i32),
}

/// What a mapping of a file shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmapKind {
    /// The inode's page cache.
    Cache,
    /// Fresh zero pages, as if no file were given (`/dev/zero`).
    Anonymous,
}

/// Takes the entries of a directory.
pub trait DirSink {
    /// One entry; `next` is the position that continues after it. False: no room, the entry was not taken.
    fn entry(&mut self, next: u64, ino: u64, kind: FileType, name: &[u8]) -> bool;
}

/// lseek of what has no positions and yet takes the call: the position stays 0.
pub fn stay() -> Option<Result<u64, Errno>> {
    Some(Ok(0))
}

/// The operations of an open file. For regular files `vfs` holds the inode's lock around `write_at` and `fallocate`; `off` is the
/// position (the end of the file for `O_APPEND`), meaningless for streams.
pub trait FileOps: Send + Sync + Any {
    /// For downcasts by whoever made it.
    fn as_any(&self) -> &dyn Any;
    /// Reads at an offset; 0 at the end. A stream ignores the offset.
    fn read_at(&self, f: &File, _dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        Err(if f.path().dentry.kind() == FileType::Directory { Errno::EISDIR } else { Errno::EINVAL })
    }
    /// Writes at an offset.
    fn write_at(&self, _f: &File, _src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
    /// read(2) means something: where it does not, EINVAL comes before the buffers are looked at.
    fn can_read(&self) -> bool {
        true
    }
    /// The same of write(2).
    fn can_write(&self) -> bool {
        true
    }
    /// It has positions; streams (pipes, sockets, terminals) answer ESPIPE to lseek and pread.
    fn seekable(&self) -> bool {
        true
    }
    /// Moves the position of something that is no regular file or directory with an unusual notion of it; `None`: the usual rules.
    /// What has no positions and yet takes lseek (see [`stay`]) answers too.
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        None
    }
    /// Gives entries from position `pos` on to `sink` until it is full or the directory ends; returns the new position. `.` and
    /// `..` are positions 0 and 1: see [`crate::file::emit_dots`].
    fn readdir(&self, _f: &File, _pos: u64, _sink: &mut dyn DirSink) -> Result<u64, Errno> {
        Err(Errno::ENOTDIR)
    }
    /// A device-specific command; the generic ones (FIONBIO, FIOCLEX, ...) never come here.
    fn ioctl(&self, _f: &File, _caller: &Caller<'_>, _cmd: u32, _arg: u64) -> Result<i64, Errno> {
        Err(Errno::ENOTTY)
    }
    /// Readiness now; subscribes `table` to the wait queues that announce changes.
    fn poll(&self, _f: &File, _table: &mut PollTable) -> PollEvents {
        PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM
    }
    /// `poll` may say that it is not ready: epoll takes only such files (EPERM for others).
    fn pollable(&self) -> bool {
        false
    }
    /// The file got an owner (F_SETOWN).
    fn owned(&self, _f: &Arc<File>) {}
    /// Whom `O_ASYNC` lets know that it is ready.
    fn signals(&self) -> Signals {
        Signals::Never
    }
    /// Whether and how it can be mapped.
    fn mmap(&self, f: &File) -> Result<MmapKind, Errno> {
        if f.inode().cache().is_some() { Ok(MmapKind::Cache) } else { Err(Errno::ENODEV) }
    }
    /// Writes back what was written; EINVAL for what has no storage.
    fn fsync(&self, f: &File, _data_only: bool) -> Result<(), Errno> {
        match f.inode().cache() {
            Some(cache) => cache.writeback(),
            None if f.inode().is_dir() => Ok(()),
            None => Err(Errno::EINVAL),
        }
    }
    /// Reserves, punches or zeroes a range; `end` was checked not to overflow.
    fn fallocate(&self, _f: &File, _mode: FallocFlags, _off: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// The flags that `F_SETFL` can change are about to become `new`.
    fn set_flags(&self, _f: &File, _new: OpenFlags) -> Result<(), Errno> {
        Ok(())
    }
    /// Commands of fcntl(2) that only some files know (`F_GETPIPE_SZ`, `F_SETPIPE_SZ`).
    fn fcntl(&self, _f: &File, cmd: u32, _arg: u64) -> Result<i64, Errno> {
        match cmd {
            // Asked of anything but a pipe (fcntl(2), EBADF).
            F_GETPIPE_SZ | F_SETPIPE_SZ => Err(Errno::EBADF),
            _ => Err(Errno::EINVAL),
        }
    }
    /// A descriptor is closed (not necessarily the last).
    fn flush(&self, _f: &File) -> Result<(), Errno> {
        Ok(())
    }
    /// The last reference is gone.
    fn release(&self, _f: &File) {}
    /// Extra lines of /proc/PID/fdinfo/N.
    fn show_fdinfo(&self, _f: &File, _out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        Ok(())
    }
}
