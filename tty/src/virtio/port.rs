//! One port: a stream of bytes to and from the host, in page frames that the device fills and empties.
//!
//! Received frames wait in `filled` until they are read and are handed to the device again only then: a program that does
//! not read stops the host. What is written goes out in frames of a fixed number; a host that does not read stops
//! the writer.
//!
//! Locks: `reading` and `writing` (sleeping) keep the order of bytes among programs; `state` (masks interrupts, never held while
//! bytes are copied) is shared with the interrupt handler, which only moves finished requests.

use abi::Errno;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::PAGE_SIZE;
use machine::mem::Frame;
use machine::sync::IrqLock;
use machine::virtio::{Seg, VirtQueue};
use mm::{Dst, Src};
use sched::{Mutex, WaitQueue};
use vfs::{PollEvents, PollTable};

/// Frames in each direction.
const FRAMES: usize = 16;

struct Filled {
    slot: usize,
    off: usize,
    len: usize,
}

struct State {
    receive: Vec<Frame>,
    filled: VecDeque<Filled>,
    transmit: Vec<Frame>,
    free: Vec<usize>,
    host_open: bool,
    removed: bool,
}

/// A port.
pub struct Port {
    /// Its number.
    pub id: u32,
    rx: VirtQueue,
    tx: VirtQueue,
    state: IrqLock<State>,
    reading: Mutex<()>,
    writing: Mutex<()>,
    readers: WaitQueue,
    writers: WaitQueue,
    /// A program has it open.
    open: AtomicBool,
}

impl Port {
    /// The port with these two queues.
    pub fn new(id: u32, rx: VirtQueue, tx: VirtQueue) -> Arc<Port> {
        let state = State {
            receive: Vec::new(),
            filled: VecDeque::with_capacity(FRAMES),
            transmit: Vec::new(),
            free: Vec::with_capacity(FRAMES),
            host_open: false,
            removed: false,
        };
        Arc::new(Port {
            id,
            rx,
            tx,
            state: IrqLock::new(state),
            reading: Mutex::new(()),
            writing: Mutex::new(()),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            open: AtomicBool::new(false),
        })
    }

    /// Takes the port for a program: EBUSY when another has it. Gives the device its buffers the first time.
    pub fn acquire(&self) -> Result<(), Errno> {
        if self.open.swap(true, Ordering::AcqRel) {
            return Err(Errno::EBUSY);
        }
        let _order = self.reading.lock();
        let primed = self.prime();
        if primed.is_err() {
            self.open.store(false, Ordering::Release);
        }
        primed
    }

    fn prime(&self) -> Result<(), Errno> {
        if !self.state.lock().receive.is_empty() {
            return Ok(());
        }
        let frames = |n: usize| (0..n).map(|_| Frame::alloc()).collect::<Result<Vec<_>, _>>();
        let receive = frames(FRAMES).map_err(|_| Errno::ENOMEM)?;
        let transmit = frames(FRAMES).map_err(|_| Errno::ENOMEM)?;
        for (slot, frame) in receive.iter().enumerate() {
            self.offer(slot, frame);
        }
        let mut s = self.state.lock();
        s.receive = receive;
        s.transmit = transmit;
        s.free.extend(0..FRAMES);
        drop(s);
        self.rx.notify();
        Ok(())
    }

    /// Hands a frame to the device to fill. A queue smaller than our frames takes only some; the rest stays unused.
    fn offer(&self, slot: usize, frame: &Frame) {
        let _ = self.rx.submit(&[], &[Seg { frame, off: 0, len: PAGE_SIZE }], slot as u64);
    }

    /// Gives the port back; what came in and was not read is dropped.
    pub fn release(&self) {
        let _order = self.reading.lock();
        loop {
            let mut s = self.state.lock();
            let Some(f) = s.filled.pop_front() else { break };
            let frame = s.receive.get(f.slot).cloned();
            drop(s);
            if let Some(frame) = frame {
                self.offer(f.slot, &frame);
            }
        }
        self.rx.notify();
        self.open.store(false, Ordering::Release);
    }

    /// The host opened or closed its end.
    pub fn set_host_open(&self, open: bool) {
        self.state.lock().host_open = open;
        self.readers.wake_all();
        self.writers.wake_all();
    }

    /// The host took the port away: programs read the end and cannot write.
    pub fn set_removed(&self, removed: bool) {
        let mut s = self.state.lock();
        s.removed = removed;
        s.host_open = false;
        drop(s);
        self.readers.wake_all();
        self.writers.wake_all();
    }

    /// Interrupt: moves what the device finished.
    pub fn on_interrupt(&self) {
        let mut s = self.state.lock();
        let (mut came, mut sent) = (false, false);
        while let Some((slot, len)) = self.rx.pop() {
            // Tokens are ours and at most FRAMES are out, so both lists have room without growing.
            s.filled.push_back(Filled { slot: slot as usize, off: 0, len: len as usize });
            came = true;
        }
        while let Some((slot, _)) = self.tx.pop() {
            s.free.push(slot as usize);
            sent = true;
        }
        drop(s);
        if came {
            self.readers.wake_all();
        }
        if sent {
            self.writers.wake_all();
        }
    }

    /// read(2): what is there; 0 when the host end is closed and nothing is left.
    pub fn read(&self, dst: &mut Dst<'_>, nonblock: bool) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        loop {
            let order = self.reading.lock();
            let n = self.take(dst)?;
            drop(order);
            if n > 0 {
                return Ok(n);
            }
            let ready = || {
                let s = self.state.lock();
                (!s.filled.is_empty() || !s.host_open).then_some(s.filled.is_empty())
            };
            let ended = match ready() {
                Some(ended) => ended,
                None if nonblock => return Err(Errno::EAGAIN),
                None => self.readers.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)?,
            };
            if ended {
                return Ok(0);
            }
        }
    }

    /// Moves received bytes to `dst` and frames back to the device.
    fn take(&self, dst: &mut Dst<'_>) -> Result<usize, Errno> {
        let start = dst.done();
        let mut freed = false;
        while dst.remaining() > 0 {
            let s = self.state.lock();
            let Some((slot, off, len, frame)) =
                s.filled.front().and_then(|f| Some((f.slot, f.off, f.len, s.receive.get(f.slot)?.clone())))
            else {
                break;
            };
            drop(s);
            let got = match dst.put_frame(&frame, off, len) {
                Ok(got) => got,
                Err(e) if dst.done() == start => return Err(e),
                Err(_) => break,
            };
            let mut s = self.state.lock();
            if got < len {
                if let Some(f) = s.filled.front_mut() {
                    f.off += got;
                    f.len -= got;
                }
                break;
            }
            s.filled.pop_front();
            drop(s);
            self.offer(slot, &frame);
            freed = true;
        }
        if freed {
            self.rx.notify();
        }
        Ok(dst.done() - start)
    }

    /// write(2): all of it, waiting for the host to take it; EIO when the port is gone.
    pub fn write(&self, src: &mut Src<'_>, nonblock: bool) -> Result<usize, Errno> {
        let start = src.done();
        let _order = self.writing.lock_interruptible().map_err(|_| Errno::ERESTARTSYS)?;
        while src.remaining() > 0 {
            match self.send_frame(src) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(e) => return self.finish(src.done() - start, e),
            }
            self.tx.notify();
            if nonblock {
                return self.finish(src.done() - start, Errno::EAGAIN);
            }
            let ready = || {
                let s = self.state.lock();
                (s.removed || s.can_send()).then_some(())
            };
            if self.writers.wait_interruptible(ready).is_err() {
                return self.finish(src.done() - start, Errno::ERESTARTSYS);
            }
        }
        self.tx.notify();
        Ok(src.done() - start)
    }

    fn finish(&self, done: usize, error: Errno) -> Result<usize, Errno> {
        self.tx.notify();
        if done > 0 { Ok(done) } else { Err(error) }
    }

    /// Sends one frame's worth; false when none is free.
    fn send_frame(&self, src: &mut Src<'_>) -> Result<bool, Errno> {
        let mut s = self.state.lock();
        if s.removed {
            return Err(Errno::EIO);
        }
        if !s.can_send() {
            return Ok(false);
        }
        let Some((slot, frame)) = s.free.pop().and_then(|i| Some((i, s.transmit.get(i)?.clone()))) else {
            return Ok(false);
        };
        drop(s);
        let copied = src.get_frame(&frame, 0, PAGE_SIZE);
        let sent = copied.and_then(|len| {
            self.tx.submit(&[Seg { frame: &frame, off: 0, len }], &[], slot as u64).map_err(|_| Errno::EIO)
        });
        if sent.is_err() {
            self.state.lock().free.push(slot);
        }
        sent.map(|()| true)
    }

    /// Readiness now.
    pub fn poll(&self, table: &mut PollTable) -> PollEvents {
        table.listen(&self.readers);
        table.listen(&self.writers);
        let s = self.state.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, !s.filled.is_empty() || !s.host_open);
        events.set(PollEvents::WRITABLE, s.can_send());
        events.set(PollEvents::HUP, !s.host_open);
        events.set(PollEvents::ERR, s.removed);
        events
    }
}

impl State {
    fn can_send(&self) -> bool {
        self.host_open && !self.removed && !self.free.is_empty()
    }
}
