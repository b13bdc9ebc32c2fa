//! User address spaces: what is mapped where, as a cache of what `mm` knows.
//!
//! Each mapping owns a reference to its frame, so a mapped page cannot be freed under a running program whatever `mm`
//! does. `unmap` and `protect` collect; [`AddressSpace::commit`] ends the batch with one TLB shoot-down (local flush, IPI to
//! the CPUs that have the space active) and only then drops the unmapped frames. All methods take `&self`; a spin lock inside
//! orders writers.

use crate::addr::{Pfn, VirtAddr};
use crate::imp;
use crate::mem::{Frame, OutOfFrames};
use crate::segment::Descriptor;
use core::ops::ControlFlow;

/// Rights of a user mapping. Readable is implied (x86 has no write-only or exec-only pages without keys).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prot {
    /// Stores allowed.
    pub write: bool,
    /// Instruction fetch allowed.
    pub exec: bool,
}

/// A copy to or from user memory stopped: `done` bytes were copied, then the access at `addr` faulted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyFault {
    /// Bytes copied before the fault.
    pub done: usize,
    /// The address whose access faulted.
    pub addr: VirtAddr,
    /// The access was a store.
    pub write: bool,
}

/// A page that a space maps, for who reports on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Page number of its address.
    pub page: u64,
    /// The frame.
    pub pfn: Pfn,
    /// Owners of the frame, this translation among them.
    pub refs: u32,
    /// Touched through this translation since it was made or [`AddressSpace::forget_accesses`].
    pub accessed: bool,
}

/// One user address space (on `pc`: a root page table).
#[repr(transparent)]
pub struct AddressSpace(imp::aspace::RawSpace);

impl AddressSpace {
    /// An empty space.
    pub fn new() -> Result<AddressSpace, OutOfFrames> {
        imp::aspace::RawSpace::new().map(AddressSpace)
    }
    /// Maps `frames` at consecutive pages from `va`, replacing what was there. Adds one reference to each.
    /// Addresses at or above `USER_MAX` are refused silently (nothing mapped).
    pub fn map(&self, va: VirtAddr, frames: &[Frame], prot: Prot) -> Result<(), OutOfFrames> {
        self.0.map(va, frames, prot)
    }
    /// Maps `frames[i]` at page `i` from `va` only where nothing is mapped yet (fault-around); `None` entries are skipped.
    pub fn map_absent(&self, va: VirtAddr, frames: &[Option<Frame>], prot: Prot) -> Result<(), OutOfFrames> {
        self.0.map_absent(va, frames, prot)
    }
    /// Removes the mappings of `pages` pages from `va`; takes effect at `commit`.
    pub fn unmap(&self, va: VirtAddr, pages: u64) {
        self.0.unmap(va, pages)
    }
    /// Changes the rights of what is mapped in `pages` pages from `va`; narrowed rights take effect at `commit`.
    pub fn protect(&self, va: VirtAddr, pages: u64, prot: Prot) {
        self.0.protect(va, pages, prot)
    }
    /// Removes write rights of all pages mapped in the range (fork's copy-on-write); takes effect at `commit`.
    pub fn write_protect(&self, va: VirtAddr, pages: u64) {
        self.0.write_protect(va, pages)
    }
    /// What is mapped at `va`.
    pub fn query(&self, va: VirtAddr) -> Option<(Pfn, Prot)> {
        self.0.query(va)
    }
    /// Calls `f` for each page mapped in `pages` pages from `va`, in order, until it says stop. The space is locked meanwhile: `f` must
    /// be short and must not use it.
    pub fn each_mapped(&self, va: VirtAddr, pages: u64, f: &mut dyn FnMut(Mapped) -> ControlFlow<()>) {
        self.0.each_mapped(va, pages, f)
    }
    /// Forgets that the pages mapped in the range were touched; takes effect at `commit`.
    pub fn forget_accesses(&self, va: VirtAddr, pages: u64) {
        self.0.forget_accesses(va, pages)
    }
    /// Moves mappings of `pages` pages from `from` to `to` (mremap); the old range is unmapped at `commit`.
    pub fn move_range(&self, from: VirtAddr, to: VirtAddr, pages: u64) -> Result<(), OutOfFrames> {
        self.0.move_range(from, to, pages)
    }
    /// Maps here, at the same addresses, what `src` maps in `pages` pages from `va` and nothing is mapped here yet (fork). With
    /// `read_only` write rights are taken away on both sides (copy-on-write); `src.commit()` makes that hold.
    pub fn share_from(&self, src: &AddressSpace, va: VirtAddr, pages: u64, read_only: bool) -> Result<(), OutOfFrames> {
        self.0.share_from(&src.0, va, pages, read_only)
    }
    /// Changes one descriptor of the space's local table, on every CPU before this returns. One past [`LDT_ENTRIES`] is not
    /// stored.
    ///
    /// [`LDT_ENTRIES`]: crate::segment::LDT_ENTRIES
    pub fn set_descriptor(&self, index: usize, d: Descriptor) -> Result<(), OutOfFrames> {
        self.0.set_descriptor(index, d)
    }
    /// Takes over the local table of another space; for one that nobody runs in yet.
    pub fn copy_descriptors(&self, from: &AddressSpace) -> Result<(), OutOfFrames> {
        self.0.copy_descriptors(&from.0)
    }
    /// Descriptors in the local table, 0 without one.
    pub fn descriptor_count(&self) -> usize {
        self.0.descriptor_count()
    }
    /// Reads the local table in the CPU's form; what is beyond its end stays in `out`.
    pub fn descriptors(&self, out: &mut [u64]) {
        self.0.descriptors(out)
    }
    /// Ends a batch: flushes translations wherever this space is active and drops unmapped frames.
    pub fn commit(&self) {
        self.0.commit()
    }
    /// Makes this the current CPU's user address space.
    pub fn activate(self: &alloc::sync::Arc<Self>) {
        imp::aspace::activate(self)
    }
    /// Leaves user address spaces on this CPU (a kernel thread runs; the space may be freed elsewhere).
    pub fn deactivate() {
        imp::aspace::deactivate()
    }
    /// Leaves this space if it is the current CPU's.
    pub fn leave(&self) {
        self.0.leave()
    }
    /// Copies from user memory at `va` into `buf`. Fast when this space is the active one, by table walk when not.
    pub fn copy_in(&self, va: VirtAddr, buf: &mut [u8]) -> Result<(), CopyFault> {
        self.0.copy_in(va, buf)
    }
    /// Copies `buf` to user memory at `va`; the page must be mapped with write rights, else a fault is returned.
    pub fn copy_out(&self, va: VirtAddr, buf: &[u8]) -> Result<(), CopyFault> {
        self.0.copy_out(va, buf)
    }
    /// Copies a frame's bytes `[off, off+len)` to user memory (page-cache read without a bounce buffer).
    pub fn copy_out_frame(&self, va: VirtAddr, frame: &Frame, off: usize, len: usize) -> Result<(), CopyFault> {
        self.0.copy_out_frame(va, frame.raw(), off, len)
    }
    /// Copies user memory into a frame's bytes `[off, off+len)`.
    pub fn copy_in_frame(&self, va: VirtAddr, frame: &Frame, off: usize, len: usize) -> Result<(), CopyFault> {
        self.0.copy_in_frame(va, frame.raw(), off, len)
    }
    /// Writes `len` zero bytes.
    pub fn zero(&self, va: VirtAddr, len: usize) -> Result<(), CopyFault> {
        self.0.zero(va, len)
    }
    /// Copies bytes up to and including the first NUL into `buf`; returns the length without it, or `None` if `buf` is
    /// full first.
    pub fn copy_in_str(&self, va: VirtAddr, buf: &mut [u8]) -> Result<Option<usize>, CopyFault> {
        self.0.copy_in_str(va, buf)
    }
    /// Atomically loads the aligned word.
    pub fn load_u32(&self, va: VirtAddr) -> Result<u32, CopyFault> {
        self.0.load_u32(va)
    }
    /// Atomic compare-exchange of the aligned word; `Ok(Err(seen))` when it differed.
    pub fn cmpxchg_u32(&self, va: VirtAddr, old: u32, new: u32) -> Result<Result<u32, u32>, CopyFault> {
        self.0.cmpxchg_u32(va, old, new)
    }
    /// Pages mapped now (for VmRSS).
    pub fn resident_pages(&self) -> u32 {
        self.0.resident_pages()
    }
    #[allow(dead_code)] // the host implementation needs no activation
    pub(crate) fn raw(&self) -> &imp::aspace::RawSpace {
        &self.0
    }
    /// Pages used by this space's tables (for VmPTE).
    pub fn table_pages(&self) -> u32 {
        self.0.table_pages()
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.0.destroy()
    }
}
