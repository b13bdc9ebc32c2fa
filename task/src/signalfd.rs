//! Descriptors that signals are read from (signalfd(2)).

use crate::signal::mask;
use crate::{Cx, jobs};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::signal::{Layout, SigInfo, SigSet};
use alloc::sync::Arc;
use core::any::Any;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::io::Dst;
use vfs::{File, FileOps, PollEvents, PollTable, anon_file};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// `struct signalfd_siginfo`.
#[derive(Clone, Copy, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
struct Record {
    signo: u32,
    errno: i32,
    code: i32,
    pid: u32,
    uid: u32,
    fd: i32,
    tid: u32,
    band: u32,
    overrun: u32,
    trapno: u32,
    status: i32,
    int: i32,
    ptr: u64,
    utime: u64,
    stime: u64,
    addr: u64,
    addr_lsb: u16,
    pad2: u16,
    syscall: i32,
    call_addr: u64,
    arch: u32,
    pad: [u8; 28],
}

const _: () = assert!(size_of::<Record>() == 128);

impl Record {
    fn new(i: &SigInfo) -> Record {
        let mut r = Record::new_zeroed();
        (r.signo, r.errno, r.code) = (i.signo as u32, i.errno, i.code);
        match i.layout() {
            Layout::Timer => {
                (r.tid, r.overrun) = (i.pid(), i.uid());
                (r.ptr, r.int) = (i.value(), i.value() as i32);
            }
            Layout::Poll => (r.band, r.fd) = (i.words[0] as u32, i.words[1] as i32),
            Layout::Child => {
                (r.pid, r.uid, r.status) = (i.pid(), i.uid(), i.status());
                [r.utime, r.stime] = [i.words[2], i.words[3]];
            }
            Layout::Fault => r.addr = i.addr(),
            Layout::Broken => (r.addr, r.addr_lsb) = (i.addr(), i.words[1] as u16),
            Layout::Call => (r.call_addr, r.syscall, r.arch) = (i.addr(), i.words[1] as i32, (i.words[1] >> 32) as u32),
            Layout::Sender => (r.pid, r.uid) = (i.pid(), i.uid()),
            Layout::Queued => {
                (r.pid, r.uid) = (i.pid(), i.uid());
                (r.ptr, r.int) = (i.value(), i.value() as i32);
            }
        }
        r
    }
}

struct SignalFd {
    set: AtomicU64,
}

impl SignalFd {
    fn set(&self) -> SigSet {
        SigSet(self.set.load(Ordering::Relaxed))
    }
}

impl FileOps for SignalFd {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn can_write(&self) -> bool {
        false
    }
    fn seekable(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        vfs::fileops::stay()
    }
    /// Gives what is pending for whoever reads, not for whoever made the descriptor.
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        let task = jobs::current().ok_or(Errno::EINVAL)?;
        let room = dst.remaining() / size_of::<Record>();
        if room == 0 {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        for n in 0..room {
            let info = match mask::take(&task, self.set()) {
                Some(info) => info,
                None if n > 0 => break,
                None if f.is_nonblocking() => return Err(Errno::EAGAIN),
                None => task.process().signal_wait.wait_interruptible(|| mask::take(&task, self.set()))?,
            };
            done += dst.put(Record::new(&info).as_bytes())?;
        }
        Ok(done)
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        let Some(task) = jobs::current() else { return PollEvents::empty() };
        table.listen(&task.process().signal_wait);
        let state = task.process().sig();
        let pending = task.private_pending().union(state.pending.set());
        if pending.intersect(self.set()).is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }
    fn pollable(&self) -> bool {
        true
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "sigmask:\t{:016x}", self.set().0)
    }
}

/// Makes a descriptor for the signals of `set` (`fd` -1), or changes the set of an existing one.
pub fn open(cx: &Cx, fd: i32, set: SigSet, nonblock: bool, cloexec: bool) -> Result<i32, Errno> {
    let set = set.minus(SigSet::UNBLOCKABLE);
    if fd != -1 {
        let file = cx.files().get(fd)?;
        let ours = file.ops_as::<SignalFd>().ok_or(Errno::EINVAL)?;
        ours.set.store(set.0, Ordering::Relaxed);
        cx.process().signal_wait.wake_all();
        return Ok(fd);
    }
    let flags = if nonblock { OpenFlags::RDWR | OpenFlags::NONBLOCK } else { OpenFlags::RDWR };
    let file = anon_file("[signalfd]", Arc::new(SignalFd { set: AtomicU64::new(set.0) }), flags, cx.cred());
    cx.install(file, cloexec)
}
