//! Wait queues: threads that sleep until a condition holds, and listeners that are told instead of woken.
//!
//! A waiter enters the queue, marks itself sleeping, *then* looks at its condition; a waker changes the condition, *then* looks
//! at the queue. So no wake-up is lost, and a wake-up with nobody waiting costs a fence and two loads.

use crate::Instant;
use crate::listen::{Listener, Listeners, Subscription};
use crate::switch::{self, current, schedule};
use crate::thread::{Flags, Thread, state};
use crate::timer::SleepTimer;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::*, fence};
use machine::sync::IrqLock;
use smallvec::SmallVec;

/// The sleep was ended by a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted;

impl From<Interrupted> for Errno {
    fn from(_: Interrupted) -> Errno {
        Errno::ERESTARTSYS
    }
}

/// Why a wait with a deadline ended without its condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// A signal waits.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

struct Waiter {
    thread: Arc<Thread>,
    /// Which of the thread's waits this is.
    wait: u32,
}

/// Threads waiting for something, and listeners to it.
pub struct WaitQueue {
    /// Threads in `waiters`, readable without the lock.
    count: AtomicU32,
    waiters: IrqLock<SmallVec<[Waiter; 1]>>,
    listeners: Listeners,
}

impl WaitQueue {
    /// A queue with nobody waiting.
    pub const fn new() -> WaitQueue {
        WaitQueue {
            count: AtomicU32::new(0),
            waiters: IrqLock::new(SmallVec::new_const()),
            listeners: Listeners::new(),
        }
    }

    /// Sleeps until `cond` gives a value; no signal ends it.
    #[inline]
    pub fn wait<R>(&self, mut cond: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Ok(value) = self.wait_in(state::UNINTERRUPTIBLE, 0, None, &mut cond) {
                return value;
            }
        }
    }
    /// Sleeps until `cond` gives a value or a fatal signal comes.
    #[inline]
    pub fn wait_killable<R>(&self, cond: impl FnMut() -> Option<R>) -> Result<R, Interrupted> {
        self.wait_in(state::KILLABLE, Flags::FATAL, None, cond).map_err(|_| Interrupted)
    }
    /// Sleeps until `cond` gives a value or a signal comes.
    #[inline]
    pub fn wait_interruptible<R>(&self, cond: impl FnMut() -> Option<R>) -> Result<R, Interrupted> {
        self.wait_in(state::INTERRUPTIBLE, Flags::INTERRUPTED | Flags::FATAL, None, cond).map_err(|_| Interrupted)
    }
    /// Sleeps until `cond` gives a value, a signal comes or the deadline passes.
    #[inline]
    pub fn wait_deadline<R>(&self, deadline: Option<Instant>, cond: impl FnMut() -> Option<R>) -> Result<R, WaitError> {
        self.wait_in(state::INTERRUPTIBLE, Flags::INTERRUPTED | Flags::FATAL, deadline, cond)
    }

    fn wait_in<R>(
        &self,
        mode: u32,
        ends_on: u32,
        deadline: Option<Instant>,
        mut cond: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        if let Some(value) = cond() {
            return Ok(value);
        }
        let me = current();
        let wait = me.wait_begun.load(Relaxed).wrapping_add(1);
        me.wait_begun.store(wait, Relaxed);
        let mut timer = None;
        let result = loop {
            self.enter(&me, wait, mode);
            if let Some(value) = cond() {
                break Ok(value);
            }
            if me.flags.load(SeqCst) & ends_on != 0 {
                break Err(WaitError::Interrupted);
            }
            if let Some(at) = deadline {
                if at <= crate::now() {
                    break Err(WaitError::TimedOut);
                }
                if timer.is_none() {
                    timer = Some(SleepTimer::arm(&me, at));
                }
            }
            schedule();
        };
        me.state.store(state::RUNNING, Relaxed);
        // A wake-up that was for this thread alone must not be lost because its time was over at that very moment.
        let woken = !self.leave(&me, wait);
        match result {
            Err(why) if woken => cond().ok_or(why),
            result => result,
        }
    }

    /// Queues the current thread for wait number `wait` unless it still is, and marks it as sleeping.
    fn enter(&self, me: &Arc<Thread>, wait: u32, mode: u32) {
        let mut waiters = self.waiters.lock();
        if !waiters.iter().any(|w| w.wait == wait && Arc::ptr_eq(&w.thread, me)) {
            waiters.push(Waiter { thread: me.clone(), wait });
            // Woken before in this wait, its condition did not hold: it is in the queue again, and to be taken out again.
            me.wait_ended.store(wait.wrapping_sub(1), Relaxed);
            self.count.store(waiters.len() as u32, Relaxed);
        }
        drop(waiters);
        me.state.store(mode, SeqCst);
        fence(SeqCst);
    }

    /// Takes a thread out of the queue; whether it still was in it, and not woken.
    fn leave(&self, me: &Arc<Thread>, wait: u32) -> bool {
        if me.wait_ended.load(Relaxed) == wait {
            return false;
        }
        let mut waiters = self.waiters.lock();
        let Some(at) = waiters.iter().position(|w| w.wait == wait && Arc::ptr_eq(&w.thread, me)) else { return false };
        waiters.remove(at);
        self.count.store(waiters.len() as u32, Relaxed);
        true
    }

    /// Whether a thread or a listener waits. The caller has made its change visible before.
    #[inline]
    pub fn is_watched(&self) -> bool {
        fence(SeqCst);
        self.count.load(Relaxed) != 0 || self.listeners.any()
    }

    /// Wakes the thread that waits longest and tells all listeners; whether a thread was woken.
    #[inline]
    pub fn wake_one(&self) -> bool {
        self.wake_key(1, false, 0) != 0
    }
    /// Like [`WaitQueue::wake_one`], when the caller is about to sleep: the woken thread may wait until then.
    #[inline]
    pub fn wake_sync(&self) -> bool {
        self.wake_key(1, true, 0) != 0
    }
    /// Wakes all threads and tells all listeners.
    #[inline]
    pub fn wake_all(&self) {
        self.wake_key(usize::MAX, false, 0);
    }
    /// Wakes up to `most` threads; `key` tells listeners what happened (poll event bits, 0 for "look yourself"). Returns how many
    /// threads were woken.
    #[inline]
    pub fn wake_key(&self, most: usize, sync: bool, key: u64) -> usize {
        fence(SeqCst);
        if self.listeners.any() {
            self.listeners.notify(key);
        }
        if self.count.load(Relaxed) == 0 { 0 } else { self.wake_threads(most, sync) }
    }

    fn wake_threads(&self, most: usize, sync: bool) -> usize {
        let mut waiters = self.waiters.lock();
        let (mut at, mut woken) = (0, 0);
        while woken < most
            && let Some(waiter) = waiters.get(at)
        {
            let wait = waiter.wait;
            if switch::wake(&waiter.thread, state::ANY_SLEEP, sync) {
                // Spares the thread the search; should it look before this is stored, it waits for the lock and finds nothing.
                waiter.thread.wait_ended.store(wait, Relaxed);
                waiters.remove(at);
                woken += 1;
            } else {
                at += 1; // awake already (a signal, or its condition held); it takes itself out
            }
        }
        self.count.store(waiters.len() as u32, Relaxed);
        woken
    }

    /// Tells `listener` of each wake-up from now on, until the subscription is dropped.
    pub fn subscribe(&self, listener: Arc<dyn Listener>) -> Subscription {
        self.listeners.add(listener, false)
    }
    /// Like [`WaitQueue::subscribe`], but of the exclusive listeners only one that accepts is told at a time (`EPOLLEXCLUSIVE`).
    pub fn subscribe_exclusive(&self, listener: Arc<dyn Listener>) -> Subscription {
        self.listeners.add(listener, true)
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        WaitQueue::new()
    }
}

/// Sleeps until someone calls [`Thread::wake`] and `cond` gives a value, a signal comes, or the deadline passes: a wait without
/// a queue, for those who keep their own list of waiters (futexes, poll).
pub fn park<R>(deadline: Option<Instant>, mut cond: impl FnMut() -> Option<R>) -> Result<R, WaitError> {
    if let Some(value) = cond() {
        return Ok(value);
    }
    let me = current();
    let mut timer = None;
    let result = loop {
        me.state.store(state::INTERRUPTIBLE, SeqCst);
        if let Some(value) = cond() {
            break Ok(value);
        }
        if me.flags.load(SeqCst) & (Flags::INTERRUPTED | Flags::FATAL) != 0 {
            break Err(WaitError::Interrupted);
        }
        if let Some(at) = deadline {
            if at <= crate::now() {
                break Err(WaitError::TimedOut);
            }
            if timer.is_none() {
                timer = Some(SleepTimer::arm(&me, at));
            }
        }
        schedule();
    };
    me.state.store(state::RUNNING, Relaxed);
    result
}

/// Sleeps until `deadline` or a signal.
pub fn sleep_until(deadline: Instant) -> Result<(), Interrupted> {
    match park(Some(deadline), || None::<()>) {
        Err(WaitError::Interrupted) => Err(Interrupted),
        _ => Ok(()),
    }
}
