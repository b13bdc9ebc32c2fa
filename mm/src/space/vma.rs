//! One area of an address space.
#![allow(missing_docs)] // the flags are those of proc_pid_smaps(5)

use super::areas::Dead;
use crate::file::MappedFile;
use crate::pagecache::Link;
use abi::mman::Prot;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::any::Any;
use machine::PAGE_SIZE;
use machine::aspace;
use machine::mem::Frame;

bitflags! {
    /// What an area allows and how it behaves; the low seven bits are laid out as in Linux, so that "may" is "does" << 4.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct VmFlags: u32 {
        const READ = 0x1;
        const WRITE = 0x2;
        const EXEC = 0x4;
        const SHARED = 0x8;
        const MAYREAD = 0x10;
        const MAYWRITE = 0x20;
        const MAYEXEC = 0x40;
        const GROWSDOWN = 0x100;
        /// Made by exec as the main stack.
        const STACK = 0x200;
        const DONTCOPY = 0x400;
        const DONTEXPAND = 0x800;
        const LOCKED = 0x1000;
        const LOCKONFAULT = 0x2000;
        /// Counted in Committed_AS.
        const ACCOUNT = 0x4000;
        const NORESERVE = 0x8000;
        const SEQ_READ = 0x1_0000;
        const RAND_READ = 0x2_0000;
        const WIPEONFORK = 0x4_0000;
        const DONTDUMP = 0x8_0000;
        const HUGEPAGE = 0x10_0000;
        const NOHUGEPAGE = 0x20_0000;
        /// May be dropped (read as zeros) at any time.
        const DROPPABLE = 0x40_0000;
        /// Shared, may be written now or after mprotect.
        const RWX = 0x7;
    }
}

impl VmFlags {
    /// The rights part from `PROT_*`.
    pub fn from_prot(prot: Prot) -> VmFlags {
        VmFlags::from_bits_truncate(prot.bits() & VmFlags::RWX.bits())
    }
    pub fn prot(self) -> Prot {
        Prot::from_bits_truncate((self & VmFlags::RWX).bits())
    }
    #[inline]
    pub fn is(self, flag: VmFlags) -> bool {
        self.intersects(flag)
    }
}

/// What lies behind a mapping that is not private anonymous memory.
pub enum Object {
    File { file: Arc<dyn MappedFile>, link: Arc<Link> },
    Special { name: &'static str, frames: Vec<Frame> },
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Object::File { file, .. } = self {
            file.unmapped();
        }
    }
}

/// An area `[start, end)`; `start` is its key in the map.
#[derive(Clone)]
pub struct Vma {
    pub end: u64,
    /// Page index in the file of the first page; 0 for private anonymous memory.
    pub pgoff: u64,
    pub flags: VmFlags,
    pub object: Option<Arc<Object>>,
    /// What anonymous memory is shown as.
    pub label: Option<Arc<Label>>,
}

/// What readers of `/proc/PID/maps` see of anonymous memory.
pub enum Label {
    /// The name that the program gave to it (PR_SET_VMA_ANON_NAME).
    Name(Box<[u8]>),
    /// The file of zeroes that it was made from.
    Zeroes(Arc<dyn MappedFile>),
}

impl PartialEq for Label {
    fn eq(&self, other: &Label) -> bool {
        match (self, other) {
            (Label::Name(a), Label::Name(b)) => a == b,
            (Label::Zeroes(a), Label::Zeroes(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Label {}

impl Vma {
    pub fn pages(&self, start: u64) -> u64 {
        (self.end - start) / PAGE_SIZE as u64
    }
    /// The page index in the file at `va`.
    #[inline]
    pub fn index(&self, start: u64, va: u64) -> u64 {
        self.pgoff.wrapping_add((va - start) / PAGE_SIZE as u64)
    }
    #[inline]
    pub fn file(&self) -> Option<&Arc<dyn MappedFile>> {
        match self.object.as_deref()? {
            Object::File { file, .. } => Some(file),
            Object::Special { .. } => None,
        }
    }
    /// Private anonymous memory.
    pub fn is_anon(&self) -> bool {
        self.object.is_none()
    }
    /// Pages the program wrote live in the page map.
    #[inline]
    pub fn is_private(&self) -> bool {
        !self.flags.is(VmFlags::SHARED)
    }
    /// Rights of a translation that must not be written through yet.
    #[inline]
    pub fn read_only(&self) -> aspace::Prot {
        aspace::Prot { write: false, exec: self.flags.is(VmFlags::EXEC) }
    }
    /// Rights of a translation to a page of its own.
    #[inline]
    pub fn full(&self) -> aspace::Prot {
        aspace::Prot { write: self.flags.is(VmFlags::WRITE), exec: self.flags.is(VmFlags::EXEC) }
    }
    /// Counted as data (RLIMIT_DATA): private and writable, not a stack.
    pub fn is_data(&self) -> bool {
        (self.flags & (VmFlags::WRITE | VmFlags::SHARED | VmFlags::GROWSDOWN)) == VmFlags::WRITE
    }
    /// Puts what it holds among the dead.
    pub fn bury(self, dead: &mut Dead) {
        dead.extend(self.object.map(|object| object as Arc<dyn Any + Send + Sync>));
        dead.extend(self.label.map(|label| label as Arc<dyn Any + Send + Sync>));
    }
    /// `next`, which starts at `self.end`, could be one area with this one.
    pub fn joins(&self, start: u64, next: &Vma) -> bool {
        if self.flags != next.flags || self.label != next.label || self.flags.is(VmFlags::GROWSDOWN) {
            return false;
        }
        match (self.object.as_deref(), next.object.as_deref()) {
            (None, None) => true,
            (Some(Object::File { file: a, link: x }), Some(Object::File { file: b, link: y })) => {
                self.pgoff + self.pages(start) == next.pgoff && Arc::ptr_eq(a, b) && x.delta() == y.delta()
            }
            _ => false,
        }
    }
}
