//! The sleeping mutex.
//!
//! Storage and the locked bit are the machine's spin lock, of which only `try_lock` is used; who finds it taken sleeps on the
//! wait queue. An uncontended lock and unlock is one compare-and-swap, one store and one fence.

use crate::wait::{Interrupted, WaitQueue};
use core::ops::{Deref, DerefMut};
use machine::sync::{SpinGuard, SpinLock};

/// Mutual exclusion; waiters sleep, and the holder may.
pub struct Mutex<T: ?Sized> {
    waiters: WaitQueue,
    value: SpinLock<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Mutex { waiters: WaitQueue::new(), value: SpinLock::new(value) }
    }
    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the mutex.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => self.waiters.wait(|| self.try_lock()),
        }
    }
    /// Waits for the mutex unless a fatal signal comes.
    pub fn lock_killable(&self) -> Result<MutexGuard<'_, T>, Interrupted> {
        self.waiters.wait_killable(|| self.try_lock())
    }
    /// Waits for the mutex unless a signal comes.
    pub fn lock_interruptible(&self) -> Result<MutexGuard<'_, T>, Interrupted> {
        self.waiters.wait_interruptible(|| self.try_lock())
    }
    /// Takes the mutex if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.value.try_lock()?;
        Some(MutexGuard { guard, _wake: WakeOnDrop(&self.waiters) })
    }
    /// The value of a mutex nobody else can see.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

/// Wakes the next in line; the guard's last field, so that it drops after the lock is free.
struct WakeOnDrop<'a>(&'a WaitQueue);

impl Drop for WakeOnDrop<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.wake_one();
    }
}

/// Holds a [`Mutex`].
pub struct MutexGuard<'a, T: ?Sized> {
    guard: SpinGuard<'a, T>,
    _wake: WakeOnDrop<'a>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
