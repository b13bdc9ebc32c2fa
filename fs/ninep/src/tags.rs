//! Requests in flight: one slot a tag, each with a page for its message and the beginning of its reply.
//!
//! Life of a slot: free -> pending (a thread sleeps on it) -> done -> free, or free -> abandoned (nobody waits) -> free. Completions
//! come from interrupt context and only store the state and wake; the lists are under an [`IrqLock`].
//!
//! Lock order: `free` is a leaf; it is never held across a wake-up or a submission.

use crate::transport::Completion;
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::mem::Frame;
use machine::sync::{IrqLock, Once};
use sched::WaitQueue;

/// Requests in flight at most. A virtio queue has 128 descriptors, and a request takes two at the least.
pub const TAGS: usize = 64;

const FREE: u64 = 0;
const PENDING: u64 = 1;
const ABANDONED: u64 = 2;
/// Or-ed with the number of bytes written.
const DONE: u64 = 1 << 63;

/// One request in flight.
pub struct Slot {
    state: AtomicU64,
    /// The fid that a forgotten clunk gives back when it is answered.
    clunked: AtomicU64,
    page: Once<Frame>,
    wait: WaitQueue,
}

impl Slot {
    /// Bytes the device wrote, once it is done.
    pub fn done(&self) -> Option<usize> {
        let state = self.state.load(Ordering::Acquire);
        (state & DONE != 0).then_some((state & !DONE) as usize)
    }
    /// Where sleepers of this request wait.
    pub fn wait(&self) -> &WaitQueue {
        &self.wait
    }
    /// The slot's page.
    pub fn page(&self) -> Result<&Frame, Errno> {
        if let Some(page) = self.page.get() {
            return Ok(page);
        }
        let _ = self.page.set(mm::frames::alloc().map_err(|_| Errno::ENOMEM)?);
        self.page.get().ok_or(Errno::ENOMEM)
    }
}

struct Lists {
    tags: Vec<u16>,
    fids: Vec<u32>,
    next_fid: u32,
    /// Fids whose clunk found no free tag.
    unclunked: Vec<u32>,
}

/// All slots, the free tags and the free fids of a session.
pub struct Tags {
    slots: Box<[Slot]>,
    lists: IrqLock<Lists>,
    /// Threads that wait for a tag, or for room in the device's queue.
    room: WaitQueue,
}

impl Default for Tags {
    /// All free.
    fn default() -> Tags {
        let slot = |_| Slot {
            state: AtomicU64::new(FREE),
            clunked: AtomicU64::new(0),
            page: Once::new(),
            wait: WaitQueue::new(),
        };
        let lists =
            Lists { tags: (0..TAGS as u16).rev().collect(), fids: Vec::new(), next_fid: 0, unclunked: Vec::new() };
        Tags { slots: (0..TAGS).map(slot).collect(), lists: IrqLock::new(lists), room: WaitQueue::new() }
    }
}

impl Tags {
    /// The slot of a tag.
    pub fn slot(&self, tag: u16) -> Option<&Slot> {
        self.slots.get(usize::from(tag))
    }
    /// Where to wait for a tag or for room in the queue.
    pub fn room_queue(&self) -> &WaitQueue {
        &self.room
    }
    /// Takes a free tag for a request someone waits for.
    pub fn take(&self) -> Option<u16> {
        let tag = self.lists.lock().tags.pop()?;
        self.slot(tag)?.state.store(PENDING, Ordering::Release);
        Some(tag)
    }
    /// Takes a tag and a fid to clunk with it, when there are both.
    pub fn take_clunk(&self) -> Option<(u16, u32)> {
        let mut lists = self.lists.lock();
        let fid = lists.unclunked.pop()?;
        let Some(tag) = lists.tags.pop() else {
            lists.unclunked.push(fid);
            return None;
        };
        drop(lists);
        let slot = self.slot(tag)?;
        slot.clunked.store(u64::from(fid) | DONE, Ordering::Relaxed);
        slot.state.store(ABANDONED, Ordering::Release);
        Some((tag, fid))
    }
    /// Queues a fid for [`Tags::take_clunk`].
    pub fn queue_clunk(&self, fid: u32) {
        self.lists.lock().unclunked.push(fid);
    }
    /// Gives a tag back.
    pub fn give(&self, tag: u16) {
        if let Some(slot) = self.slot(tag) {
            slot.state.store(FREE, Ordering::Release);
            self.lists.lock().tags.push(tag);
            self.room.wake_one();
        }
    }
    /// A fid nobody uses.
    pub fn take_fid(&self) -> u32 {
        let mut lists = self.lists.lock();
        lists.fids.pop().unwrap_or_else(|| {
            let fid = lists.next_fid;
            lists.next_fid = fid.wrapping_add(1);
            // Room for every fid in use: giving one back in an interrupt never allocates.
            let in_use = lists.next_fid as usize;
            lists.fids.reserve(in_use);
            fid
        })
    }
    /// Gives a fid back that the server has forgotten.
    pub fn give_fid(&self, fid: u32) {
        self.lists.lock().fids.push(fid);
    }
}

impl Completion for Tags {
    fn complete(&self, token: u16, written: usize) {
        let Some(slot) = self.slot(token) else { return };
        match slot.state.load(Ordering::Acquire) {
            PENDING => {
                slot.state.store(DONE | written as u64, Ordering::Release);
                slot.wait.wake_all();
            }
            ABANDONED => {
                let fid = slot.clunked.swap(0, Ordering::Relaxed);
                if fid & DONE != 0 {
                    self.give_fid(fid as u32);
                }
                self.give(token);
            }
            // A completion nobody asked for: the device's fault, and no one's business.
            _ => {}
        }
    }
    fn room(&self) {
        self.room.wake_all();
    }
}
