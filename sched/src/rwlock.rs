//! The sleeping readers-writer lock. Waiting writers hold new readers back, so they are not starved.

use crate::wait::{Interrupted, WaitQueue};
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering::*};
use machine::rwlock::{ReadGuard, TryRwLock, WriteGuard};

/// Many readers or one writer; waiters sleep, and holders may.
pub struct RwLock<T: ?Sized> {
    waiters: WaitQueue,
    /// Writers waiting.
    writers: AtomicU32,
    value: TryRwLock<T>,
}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        RwLock { waiters: WaitQueue::new(), writers: AtomicU32::new(0), value: TryRwLock::new(value) }
    }
    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Shares the value, waiting for a writer to finish.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        match self.try_read() {
            Some(guard) => guard,
            None => self.waiters.wait(|| self.try_read()),
        }
    }
    /// Takes the value, waiting for everybody to finish.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        if let Some(guard) = self.try_write() {
            return guard;
        }
        self.writers.fetch_add(1, Relaxed);
        let guard = self.waiters.wait(|| self.try_write());
        self.writers.fetch_sub(1, Relaxed);
        guard
    }
    /// Like [`RwLock::write`], unless a fatal signal comes.
    pub fn write_killable(&self) -> Result<RwLockWriteGuard<'_, T>, Interrupted> {
        self.writers.fetch_add(1, Relaxed);
        let guard = self.waiters.wait_killable(|| self.try_write());
        if self.writers.fetch_sub(1, Relaxed) == 1 && guard.is_err() {
            self.waiters.wake_all(); // readers may have waited for this writer alone
        }
        guard
    }
    /// Shares the value unless a writer has it or waits for it.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        if self.writers.load(Relaxed) != 0 {
            return None;
        }
        let guard = self.value.try_read()?;
        Some(RwLockReadGuard { guard, _wake: WakeOnDrop(&self.waiters) })
    }
    /// Takes the value unless anyone has it.
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let guard = self.value.try_write()?;
        Some(RwLockWriteGuard { guard, _wake: WakeOnDrop(&self.waiters) })
    }
    /// The value of a lock nobody else can see.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

/// Wakes those who wait; a guard's last field, so that it drops after the lock is free. Readers and writers share the queue,
/// and which of them can go on is theirs to find out.
struct WakeOnDrop<'a>(&'a WaitQueue);

impl Drop for WakeOnDrop<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.wake_all();
    }
}

/// Shares the value of a [`RwLock`].
pub struct RwLockReadGuard<'a, T: ?Sized> {
    guard: ReadGuard<'a, T>,
    _wake: WakeOnDrop<'a>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

/// Owns the value of a [`RwLock`].
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    guard: WriteGuard<'a, T>,
    _wake: WakeOnDrop<'a>,
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
