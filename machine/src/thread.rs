//! Kernel threads: a stack (with guard page) and a saved context. Which one runs next is `sched`'s decision.

use crate::imp;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

/// A kernel thread. Dropping the last reference frees its stack; the current thread is always kept alive by its CPU.
pub struct KernelThread {
    raw: imp::thread::RawThread,
    payload: Box<dyn Any + Send + Sync>,
}

impl KernelThread {
    /// A thread that will run `entry` on a new stack the first time it is switched to, and then `end`, which switches away for good
    /// and so may own nothing; `payload` is the owner's data (the scheduler's record).
    pub fn new(
        entry: Box<dyn FnOnce() + Send>,
        end: fn() -> !,
        payload: Box<dyn Any + Send + Sync>,
    ) -> Result<Arc<KernelThread>, crate::mem::OutOfFrames> {
        Ok(Arc::new(KernelThread { raw: imp::thread::RawThread::new(entry, end)?, payload }))
    }
    /// The owner's data.
    pub fn payload(&self) -> &(dyn Any + Send + Sync) {
        &*self.payload
    }
    /// The registers of the program it runs, as they were when it last entered the kernel; `None` if it was never in user mode. They
    /// are torn if it runs meanwhile.
    pub fn user_regs(&self) -> Option<crate::user::Regs> {
        self.raw.user_regs()
    }
    pub(crate) fn raw(&self) -> &imp::thread::RawThread {
        &self.raw
    }
    /// Adopts the code running now (boot, or a CPU's entry) as a thread, so that it can be switched away from.
    pub fn adopt(payload: Box<dyn Any + Send + Sync>) -> Arc<KernelThread> {
        let thread = Arc::new(KernelThread { raw: imp::thread::RawThread::adopted(), payload });
        imp::thread::set_current(thread.clone());
        thread
    }
}

/// Runs `f` with the current thread (none before `adopt`).
#[inline]
pub fn with_current<R>(f: impl FnOnce(Option<&Arc<KernelThread>>) -> R) -> R {
    imp::thread::with_current(f)
}

/// Saves this thread and runs `next`; returns when someone switches back to this thread. Call with interrupts off. If `next` is
/// still leaving another CPU this waits for it; switching to the current thread does nothing. The CPU keeps `next` alive while it
/// runs and lets go of the thread it left once the switch is over, so a thread that is to run again needs another owner.
pub fn switch_to(next: Arc<KernelThread>) {
    imp::thread::switch_to(next)
}
