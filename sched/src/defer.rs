//! Deferred work: closures run soon, in order, by a worker thread of this CPU that may sleep.

use crate::cpu;
use crate::switch::spawn;
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use core::sync::atomic::{AtomicBool, Ordering::*};
use machine::sync::IrqLock;

/// One CPU's deferred work.
pub(crate) struct WorkQueue {
    work: IrqLock<VecDeque<Box<dyn FnOnce() + Send>>>,
    waits: WaitQueue,
    has_worker: AtomicBool,
}

impl WorkQueue {
    pub const fn new() -> WorkQueue {
        WorkQueue { work: IrqLock::new(VecDeque::new()), waits: WaitQueue::new(), has_worker: AtomicBool::new(false) }
    }
}

/// Runs `work` in a worker thread. The worker is made at the first use on a CPU.
pub fn defer(work: Box<dyn FnOnce() + Send>) {
    let queue = &cpu::this().deferred;
    queue.work.lock().push_back(work);
    if !queue.has_worker.swap(true, AcqRel) {
        match spawn(&format!("kworker/{}", cpu::this().id.0), None, Box::new(|| worker(queue))) {
            Ok(thread) => thread.start(),
            Err(_) => queue.has_worker.store(false, Release), // the next caller tries again
        }
    }
    queue.waits.wake_one();
}

fn worker(queue: &WorkQueue) {
    loop {
        let work = queue.waits.wait(|| queue.work.lock().pop_front());
        work();
        crate::cond_resched();
    }
}
