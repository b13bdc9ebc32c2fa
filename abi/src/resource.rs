//! Limits and usage. Sources: `asm-generic/resource.h`, `linux/resource.h`, getrlimit(2), getrusage(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// No limit.
pub const RLIM_INFINITY: u64 = u64::MAX;
/// Number of resources.
pub const RLIM_NLIMITS: usize = 16;

/// A limited resource (`RLIMIT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Resource {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

impl Resource {
    /// All resources, by number.
    pub const ALL: [Resource; RLIM_NLIMITS] = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    /// The resource with this number.
    pub fn from_raw(number: u32) -> Option<Resource> {
        Resource::ALL.get(number as usize).copied()
    }
}

/// `struct rlimit64`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rlimit {
    /// Soft limit.
    pub cur: u64,
    /// Hard limit.
    pub max: u64,
}

/// `struct timeval`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UsageTime {
    /// Seconds.
    pub sec: i64,
    /// Microseconds.
    pub usec: i64,
}

impl UsageTime {
    /// From nanoseconds.
    pub const fn from_ns(ns: u64) -> UsageTime {
        UsageTime { sec: (ns / 1_000_000_000) as i64, usec: (ns % 1_000_000_000 / 1000) as i64 }
    }
}

/// `struct rusage`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Rusage {
    pub utime: UsageTime,
    pub stime: UsageTime,
    pub maxrss: i64,
    pub ixrss: i64,
    pub idrss: i64,
    pub isrss: i64,
    pub minflt: i64,
    pub majflt: i64,
    pub nswap: i64,
    pub inblock: i64,
    pub oublock: i64,
    pub msgsnd: i64,
    pub msgrcv: i64,
    pub nsignals: i64,
    pub nvcsw: i64,
    pub nivcsw: i64,
}

/// `who` of getrusage(2).
#[allow(missing_docs)]
pub mod who {
    pub const SELF: i32 = 0;
    pub const CHILDREN: i32 = -1;
    pub const THREAD: i32 = 1;
}

/// `which` of getpriority(2).
#[allow(missing_docs)]
pub mod prio {
    pub const PROCESS: i32 = 0;
    pub const PGRP: i32 = 1;
    pub const USER: i32 = 2;
}
