//! Kernel threads that an upper floor has not heard of yet. Whoever makes one need not know that floor.

use crate::thread::Thread;
use crate::wait::WaitQueue;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use machine::sync::IrqLock;

static NEW: IrqLock<VecDeque<Weak<Thread>>> = IrqLock::new(VecDeque::new());
static ARRIVED: WaitQueue = WaitQueue::new();

/// Notes a new one. Without memory for the note nobody hears of it.
pub(crate) fn announce(thread: &Arc<Thread>) {
    let mut new = NEW.lock();
    if new.try_reserve(1).is_ok() {
        new.push_back(Arc::downgrade(thread));
        drop(new);
        ARRIVED.wake_one();
    }
}

/// Waits for the next kernel thread made by [`crate::spawn`], in the order they were made.
pub fn next_kernel_thread() -> Arc<Thread> {
    ARRIVED.wait(|| {
        let mut new = NEW.lock();
        while let Some(thread) = new.pop_front() {
            if let Some(thread) = thread.upgrade() {
                return Some(thread);
            }
        }
        None
    })
}
