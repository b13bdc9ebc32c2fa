//! A one-way gate: waiters pass once it has been opened.

use crate::wait::{Interrupted, WaitQueue};
use core::sync::atomic::{AtomicBool, Ordering::*};

/// Something that finishes once.
#[derive(Default)]
pub struct Completion {
    done: AtomicBool,
    waiters: WaitQueue,
}

impl Completion {
    /// Not finished.
    pub const fn new() -> Completion {
        Completion { done: AtomicBool::new(false), waiters: WaitQueue::new() }
    }
    /// Finishes and wakes all who wait.
    pub fn complete(&self) {
        self.done.store(true, Release);
        self.waiters.wake_all();
    }
    /// Whether it has finished.
    pub fn is_done(&self) -> bool {
        self.done.load(Acquire)
    }
    /// Waits for the end.
    pub fn wait(&self) {
        self.waiters.wait(|| self.is_done().then_some(()))
    }
    /// Waits for the end or a fatal signal.
    pub fn wait_killable(&self) -> Result<(), Interrupted> {
        self.waiters.wait_killable(|| self.is_done().then_some(()))
    }
    /// Waits for the end or any signal.
    pub fn wait_interruptible(&self) -> Result<(), Interrupted> {
        self.waiters.wait_interruptible(|| self.is_done().then_some(()))
    }
}
