//! Kernel threads as host threads: `switch_to` wakes the next one and waits to be woken.

use crate::mem::OutOfFrames;
use crate::thread::KernelThread;
use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex};

thread_local! {
    static CURRENT: RefCell<Option<Arc<KernelThread>>> = const { RefCell::new(None) };
}

type Entry = Box<dyn FnOnce() + Send>;

pub struct RawThread {
    entry: Mutex<Option<Entry>>,
    baton: Mutex<bool>,
    passed: Condvar,
}

impl RawThread {
    pub fn new(entry: Entry) -> Result<RawThread, OutOfFrames> {
        Ok(RawThread { entry: Mutex::new(Some(entry)), baton: Mutex::new(false), passed: Condvar::new() })
    }
    pub fn adopted() -> RawThread {
        RawThread { entry: Mutex::new(None), baton: Mutex::new(false), passed: Condvar::new() }
    }
    fn wait(&self) {
        let mut mine = self.baton.lock().expect("a test thread panicked");
        while !*mine {
            mine = self.passed.wait(mine).expect("a test thread panicked");
        }
        *mine = false;
    }
}

pub fn set_current(thread: Arc<KernelThread>) {
    CURRENT.with(|c| *c.borrow_mut() = Some(thread));
}

pub fn with_current<R>(f: impl FnOnce(Option<&Arc<KernelThread>>) -> R) -> R {
    let now = CURRENT.with(|c| c.borrow().clone());
    f(now.as_ref())
}

pub fn switch_to(next: &Arc<KernelThread>) {
    let Some(me) = CURRENT.with(|c| c.borrow().clone()) else { return };
    if Arc::ptr_eq(&me, next) {
        return;
    }
    let start = next.raw().entry.lock().expect("a test thread panicked").take();
    *next.raw().baton.lock().expect("a test thread panicked") = true;
    next.raw().passed.notify_one();
    if let Some(entry) = start {
        let thread = next.clone();
        std::thread::spawn(move || {
            set_current(thread.clone());
            thread.raw().wait();
            drop(thread);
            entry();
        });
    }
    me.raw().wait();
}
