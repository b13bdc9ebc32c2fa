//! A pipe: the buffers, who has it open, and the waiting of readers and writers.
//!
//! `used` and `slots` repeat what the buffers say, so that a sleeper's condition and poll need no lock. A write wakes one
//! reader when the pipe was empty, a read wakes one writer when it was full; who was woken and leaves something for the next
//! one wakes it in turn.
//!
//! Lock order: `buffers` (sleeping: copies may fault while it is held), then the wait queues' own locks.

use crate::buffers::{Buffers, DEFAULT_SLOTS, Piece};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use machine::PAGE_SIZE;
use mm::{Dst, Src};
use sched::{Mutex, MutexGuard, WaitQueue};
use vfs::{PollEvents, PollTable};

/// Capacity an unprivileged user may ask for (`/proc/sys/fs/pipe-max-size`).
pub const MAX_SIZE: usize = 1 << 20;
/// The largest capacity anybody may ask for.
const LIMIT: usize = 1 << 31;
/// The most slots there is memory for: Linux keeps them in one allocation of 4 MiB.
const MOST_SLOTS: usize = 1 << 16;

/// The object both ends share.
pub struct Pipe {
    buffers: Mutex<Buffers>,
    used: AtomicUsize,
    slots: AtomicUsize,
    readers: AtomicU32,
    writers: AtomicU32,
    /// Counts openings for reading and for writing: FIFO opens wait for a change.
    reader_opens: AtomicU32,
    writer_opens: AtomicU32,
    /// Waiting for bytes.
    read_wait: WaitQueue,
    /// Waiting for room.
    write_wait: WaitQueue,
    /// Waiting in open(2) of a FIFO for the other side.
    open_wait: WaitQueue,
}

impl Pipe {
    /// An empty pipe that nobody has open.
    pub fn new() -> Arc<Pipe> {
        Arc::new(Pipe {
            buffers: Mutex::new(Buffers::new()),
            used: AtomicUsize::new(0),
            slots: AtomicUsize::new(DEFAULT_SLOTS),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_opens: AtomicU32::new(0),
            writer_opens: AtomicU32::new(0),
            read_wait: WaitQueue::new(),
            write_wait: WaitQueue::new(),
            open_wait: WaitQueue::new(),
        })
    }

    /// Open ends that read.
    pub fn readers(&self) -> u32 {
        self.readers.load(Ordering::Acquire)
    }
    /// Open ends that write.
    pub fn writers(&self) -> u32 {
        self.writers.load(Ordering::Acquire)
    }
    /// Openings for writing so far.
    pub(crate) fn writer_opens(&self) -> u32 {
        self.writer_opens.load(Ordering::Acquire)
    }
    fn is_empty(&self) -> bool {
        self.used.load(Ordering::Acquire) == 0
    }
    fn is_full(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.slots.load(Ordering::Acquire)
    }
    /// Repeats the buffers' state for those who look without the lock.
    fn publish(&self, buffers: &Buffers) {
        self.used.store(buffers.used(), Ordering::Release);
    }

    /// Counts an opening.
    pub(crate) fn add_end(&self, read: bool, write: bool) {
        if read {
            self.readers.fetch_add(1, Ordering::AcqRel);
            self.reader_opens.fetch_add(1, Ordering::AcqRel);
        }
        if write {
            self.writers.fetch_add(1, Ordering::AcqRel);
            self.writer_opens.fetch_add(1, Ordering::AcqRel);
        }
        if read || write {
            self.open_wait.wake_all();
        }
    }
    /// Ends [`Pipe::add_end`]; the other side learns of the last one.
    pub(crate) fn remove_end(&self, read: bool, write: bool) {
        let last_reader = read && self.readers.fetch_sub(1, Ordering::AcqRel) == 1;
        let last_writer = write && self.writers.fetch_sub(1, Ordering::AcqRel) == 1;
        if last_reader {
            self.write_wait.wake_all();
        }
        if last_writer {
            self.read_wait.wake_all();
        }
        if self.readers() == 0 && self.writers() == 0 {
            // Nobody can read what is left; a FIFO's next opener starts afresh.
            let mut buffers = self.buffers.lock();
            let slots = buffers.slots();
            *buffers = Buffers::new();
            let _ = buffers.set_slots(slots);
            self.publish(&buffers);
        }
    }
    /// FIFO: waits until the other side is open, or was opened since the counter had the value `seen`.
    pub(crate) fn wait_for_reader(&self, seen: u32) -> Result<(), Errno> {
        let ready = || (self.readers() > 0 || self.reader_opens.load(Ordering::Acquire) != seen).then_some(());
        self.open_wait.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)
    }
    /// As [`Pipe::wait_for_reader`] for a writer.
    pub(crate) fn wait_for_writer(&self, seen: u32) -> Result<(), Errno> {
        let ready = || (self.writers() > 0 || self.writer_opens() != seen).then_some(());
        self.open_wait.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)
    }
    /// Openings for reading so far.
    pub(crate) fn reader_opens(&self) -> u32 {
        self.reader_opens.load(Ordering::Acquire)
    }

    /// read(2): waits until there is something, the last writer is gone (0) or a signal comes.
    pub fn read(&self, dst: &mut Dst<'_>, nonblock: bool) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        loop {
            if !self.is_empty() {
                let mut buffers = self.buffers.lock();
                let was_full = buffers.is_full();
                let result = buffers.read(dst);
                self.settle_read(buffers, was_full);
                match result {
                    Ok(0) => {}
                    other => return other,
                }
            }
            self.wait_readable(nonblock)?;
            if self.is_empty() && self.writers() == 0 {
                return Ok(0);
            }
        }
    }

    /// Publishes a read's effect and passes wake-ups on.
    fn settle_read(&self, buffers: MutexGuard<'_, Buffers>, was_full: bool) {
        self.publish(&buffers);
        let (full, empty) = (buffers.is_full(), buffers.is_empty());
        drop(buffers);
        if was_full && !full {
            self.write_wait.wake_one();
        }
        if !empty {
            self.read_wait.wake_key(1, false, PollEvents::READABLE.passed_on());
        }
    }

    /// Waits for bytes or for the end of the writers.
    pub fn wait_readable(&self, nonblock: bool) -> Result<(), Errno> {
        let ready = || (!self.is_empty() || self.writers() == 0).then_some(());
        if ready().is_some() {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        self.read_wait.wait_interruptible(ready).map_err(|_| {
            // A wake-up meant for one reader must not be lost with it.
            if !self.is_empty() {
                self.read_wait.wake_key(1, false, PollEvents::READABLE.passed_on());
            }
            Errno::ERESTARTSYS
        })
    }

    /// write(2): all of `src`, waiting for room; EPIPE without readers (the caller raises SIGPIPE). Up to PIPE_BUF bytes
    /// go in as a whole.
    pub fn write(&self, src: &mut Src<'_>, nonblock: bool, packets: bool) -> Result<usize, Errno> {
        let start = src.done();
        if src.remaining() == 0 {
            return Ok(0);
        }
        let mut first = true;
        loop {
            let mut buffers = self.buffers.lock();
            if self.readers() == 0 {
                return progress(src.done() - start, Errno::EPIPE);
            }
            let was_empty = buffers.is_empty();
            let result = fill(&mut buffers, src, packets, first && !packets);
            first = false;
            self.publish(&buffers);
            let full = buffers.is_full();
            let empty = buffers.is_empty();
            drop(buffers);
            if was_empty && !empty {
                self.read_wait.wake_sync();
            }
            let done = src.done() - start;
            if let Err(e) = result {
                return progress(done, e);
            }
            if src.remaining() == 0 {
                if !full {
                    self.write_wait.wake_key(1, false, PollEvents::WRITABLE.passed_on());
                }
                return Ok(done);
            }
            if let Err(e) = self.wait_writable(nonblock) {
                return progress(done, e);
            }
        }
    }

    /// Waits for room or for the end of the readers.
    pub fn wait_writable(&self, nonblock: bool) -> Result<(), Errno> {
        let ready = || (!self.is_full() || self.readers() == 0).then_some(());
        if ready().is_some() {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        self.write_wait.wait_interruptible(ready).map_err(|_| {
            if !self.is_full() {
                self.write_wait.wake_key(1, false, PollEvents::WRITABLE.passed_on());
            }
            Errno::ERESTARTSYS
        })
    }

    /// Bytes that fit without waiting.
    pub fn room(&self) -> usize {
        let used = self.used.load(Ordering::Acquire);
        self.slots.load(Ordering::Acquire).saturating_sub(used) * PAGE_SIZE
    }

    /// Puts back what was read and could not be passed on, before all else; for a moment the pipe may hold more than its slots.
    pub fn unread(&self, bytes: &[u8]) -> Result<(), Errno> {
        let mut buffers = self.buffers.lock();
        let result = buffers.put_back(bytes);
        self.publish(&buffers);
        drop(buffers);
        self.read_wait.wake_one();
        result
    }

    /// tee(2): puts up to `len` of the bytes waiting here into `to` as well, without copying them. 0 when nothing will come;
    /// EPIPE when nobody reads `to`.
    pub fn tee(&self, to: &Pipe, len: usize, nonblock: bool) -> Result<usize, Errno> {
        loop {
            self.wait_readable(nonblock)?;
            to.wait_writable(nonblock)?;
            if to.readers() == 0 {
                return Err(Errno::EPIPE);
            }
            let room = to.slots.load(Ordering::Acquire).saturating_sub(to.used.load(Ordering::Acquire));
            let done = to.take_pieces(self.share(len, room)?)?;
            if done > 0 || self.is_empty() && self.writers() == 0 {
                return Ok(done);
            }
        }
    }

    /// Up to `slots` pieces with up to `len` bytes, shared with this pipe.
    fn share(&self, len: usize, slots: usize) -> Result<Vec<Piece>, Errno> {
        let mut buffers = self.buffers.lock();
        let mut shared = Vec::new();
        shared.try_reserve(slots.min(buffers.used())).map_err(|_| Errno::ENOMEM)?;
        let mut left = len;
        for index in 0..slots.min(buffers.used()) {
            let Some(mut piece) = buffers.share(index).filter(|_| left > 0) else { break };
            piece.len = piece.len.min(left);
            left -= piece.len;
            shared.push(piece);
        }
        Ok(shared)
    }

    /// Queues pieces while there is room; returns their bytes.
    fn take_pieces(&self, pieces: Vec<Piece>) -> Result<usize, Errno> {
        let mut buffers = self.buffers.lock();
        let was_empty = buffers.is_empty();
        let before = buffers.bytes();
        for piece in pieces {
            if buffers.is_full() {
                break;
            }
            buffers.push(piece)?;
        }
        self.publish(&buffers);
        let (done, empty) = (buffers.bytes() - before, buffers.is_empty());
        drop(buffers);
        if was_empty && !empty {
            self.read_wait.wake_one();
        }
        Ok(done)
    }

    /// Bytes held (FIONREAD).
    pub fn bytes(&self) -> usize {
        self.buffers.lock().bytes()
    }
    /// F_GETPIPE_SZ.
    pub fn capacity(&self) -> usize {
        self.slots.load(Ordering::Acquire) * PAGE_SIZE
    }
    /// F_SETPIPE_SZ: rounds up to a power of two of pages; EPERM above the limit for those without CAP_SYS_RESOURCE,
    /// EBUSY when more is held. Returns the new capacity.
    pub fn set_capacity(&self, want: u64, privileged: bool) -> Result<usize, Errno> {
        let want = usize::try_from(want).ok().filter(|&n| n <= LIMIT).ok_or(Errno::EINVAL)?;
        let slots = want.div_ceil(PAGE_SIZE).max(1).next_power_of_two();
        if slots > MOST_SLOTS {
            return Err(Errno::ENOMEM);
        }
        let mut buffers = self.buffers.lock();
        if slots > buffers.slots() && slots * PAGE_SIZE > MAX_SIZE && !privileged {
            return Err(Errno::EPERM);
        }
        let grows = slots > buffers.slots();
        buffers.set_slots(slots)?;
        self.slots.store(slots, Ordering::Release);
        drop(buffers);
        if grows {
            self.write_wait.wake_all();
        }
        Ok(slots * PAGE_SIZE)
    }

    /// Readiness of an end; `seen_writers`: the count of writer openings when this end was opened (a FIFO end that never
    /// had a writer does not hang up).
    pub(crate) fn poll(&self, table: &mut PollTable, read: bool, write: bool, seen_writers: u32) -> PollEvents {
        let mut events = PollEvents::empty();
        if read {
            table.listen(&self.read_wait);
            if !self.is_empty() {
                events |= PollEvents::READABLE;
            }
            if self.writers() == 0 && self.writer_opens() != seen_writers {
                events |= PollEvents::HUP;
            }
        }
        if write {
            table.listen(&self.write_wait);
            if !self.is_full() {
                events |= PollEvents::WRITABLE;
            }
            if self.readers() == 0 {
                events |= PollEvents::ERR;
            }
        }
        events
    }
}

/// Moves what fits: odd bytes into the last frame first, then whole slots.
fn fill(buffers: &mut Buffers, src: &mut Src<'_>, packets: bool, merge: bool) -> Result<(), Errno> {
    if merge && !buffers.is_empty() {
        buffers.merge(src)?;
    }
    while src.remaining() > 0 && !buffers.is_full() {
        buffers.append(src, packets)?;
    }
    Ok(())
}

/// A short count when there was progress, the error when not.
fn progress(done: usize, error: Errno) -> Result<usize, Errno> {
    if done > 0 { Ok(done) } else { Err(error) }
}
