//! Reaching the program's memory from the kernel: copies that fault pages in, atomics, futex identity.

use super::{Access, FaultError, FutexKey, Mm, PAGE};
use abi::Errno;
use abi::mman::Prot;
use machine::aspace::CopyFault;
use machine::mem::Frame;
use machine::{PAGE_SIZE, USER_MAX, VirtAddr};

/// How often, and how long each time, a copy waits for memory.
const OOM_RETRIES: u32 = 200;
const OOM_WAIT_NS: u64 = 5_000_000;

impl Mm {
    /// Runs `copy(done)` until it has moved `len` bytes or its fault cannot be resolved; returns the bytes moved.
    #[inline]
    fn with_faults(&self, len: usize, mut copy: impl FnMut(usize) -> Result<(), CopyFault>) -> usize {
        let mut done = 0;
        loop {
            match copy(done) {
                Ok(()) => return len,
                Err(fault) => {
                    done += fault.done;
                    if self.resolve(fault).is_err() {
                        return done;
                    }
                }
            }
        }
    }
    /// Resolves the fault of a copy. When memory is gone the victim of the out-of-memory handler gets time to die: the program did
    /// nothing wrong, and an error here could cost it its life.
    #[cold]
    fn resolve(&self, fault: CopyFault) -> Result<(), Errno> {
        let access = Access { write: fault.write, exec: false };
        for _ in 0..OOM_RETRIES {
            match self.fault(fault.addr, access) {
                Err(FaultError::Oom) if !sched::with_current(|t| t.fatal()) => {
                    // A signal only shortens the wait.
                    let _ = sched::sleep_until(machine::time::now_ns() + OOM_WAIT_NS);
                }
                done => return Ok(done?),
            }
        }
        Err(Errno::ENOMEM)
    }
    /// Copies in; returns the bytes copied before a fault that could not be resolved.
    #[inline]
    pub fn copy_in(&self, va: VirtAddr, buf: &mut [u8]) -> usize {
        self.with_faults(buf.len(), |done| self.aspace.copy_in(at(va, done), buf.get_mut(done..).unwrap_or_default()))
    }
    /// Copies out; as [`Mm::copy_in`].
    #[inline]
    pub fn copy_out(&self, va: VirtAddr, buf: &[u8]) -> usize {
        self.with_faults(buf.len(), |done| self.aspace.copy_out(at(va, done), buf.get(done..).unwrap_or_default()))
    }
    /// Copies part of a page out; as [`Mm::copy_in`].
    #[inline]
    pub fn copy_out_frame(&self, va: VirtAddr, frame: &Frame, off: usize, len: usize) -> usize {
        let len = len.min(PAGE_SIZE.saturating_sub(off));
        self.with_faults(len, |done| self.aspace.copy_out_frame(at(va, done), frame, off + done, len - done))
    }
    /// Copies into part of a page; as [`Mm::copy_in`].
    #[inline]
    pub fn copy_in_frame(&self, va: VirtAddr, frame: &Frame, off: usize, len: usize) -> usize {
        let len = len.min(PAGE_SIZE.saturating_sub(off));
        self.with_faults(len, |done| self.aspace.copy_in_frame(at(va, done), frame, off + done, len - done))
    }
    /// Writes zeroes; as [`Mm::copy_in`].
    pub fn zero_out(&self, va: VirtAddr, len: usize) -> usize {
        self.with_faults(len, |done| self.aspace.zero(at(va, done), len - done))
    }
    /// Copies in all of `buf`, or EFAULT.
    #[inline]
    pub fn read_bytes(&self, va: VirtAddr, buf: &mut [u8]) -> Result<(), Errno> {
        if self.copy_in(va, buf) == buf.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }
    /// Copies out all of `buf`, or EFAULT.
    #[inline]
    pub fn write_bytes(&self, va: VirtAddr, buf: &[u8]) -> Result<(), Errno> {
        if self.copy_out(va, buf) == buf.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }
    /// Writes `len` zero bytes, or EFAULT.
    pub fn zero_bytes(&self, va: VirtAddr, len: usize) -> Result<(), Errno> {
        if self.zero_out(va, len) == len { Ok(()) } else { Err(Errno::EFAULT) }
    }
    /// Copies bytes up to the first NUL; its index, or `None` if `buf` filled first.
    #[inline]
    pub fn read_cstr(&self, va: VirtAddr, buf: &mut [u8]) -> Result<Option<usize>, Errno> {
        loop {
            match self.aspace.copy_in_str(va, buf) {
                Ok(end) => return Ok(end),
                Err(fault) => self.resolve(fault).map_err(|_| Errno::EFAULT)?,
            }
        }
    }
    /// Atomic load of an aligned word (futex); EFAULT, also for one that is not aligned.
    #[inline]
    pub fn load_u32(&self, va: VirtAddr) -> Result<u32, Errno> {
        loop {
            match self.aspace.load_u32(va) {
                Ok(word) => return Ok(word),
                Err(fault) => self.resolve_word(fault)?,
            }
        }
    }
    /// Atomic compare-exchange of an aligned word; `Ok(Err(seen))` when it differed.
    pub fn cmpxchg_u32(&self, va: VirtAddr, old: u32, new: u32) -> Result<Result<u32, u32>, Errno> {
        loop {
            match self.aspace.cmpxchg_u32(va, old, new) {
                Ok(outcome) => return Ok(outcome),
                Err(fault) => self.resolve_word(fault)?,
            }
        }
    }
    /// [`Mm::load_u32`] under a spin lock: the fault is the caller's to resolve ([`Mm::resolve_word`]) once it holds none.
    #[inline]
    pub fn try_load_u32(&self, va: VirtAddr) -> Result<u32, CopyFault> {
        self.aspace.load_u32(va)
    }
    /// [`Mm::cmpxchg_u32`] under a spin lock; as [`Mm::try_load_u32`].
    #[inline]
    pub fn try_cmpxchg_u32(&self, va: VirtAddr, old: u32, new: u32) -> Result<Result<u32, u32>, CopyFault> {
        self.aspace.cmpxchg_u32(va, old, new)
    }
    /// Makes the access to a word that failed possible, or EFAULT. May sleep.
    #[cold]
    pub fn resolve_word(&self, fault: CopyFault) -> Result<(), Errno> {
        // No translation helps a word that is not aligned.
        if !fault.addr.0.is_multiple_of(4) {
            return Err(Errno::EFAULT);
        }
        sched::cond_resched();
        self.resolve(fault).map_err(|_| Errno::EFAULT)
    }
    /// The futex at `va`. `shared`: the word may be in memory that others map (no FUTEX_PRIVATE_FLAG). `write`: the operation
    /// changes the word, so memory that cannot be written is refused even where only its identity matters.
    #[inline]
    pub fn futex_key(&self, va: VirtAddr, shared: bool, write: bool) -> Result<FutexKey, Errno> {
        if va.0 >= USER_MAX {
            return Err(Errno::EFAULT);
        }
        let private = FutexKey::Private { mm: self.id(), addr: va.0 };
        if !shared {
            return Ok(private);
        }
        let areas = self.areas.read();
        let (start, vma) = areas.find(va.0).ok_or(Errno::EFAULT)?;
        let prot = vma.flags.prot();
        let writable = prot.contains(Prot::WRITE);
        if !writable && (write || !prot.contains(Prot::READ)) {
            return Err(Errno::EFAULT);
        }
        match vma.file() {
            // A private mapping that cannot be written shows the file itself.
            Some(file) if !(vma.is_private() && writable) => Ok(FutexKey::Shared {
                object: file.cache().id(),
                offset: vma.index(start, va.0).wrapping_mul(PAGE).wrapping_add(va.offset() as u64),
            }),
            // Private memory nobody can change is no place to wait at.
            None if !writable => Err(Errno::EFAULT),
            _ => Ok(private),
        }
    }
}

/// `va + n`; a wrapped address is no user address and faults.
#[inline]
fn at(va: VirtAddr, n: usize) -> VirtAddr {
    VirtAddr(va.0.wrapping_add(n as u64))
}
