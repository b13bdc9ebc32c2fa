//! Time namespaces (time_namespaces(7)): offsets of the monotonic and the boot-time clock.
//!
//! A namespace is made by unshare(2) for future children; until the first process enters it, `/proc/PID/timens_offsets` can set its
//! offsets. Clocks add [`TimeNamespace::monotonic_ns`] to what they read and take it from absolute times they are given.

use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use machine::sync::Once;
use sched::Mutex;
use vfs::ns::{self, Namespace, NsId, NsKind};
use vfs::user_ns::UserNamespace;

/// A time namespace.
pub struct TimeNamespace {
    ns_id: NsId,
    owner: Arc<UserNamespace>,
    monotonic: AtomicI64,
    boottime: AtomicI64,
    /// Somebody has entered: the offsets stay.
    frozen: AtomicBool,
    /// Serialises writers of offsets with those who enter.
    writer: Mutex<()>,
}

/// Offsets to set, in nanoseconds; `None` leaves one alone.
#[derive(Clone, Copy, Default, Debug)]
pub struct Offsets {
    /// Of CLOCK_MONOTONIC and its kin.
    pub monotonic: Option<i64>,
    /// Of CLOCK_BOOTTIME and its kin.
    pub boottime: Option<i64>,
}

static FIRST: Once<Arc<TimeNamespace>> = Once::new();

impl TimeNamespace {
    fn new(ns_id: NsId, owner: &Arc<UserNamespace>, offsets: (i64, i64), frozen: bool) -> Arc<TimeNamespace> {
        ns::enlist(Arc::new(TimeNamespace {
            ns_id,
            owner: owner.clone(),
            monotonic: AtomicI64::new(offsets.0),
            boottime: AtomicI64::new(offsets.1),
            frozen: AtomicBool::new(frozen),
            writer: Mutex::new(()),
        }))
    }
    /// The one without offsets, of the first process.
    pub fn first() -> &'static Arc<TimeNamespace> {
        FIRST.get_or_init(|| TimeNamespace::new(NsKind::Time.first(), UserNamespace::first(), (0, 0), true))
    }
    /// A new one that starts with the same offsets.
    pub fn copy(&self, owner: &Arc<UserNamespace>) -> Arc<TimeNamespace> {
        TimeNamespace::new(NsId::next(), owner, (self.monotonic_ns(), self.boottime_ns()), false)
    }
    /// What the monotonic clock shows here beyond the machine's.
    #[inline]
    pub fn monotonic_ns(&self) -> i64 {
        self.monotonic.load(Ordering::Relaxed)
    }
    /// What the boot-time clock shows here beyond the machine's.
    #[inline]
    pub fn boottime_ns(&self) -> i64 {
        self.boottime.load(Ordering::Relaxed)
    }
    /// A process enters.
    pub(crate) fn enter(&self) {
        if !self.frozen.load(Ordering::Relaxed) {
            let _writer = self.writer.lock();
            self.frozen.store(true, Ordering::Release);
        }
    }
    /// Sets offsets; EACCES once a process has entered, ERANGE when a clock would show less than nothing or too much.
    pub fn set_offsets(&self, new: Offsets) -> Result<(), Errno> {
        // Half of what a clock can show, so that sums stay in range.
        const MOST: i64 = i64::MAX / 2;
        let now = i64::try_from(sched::now()).unwrap_or(i64::MAX);
        for offset in [new.monotonic, new.boottime].into_iter().flatten() {
            let shown = now.checked_add(offset).ok_or(Errno::ERANGE)?;
            if !(0..=MOST).contains(&shown) {
                return Err(Errno::ERANGE);
            }
        }
        let _writer = self.writer.lock();
        if self.frozen.load(Ordering::Acquire) {
            return Err(Errno::EACCES);
        }
        if let Some(ns) = new.monotonic {
            self.monotonic.store(ns, Ordering::Relaxed);
        }
        if let Some(ns) = new.boottime {
            self.boottime.store(ns, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for TimeNamespace {
    fn drop(&mut self) {
        ns::delist(self.ns_id.id);
    }
}

impl Namespace for TimeNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Time
    }
    fn ns_id(&self) -> NsId {
        self.ns_id
    }
    fn owner(&self) -> Arc<UserNamespace> {
        self.owner.clone()
    }
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
