//! A split virtqueue.
//!
//! Rings live in one frame: descriptors at 0, the available ring at 2048, the used ring at 2560, so at most 128 entries. The free
//! list and the record of what each chain holds are kept beside it, never read back from memory that the device sees. A
//! request of several pieces takes one descriptor and an indirect table where the device allows it.
//!
//! Locks: one interrupt-masking lock a queue; nothing is locked under it but the frame source (table frames, dropped buffers).

use super::VirtioError;
use super::transport::{Rings, Transport};
use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::mem::Frame;
use crate::sync::IrqLock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

const MAX_SIZE: u16 = 128;
const AVAIL: usize = 2048;
const USED: usize = 2560;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const NO_NOTIFY: u32 = 1;
/// Entries of an indirect table: one frame.
const TABLE: usize = PAGE_SIZE / 16;

/// A piece of a frame: `len` bytes from `off`.
#[derive(Clone, Copy, Debug)]
pub struct Seg<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// First byte.
    pub off: usize,
    /// Number of bytes.
    pub len: usize,
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubmitError {
    /// No free descriptors: try again when a request has come back.
    Full,
    /// Empty, a piece outside its frame, or more pieces than ever fit.
    Invalid,
    /// No memory for the book-keeping.
    Memory,
}

/// What the device holds of one request.
#[derive(Default)]
struct Chain {
    token: u64,
    /// Descriptors used, 0: none in flight under this head.
    count: u16,
    /// Bytes the device may write.
    room: u32,
    /// Keeps the buffers.
    frames: Vec<Frame>,
    /// Indirect table, kept for the next request under this head.
    table: Option<Frame>,
}

struct State {
    chains: Vec<Chain>,
    /// Next free (or next in chain) of each descriptor.
    next: Vec<u16>,
    free_head: u16,
    free: u16,
    avail: u16,
    used: u16,
    /// Merged pieces of the request being built: address, length, device-writable.
    pieces: Vec<(u64, u32, bool)>,
}

/// A queue of requests to a device.
pub struct VirtQueue {
    transport: Arc<dyn Transport>,
    index: u16,
    size: u16,
    indirect: bool,
    rings: Frame,
    state: IrqLock<State>,
}

impl VirtQueue {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        index: u16,
        max_size: u16,
        indirect: bool,
    ) -> Result<VirtQueue, VirtioError> {
        let most = transport.queue_max(index).min(max_size).min(MAX_SIZE);
        if most == 0 {
            return Err(VirtioError::NoQueue);
        }
        // A power of two, as split queues want it.
        let size = 1 << (15 - most.leading_zeros());
        let rings = Frame::alloc_zeroed().map_err(|_| VirtioError::Memory)?;
        let at = |off: usize| PhysAddr(rings.pfn().addr().0 + off as u64);
        if !transport.set_queue(index, size, Rings { desc: at(0), avail: at(AVAIL), used: at(USED) }) {
            return Err(VirtioError::NoQueue);
        }
        let state = State {
            chains: (0..size).map(|_| Chain::default()).collect(),
            next: (1..=size).collect(),
            free_head: 0,
            free: size,
            avail: 0,
            used: 0,
            pieces: Vec::new(),
        };
        Ok(VirtQueue { transport, index, size, indirect, rings, state: IrqLock::new(state) })
    }

    /// The most pieces one request may have (physically adjacent ones count once).
    pub fn max_segments(&self) -> usize {
        if self.indirect { TABLE } else { usize::from(self.size) }
    }

    /// Requests that surely fit now.
    pub fn room(&self) -> usize {
        let s = self.state.lock();
        if self.indirect { usize::from(s.free) } else { usize::from(s.free / 4) }
    }

    /// Hands a request to the device: it reads `out`, then writes `into`. `token` comes back from [`VirtQueue::pop`]. The device
    /// learns of it by [`VirtQueue::notify`].
    pub fn submit(&self, out: &[Seg<'_>], into: &[Seg<'_>], token: u64) -> Result<(), SubmitError> {
        let mut guard = self.state.lock();
        let s = &mut *guard;
        let room = merge(&mut s.pieces, out, into, self.max_segments())?;
        let table = self.indirect && s.pieces.len() > 1;
        let count = if table { 1 } else { s.pieces.len() as u16 };
        if count > s.free {
            return Err(SubmitError::Full);
        }
        let head = s.free_head;
        let chain = s.chains.get_mut(usize::from(head)).ok_or(SubmitError::Full)?;
        chain.frames.try_reserve(out.len() + into.len()).map_err(|_| SubmitError::Memory)?;
        if table && chain.table.is_none() {
            chain.table = Some(Frame::alloc().map_err(|_| SubmitError::Memory)?);
        }
        chain.frames.extend(out.iter().chain(into).map(|seg| seg.frame.clone()));
        (chain.token, chain.count, chain.room) = (token, count, room);
        let last = s.pieces.len() - 1;
        let mut at = head;
        if let Some(t) = chain.table.as_ref().filter(|_| table) {
            for (i, piece) in s.pieces.iter().enumerate() {
                describe(t, i, *piece, if i < last { NEXT } else { 0 }, i as u16 + 1);
            }
            let bytes = (s.pieces.len() * 16) as u32;
            describe(&self.rings, usize::from(head), (t.pfn().addr().0, bytes, false), INDIRECT, 0);
            at = s.next.get(usize::from(head)).copied().unwrap_or(0);
        } else {
            for (i, piece) in s.pieces.iter().enumerate() {
                let next = s.next.get(usize::from(at)).copied().unwrap_or(0);
                describe(&self.rings, usize::from(at), *piece, if i < last { NEXT } else { 0 }, next);
                at = next;
            }
        }
        s.free_head = at;
        s.free -= count;
        let slot = usize::from(s.avail & (self.size - 1));
        self.rings.write(AVAIL + 4 + 2 * slot, &head.to_le_bytes());
        s.avail = s.avail.wrapping_add(1);
        if let Some(word) = self.rings.atomic_u32(AVAIL) {
            // Flags 0 in the lower half, index in the upper: the entry above is visible first.
            word.store(u32::from(s.avail) << 16, Ordering::Release);
        }
        Ok(())
    }

    /// Tells the device of submitted requests, unless it asked not to be told.
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.rings.atomic_u32(USED).is_none_or(|w| w.load(Ordering::Relaxed) & NO_NOTIFY == 0) {
            self.transport.notify(self.index);
        }
    }

    /// Takes back a finished request: its token and how many bytes the device says it wrote (never more than there was
    /// room for).
    pub fn pop(&self) -> Option<(u64, u32)> {
        let mut guard = self.state.lock();
        let s = &mut *guard;
        loop {
            let index = (self.rings.atomic_u32(USED)?.load(Ordering::Acquire) >> 16) as u16;
            if index == s.used {
                return None;
            }
            let slot = USED + 4 + 8 * usize::from(s.used & (self.size - 1));
            let id = self.rings.atomic_u32(slot)?.load(Ordering::Relaxed);
            let len = self.rings.atomic_u32(slot + 4)?.load(Ordering::Relaxed);
            s.used = s.used.wrapping_add(1);
            // An id that names no request in flight is a device's lie: skipped.
            let Some(chain) = s.chains.get_mut(id as usize).filter(|c| c.count > 0) else { continue };
            let (head, count) = (id as u16, core::mem::take(&mut chain.count));
            let done = (chain.token, len.min(chain.room));
            chain.frames.clear();
            let mut last = head;
            for _ in 1..count {
                last = s.next.get(usize::from(last)).copied().unwrap_or(last);
            }
            if let Some(n) = s.next.get_mut(usize::from(last)) {
                *n = s.free_head;
            }
            s.free_head = head;
            s.free += count;
            return Some(done);
        }
    }
}

impl Drop for VirtQueue {
    fn drop(&mut self) {
        // The device must let go of rings and buffers before they are freed.
        self.transport.reset();
    }
}

/// Writes a descriptor.
fn describe(table: &Frame, index: usize, (addr, len, write): (u64, u32, bool), flags: u16, next: u16) {
    let flags = flags | if write { WRITE } else { 0 };
    let mut d = [0; 16];
    d[..8].copy_from_slice(&addr.to_le_bytes());
    d[8..12].copy_from_slice(&len.to_le_bytes());
    d[12..14].copy_from_slice(&flags.to_le_bytes());
    d[14..].copy_from_slice(&next.to_le_bytes());
    table.write(16 * index, &d);
}

/// Lists the pieces with neighbours joined; returns the bytes the device may write.
fn merge(
    pieces: &mut Vec<(u64, u32, bool)>,
    out: &[Seg<'_>],
    into: &[Seg<'_>],
    max: usize,
) -> Result<u32, SubmitError> {
    pieces.clear();
    pieces.try_reserve(out.len() + into.len()).map_err(|_| SubmitError::Memory)?;
    let mut room = 0u32;
    for (seg, write) in out.iter().map(|s| (s, false)).chain(into.iter().map(|s| (s, true))) {
        if seg.off > PAGE_SIZE || seg.len > PAGE_SIZE - seg.off {
            return Err(SubmitError::Invalid);
        }
        if seg.len == 0 {
            continue;
        }
        let (addr, len) = (seg.frame.pfn().addr().0 + seg.off as u64, seg.len as u32);
        if write {
            room = room.checked_add(len).ok_or(SubmitError::Invalid)?;
        }
        match pieces.last_mut() {
            Some((a, l, w)) if *w == write && *a + u64::from(*l) == addr => *l += len,
            _ => pieces.push((addr, len, write)),
        }
    }
    if pieces.is_empty() || pieces.len() > max { Err(SubmitError::Invalid) } else { Ok(room) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::SpinLock;
    use crate::virtio::transport::Status;
    use alloc::boxed::Box;
    use alloc::string::String;

    /// A device with one queue that the test plays.
    #[derive(Default)]
    struct Fake {
        rings: SpinLock<Option<Rings>>,
        notified: SpinLock<u32>,
        resets: SpinLock<u32>,
    }

    impl Transport for Fake {
        fn device_id(&self) -> u32 {
            9
        }
        fn reset(&self) {
            *self.resets.lock() += 1;
        }
        fn status(&self) -> u8 {
            Status::FEATURES_OK
        }
        fn add_status(&self, _bits: u8) {}
        fn device_features(&self) -> u64 {
            u64::MAX
        }
        fn set_driver_features(&self, _features: u64) {}
        fn queue_max(&self, _index: u16) -> u16 {
            8
        }
        fn set_queue(&self, _index: u16, _size: u16, rings: Rings) -> bool {
            *self.rings.lock() = Some(rings);
            true
        }
        fn notify(&self, _index: u16) {
            *self.notified.lock() += 1;
        }
        fn read_config(&self, _off: usize, _buf: &mut [u8]) {}
        fn config_generation(&self) -> u32 {
            0
        }
        fn connect(&self, _name: String, _handler: Box<dyn Fn() + Send + Sync>) -> bool {
            true
        }
    }

    fn make(indirect: bool) -> (Arc<Fake>, VirtQueue) {
        let fake = Arc::new(Fake::default());
        let q = VirtQueue::new(fake.clone(), 0, 64, indirect).expect("queue");
        (fake, q)
    }

    /// The device's part: marks `id` as used.
    fn finish(q: &VirtQueue, at: u16, id: u32, len: u32) {
        let slot = USED + 4 + 8 * usize::from(at & 7);
        q.rings.write(slot, &id.to_le_bytes());
        q.rings.write(slot + 4, &len.to_le_bytes());
        q.rings.write(USED + 2, &(at + 1).to_le_bytes());
    }

    fn head(q: &VirtQueue, at: u16) -> u32 {
        let mut b = [0; 2];
        q.rings.read(AVAIL + 4 + 2 * usize::from(at & 7), &mut b);
        u32::from(u16::from_le_bytes(b))
    }

    fn seg(frame: &Frame, off: usize, len: usize) -> Seg<'_> {
        Seg { frame, off, len }
    }

    #[test]
    fn requests_come_back_with_their_tokens_and_clipped_lengths() {
        for indirect in [false, true] {
            let (fake, q) = make(indirect);
            let f = Frame::alloc_zeroed().expect("memory");
            for round in 0..40u16 {
                q.submit(&[seg(&f, 0, 10)], &[seg(&f, 100, 20), seg(&f, 200, 30)], u64::from(round)).expect("room");
                q.notify();
                assert_eq!(q.pop(), None);
                assert_eq!(f.refs(), 4);
                finish(&q, round, head(&q, round), 1000);
                assert_eq!(q.pop(), Some((u64::from(round), 50)));
                assert_eq!(f.refs(), 1);
            }
            assert_eq!(*fake.notified.lock(), 40);
            drop(q);
            assert_eq!(*fake.resets.lock(), 1);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_recovers() {
        let (_fake, q) = make(false);
        let f = Frame::alloc_zeroed().expect("memory");
        for i in 0..4 {
            q.submit(&[seg(&f, 0, 1)], &[seg(&f, 9, 1)], i).expect("room");
        }
        assert_eq!(q.submit(&[seg(&f, 0, 1)], &[], 9), Err(SubmitError::Full));
        finish(&q, 0, head(&q, 2), 1);
        assert_eq!(q.pop(), Some((2, 1)));
        q.submit(&[seg(&f, 0, 1)], &[seg(&f, 9, 1)], 7).expect("room");
    }

    #[test]
    fn lies_of_the_device_are_skipped() {
        let (_fake, q) = make(true);
        let f = Frame::alloc_zeroed().expect("memory");
        q.submit(&[seg(&f, 0, 1)], &[seg(&f, 9, 1)], 5).expect("room");
        let id = head(&q, 0);
        finish(&q, 0, 4000, 1);
        finish(&q, 1, id + 1, 1);
        finish(&q, 2, id, 1);
        finish(&q, 3, id, 1);
        assert_eq!(q.pop(), Some((5, 1)));
        assert_eq!(q.pop(), None);
    }

    #[test]
    fn pieces_outside_their_frame_are_refused_and_neighbours_join() {
        let (_fake, q) = make(true);
        let f = Frame::alloc_zeroed().expect("memory");
        assert_eq!(q.submit(&[], &[], 0), Err(SubmitError::Invalid));
        assert_eq!(q.submit(&[seg(&f, 4000, 97)], &[], 0), Err(SubmitError::Invalid));
        assert_eq!(q.submit(&[seg(&f, usize::MAX, 1)], &[], 0), Err(SubmitError::Invalid));
        let mut pieces = Vec::new();
        let parts = [seg(&f, 0, 10), seg(&f, 10, 5), seg(&f, 20, 5)];
        assert_eq!(merge(&mut pieces, &parts, &[], 8), Ok(0));
        assert_eq!(pieces.len(), 2);
    }
}
