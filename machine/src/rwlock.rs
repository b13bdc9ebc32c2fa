//! A readers-writer lock that never waits: the storage under `sched`'s sleeping lock, which decides what a refused caller does.

use crate::imp;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

const WRITER: u32 = 1 << 31;

/// Many readers or one writer; both sides are refused instead of kept waiting.
pub struct TryRwLock<T: ?Sized> {
    /// Number of readers, or [`WRITER`].
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out `&T` to many or `&mut T` to one, never both, so sharing needs `T: Send + Sync`.
unsafe impl<T: ?Sized + Send + Sync> Sync for TryRwLock<T> {}
// SAFETY: moving the lock moves the value.
unsafe impl<T: ?Sized + Send> Send for TryRwLock<T> {}

impl<T> TryRwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        TryRwLock { state: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }
    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> TryRwLock<T> {
    /// Shares the value unless a writer has it.
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        let mut state = self.state.load(Ordering::Relaxed);
        while state < WRITER - 1 {
            match self.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    imp::cpu::lock_taken();
                    return Some(ReadGuard { lock: self, _not_send: PhantomData });
                }
                Err(now) => state = now,
            }
        }
        None
    }
    /// Takes the value unless anyone has it.
    #[inline]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.state.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).ok()?;
        imp::cpu::lock_taken();
        Some(WriteGuard { lock: self, _not_send: PhantomData })
    }
    /// The value of a lock nobody else can see.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// Shares the value of a [`TryRwLock`].
pub struct ReadGuard<'a, T: ?Sized> {
    lock: &'a TryRwLock<T>,
    /// The thread that took it is the one whose locks it counts among.
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: sharing the guard shares `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for ReadGuard<'_, T> {}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is counted in `state`, so no writer exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.state.fetch_sub(1, Ordering::Release);
        imp::cpu::lock_given();
    }
}

/// Owns the value of a [`TryRwLock`].
pub struct WriteGuard<'a, T: ?Sized> {
    lock: &'a TryRwLock<T>,
    /// As in [`ReadGuard`].
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: sharing the guard shares `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for WriteGuard<'_, T> {}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` makes the borrow unique.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for WriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.state.store(0, Ordering::Release);
        imp::cpu::lock_given();
    }
}

#[cfg(test)]
mod tests {
    use super::TryRwLock;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let lock = TryRwLock::new(1);
        let a = lock.try_read().expect("free");
        let b = lock.try_read().expect("shared");
        assert!(lock.try_write().is_none());
        assert_eq!(*a + *b, 2);
        drop((a, b));
        let mut w = lock.try_write().expect("free again");
        *w = 5;
        assert!(lock.try_read().is_none() && lock.try_write().is_none());
        drop(w);
        assert_eq!(lock.into_inner(), 5);
    }
}
