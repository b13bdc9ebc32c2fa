//! Open files of a pipe: the two ends of pipe(2), and FIFOs (pipe(7), fifo(7)).

use crate::pipe::Pipe;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::fcntl::cmd::{F_GETPIPE_SZ, F_SETPIPE_SZ};
use abi::stat::S_IFIFO;
use abi::tty::ioctl::FIONREAD;
use alloc::sync::Arc;
use core::any::Any;
use mm::{Dst, Src, UserPtr};
use vfs::{AnonInode, Caller, Cap, Cred, File, FileOps, Inode, InodeBase, Path, PollEvents, PollTable, SetAttr};

/// One open end (or both, for a FIFO opened read-write).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    read: bool,
    write: bool,
    /// Count of writer openings when a FIFO was opened without waiting for one; for others one that never matches.
    seen_writers: u32,
}

impl PipeEnd {
    /// The reading and the writing end of a new pipe.
    pub fn pair() -> (Arc<PipeEnd>, Arc<PipeEnd>) {
        let pipe = Pipe::new();
        (PipeEnd::new(&pipe, true, false), PipeEnd::new(&pipe, false, true))
    }
    fn new(pipe: &Arc<Pipe>, read: bool, write: bool) -> Arc<PipeEnd> {
        PipeEnd::with_seen(pipe, read, write, pipe.writer_opens().wrapping_sub(1))
    }
    fn with_seen(pipe: &Arc<Pipe>, read: bool, write: bool, seen_writers: u32) -> Arc<PipeEnd> {
        pipe.add_end(read, write);
        Arc::new(PipeEnd { pipe: pipe.clone(), read, write, seen_writers })
    }
    /// The pipe.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.pipe.remove_end(self.read, self.write);
    }
}

impl FileOps for PipeEnd {
    fn as_any(&self) -> &dyn Any {
        self
    }
    #[inline]
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        self.pipe.read(dst, f.is_nonblocking())
    }
    #[inline]
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        let flags = f.flags();
        self.pipe.write(src, flags.contains(OpenFlags::NONBLOCK), flags.contains(OpenFlags::DIRECT))
    }
    #[inline]
    fn seekable(&self) -> bool {
        false
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        match cmd {
            FIONREAD => {
                let bytes = self.pipe.bytes() as i32;
                UserPtr::<i32>::new(machine::VirtAddr(arg)).write(caller.mm, &bytes)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        self.pipe.poll(table, self.read, self.write, self.seen_writers)
    }
    fn signals(&self) -> vfs::fileops::Signals {
        vfs::fileops::Signals::ToOwner
    }
    fn pollable(&self) -> bool {
        true
    }
    fn fcntl(&self, f: &File, cmd: u32, arg: u64) -> Result<i64, Errno> {
        match cmd {
            F_GETPIPE_SZ => Ok(self.pipe.capacity() as i64),
            // The kernel reads the size as an unsigned int.
            F_SETPIPE_SZ => {
                self.pipe.set_capacity(arg & 0xffff_ffff, f.cred().capable(Cap::SysResource)).map(|n| n as i64)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// open(2) of a FIFO: waits for the other side as fifo(7) says, except for a pipe opened through /proc/PID/fd. The pipe hangs at the
/// inode.
pub fn open_fifo(
    base: &InodeBase,
    path: &Path,
    flags: OpenFlags,
    _caller: &Caller<'_>,
) -> Result<Arc<dyn FileOps>, Errno> {
    let shared = base.rare().attachment_or(|| Pipe::new());
    let pipe = shared.downcast::<Pipe>().map_err(|_| Errno::ENXIO)?;
    let nonblock = flags.contains(OpenFlags::NONBLOCK);
    let (read, write) = (flags.wants_read(), flags.wants_write());
    match (read, write) {
        (true, true) => Ok(PipeEnd::new(&pipe, true, true)),
        (true, false) => {
            let seen = pipe.writer_opens();
            if nonblock && pipe.writers() == 0 {
                return Ok(PipeEnd::with_seen(&pipe, true, false, seen));
            }
            let end = PipeEnd::new(&pipe, true, false);
            if pipe.writers() == 0 && !path.is_pseudo() {
                pipe.wait_for_writer(seen)?;
            }
            Ok(end)
        }
        (false, true) => {
            if nonblock && pipe.readers() == 0 {
                return Err(Errno::ENXIO);
            }
            let seen = pipe.reader_opens();
            let end = PipeEnd::new(&pipe, false, true);
            if pipe.readers() == 0 && !path.is_pseudo() {
                pipe.wait_for_reader(seen)?;
            }
            Ok(end)
        }
        (false, false) => Err(Errno::EINVAL),
    }
}

/// pipe2(2): the reading and the writing file of a new pipe. `flags`: NONBLOCK and DIRECT count.
pub fn create(flags: OpenFlags, cred: &Arc<Cred>) -> (Arc<File>, Arc<File>) {
    let fs = vfs::anon::pipefs();
    let inode = AnonInode::new(fs.sb(), S_IFIFO | 0o600);
    inode.base().apply(&SetAttr { uid: Some(cred.fsuid), gid: Some(cred.fsgid), ..SetAttr::default() });
    let place = fs.place(Arc::new(inode), b"pipe", true);
    let keep = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let (read, write) = PipeEnd::pair();
    // Opening the descriptor's /proc link finds the pipe here.
    place.inode().base().rare().attach(Some(read.pipe.clone()));
    let reader = File::new(place.clone(), read, keep, cred.clone());
    let writer = File::new(place, write, keep | OpenFlags::WRONLY, cred.clone());
    (reader, writer)
}
