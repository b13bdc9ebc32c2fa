//! The state of a message queue.

use crate::seconds;
use abi::Errno;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::SpinLock;
use sched::{Thread, WaitQueue};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type, positive.
    pub kind: i64,
    /// Its text.
    pub text: Vec<u8>,
}

/// Which message a receiver wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// The first.
    Any,
    /// The first of this type.
    Only(i64),
    /// The first of another type.
    Except(i64),
    /// The first of the lowest type up to this.
    UpTo(i64),
}

impl Selection {
    fn takes(self, kind: i64) -> bool {
        match self {
            Selection::Any => true,
            Selection::Only(wanted) => kind == wanted,
            Selection::Except(not) => kind != not,
            Selection::UpTo(most) => kind <= most,
        }
    }
}

/// A thread that waits for a message.
pub struct Receiver {
    pub selection: Selection,
    /// Longest text it takes.
    pub max: usize,
    pub pid: i32,
    thread: Arc<Thread>,
    result: SpinLock<Option<Result<Message, Errno>>>,
}

impl Receiver {
    pub fn new(selection: Selection, max: usize, pid: i32) -> Arc<Receiver> {
        Arc::new(Receiver { selection, max, pid, thread: sched::current(), result: SpinLock::new(None) })
    }
    /// What it got, once.
    pub fn take(&self) -> Option<Result<Message, Errno>> {
        self.result.lock().take()
    }
    fn finish(&self, result: Result<Message, Errno>) {
        *self.result.lock() = Some(result);
        self.thread.wake();
    }
}

/// A queue.
pub struct Queue {
    pub(super) messages: VecDeque<Message>,
    receivers: VecDeque<Arc<Receiver>>,
    /// Where senders wait for room.
    pub(super) room: Arc<WaitQueue>,
    pub(super) bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) stime: i64,
    pub(super) rtime: i64,
    pub(super) ctime: i64,
    pub(super) lspid: i32,
    pub(super) lrpid: i32,
}

impl Queue {
    pub(super) fn new(max_bytes: u64) -> Queue {
        Queue {
            messages: VecDeque::new(),
            receivers: VecDeque::new(),
            room: Arc::new(WaitQueue::new()),
            bytes: 0,
            max_bytes,
            stime: 0,
            rtime: 0,
            ctime: seconds(),
            lspid: 0,
            lrpid: 0,
        }
    }
    /// A text of `len` bytes may enter. The number of messages is bounded too, for empty ones take room as well.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.bytes.saturating_add(len as u64) <= self.max_bytes && (self.messages.len() as u64) < self.max_bytes
    }
    /// Gives a message to a receiver, or queues it; true when it was queued. There is room.
    pub(super) fn put(&mut self, message: Message, pid: i32) -> Result<bool, Errno> {
        self.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        (self.lspid, self.stime) = (pid, seconds());
        while let Some(at) = self.receivers.iter().position(|r| r.selection.takes(message.kind)) {
            let Some(receiver) = self.receivers.remove(at) else { break };
            if message.text.len() <= receiver.max {
                (self.lrpid, self.rtime) = (receiver.pid, seconds());
                receiver.finish(Ok(message));
                return Ok(false);
            }
            // It cannot take this one, and the message goes on to the next.
            receiver.finish(Err(Errno::E2BIG));
        }
        self.bytes += message.text.len() as u64;
        self.messages.push_back(message);
        Ok(true)
    }
    /// Where the message is that a receiver wants.
    pub(super) fn find(&self, selection: Selection) -> Option<usize> {
        let wanted = self.messages.iter().enumerate().filter(|(_, m)| selection.takes(m.kind));
        match selection {
            Selection::UpTo(_) => wanted.min_by_key(|(_, m)| m.kind).map(|(at, _)| at),
            _ => wanted.map(|(at, _)| at).next(),
        }
    }
    /// Takes the message at `at` out.
    pub(super) fn take(&mut self, at: usize, pid: i32) -> Option<Message> {
        let message = self.messages.remove(at)?;
        self.bytes -= message.text.len() as u64;
        (self.lrpid, self.rtime) = (pid, seconds());
        Some(message)
    }
    pub(super) fn wait(&mut self, receiver: &Arc<Receiver>) -> Result<(), Errno> {
        self.receivers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.receivers.push_back(receiver.clone());
        Ok(())
    }
    pub(super) fn leave(&mut self, receiver: &Arc<Receiver>) {
        self.receivers.retain(|r| !Arc::ptr_eq(r, receiver));
    }
    /// All receivers go with this error; EAGAIN lets them look again.
    pub(super) fn expel(&mut self, why: Errno) {
        for receiver in core::mem::take(&mut self.receivers) {
            receiver.finish(Err(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(q: &mut Queue, kind: i64, text: &[u8]) {
        q.put(Message { kind, text: text.to_vec() }, 1).unwrap();
    }

    #[test]
    fn selections_find_the_message_they_name() {
        let mut q = Queue::new(100);
        put(&mut q, 3, b"c");
        put(&mut q, 2, b"bb");
        put(&mut q, 2, b"b");
        assert_eq!(q.find(Selection::Any), Some(0));
        assert_eq!(q.find(Selection::Only(2)), Some(1));
        assert_eq!(q.find(Selection::Except(3)), Some(1));
        assert_eq!(q.find(Selection::UpTo(9)), Some(1));
        assert_eq!(q.find(Selection::UpTo(1)), None);
        assert_eq!(q.take(1, 5).unwrap().text, b"bb");
        assert_eq!((q.bytes, q.lrpid), (2, 5));
        assert!(q.has_room(98) && !q.has_room(99));
    }
}
