//! The vocabulary of address spaces: requests, limits, faults, what /proc shows.

use super::vma::VmFlags;
use crate::file::MappedFile;
use abi::Errno;
use abi::mman::{MapFlags, Prot};
use alloc::sync::Arc;
use machine::VirtAddr;

/// The kind of access that faulted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// A store.
    pub write: bool,
    /// An instruction fetch.
    pub exec: bool,
}

impl Access {
    /// A load.
    pub const READ: Access = Access { write: false, exec: false };
    /// A store.
    pub const WRITE: Access = Access { write: true, exec: false };
}

/// Why a fault could not be resolved: the signal the program gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    MapErr,
    /// The mapping does not allow it: SIGSEGV, SEGV_ACCERR.
    AccErr,
    /// Past the end of the file, or the file could not be read: SIGBUS, BUS_ADRERR.
    BusAdrErr,
    /// No memory. The out-of-memory handler has been asked; try the instruction again unless the thread is dying.
    Oom,
}

impl From<FaultError> for Errno {
    fn from(e: FaultError) -> Errno {
        if e == FaultError::Oom { Errno::ENOMEM } else { Errno::EFAULT }
    }
}

/// The resource limits memory calls obey, in bytes (`u64::MAX`: none).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_MEMLOCK.
    pub memlock: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: 8 << 20 }
    }
}

/// The arguments of mmap(2), the file looked up.
pub struct MapRequest {
    /// Wanted address, or 0.
    pub addr: VirtAddr,
    /// Length in bytes.
    pub len: usize,
    /// Rights asked for.
    pub prot: Prot,
    /// Rights mprotect may ever give (from how the file was opened); [`Prot::all`] for anonymous memory.
    pub max_prot: Prot,
    /// `MAP_*`.
    pub flags: MapFlags,
    /// The file; `None` for anonymous memory.
    pub file: Option<Arc<dyn MappedFile>>,
    /// The file of zeroes that private anonymous memory is made from, for who asks what is mapped.
    pub zeroes: Option<Arc<dyn MappedFile>>,
    /// Offset in the file, a multiple of the page size.
    pub offset: u64,
    /// Why the file may not be mapped so (EACCES, EPERM, ENODEV); reported in Linux's place among the checks.
    pub refused: Option<Errno>,
    /// The caller has CAP_IPC_LOCK (MAP_LOCKED is not limited).
    pub may_lock: bool,
    /// The caller has CAP_SYS_RAWIO (addresses under `vm.mmap_min_addr` may be asked for).
    pub may_map_low: bool,
}

impl MapRequest {
    /// Private anonymous memory, anywhere.
    pub fn anonymous(len: usize, prot: Prot) -> MapRequest {
        MapRequest {
            addr: VirtAddr(0),
            len,
            prot,
            max_prot: Prot::READ | Prot::WRITE | Prot::EXEC,
            flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS,
            file: None,
            zeroes: None,
            offset: 0,
            refused: None,
            may_lock: false,
            may_map_low: false,
        }
    }
}

/// Identity of a futex word: the same for all who can see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FutexKey {
    /// In memory private to one address space.
    Private {
        /// [`super::Mm::id`].
        mm: u64,
        /// Its address.
        addr: u64,
    },
    /// In a shared mapping.
    Shared {
        /// `PageCache::id` of the object.
        object: u64,
        /// Byte offset in it.
        offset: u64,
    },
}

/// What a mapping is called in /proc/PID/maps.
pub enum VmaName<'a> {
    /// Anonymous.
    None,
    /// A file.
    File(&'a Arc<dyn MappedFile>),
    /// `[heap]`.
    Heap,
    /// `[stack]`.
    Stack,
    /// `[vdso]` and the like.
    Special(&'static str),
    /// Anonymous memory that the program has named.
    Private(&'a [u8]),
    /// The same of shared memory.
    Shared(&'a [u8]),
}

/// One mapping as /proc shows it.
pub struct VmaInfo<'a> {
    /// First address.
    pub start: u64,
    /// First address past it.
    pub end: u64,
    /// Rights.
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
    /// Offset in the file (0 for anonymous memory).
    pub offset: u64,
    /// Its name.
    pub name: VmaName<'a>,
    /// How it behaves.
    pub flags: VmFlags,
}

/// Where exec put things; /proc/PID/stat, cmdline, environ and auxv read it, prctl(PR_SET_MM) is not offered.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct Layout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
}

/// Sizes in pages for /proc/PID/{stat,statm,status}.
#[derive(Clone, Copy, Default, Debug)]
pub struct MmStats {
    /// All mappings.
    pub total: u64,
    /// The most there ever were.
    pub total_peak: u64,
    /// Locked.
    pub locked: u64,
    /// Private writable, not stack.
    pub data: u64,
    /// Stack.
    pub stack: u64,
    /// Executable file mappings.
    pub text: u64,
    /// Shared file mappings and shared memory, resident.
    pub rss_shared: u64,
    /// Private pages, resident.
    pub rss_anon: u64,
    /// The most that were resident.
    pub rss_peak: u64,
    /// Page-table pages.
    pub tables: u64,
    /// Number of mappings.
    pub areas: u64,
}
