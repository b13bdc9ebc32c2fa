//! Frames of one static array of words, handed out by the installed source or a bump counter.

use crate::addr::{PAGE_SIZE, Pfn};
use crate::mem::{FrameSource, OutOfFrames, Run};
use crate::sync::Once;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

const PAGES: u32 = 16384;

struct Slot {
    refs: AtomicU32,
    scratch: [AtomicU32; 2],
    bytes: [AtomicU8; PAGE_SIZE],
}

static SOURCE: Once<&'static dyn FrameSource> = Once::new();
static BUMP: AtomicU32 = AtomicU32::new(1);

fn slots() -> &'static [Slot] {
    static SLOTS: std::sync::OnceLock<Vec<Slot>> = std::sync::OnceLock::new();
    SLOTS.get_or_init(|| {
        (0..PAGES)
            .map(|_| Slot {
                refs: AtomicU32::new(0),
                scratch: [const { AtomicU32::new(0) }; 2],
                bytes: [const { AtomicU8::new(0) }; PAGE_SIZE],
            })
            .collect()
    })
}

pub struct RawFrame(NonZeroU32);

pub fn alloc() -> Result<RawFrame, OutOfFrames> {
    let pfn = match SOURCE.get() {
        Some(s) => s.alloc(0, false).ok_or(OutOfFrames)?.0,
        None => BUMP.fetch_add(1, Ordering::Relaxed),
    };
    let slot = slots().get(pfn as usize).ok_or(OutOfFrames)?;
    assert_eq!(slot.refs.swap(1, Ordering::AcqRel), 0, "the frame source handed out a frame in use");
    Ok(RawFrame(NonZeroU32::new(pfn).expect("page 0 is never handed out")))
}

pub fn install_source(source: &'static dyn FrameSource, give: &mut dyn FnMut(Run)) {
    let start = BUMP.swap(PAGES, Ordering::AcqRel).min(PAGES);
    if SOURCE.set(source).is_ok() {
        give(Run { start: Pfn(start), count: PAGES - start });
    }
}

pub fn extent() -> (u32, u32) {
    (PAGES, PAGES)
}

pub fn scratch(pfn: Pfn) -> Option<&'static [AtomicU32; 2]> {
    slots().get(pfn.0 as usize).map(|s| &s.scratch)
}

pub fn kernel_pages() -> (u32, u32, u32) {
    (0, 0, 0)
}

/// The host's own allocator serves the heap.
pub fn heap_class(_class: usize) -> Option<(u16, u64, u64)> {
    None
}

impl RawFrame {
    fn slot(&self) -> &'static Slot {
        &slots()[self.0.get() as usize]
    }
    pub fn pfn(&self) -> Pfn {
        Pfn(self.0.get())
    }
    pub fn refs(&self) -> u32 {
        self.slot().refs.load(Ordering::Acquire)
    }
    pub fn read(&self, off: usize, buf: &mut [u8]) -> usize {
        let src = self.slot().bytes.iter().skip(off);
        buf.iter_mut().zip(src).map(|(d, s)| *d = s.load(Ordering::Relaxed)).count()
    }
    pub fn write(&self, off: usize, buf: &[u8]) -> usize {
        let dst = self.slot().bytes.iter().skip(off);
        buf.iter().zip(dst).map(|(s, d)| d.store(*s, Ordering::Relaxed)).count()
    }
    pub fn zero_range(&self, off: usize, len: usize) {
        self.slot().bytes.iter().skip(off).take(len).for_each(|b| b.store(0, Ordering::Relaxed));
    }
    pub fn copy_from(&self, src: &RawFrame) {
        for (d, s) in self.slot().bytes.iter().zip(&src.slot().bytes) {
            d.store(s.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    pub fn atomic_u32(&self, off: usize) -> Option<&AtomicU32> {
        if !off.is_multiple_of(4) || off + 4 > PAGE_SIZE {
            return None;
        }
        let p = self.slot().bytes[off].as_ptr() as *const AtomicU32;
        // SAFETY: in bounds, aligned (the array starts 4-aligned after the words before it), and all accesses are atomic.
        Some(unsafe { &*p })
    }
    /// Another owner of the frame `pfn`, which the caller knows to be owned.
    pub fn adopt(pfn: Pfn) -> RawFrame {
        let f = RawFrame(NonZeroU32::new(pfn.0).expect("page 0 is never handed out"));
        f.slot().refs.fetch_add(1, Ordering::AcqRel);
        f
    }
}

impl Clone for RawFrame {
    fn clone(&self) -> RawFrame {
        RawFrame::adopt(Pfn(self.0.get()))
    }
}

impl Drop for RawFrame {
    fn drop(&mut self) {
        if self.slot().refs.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(s) = SOURCE.get()
        {
            s.free(Pfn(self.0.get()), 0);
        }
    }
}
