//! Spin locks. [`SpinLock`] is for data that interrupt handlers never touch; [`IrqLock`] masks interrupts while held. Neither may
//! be held across a context switch. Sleeping locks live in `sched`.
//!
//! A thread's locks are counted ([`crate::oops`] asks), those of [`IrqLock`] excepted, which masked interrupts tell of.

use crate::imp;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Mutual exclusion by spinning; interrupts stay as they are.
pub struct SpinLock<T: ?Sized> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out access to `value` to one holder at a time, so sharing it needs only `T: Send`.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: moving the lock moves the value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        SpinLock { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }
    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    #[inline]
    fn acquire(&self) {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.locked.load(Ordering::Relaxed) {
                imp::cpu::relax();
            }
        }
    }
    #[inline]
    fn release(&self) {
        self.locked.store(false, Ordering::Release);
    }
    #[inline]
    fn guard(&self) -> SpinGuard<'_, T> {
        imp::cpu::lock_taken();
        SpinGuard { lock: self, _not_send: core::marker::PhantomData }
    }
    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.acquire();
        self.guard()
    }
    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok().map(|_| self.guard())
    }
    /// The value of a lock nobody else can see.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        SpinLock::new(T::default())
    }
}

/// Holds a [`SpinLock`].
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    _not_send: core::marker::PhantomData<*mut ()>,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard proves that this holder owns the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` makes the borrow unique.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release();
        imp::cpu::lock_given();
    }
}

/// Mutual exclusion by spinning with interrupts masked while held.
pub struct IrqLock<T: ?Sized> {
    inner: SpinLock<T>,
}

impl<T> IrqLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        IrqLock { inner: SpinLock::new(value) }
    }
}

impl<T: ?Sized> IrqLock<T> {
    /// Masks interrupts and waits for the lock.
    #[inline]
    pub fn lock(&self) -> IrqGuard<'_, T> {
        let irq = crate::cpu::IrqOff::new();
        self.inner.acquire();
        IrqGuard { lock: &self.inner, _irq: irq }
    }
}

impl<T: Default> Default for IrqLock<T> {
    fn default() -> Self {
        IrqLock::new(T::default())
    }
}

/// Holds an [`IrqLock`].
pub struct IrqGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    _irq: crate::cpu::IrqOff,
}

impl<T: ?Sized> Deref for IrqGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard proves that this holder owns the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` makes the borrow unique.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for IrqGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Before `_irq` turns interrupts back on.
        self.lock.release();
    }
}

/// A value set once, then read without a lock.
pub struct Once<T> {
    state: core::sync::atomic::AtomicU8,
    value: UnsafeCell<core::mem::MaybeUninit<T>>,
}

// SAFETY: the value is written once before `state` becomes READY (release) and only read after (acquire).
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY: moving it moves the value.
unsafe impl<T: Send> Send for Once<T> {}

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const READY: u8 = 2;

impl<T> Once<T> {
    /// Not yet set.
    pub const fn new() -> Self {
        Once {
            state: core::sync::atomic::AtomicU8::new(EMPTY),
            value: UnsafeCell::new(core::mem::MaybeUninit::uninit()),
        }
    }
    /// Sets the value; gives it back when one was set before.
    pub fn set(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: EMPTY -> BUSY succeeded for this caller only, and readers wait for READY.
        unsafe { (*self.value.get()).write(value) };
        self.state.store(READY, Ordering::Release);
        Ok(())
    }
    /// The value, once set.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) == READY {
            // SAFETY: READY means it was written and is never written again.
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }
    /// The value, made by `init` the first time (concurrent callers wait).
    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if self.get().is_none() && self.state.load(Ordering::Relaxed) == EMPTY {
            let _ = self.set(init());
        }
        loop {
            if let Some(v) = self.get() {
                return v;
            }
            imp::cpu::relax();
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once::new()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == READY {
            // SAFETY: READY means initialised; `&mut self` means no reader is left.
            unsafe { self.value.get_mut().assume_init_drop() }
        }
    }
}
