//! Memory mapping (`asm-generic/mman-common.h`, `asm-generic/mman.h`, `asm/mman.h`, `linux/mman.h`, `linux/memfd.h`,
//! `linux/membarrier.h`; mmap(2), madvise(2), mremap(2)).

use bitflags::bitflags;

bitflags! {
    /// `PROT_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Prot: u32 {
        /// Pages may be read.
        const READ = 1;
        /// Pages may be written.
        const WRITE = 2;
        /// Pages may be executed.
        const EXEC = 4;
        /// Pages may be used for atomic operations (no meaning on x86; accepted by mprotect).
        const SEM = 8;
        /// mprotect: extend the change to the start of a growsdown mapping.
        const GROWSDOWN = 0x0100_0000;
        /// mprotect: extend the change to the end of a growsup mapping.
        const GROWSUP = 0x0200_0000;
    }

    /// `MAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 {
        /// Changes are shared.
        const SHARED = 0x01;
        /// Changes are private.
        const PRIVATE = 0x02;
        /// Interpret the address exactly.
        const FIXED = 0x10;
        /// Not backed by a file.
        const ANONYMOUS = 0x20;
        /// Only the low 2 GiB.
        const BIT_32 = 0x40;
        /// Stack-like segment.
        const GROWSDOWN = 0x0100;
        /// Ignored.
        const DENYWRITE = 0x0800;
        /// Ignored.
        const EXECUTABLE = 0x1000;
        /// Pages are locked.
        const LOCKED = 0x2000;
        /// Do not account.
        const NORESERVE = 0x4000;
        /// Prefault.
        const POPULATE = 0x8000;
        /// Do not block on input/output while prefaulting.
        const NONBLOCK = 0x1_0000;
        /// A hint that it is a stack.
        const STACK = 0x2_0000;
        /// Huge pages.
        const HUGETLB = 0x4_0000;
        /// Synchronous page faults (DAX).
        const SYNC = 0x8_0000;
        /// Like FIXED, but refuses to replace.
        const FIXED_NOREPLACE = 0x10_0000;
    }

    /// `MREMAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MremapFlags: u32 {
        /// May move.
        const MAYMOVE = 1;
        /// Move to exactly this address.
        const FIXED = 2;
        /// Leave the old mapping, empty.
        const DONTUNMAP = 4;
    }

    /// `MS_*` of msync.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsyncFlags: u32 {
        /// Start writing only.
        const ASYNC = 1;
        /// Invalidate other mappings.
        const INVALIDATE = 2;
        /// Write and wait.
        const SYNC = 4;
    }

    /// `MCL_*` of mlockall.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MlockallFlags: u32 {
        /// What is mapped now.
        const CURRENT = 1;
        /// What will be mapped.
        const FUTURE = 2;
        /// Lock pages when they are touched.
        const ONFAULT = 4;
    }

    /// `MFD_*` of memfd_create.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MemfdFlags: u32 {
        /// Close on exec.
        const CLOEXEC = 1;
        /// Seals may be added.
        const ALLOW_SEALING = 2;
        /// Huge pages.
        const HUGETLB = 4;
        /// Not executable, and sealed so.
        const NOEXEC_SEAL = 8;
        /// Executable.
        const EXEC = 16;
    }
}

/// Where the log2 of the huge-page size sits in `MAP_HUGETLB` and `MFD_HUGETLB` flags.
pub const HUGE_SHIFT: u32 = 26;
/// Its mask, unshifted.
pub const HUGE_MASK: u32 = 0x3f;
/// Longest name memfd_create takes, NUL not counted.
pub const MFD_NAME_MAX: usize = 249;
/// `MLOCK_ONFAULT` of mlock2.
pub const MLOCK_ONFAULT: u32 = 1;

/// `MADV_*` (madvise(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Advice {
    Normal = 0,
    Random = 1,
    Sequential = 2,
    WillNeed = 3,
    DontNeed = 4,
    Free = 8,
    Remove = 9,
    DontFork = 10,
    DoFork = 11,
    Mergeable = 12,
    Unmergeable = 13,
    HugePage = 14,
    NoHugePage = 15,
    DontDump = 16,
    DoDump = 17,
    WipeOnFork = 18,
    KeepOnFork = 19,
    Cold = 20,
    PageOut = 21,
    PopulateRead = 22,
    PopulateWrite = 23,
    DontNeedLocked = 24,
    Collapse = 25,
    HwPoison = 100,
    SoftOffline = 101,
    GuardInstall = 102,
    GuardRemove = 103,
}

impl Advice {
    /// The advice with this number.
    pub const fn from_raw(n: i32) -> Option<Advice> {
        Some(match n {
            0 => Advice::Normal,
            1 => Advice::Random,
            2 => Advice::Sequential,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            8 => Advice::Free,
            9 => Advice::Remove,
            10 => Advice::DontFork,
            11 => Advice::DoFork,
            12 => Advice::Mergeable,
            13 => Advice::Unmergeable,
            14 => Advice::HugePage,
            15 => Advice::NoHugePage,
            16 => Advice::DontDump,
            17 => Advice::DoDump,
            18 => Advice::WipeOnFork,
            19 => Advice::KeepOnFork,
            20 => Advice::Cold,
            21 => Advice::PageOut,
            22 => Advice::PopulateRead,
            23 => Advice::PopulateWrite,
            24 => Advice::DontNeedLocked,
            25 => Advice::Collapse,
            100 => Advice::HwPoison,
            101 => Advice::SoftOffline,
            102 => Advice::GuardInstall,
            103 => Advice::GuardRemove,
            _ => return None,
        })
    }
}
