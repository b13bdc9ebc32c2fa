//! Making tasks and scheduling them: clone flags, `struct clone_args`, policies, `struct sched_attr`.
//! Sources: `linux/sched.h`, `linux/sched/types.h`, clone(2), sched(7).
#![allow(missing_docs)] // names are those of the headers above

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags::bitflags! {
    /// Flags of clone(2), clone3(2) and unshare(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct CloneFlags: u64 {
        const NEWTIME = 0x80;
        const VM = 0x100;
        const FS = 0x200;
        const FILES = 0x400;
        const SIGHAND = 0x800;
        const PIDFD = 0x1000;
        const PTRACE = 0x2000;
        const VFORK = 0x4000;
        const PARENT = 0x8000;
        const THREAD = 0x1_0000;
        const NEWNS = 0x2_0000;
        const SYSVSEM = 0x4_0000;
        const SETTLS = 0x8_0000;
        const PARENT_SETTID = 0x10_0000;
        const CHILD_CLEARTID = 0x20_0000;
        const DETACHED = 0x40_0000;
        const UNTRACED = 0x80_0000;
        const CHILD_SETTID = 0x100_0000;
        const NEWCGROUP = 0x200_0000;
        const NEWUTS = 0x400_0000;
        const NEWIPC = 0x800_0000;
        const NEWUSER = 0x1000_0000;
        const NEWPID = 0x2000_0000;
        const NEWNET = 0x4000_0000;
        const IO = 0x8000_0000;
        const CLEAR_SIGHAND = 0x1_0000_0000;
        const INTO_CGROUP = 0x2_0000_0000;
        const AUTOREAP = 0x4_0000_0000;
        const NNP = 0x8_0000_0000;
        const PIDFD_AUTOKILL = 0x10_0000_0000;
        const EMPTY_MNTNS = 0x20_0000_0000;
    }
}

impl CloneFlags {
    /// The flags that make namespaces.
    pub const NAMESPACES: CloneFlags = CloneFlags::NEWTIME
        .union(CloneFlags::NEWNS)
        .union(CloneFlags::NEWCGROUP)
        .union(CloneFlags::NEWUTS)
        .union(CloneFlags::NEWIPC)
        .union(CloneFlags::NEWUSER)
        .union(CloneFlags::NEWPID)
        .union(CloneFlags::NEWNET)
        .union(CloneFlags::EMPTY_MNTNS);
}

/// The exit signal in the flags of clone(2).
pub const CSIGNAL: u64 = 0xff;
/// Sizes `struct clone_args` has had.
pub const CLONE_ARGS_SIZE_VER0: usize = 64;
/// Size that first had `cgroup`.
pub const CLONE_ARGS_SIZE_VER2: usize = 88;

/// `struct clone_args`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// Scheduling policies.
pub mod policy {
    pub const NORMAL: u32 = 0;
    pub const FIFO: u32 = 1;
    pub const RR: u32 = 2;
    pub const BATCH: u32 = 3;
    pub const IDLE: u32 = 5;
    pub const DEADLINE: u32 = 6;
    pub const EXT: u32 = 7;
    /// Or-ed into the policy: children start with the default policy.
    pub const RESET_ON_FORK: u32 = 0x4000_0000;
}

/// `sched_flags` of [`SchedAttr`].
pub mod attr_flags {
    pub const RESET_ON_FORK: u64 = 1;
    pub const RECLAIM: u64 = 2;
    pub const DL_OVERRUN: u64 = 4;
    pub const KEEP_POLICY: u64 = 8;
    pub const KEEP_PARAMS: u64 = 0x10;
    pub const UTIL_CLAMP_MIN: u64 = 0x20;
    pub const UTIL_CLAMP_MAX: u64 = 0x40;
    pub const ALL: u64 = 0x7f;
}

/// Size of the first version of [`SchedAttr`].
pub const SCHED_ATTR_SIZE_VER0: u32 = 48;

/// `struct sched_attr`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}
