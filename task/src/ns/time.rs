//! Time namespaces (time_namespaces(7)): offsets of the monotonic and the boot-time clock, and the page that the vDSO reads them from.
//!
//! A namespace is made by unshare(2) for future children; until the first process enters it, `/proc/PID/timens_offsets` can set its
//! offsets. Clocks add [`TimeNamespace::monotonic_ns`] to what they read and take it from absolute times they are given.

use abi::Errno;
use abi::time::clock;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use machine::mem::Frame;
use machine::sync::Once;
use sched::Mutex;
use vfs::ns::{self, Namespace, NsHead, NsKind};
use vfs::user_ns::UserNamespace;

/// A time namespace.
pub struct TimeNamespace {
    head: NsHead,
    monotonic: AtomicI64,
    boottime: AtomicI64,
    /// Somebody has entered: the offsets stay.
    frozen: AtomicBool,
    /// Serialises writers of offsets with those who enter.
    writer: Mutex<()>,
    /// The vDSO's data page, made when the first process enters; `None` where the system's does.
    page: Once<Option<Arc<dyn TimePage>>>,
}

/// A data page of the vDSO, kept up to date as long as this lives.
pub trait TimePage: Send + Sync {
    /// The page.
    fn frame(&self) -> &Frame;
}

/// Makes a page whose monotonic and boot-time clocks are ahead by so much; `None` when there is no memory or no vDSO.
pub type MakePage = fn(i64, i64) -> Option<Arc<dyn TimePage>>;

static MAKE_PAGE: Once<MakePage> = Once::new();

/// Installs the maker of pages; once, by the kernel crate.
pub fn set_make_page(make: MakePage) {
    let _ = MAKE_PAGE.set(make);
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
    fn new(head: NsHead, offsets: (i64, i64), frozen: bool) -> Arc<TimeNamespace> {
        ns::enlist(Arc::new(TimeNamespace {
            head,
            monotonic: AtomicI64::new(offsets.0),
            boottime: AtomicI64::new(offsets.1),
            frozen: AtomicBool::new(frozen),
            writer: Mutex::new(()),
            page: Once::new(),
        }))
    }
    /// The one without offsets, of the first process.
    pub fn first() -> &'static Arc<TimeNamespace> {
        FIRST.get_or_init(|| TimeNamespace::new(NsHead::first(NsKind::Time), (0, 0), true))
    }
    /// A new one that starts with the same offsets.
    pub fn copy(&self, owner: &Arc<UserNamespace>) -> Arc<TimeNamespace> {
        TimeNamespace::new(NsHead::next(NsKind::Time, owner), (self.monotonic_ns(), self.boottime_ns()), false)
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
    /// What a clock shows here beyond the machine's; 0 for those that have no offset.
    pub fn ahead_ns(&self, id: i32) -> i64 {
        match id {
            clock::MONOTONIC | clock::MONOTONIC_RAW | clock::MONOTONIC_COARSE => self.monotonic_ns(),
            clock::BOOTTIME | clock::BOOTTIME_ALARM => self.boottime_ns(),
            _ => 0,
        }
    }
    /// A moment that a clock shows here, on the machine's; what lies before its start is its start.
    pub fn to_host(&self, id: i32, moment: u64) -> u64 {
        match self.ahead_ns(id) {
            0 => moment,
            ahead if ahead < 0 => moment.saturating_add(ahead.unsigned_abs()),
            ahead => moment.saturating_sub(ahead as u64),
        }
    }
    /// The vDSO's data page for processes in here, which have entered before; `None` for the system's.
    pub(crate) fn page(&self) -> Option<Frame> {
        if (self.monotonic_ns(), self.boottime_ns()) == (0, 0) {
            return None;
        }
        let make = || MAKE_PAGE.get().and_then(|make| make(self.monotonic_ns(), self.boottime_ns()));
        self.page.get_or_init(make).as_ref().map(|page| page.frame().clone())
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

impl Namespace for TimeNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}
