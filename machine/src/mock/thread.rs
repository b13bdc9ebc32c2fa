//! Kernel threads as host threads: `switch_to` wakes the next one and waits to be woken.

use super::cpu;
use crate::cpu::CpuId;
use crate::mem::OutOfFrames;
use crate::thread::KernelThread;
use crate::user::Regs;
use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex};

thread_local! {
    static CURRENT: RefCell<Option<Arc<KernelThread>>> = const { RefCell::new(None) };
}

/// What a thread runs, and how it leaves when that has returned.
type Entry = (Box<dyn FnOnce() + Send>, fn() -> !);

pub struct RawThread {
    entry: Mutex<Option<Entry>>,
    /// The CPU handed over with the right to run.
    baton: Mutex<Option<CpuId>>,
    passed: Condvar,
}

impl RawThread {
    pub fn new(entry: Box<dyn FnOnce() + Send>, end: fn() -> !) -> Result<RawThread, OutOfFrames> {
        Ok(RawThread { entry: Mutex::new(Some((entry, end))), baton: Mutex::new(None), passed: Condvar::new() })
    }
    pub fn adopted() -> RawThread {
        RawThread { entry: Mutex::new(None), baton: Mutex::new(None), passed: Condvar::new() }
    }
    pub fn user_regs(&self) -> Option<Regs> {
        None
    }
    fn wait(&self) {
        let mut mine = self.baton.lock().expect("a test thread panicked");
        loop {
            if let Some(cpu) = mine.take() {
                return cpu::set_this(cpu);
            }
            mine = self.passed.wait(mine).expect("a test thread panicked");
        }
    }
}

pub fn set_current(thread: Arc<KernelThread>) {
    CURRENT.with(|c| *c.borrow_mut() = Some(thread));
}

pub fn with_current<R>(f: impl FnOnce(Option<&Arc<KernelThread>>) -> R) -> R {
    let now = CURRENT.with(|c| c.borrow().clone());
    f(now.as_ref())
}

pub fn switch_to(next: Arc<KernelThread>) {
    let Some(me) = CURRENT.with(|c| c.borrow().clone()) else { return };
    if Arc::ptr_eq(&me, &next) {
        return;
    }
    let start = next.raw().entry.lock().expect("a test thread panicked").take();
    *next.raw().baton.lock().expect("a test thread panicked") = Some(cpu::this());
    next.raw().passed.notify_one();
    if let Some((entry, end)) = start {
        std::thread::spawn(move || {
            set_current(next.clone());
            next.raw().wait();
            drop(next);
            entry();
            end()
        });
    }
    me.raw().wait();
}

/// A test that panics ends as any other.
pub fn guard(f: &mut dyn FnMut()) -> u64 {
    f();
    0
}
