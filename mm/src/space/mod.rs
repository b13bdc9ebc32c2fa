//! The address space of a process.

mod types;

pub use types::{Access, FaultError, FutexKey, Layout, Limits, MapRequest, MmStats, VmaInfo, VmaName};

use abi::Errno;
use abi::mman::{Advice, MlockallFlags, MremapFlags, MsyncFlags, Prot};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;
use machine::aspace::AddressSpace;
use machine::mem::Frame;

/// One address space; threads and vfork children share it.
pub struct Mm {
    aspace: Arc<AddressSpace>,
}

#[allow(unused_variables, missing_docs)]
impl Mm {
    pub fn new() -> Result<Arc<Mm>, Errno> {
        Ok(Arc::new(Mm { aspace: Arc::new(AddressSpace::new().map_err(|_| Errno::ENOMEM)?) }))
    }
    /// A copy-on-write copy for fork.
    pub fn fork(&self) -> Result<Arc<Mm>, Errno> {
        Err(Errno::ENOSYS)
    }
    /// Makes this the current CPU's user address space.
    pub fn activate(&self) {
        self.aspace.activate()
    }
    /// A number no other address space ever has.
    pub fn id(&self) -> u64 {
        0
    }
    /// Exec: chooses stack top, mmap base; `randomize` false for ADDR_NO_RANDOMIZE. Call before mapping anything.
    pub fn set_up_layout(&self, randomize: bool) {}
    /// Exec: maps the stack (132 KiB, grows down); returns its top. `exec`: PT_GNU_STACK asks for an executable one.
    pub fn map_stack(&self, exec: bool) -> Result<VirtAddr, Errno> {
        Err(Errno::ENOSYS)
    }
    /// Exec: a random page-aligned base for a position-independent program of `len` bytes (ELF_ET_DYN_BASE + random).
    pub fn pie_base(&self) -> VirtAddr {
        VirtAddr(0)
    }
    /// Exec: the heap begins (randomized unless ADDR_NO_RANDOMIZE) after `end_of_bss`.
    pub fn set_brk_start(&self, end_of_bss: VirtAddr) {}
    pub fn set_limits(&self, limits: Limits) {}
    pub fn mmap(&self, req: MapRequest) -> Result<VirtAddr, Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn munmap(&self, addr: VirtAddr, len: usize) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn mprotect(&self, addr: VirtAddr, len: usize, prot: Prot) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn mremap(
        &self,
        old: VirtAddr,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
        new: VirtAddr,
    ) -> Result<VirtAddr, Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn madvise(&self, addr: VirtAddr, len: usize, advice: Advice) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    /// brk(2): returns the new break, or the old one on failure.
    pub fn brk(&self, to: VirtAddr) -> VirtAddr {
        to
    }
    pub fn msync(&self, addr: VirtAddr, len: usize, flags: MsyncFlags) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    /// mincore(2); hands the result bytes to `sink` in pieces.
    pub fn mincore(
        &self,
        addr: VirtAddr,
        len: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn mlock(&self, addr: VirtAddr, len: usize, on_fault: bool, may_lock: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn munlock(&self, addr: VirtAddr, len: usize) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn mlockall(&self, flags: MlockallFlags, may_lock: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn munlockall(&self) {}
    /// Maps kernel-made pages (vDSO) at `hint` or, if 0, anywhere; returns where.
    pub fn map_special(
        &self,
        hint: VirtAddr,
        name: &'static str,
        frames: Vec<Frame>,
        prot: Prot,
    ) -> Result<VirtAddr, Errno> {
        Err(Errno::ENOSYS)
    }
    /// Resolves a page fault.
    pub fn fault(&self, addr: VirtAddr, access: Access) -> Result<(), FaultError> {
        Err(FaultError::MapErr)
    }
    /// Copies in all of `buf`, or EFAULT.
    pub fn read_bytes(&self, va: VirtAddr, buf: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    /// Copies out all of `buf`, or EFAULT.
    pub fn write_bytes(&self, va: VirtAddr, buf: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    /// Writes `len` zero bytes, or EFAULT.
    pub fn zero_bytes(&self, va: VirtAddr, len: usize) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    /// Copies bytes up to the first NUL; its index, or `None` if `buf` filled first.
    pub fn read_cstr(&self, va: VirtAddr, buf: &mut [u8]) -> Result<Option<usize>, Errno> {
        Err(Errno::EFAULT)
    }
    /// Copies in; returns the bytes copied before a fault that could not be resolved.
    pub fn copy_in(&self, va: VirtAddr, buf: &mut [u8]) -> usize {
        0
    }
    /// Copies out; as [`Mm::copy_in`].
    pub fn copy_out(&self, va: VirtAddr, buf: &[u8]) -> usize {
        0
    }
    /// Copies part of a page out; as [`Mm::copy_in`].
    pub fn copy_out_frame(&self, va: VirtAddr, frame: &Frame, off: usize, len: usize) -> usize {
        0
    }
    /// Copies into part of a page; as [`Mm::copy_in`].
    pub fn copy_in_frame(&self, va: VirtAddr, frame: &Frame, off: usize, len: usize) -> usize {
        0
    }
    /// Writes zeroes; as [`Mm::copy_in`].
    pub fn zero_out(&self, va: VirtAddr, len: usize) -> usize {
        0
    }
    /// Atomic load of an aligned word (futex); EFAULT.
    pub fn load_u32(&self, va: VirtAddr) -> Result<u32, Errno> {
        Err(Errno::EFAULT)
    }
    /// Atomic compare-exchange; `Ok(Err(seen))` when it differed.
    pub fn cmpxchg_u32(&self, va: VirtAddr, old: u32, new: u32) -> Result<Result<u32, u32>, Errno> {
        Err(Errno::EFAULT)
    }
    /// The futex at `va`; `shared`: without FUTEX_PRIVATE_FLAG.
    pub fn futex_key(&self, va: VirtAddr, shared: bool) -> Result<FutexKey, Errno> {
        Err(Errno::EFAULT)
    }
    /// Calls `f` for each mapping in order until it returns false.
    pub fn for_each_vma(&self, f: &mut dyn FnMut(&VmaInfo<'_>) -> bool) {}
    pub fn layout(&self) -> Layout {
        Layout::default()
    }
    /// Changes what exec recorded.
    pub fn set_layout(&self, f: impl FnOnce(&mut Layout)) {}
    pub fn stats(&self) -> MmStats {
        MmStats::default()
    }
}
