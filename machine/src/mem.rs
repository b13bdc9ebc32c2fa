//! Physical memory: owned, reference-counted frames of *untyped* memory.
//!
//! A [`Frame`] is one owned reference to one page that holds plain bytes (user memory, page cache, DMA data). Page
//! tables, the kernel heap and stacks live in frames of other kinds that no `Frame` can name, so the byte accessors
//! below cannot reach them. The policy of *which* frame is handed out is a [`FrameSource`] installed from above (the
//! buddy allocator in `mm`); this floor checks each transition free -> used -> free in the frame's metadata word, so that a
//! wrong source is caught instead of trusted.

use crate::addr::Pfn;
use crate::imp;

/// The machine has no free frame left (the caller turns it into ENOMEM).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfFrames;

/// A run of physically contiguous pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// First page.
    pub start: Pfn,
    /// Number of pages.
    pub count: u32,
}

/// Decides which free frames are handed out. Implemented by `mm`, checked by this floor.
pub trait FrameSource: Sync {
    /// Takes a block of `2^order` contiguous pages, aligned to its size. `urgent` requests (kernel heap, stacks, page tables) may
    /// use the reserve that pages of user data may not.
    fn alloc(&self, order: u8, urgent: bool) -> Option<Pfn>;
    /// Gives a block back.
    fn free(&self, pfn: Pfn, order: u8);
}

/// One owned reference to one page of untyped memory. Cloning adds a reference; the page goes back to the source when
/// the last is dropped. Contents are bytes; all accessors are safe because nothing typed ever lives here. Concurrent
/// accesses (also by user programs that map the page) may tear but are never undefined behaviour.
pub struct Frame(imp::mem::RawFrame);

impl Frame {
    /// A page with unspecified contents: the caller overwrites all of it before user space can see it.
    pub fn alloc() -> Result<Frame, OutOfFrames> {
        imp::mem::alloc().map(Frame)
    }
    /// A page of zeroes.
    pub fn alloc_zeroed() -> Result<Frame, OutOfFrames> {
        let f = Frame::alloc()?;
        f.zero();
        Ok(f)
    }
    /// Its page number (identity; e.g. for futex keys and reverse maps).
    pub fn pfn(&self) -> Pfn {
        self.0.pfn()
    }
    /// How many owners there are now, page-table entries included.
    pub fn refs(&self) -> u32 {
        self.0.refs()
    }
    /// Copies `buf.len()` bytes out, starting at `off`; stops at the end of the page. Returns the bytes copied.
    pub fn read(&self, off: usize, buf: &mut [u8]) -> usize {
        self.0.read(off, buf)
    }
    /// Copies bytes in, starting at `off`; stops at the end of the page. Returns the bytes copied.
    pub fn write(&self, off: usize, buf: &[u8]) -> usize {
        self.0.write(off, buf)
    }
    /// Fills `len` bytes from `off` with zero; clipped to the page.
    pub fn zero_range(&self, off: usize, len: usize) {
        self.0.zero_range(off, len)
    }
    /// Fills the page with zeroes.
    pub fn zero(&self) {
        self.0.zero_range(0, crate::PAGE_SIZE)
    }
    /// Copies a whole page.
    pub fn copy_from(&self, src: &Frame) {
        self.0.copy_from(&src.0)
    }
    /// The aligned 32-bit word at `off` as an atomic (futexes, shared rings); `None` if misaligned or out of the page.
    pub fn atomic_u32(&self, off: usize) -> Option<&core::sync::atomic::AtomicU32> {
        self.0.atomic_u32(off)
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        Frame(self.0.clone())
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Frame({:#x})", self.pfn().0)
    }
}

impl Frame {
    /// The machine's own view, for page tables.
    pub(crate) fn raw(&self) -> &imp::mem::RawFrame {
        &self.0
    }
}

/// Installs the policy that hands out frames and gives it all memory that boot left free, as runs, through `give`.
/// Called once; before it, frames come from the boot allocator.
pub fn install_source(source: &'static dyn FrameSource, give: &mut dyn FnMut(Run)) {
    imp::mem::install_source(source, give)
}

/// Number of page numbers the metadata covers (highest RAM page + 1), and pages of RAM in total.
pub fn extent() -> (u32, u32) {
    imp::mem::extent()
}

/// Pages used by the kernel heap, by kernel stacks and by page tables, for /proc/meminfo.
pub fn kernel_pages() -> (u32, u32, u32) {
    imp::mem::kernel_pages()
}

/// One size class of the kernel heap: bytes of an object, objects in use (those in a CPU's cache of free ones count as
/// used), pages split into such objects. `None` beyond the last class.
pub fn heap_class(class: usize) -> Option<(u16, u64, u64)> {
    imp::mem::heap_class(class)
}

/// Two words of metadata of a frame, free for the frame source's use while the frame is its own (free) or an untyped page;
/// `None` for a page of another kind or beyond the extent.
#[inline]
pub fn scratch(pfn: Pfn) -> Option<&'static [core::sync::atomic::AtomicU32; 2]> {
    imp::mem::scratch(pfn)
}
