//! eventfd(2): a 64-bit counter that can be waited for.

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::poll::EventfdFlags;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::*};
use mm::io::{Dst, Src};
use sched::WaitQueue;
use vfs::{Cred, File, FileOps, PollEvents, PollTable};

/// The counter never holds this; writes that would reach it wait.
const LIMIT: u64 = u64::MAX;

/// The counter behind an eventfd.
pub struct EventFd {
    count: AtomicU64,
    semaphore: bool,
    readers: WaitQueue,
    writers: WaitQueue,
}

/// A new eventfd.
pub fn create(initial: u32, flags: EventfdFlags, cred: &Arc<Cred>) -> Arc<File> {
    let mut open = OpenFlags::RDWR;
    open.set(OpenFlags::NONBLOCK, flags.contains(EventfdFlags::NONBLOCK));
    let ops = EventFd {
        count: AtomicU64::new(initial as u64),
        semaphore: flags.contains(EventfdFlags::SEMAPHORE),
        readers: WaitQueue::new(),
        writers: WaitQueue::new(),
    };
    vfs::anon_file("[eventfd]", Arc::new(ops), open, cred)
}

impl EventFd {
    fn try_take(&self) -> Option<u64> {
        let mut count = self.count.load(Acquire);
        while count != 0 {
            let take = if self.semaphore { 1 } else { count };
            match self.count.compare_exchange_weak(count, count - take, AcqRel, Acquire) {
                Ok(_) => return Some(take),
                Err(now) => count = now,
            }
        }
        None
    }
    fn try_add(&self, value: u64) -> Option<()> {
        let mut count = self.count.load(Acquire);
        while value < LIMIT - count {
            match self.count.compare_exchange_weak(count, count + value, AcqRel, Acquire) {
                Ok(_) => return Some(()),
                Err(now) => count = now,
            }
        }
        None
    }
    /// Adds to the counter from inside the kernel, as far as it goes.
    pub fn signal(&self, value: u64) {
        let _ = self.count.fetch_update(AcqRel, Acquire, |n| Some(n.saturating_add(value).min(LIMIT - 1)));
        self.readers.wake_key(1, false, PollEvents::READABLE.key());
    }
}

impl FileOps for EventFd {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        vfs::fileops::stay()
    }
    fn pollable(&self) -> bool {
        true
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = match self.try_take() {
            Some(value) => value,
            None if f.is_nonblocking() => return Err(Errno::EAGAIN),
            None => self.readers.wait_interruptible(|| self.try_take())?,
        };
        self.writers.wake_key(1, false, PollEvents::WRITABLE.key());
        // The count is consumed even when the copy faults, as on Linux.
        dst.put(&value.to_ne_bytes())
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        if src.remaining() != 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        if src.get(&mut bytes)? < 8 {
            return Err(Errno::EFAULT);
        }
        let value = u64::from_ne_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if self.try_add(value).is_none() {
            if f.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            self.writers.wait_interruptible(|| self.try_add(value))?;
        }
        self.readers.wake_key(1, false, PollEvents::READABLE.key());
        Ok(8)
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.readers);
        table.listen(&self.writers);
        let count = self.count.load(Acquire);
        let mut ready = PollEvents::empty();
        ready.set(PollEvents::IN, count > 0);
        ready.set(PollEvents::OUT, count < LIMIT - 1);
        ready
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "eventfd-count: {:16x}", self.count.load(Relaxed))?;
        writeln!(out, "eventfd-semaphore: {}", u8::from(self.semaphore))
    }
}
