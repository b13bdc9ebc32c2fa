//! Readiness: event bits and the table that collects subscriptions to wait queues. The engine of poll, select and epoll lives a
//! floor up; everything that can be waited for only needs this.

use alloc::sync::Arc;
use bitflags::bitflags;
use sched::{Listener, Subscription, WaitQueue};
use smallvec::SmallVec;

bitflags! {
    /// `POLL*` bits; the `EPOLL*` bits have the same values.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        /// Data to read.
        const IN = 0x1;
        /// Urgent data.
        const PRI = 0x2;
        /// Room to write.
        const OUT = 0x4;
        /// Error (always reported).
        const ERR = 0x8;
        /// Hang-up (always reported).
        const HUP = 0x10;
        /// Not an open descriptor.
        const NVAL = 0x20;
        /// Normal data to read.
        const RDNORM = 0x40;
        /// Priority-band data to read.
        const RDBAND = 0x80;
        /// Room for normal data.
        const WRNORM = 0x100;
        /// Room for priority data.
        const WRBAND = 0x200;
        /// A message is available.
        const MSG = 0x400;
        /// The peer shut down its writing half.
        const RDHUP = 0x2000;
    }
}

const PASSED_ON: u64 = 1 << 32;

impl PollEvents {
    /// Ready to read.
    pub const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
    /// Ready to write.
    pub const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

    /// The wake-up key of who made these come about.
    pub const fn key(self) -> u64 {
        self.bits() as u64
    }
    /// The wake-up key of a waiter that passes its turn on to the next: nothing new happened, so no signal is due.
    pub const fn passed_on(self) -> u64 {
        self.key() | PASSED_ON
    }
    /// Whether a wake-up with this key was passed on.
    pub const fn is_passed_on(key: u64) -> bool {
        key & PASSED_ON != 0
    }
}

/// Collects what a waiter must be told by. Dropping it ends the subscriptions.
#[derive(Default)]
pub struct PollTable {
    listener: Option<Arc<dyn Listener>>,
    exclusive: bool,
    subscriptions: SmallVec<[Subscription; 2]>,
}

impl PollTable {
    /// Only asks for the state now.
    pub const fn none() -> PollTable {
        PollTable { listener: None, exclusive: false, subscriptions: SmallVec::new_const() }
    }
    /// Subscribes `listener` to every queue that `poll` names.
    pub fn with(listener: Arc<dyn Listener>) -> PollTable {
        PollTable { listener: Some(listener), exclusive: false, subscriptions: SmallVec::new() }
    }
    /// The same, but of such subscribers to a queue only one is told of an event (`EPOLLEXCLUSIVE`).
    pub fn exclusive(listener: Arc<dyn Listener>) -> PollTable {
        PollTable { exclusive: true, ..PollTable::with(listener) }
    }
    /// Called by `poll` implementations for each queue that announces a change, before they look at the state.
    #[inline]
    pub fn listen(&mut self, queue: &WaitQueue) {
        if let Some(listener) = &self.listener {
            let listener = listener.clone();
            self.subscriptions.push(if self.exclusive {
                queue.subscribe_exclusive(listener)
            } else {
                queue.subscribe(listener)
            });
        }
    }
    /// Stops subscribing; what is subscribed stays. For scans that already found something ready.
    pub fn stop(&mut self) {
        self.listener = None;
    }
    /// Whether anything is subscribed.
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }
}
