//! Read-mostly values that are replaced whole.
//!
//! A reader counts itself in with one compare-and-swap, uses the value in place and counts itself out: about six instructions, and
//! readers do not exclude each other. A writer swaps the `Arc`; the old value lives until its last `load` is gone. That costs
//! as much as an epoch scheme's bookkeeping on one CPU and needs no `unsafe` here; its price is a shared cache line.

use alloc::sync::Arc;
use machine::rwlock::TryRwLock;

/// A value that readers look at without waiting for each other.
pub struct RcuCell<T: ?Sized> {
    value: TryRwLock<Arc<T>>,
}

impl<T> RcuCell<T> {
    /// A cell with a first value.
    pub fn new(value: T) -> RcuCell<T> {
        RcuCell::from_arc(Arc::new(value))
    }
}

impl<T: ?Sized> RcuCell<T> {
    /// A cell with a shared first value.
    pub const fn from_arc(value: Arc<T>) -> RcuCell<T> {
        RcuCell { value: TryRwLock::new(value) }
    }
    /// Runs `f` with the value. `f` must be short and must not sleep or replace the value of this cell.
    #[inline]
    pub fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        loop {
            if let Some(value) = self.value.try_read() {
                return f(&value);
            }
            machine::cpu::relax();
        }
    }
    /// The value, to keep.
    #[inline]
    pub fn load(&self) -> Arc<T> {
        loop {
            if let Some(value) = self.value.try_read() {
                return (*value).clone();
            }
            machine::cpu::relax();
        }
    }
    /// Puts in a new value and gives back the old one.
    pub fn replace(&self, new: Arc<T>) -> Arc<T> {
        loop {
            if let Some(mut value) = self.value.try_write() {
                return core::mem::replace(&mut *value, new);
            }
            machine::cpu::relax();
        }
    }
}
