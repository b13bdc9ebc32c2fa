//! A queue: messages, waiting threads, the notification.

use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::SpinLock;
use sched::{Instant, Thread, WaitError, WaitQueue};
use vfs::PollEvents;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Higher ones are received first.
    pub priority: u32,
    /// Its text.
    pub text: Vec<u8>,
}

/// A thread that waits: a receiver for a message to be put here, a sender for the message here to be taken.
struct Waiter {
    thread: Arc<Thread>,
    slot: SpinLock<Slot>,
}

enum Slot {
    /// A receiver's, or a sender's that has been served.
    Empty,
    Full(Message),
}

impl Waiter {
    fn new(slot: Slot) -> Arc<Waiter> {
        Arc::new(Waiter { thread: sched::current(), slot: SpinLock::new(slot) })
    }
    fn take(&self) -> Option<Message> {
        match core::mem::replace(&mut *self.slot.lock(), Slot::Empty) {
            Slot::Full(message) => Some(message),
            Slot::Empty => None,
        }
    }
    fn is_empty(&self) -> bool {
        matches!(*self.slot.lock(), Slot::Empty)
    }
}

/// How a process is told (mq_notify(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// SIGEV_NONE: not at all.
    Nothing,
    /// SIGEV_SIGNAL: by this signal.
    Signal(i32),
}

/// Sends the signal; called by the sender of the message.
pub type Tell = Box<dyn FnOnce() + Send>;

/// Who is to be told when a message comes to the empty queue and nobody waits for it.
pub struct Notification {
    /// The process, by its global number.
    pub owner: i32,
    /// In which way.
    pub notice: Notice,
    /// Does it.
    pub tell: Tell,
}

struct State {
    /// By priority, in each the order they came.
    messages: BTreeMap<u32, VecDeque<Message>>,
    count: u32,
    bytes: u64,
    receivers: VecDeque<Arc<Waiter>>,
    senders: VecDeque<Arc<Waiter>>,
    notification: Option<Notification>,
}

/// A queue.
pub struct Queue {
    /// Messages it holds at most.
    pub max: u32,
    /// Bytes of the longest message.
    pub size: u32,
    state: SpinLock<State>,
    /// For poll.
    pub changed: WaitQueue,
}

/// What a queue file shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Messages.
    pub count: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Who is to be told, and how.
    pub notification: Option<(i32, Notice)>,
}

impl Queue {
    pub fn new(max: u32, size: u32) -> Queue {
        let state = State {
            messages: BTreeMap::new(),
            count: 0,
            bytes: 0,
            receivers: VecDeque::new(),
            senders: VecDeque::new(),
            notification: None,
        };
        Queue { max, size, state: SpinLock::new(state), changed: WaitQueue::new() }
    }
    /// What there is to show.
    pub fn show(&self) -> Shown {
        let state = self.state.lock();
        let notification = state.notification.as_ref().map(|n| (n.owner, n.notice));
        Shown { count: state.count, bytes: state.bytes, notification }
    }
    /// Readiness.
    pub fn ready(&self) -> PollEvents {
        let count = self.state.lock().count;
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < self.max);
        events
    }
    /// mq_timedsend(2): `deadline` on the monotonic clock.
    pub fn send(&self, message: Message, nonblock: bool, deadline: Option<Instant>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.count >= self.max {
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let waiter = Waiter::new(Slot::Full(message));
            state.senders.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            state.senders.push_back(waiter.clone());
            drop(state);
            return self.wait(&waiter, deadline, false, |w| w.is_empty().then_some(()));
        }
        if let Some(receiver) = state.receivers.pop_front() {
            *receiver.slot.lock() = Slot::Full(message);
            receiver.thread.wake();
            return Ok(());
        }
        state.insert(message)?;
        let told = if state.count == 1 { state.notification.take() } else { None };
        drop(state);
        self.changed.wake_all();
        if let Some(notification) = told {
            (notification.tell)();
        }
        Ok(())
    }
    /// mq_timedreceive(2).
    pub fn receive(&self, nonblock: bool, deadline: Option<Instant>) -> Result<Message, Errno> {
        let mut state = self.state.lock();
        if let Some(message) = state.take() {
            // There is room for the message of a sender that waits.
            let sent = match state.senders.pop_front() {
                Some(sender) => {
                    let inserted = sender.take().map_or(Ok(()), |m| state.insert(m));
                    sender.thread.wake();
                    inserted.is_ok()
                }
                None => false,
            };
            drop(state);
            if !sent {
                self.changed.wake_all();
            }
            return Ok(message);
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        let waiter = Waiter::new(Slot::Empty);
        state.receivers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        state.receivers.push_back(waiter.clone());
        drop(state);
        self.wait(&waiter, deadline, true, Waiter::take)
    }
    /// Sleeps until `served` gives a value; else leaves the list of receivers or senders.
    fn wait<R>(
        &self,
        waiter: &Arc<Waiter>,
        deadline: Option<Instant>,
        receives: bool,
        served: impl Fn(&Waiter) -> Option<R>,
    ) -> Result<R, Errno> {
        let why = match sched::park(deadline, || served(waiter)) {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        let mut state = self.state.lock();
        // It may have been served in the meantime.
        if let Some(value) = served(waiter) {
            return Ok(value);
        }
        let list = if receives { &mut state.receivers } else { &mut state.senders };
        list.retain(|w| !Arc::ptr_eq(w, waiter));
        Err(if why == WaitError::TimedOut { Errno::ETIMEDOUT } else { Errno::ERESTARTSYS })
    }
    /// mq_notify(2); EBUSY when somebody is to be told already.
    pub fn set_notification(&self, new: Notification) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.notification.is_some() {
            return Err(Errno::EBUSY);
        }
        state.notification = Some(new);
        Ok(())
    }
    /// The process is not to be told any more; whether it was.
    pub fn clear_notification(&self, owner: i32) -> bool {
        let mut state = self.state.lock();
        let gone = if state.notification.as_ref().is_some_and(|n| n.owner == owner) {
            state.notification.take()
        } else {
            None
        };
        drop(state);
        gone.is_some()
    }
}

impl State {
    fn insert(&mut self, message: Message) -> Result<(), Errno> {
        let bytes = message.text.len() as u64;
        let level = self.messages.entry(message.priority).or_default();
        level.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        level.push_back(message);
        self.count += 1;
        self.bytes += bytes;
        Ok(())
    }
    /// The oldest message of the highest priority.
    fn take(&mut self) -> Option<Message> {
        let mut level = self.messages.last_entry()?;
        let message = level.get_mut().pop_front();
        if level.get().is_empty() {
            level.remove();
        }
        let message = message?;
        self.count -= 1;
        self.bytes -= message.text.len() as u64;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(q: &Queue) -> Vec<u8> {
        q.receive(true, None).unwrap().text
    }

    #[test]
    fn higher_priorities_come_first_and_equal_ones_in_order() {
        let q = Queue::new(4, 10);
        for (priority, text) in [(1, "a"), (5, "b"), (1, "c"), (5, "d")] {
            q.send(Message { priority, text: text.into() }, true, None).unwrap();
        }
        assert_eq!(q.send(Message { priority: 0, text: Vec::new() }, true, None), Err(Errno::EAGAIN));
        assert_eq!(q.show(), Shown { count: 4, bytes: 4, notification: None });
        assert_eq!([text(&q), text(&q), text(&q), text(&q)], [b"b", b"d", b"a", b"c"]);
        assert_eq!(q.receive(true, None), Err(Errno::EAGAIN));
    }

    #[test]
    fn one_process_is_told_once() {
        let q = Queue::new(4, 10);
        let notification = |owner| Notification { owner, notice: Notice::Nothing, tell: Box::new(|| ()) };
        q.set_notification(notification(3)).unwrap();
        assert_eq!(q.set_notification(notification(4)), Err(Errno::EBUSY));
        assert!(!q.clear_notification(4));
        q.send(Message { priority: 0, text: Vec::new() }, true, None).unwrap();
        assert!(!q.clear_notification(3));
    }
}
