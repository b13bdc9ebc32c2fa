//! The word of reasons not to go straight back to user mode. Its thread reads it once on the way out; anyone may set bits.

use core::sync::atomic::{AtomicU32, Ordering};

/// A signal may be deliverable (or a stop, or the end of the process).
pub const SIGNAL: u32 = 1;
/// The thread ends instead of returning.
pub const EXIT: u32 = 2;
/// The registered `struct rseq` must be brought up to date.
pub const RSEQ: u32 = 4;
/// Something to do for another floor (timers that came due, work of io_uring, ...): runs [`crate::Task::run_notes`].
pub const NOTE: u32 = 8;
/// The signal mask to be restored when no handler runs (sigsuspend, ppoll, ...).
pub const RESTORE_MASK: u32 = 16;
/// Its control group is freezing: park instead of going on.
pub const FREEZE: u32 = 1 << 12;

/// The tracer wants to see the end of the call.
pub const CALL_EXIT: u32 = 1 << 8;

/// The flag word.
#[derive(Default)]
pub struct Work(AtomicU32);

impl Work {
    /// No reason.
    pub const fn new() -> Work {
        Work(AtomicU32::new(0))
    }
    /// Some reason.
    #[inline]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
    /// All reasons.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
    /// One of `bits` is set.
    #[inline]
    pub fn has(&self, bits: u32) -> bool {
        self.get() & bits != 0
    }
    /// Adds reasons.
    #[inline]
    pub fn set(&self, bits: u32) {
        self.0.fetch_or(bits, Ordering::AcqRel);
    }
    /// Removes reasons; gives what was set before.
    #[inline]
    pub fn clear(&self, bits: u32) -> u32 {
        self.0.fetch_and(!bits, Ordering::AcqRel)
    }
}
