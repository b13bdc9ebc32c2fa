//! Frames: the metadata word of each page, and [`RawFrame`], the counted reference that the facade's `Frame` wraps.
//!
//! One [`Meta`] of 16 bytes a page. `state` says what the page is: 0 free, below [`KIND`] the number of references of an
//! untyped page, else one of the `KIND_*` values. Every change is an atomic exchange that checks the old state, so that
//! a wrong frame source cannot hand a page out twice. `info` and `links` belong to the page's kind; those of a free page are the
//! frame source's scratch words.

use super::entry::DIRECT_BASE;
use super::{bootmem, heap};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::mem::{FrameSource, OutOfFrames, Run};
use crate::sync::Once;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// States from here up are kinds, not reference counts.
const KIND: u32 = 0x8000_0000;
/// A count this high sticks: the page is never freed again (an attacker who made 2^30 references gains nothing).
const STICKY: u32 = 0x4000_0000;
/// Not RAM, or owned by boot for good.
pub const KIND_RESERVED: u32 = KIND;
/// Page table.
pub const KIND_TABLE: u32 = KIND | 1;
/// Kernel stack.
pub const KIND_STACK: u32 = KIND | 2;
/// Page of small heap objects.
pub const KIND_SLAB: u32 = KIND | 3;
/// First or later page of a large heap block.
pub const KIND_LARGE: u32 = KIND | 4;
/// Emergency reserve of the heap.
pub const KIND_RESERVE: u32 = KIND | 5;

/// What is known of one page.
#[repr(C, align(16))]
pub struct Meta {
    state: AtomicU32,
    /// Slab: free count and first free object; large: order; table: unused.
    pub info: AtomicU32,
    /// Free: the frame source's; slab: list links; table: which groups of eight entries are in use.
    pub links: [AtomicU32; 2],
}

static META: AtomicPtr<Meta> = AtomicPtr::new(core::ptr::null_mut());
static EXTENT: AtomicU32 = AtomicU32::new(0);
static RAM_PAGES: AtomicU32 = AtomicU32::new(0);
static SOURCE: Once<&'static dyn FrameSource> = Once::new();
/// Pages of kind heap, stack, table.
pub static HEAP_PAGES: AtomicU32 = AtomicU32::new(0);
pub static STACK_PAGES: AtomicU32 = AtomicU32::new(0);
pub static TABLE_PAGES: AtomicU32 = AtomicU32::new(0);

/// Address of a page in the direct map.
#[inline]
pub fn direct(pfn: u32) -> u64 {
    DIRECT_BASE + (u64::from(pfn) << 12)
}

/// Page number of a direct-map address.
#[inline]
pub fn pfn_of(direct: u64) -> u32 {
    ((direct - DIRECT_BASE) >> 12) as u32
}

/// Takes the metadata array over; all its words are 0 (free). Called once at boot.
/// # Safety
/// `meta` points to `extent` zeroed entries in the direct map that nobody else uses.
pub unsafe fn init(meta: *mut Meta, extent: u32, ram_pages: u32) {
    META.store(meta, Ordering::Release);
    EXTENT.store(extent, Ordering::Release);
    RAM_PAGES.store(ram_pages, Ordering::Release);
}

/// The metadata of a page.
#[inline]
pub fn meta(pfn: u32) -> Option<&'static Meta> {
    if pfn >= EXTENT.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: `init` promised `extent` entries, which live forever.
    Some(unsafe { &*META.load(Ordering::Relaxed).add(pfn as usize) })
}

/// The metadata of a page that is known to be RAM.
/// # Safety
/// `pfn` was handed out by this module.
#[inline]
pub unsafe fn meta_of(pfn: u32) -> &'static Meta {
    // SAFETY: below the extent by the caller's promise.
    unsafe { &*META.load(Ordering::Relaxed).add(pfn as usize) }
}

impl Meta {
    /// Free -> `to`; false if the page was not free.
    #[inline]
    fn claim(&self, to: u32) -> bool {
        self.state.compare_exchange(0, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
    /// Both links as one word.
    #[inline]
    pub fn link_word(&self) -> &AtomicU64 {
        // SAFETY: two adjacent words, 8-byte aligned in this layout; nobody uses them as two while the page is a table.
        unsafe { &*core::ptr::from_ref(&self.links).cast::<AtomicU64>() }
    }
    /// What the page is now.
    pub fn state(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }
}

/// Marks pages at boot, when the array is new and nobody else runs.
pub fn mark(start: u32, end: u32, kind: u32) {
    for pfn in start..end {
        if let Some(m) = meta(pfn) {
            m.state.store(kind, Ordering::Relaxed);
        }
    }
}

/// Takes one block from the source, or from boot memory before there is one.
#[inline]
fn take(order: u8, urgent: bool) -> Option<u32> {
    match SOURCE.get() {
        Some(s) => s.alloc(order, urgent).map(|p| p.0),
        None => bootmem::take_early(order),
    }
}

/// Takes `2^order` pages of the given kind.
pub fn take_kind(order: u8, kind: u32) -> Option<u32> {
    let pfn = take(order, true)?;
    for p in pfn..pfn + (1 << order) {
        assert!(meta(p).is_some_and(|m| m.claim(kind)), "the frame source handed out page {p:#x}, which is not free");
    }
    Some(pfn)
}

/// Gives back pages taken by [`take_kind`].
pub fn give_kind(pfn: u32, order: u8, kind: u32) {
    for p in pfn..pfn + (1 << order) {
        let was = meta(p).map(|m| m.state.swap(0, Ordering::Release));
        assert!(was == Some(kind), "page {p:#x} freed as another kind");
    }
    give(pfn, order);
}

fn give(pfn: u32, order: u8) {
    match SOURCE.get() {
        Some(s) => s.free(Pfn(pfn), order),
        None => bootmem::give_early(pfn, order),
    }
}

/// One counted reference to an untyped page (never page 0, which is no RAM that is ever free).
pub struct RawFrame(NonZeroU32);

#[inline]
pub fn alloc() -> Result<RawFrame, OutOfFrames> {
    let pfn = take(0, false).ok_or(OutOfFrames)?;
    match NonZeroU32::new(pfn) {
        Some(f) if meta(pfn).is_some_and(|m| m.claim(1)) => Ok(RawFrame(f)),
        _ => panic!("the frame source handed out page {pfn:#x}, which is not free"),
    }
}

pub fn install_source(source: &'static dyn FrameSource, give: &mut dyn FnMut(Run)) {
    if SOURCE.set(source).is_ok() {
        bootmem::drain(&mut |start, end| give(Run { start: Pfn(start), count: end - start }));
        heap::fill_reserve();
    }
}

pub fn extent() -> (u32, u32) {
    (EXTENT.load(Ordering::Relaxed), RAM_PAGES.load(Ordering::Relaxed))
}

pub fn kernel_pages() -> (u32, u32, u32) {
    (HEAP_PAGES.load(Ordering::Relaxed), STACK_PAGES.load(Ordering::Relaxed), TABLE_PAGES.load(Ordering::Relaxed))
}

pub fn heap_class(class: usize) -> Option<(u16, u64, u64)> {
    super::heap::usage(class)
}

#[inline]
pub fn scratch(pfn: Pfn) -> Option<&'static [AtomicU32; 2]> {
    meta(pfn.0).filter(|m| m.state() < KIND).map(|m| &m.links)
}

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8;
    fn memset(to: *mut u8, c: i32, n: usize) -> *mut u8;
}

impl RawFrame {
    #[inline]
    fn base(&self) -> *mut u8 {
        direct(self.0.get()) as *mut u8
    }
    #[inline]
    fn meta(&self) -> &'static Meta {
        // SAFETY: a RawFrame exists only for pages handed out.
        unsafe { meta_of(self.0.get()) }
    }
    #[inline]
    pub fn pfn(&self) -> Pfn {
        Pfn(self.0.get())
    }
    #[inline]
    pub fn refs(&self) -> u32 {
        self.meta().state.load(Ordering::Acquire)
    }
    pub fn read(&self, off: usize, buf: &mut [u8]) -> usize {
        let n = buf.len().min(PAGE_SIZE.saturating_sub(off));
        // SAFETY: inside the page, which is owned; the copy is assembly, so that racing writers only tear it.
        unsafe { memcpy(buf.as_mut_ptr(), self.base().wrapping_add(off), n) };
        n
    }
    pub fn write(&self, off: usize, buf: &[u8]) -> usize {
        let n = buf.len().min(PAGE_SIZE.saturating_sub(off));
        // SAFETY: as in `read`.
        unsafe { memcpy(self.base().wrapping_add(off), buf.as_ptr(), n) };
        n
    }
    pub fn zero_range(&self, off: usize, len: usize) {
        let n = len.min(PAGE_SIZE.saturating_sub(off));
        // SAFETY: as in `read`.
        unsafe { memset(self.base().wrapping_add(off), 0, n) };
    }
    pub fn copy_from(&self, src: &RawFrame) {
        if self.0 != src.0 {
            // SAFETY: two different owned pages.
            unsafe { memcpy(self.base(), src.base(), PAGE_SIZE) };
        }
    }
    pub fn atomic_u32(&self, off: usize) -> Option<&AtomicU32> {
        if !off.is_multiple_of(4) || off > PAGE_SIZE - 4 {
            return None;
        }
        // SAFETY: aligned, inside the owned page, and only ever accessed as plain bytes or atomics.
        Some(unsafe { &*self.base().add(off).cast::<AtomicU32>() })
    }
    /// Address of byte `off` in the direct map, for copies by this floor.
    #[inline]
    pub fn address(&self, off: usize) -> u64 {
        direct(self.0.get()) + off as u64
    }
    /// Turns the reference into a bare page number; [`RawFrame::from_pfn`] takes it back.
    #[inline]
    pub fn into_pfn(self) -> u32 {
        let p = self.0.get();
        core::mem::forget(self);
        p
    }
    /// # Safety
    /// `pfn` came from [`RawFrame::into_pfn`] and is taken back once.
    #[inline]
    pub unsafe fn from_pfn(pfn: u32) -> RawFrame {
        // SAFETY: `into_pfn` gave it, and it is never 0.
        RawFrame(unsafe { NonZeroU32::new_unchecked(pfn) })
    }
    /// Another reference to a page somebody owns.
    /// # Safety
    /// `pfn` is an untyped page with a reference that cannot go away during the call.
    #[inline]
    pub unsafe fn share(pfn: u32) -> RawFrame {
        // SAFETY: an owned page is never page 0.
        let f = RawFrame(unsafe { NonZeroU32::new_unchecked(pfn) });
        f.add_ref();
        f
    }
    #[inline]
    fn add_ref(&self) {
        if self.meta().state.fetch_add(1, Ordering::Relaxed) >= STICKY {
            self.meta().state.store(STICKY + STICKY / 2, Ordering::Relaxed);
        }
    }
    #[cold]
    fn last_or_sticky(&self, was: u32) {
        if was == 1 {
            core::sync::atomic::fence(Ordering::Acquire);
            give(self.0.get(), 0);
        } else {
            self.meta().state.store(STICKY + STICKY / 2, Ordering::Relaxed);
        }
    }
}

impl Clone for RawFrame {
    #[inline]
    fn clone(&self) -> RawFrame {
        self.add_ref();
        RawFrame(self.0)
    }
}

impl Drop for RawFrame {
    #[inline]
    fn drop(&mut self) {
        let was = self.meta().state.fetch_sub(1, Ordering::Release);
        if was == 1 || was >= STICKY {
            self.last_or_sticky(was);
        }
    }
}
