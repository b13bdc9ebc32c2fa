//! The sleeping locks this crate uses.

use machine::sync::{SpinGuard, SpinLock};

pub(crate) struct Mutex<T>(SpinLock<T>);
impl<T> Mutex<T> {
    pub const fn new(v: T) -> Self {
        Mutex(SpinLock::new(v))
    }
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.0.lock()
    }
}

pub(crate) struct RwLock<T>(SpinLock<T>);
impl<T> RwLock<T> {
    pub const fn new(v: T) -> Self {
        RwLock(SpinLock::new(v))
    }
    pub fn read(&self) -> SpinGuard<'_, T> {
        self.0.lock()
    }
    pub fn write(&self) -> SpinGuard<'_, T> {
        self.0.lock()
    }
}
