//! Which frame is handed out: a buddy allocator behind a cache of single pages on each CPU, with a reserve.
//!
//! Pages of user data are refused once only the reserve is left; then [`alloc`] reclaims clean page-cache pages, and asks
//! the out-of-memory handler if there are none. What is left is for the kernel's own heap, stacks and tables, whose small
//! allocations cannot fail gracefully: a program runs out of memory before the kernel does.
//!
//! The per-CPU cache is only ever try-locked, so that an interrupt that allocates while its CPU's cache is in use goes to
//! the buddy allocator, whose lock masks interrupts.

use crate::pagecache::reclaim::{self, Effort};
use buddy::Buddy;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use machine::Pfn;
use machine::cpu::PerCpu;
use machine::mem::{self, Frame, FrameSource, OutOfFrames};
use machine::sync::{IrqLock, Once, SpinLock};

/// Pages a CPU keeps for itself, and how many it takes or gives at once.
const CACHE: usize = 64;
const BATCH: usize = 32;

struct Cache {
    len: usize,
    pages: [u32; CACHE],
}

struct Source {
    caches: Once<PerCpu<SpinLock<Cache>>>,
    buddy: IrqLock<Buddy>,
    /// Free pages in `buddy`, readable without its lock.
    free: AtomicU64,
    total: AtomicU64,
    reserve: AtomicU64,
    /// Set when free memory falls under twice the reserve; [`relieve`] clears it.
    low: AtomicBool,
    /// No use to relieve before this time.
    pause_until: AtomicU64,
}

static SOURCE: Source = Source {
    caches: Once::new(),
    buddy: IrqLock::new(Buddy::empty()),
    free: AtomicU64::new(0),
    total: AtomicU64::new(0),
    reserve: AtomicU64::new(0),
    low: AtomicBool::new(false),
    pause_until: AtomicU64::new(0),
};

impl Source {
    fn take(&self, buddy: &mut Buddy, order: u8, urgent: bool) -> Option<u32> {
        let (free, reserve) = (buddy.free_pages(), self.reserve.load(Relaxed));
        if free < 2 * reserve {
            self.low.store(true, Relaxed);
            if !urgent && free < reserve + (1 << order) {
                return None;
            }
        }
        buddy.alloc(order)
    }
    #[cold]
    fn refill(&self, cache: &mut Cache, urgent: bool) -> Option<Pfn> {
        let mut buddy = self.buddy.lock();
        let first = self.take(&mut buddy, 0, urgent)?;
        // The rest of the batch only while there is plenty.
        let want = if buddy.free_pages() > 4 * self.reserve.load(Relaxed) { BATCH } else { 0 };
        cache.len = buddy.alloc_pages(cache.pages.get_mut(..want).unwrap_or_default());
        // Lowest page last, so that it is handed out first and runs come out in ascending order.
        let len = cache.len;
        cache.pages.get_mut(..len).unwrap_or_default().reverse();
        self.free.store(buddy.free_pages(), Relaxed);
        Some(Pfn(first))
    }
    #[cold]
    fn spill(&self, cache: &mut Cache, keep: usize) {
        let mut buddy = self.buddy.lock();
        for page in cache.pages.get(keep..cache.len).unwrap_or_default() {
            buddy.free(*page, 0);
        }
        cache.len = cache.len.min(keep);
        self.free.store(buddy.free_pages(), Relaxed);
    }
}

impl FrameSource for Source {
    #[inline]
    fn alloc(&self, order: u8, urgent: bool) -> Option<Pfn> {
        if order == 0
            && let Some(caches) = self.caches.get()
            && let Some(mut cache) = caches.get().try_lock()
        {
            if let Some(len) = cache.len.checked_sub(1)
                && let Some(page) = cache.pages.get(len).copied()
            {
                cache.len = len;
                return Some(Pfn(page));
            }
            return self.refill(&mut cache, urgent);
        }
        let mut buddy = self.buddy.lock();
        let page = self.take(&mut buddy, order, urgent)?;
        self.free.store(buddy.free_pages(), Relaxed);
        Some(Pfn(page))
    }
    #[inline]
    fn free(&self, pfn: Pfn, order: u8) {
        if order == 0
            && let Some(caches) = self.caches.get()
            && let Some(mut cache) = caches.get().try_lock()
        {
            if cache.len == CACHE {
                self.spill(&mut cache, CACHE - BATCH);
            }
            let len = cache.len;
            if let Some(slot) = cache.pages.get_mut(len) {
                *slot = pfn.0;
                cache.len = len + 1;
                return;
            }
        }
        let mut buddy = self.buddy.lock();
        buddy.free(pfn.0, order);
        self.free.store(buddy.free_pages(), Relaxed);
    }
}

/// Installs the frame source. Called once, on the boot CPU, when the number of CPUs is known.
pub fn init() {
    let (extent, _) = mem::extent();
    *SOURCE.buddy.lock() = Buddy::new(extent);
    let _ = SOURCE.caches.set(PerCpu::new(|_| SpinLock::new(Cache { len: 0, pages: [0; CACHE] })));
    mem::install_source(&SOURCE, &mut |run| {
        let mut buddy = SOURCE.buddy.lock();
        buddy.add(run.start.0, run.count);
        SOURCE.free.store(buddy.free_pages(), Relaxed);
    });
    let total = SOURCE.free.load(Relaxed);
    SOURCE.total.store(total, Relaxed);
    SOURCE.reserve.store((total / 64).clamp(64, 4096).min(total / 4), Relaxed);
}

static OOM: Once<fn() -> bool> = Once::new();

/// Who picks a victim when nothing can be reclaimed; returns whether one was found. Called without spin locks, possibly with
/// the faulting address space locked for reading.
pub fn set_oom_handler(handler: fn() -> bool) {
    let _ = OOM.set(handler);
}

/// A page for user data, contents unspecified. Reclaims when memory is short; may not be called with a spin lock held.
#[inline]
pub fn alloc() -> Result<Frame, OutOfFrames> {
    match Frame::alloc() {
        Ok(frame) => Ok(frame),
        Err(_) => alloc_hard(),
    }
}

/// A page of zeroes for user data, as [`alloc`].
#[inline]
pub fn alloc_zeroed() -> Result<Frame, OutOfFrames> {
    let frame = alloc()?;
    frame.zero();
    Ok(frame)
}

/// How often an allocation lets others run, so that the victim of the out-of-memory handler can die, before it fails.
const PATIENCE: usize = 64;

#[cold]
fn alloc_hard() -> Result<Frame, OutOfFrames> {
    for _ in 0..PATIENCE {
        let freed = reclaim::shrink(2 * BATCH, Effort::Full);
        drain();
        if let Ok(frame) = Frame::alloc() {
            return Ok(frame);
        }
        if freed > 0 {
            continue;
        }
        if !OOM.get().is_some_and(|choose_victim| choose_victim()) || sched::with_current(|t| t.fatal()) {
            break;
        }
        sched::yield_now();
    }
    Frame::alloc()
}

/// Brings the pages that CPUs keep for themselves back together.
fn drain() {
    for cache in SOURCE.caches.get().into_iter().flat_map(PerCpu::iter) {
        if let Some(mut cache) = cache.try_lock() {
            SOURCE.spill(&mut cache, 0);
        }
    }
}

/// Whether an object that pins kernel memory for a program (a process, an open file, a socket) may be made. Refused only when half
/// of the reserve is gone and reclaim does not help; one load as a rule. Sleeping must be allowed.
#[inline]
pub fn admit() -> Result<(), OutOfFrames> {
    if SOURCE.low.load(Relaxed) { admit_hard() } else { Ok(()) }
}

#[cold]
fn admit_hard() -> Result<(), OutOfFrames> {
    let enough = || SOURCE.free.load(Relaxed) >= SOURCE.reserve.load(Relaxed) / 2;
    if enough() {
        return Ok(());
    }
    reclaim::shrink(2 * BATCH, Effort::Full);
    drain();
    if enough() { Ok(()) } else { Err(OutOfFrames) }
}

/// Reclaims ahead of need when memory is getting short. Call where sleeping is allowed and nothing is locked, e.g. on the
/// way back to user space: one load when there is nothing to do.
#[inline]
pub fn relieve() {
    if SOURCE.low.load(Relaxed) {
        relieve_now();
    }
}

/// When a pass of [`relieve`] freed nothing, the next one waits so long.
const PAUSE_NS: u64 = 20_000_000;

#[cold]
fn relieve_now() {
    let now = machine::time::now_ns();
    if now < SOURCE.pause_until.load(Relaxed) {
        return;
    }
    SOURCE.low.store(false, Relaxed);
    let short = (4 * SOURCE.reserve.load(Relaxed)).saturating_sub(SOURCE.free.load(Relaxed)) as usize;
    if short == 0 {
        return;
    }
    let mut freed = reclaim::shrink(short, Effort::Gentle);
    if freed < short && USAGE.dirty.load(Relaxed) > 0 {
        // What is dirty can go once it is written.
        reclaim::write_back_all();
        freed += reclaim::shrink(short - freed, Effort::Gentle);
    }
    if freed < short {
        SOURCE.pause_until.store(now + PAUSE_NS, Relaxed);
    }
}

/// What the machine's memory is used for. Updated where pages change owner.
pub(crate) struct Usage {
    pub cached: AtomicI64,
    pub shmem: AtomicI64,
    pub dirty: AtomicI64,
    pub anon: AtomicI64,
    pub committed: AtomicI64,
}

pub(crate) static USAGE: Usage = Usage {
    cached: AtomicI64::new(0),
    shmem: AtomicI64::new(0),
    dirty: AtomicI64::new(0),
    anon: AtomicI64::new(0),
    committed: AtomicI64::new(0),
};

/// Pages, for /proc/meminfo and sysinfo(2).
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// RAM the kernel manages.
    pub total: u64,
    /// Free.
    pub free: u64,
    /// Page-cache pages, shared memory included.
    pub cached: u64,
    /// Shared memory and tmpfs pages (part of `cached`).
    pub shmem: u64,
    /// Dirty page-cache pages.
    pub dirty: u64,
    /// Private pages of programs.
    pub anon: u64,
    /// Committed_AS.
    pub committed: u64,
    /// CommitLimit.
    pub commit_limit: u64,
}

/// Counts now.
pub fn stats() -> Stats {
    let count = |n: &AtomicI64| n.load(Relaxed).max(0) as u64;
    let kept: usize =
        SOURCE.caches.get().into_iter().flat_map(PerCpu::iter).filter_map(|c| c.try_lock().map(|c| c.len)).sum();
    let total = u64::from(mem::extent().1);
    Stats {
        total,
        free: SOURCE.free.load(Relaxed) + kept as u64,
        cached: count(&USAGE.cached),
        shmem: count(&USAGE.shmem),
        dirty: count(&USAGE.dirty),
        anon: count(&USAGE.anon),
        committed: count(&USAGE.committed),
        commit_limit: crate::commit::limit(total),
    }
}

/// Free blocks of `2^order` pages (/proc/buddyinfo).
pub fn free_blocks(order: usize) -> usize {
    SOURCE.buddy.lock().free_blocks(order)
}
