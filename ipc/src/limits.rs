//! The limits of a namespace (sysvipc(7), proc_sys_kernel(5)).

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};

/// Limits that `/proc/sys/kernel` shows; the values are read without a lock.
pub struct Limits {
    /// Bytes of a shared memory segment.
    pub shmmax: AtomicU64,
    /// Pages of all segments.
    pub shmall: AtomicU64,
    /// Segments.
    pub shmmni: AtomicI32,
    /// Segments nobody uses go with their creator.
    pub shm_rmid_forced: AtomicBool,
    /// Semaphores in a set, in all sets, operations in a call, sets: the order of `kernel.sem`.
    pub sem: [AtomicI32; 4],
    /// Bytes of a message.
    pub msgmax: AtomicI32,
    /// Bytes of a new queue.
    pub msgmnb: AtomicI32,
    /// Queues.
    pub msgmni: AtomicI32,
}

impl Limits {
    /// What Linux starts with.
    pub const fn new() -> Limits {
        Limits {
            shmmax: AtomicU64::new(u64::MAX - (1 << 24)),
            shmall: AtomicU64::new(u64::MAX - (1 << 24)),
            shmmni: AtomicI32::new(4096),
            shm_rmid_forced: AtomicBool::new(false),
            sem: [AtomicI32::new(32000), AtomicI32::new(1_024_000_000), AtomicI32::new(500), AtomicI32::new(32000)],
            msgmax: AtomicI32::new(8192),
            msgmnb: AtomicI32::new(16384),
            msgmni: AtomicI32::new(32000),
        }
    }
    /// The four numbers of `kernel.sem`.
    pub fn sem(&self) -> [i32; 4] {
        self.sem.each_ref().map(|v| v.load(Relaxed))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new()
    }
}
