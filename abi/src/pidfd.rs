//! Pidfds: flags, the numbers that stand for the caller itself, ioctls, `struct pidfd_info`. Source: `linux/pidfd.h`.
#![allow(missing_docs)] // names are those of the header above

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Stands for the calling thread where a pidfd is taken.
pub const PIDFD_SELF_THREAD: i32 = -10000;
/// Stands for the calling process.
pub const PIDFD_SELF_THREAD_GROUP: i32 = -10001;
/// Stands for the root of pidfs where open_by_handle_at(2) takes a descriptor.
pub const FD_PIDFS_ROOT: i32 = -10002;
/// The same for nsfs.
pub const FD_NSFS_ROOT: i32 = -10003;

/// Scopes of pidfd_send_signal(2).
pub mod signal_scope {
    pub const THREAD: u32 = 1;
    pub const THREAD_GROUP: u32 = 2;
    pub const PROCESS_GROUP: u32 = 4;
}

/// Commands of ioctl(2).
pub mod ioctl {
    pub const CGROUP_NAMESPACE: u32 = 0xff01;
    pub const IPC_NAMESPACE: u32 = 0xff02;
    pub const MNT_NAMESPACE: u32 = 0xff03;
    pub const NET_NAMESPACE: u32 = 0xff04;
    pub const PID_NAMESPACE: u32 = 0xff05;
    pub const PID_FOR_CHILDREN_NAMESPACE: u32 = 0xff06;
    pub const TIME_NAMESPACE: u32 = 0xff07;
    pub const TIME_FOR_CHILDREN_NAMESPACE: u32 = 0xff08;
    pub const USER_NAMESPACE: u32 = 0xff09;
    pub const UTS_NAMESPACE: u32 = 0xff0a;
    /// `PIDFD_GET_INFO` without the size, which the caller chooses.
    pub const GET_INFO: u32 = 0xc000_ff0b;
    /// The size in a command.
    pub const SIZE_MASK: u32 = 0x3fff_0000;
    /// `FS_IOC_GETVERSION`.
    pub const GETVERSION: u32 = 0x8008_7601;
}

/// Bits of `PidfdInfo::mask`.
pub mod info {
    pub const PID: u64 = 1;
    pub const CREDS: u64 = 2;
    pub const CGROUPID: u64 = 4;
    pub const EXIT: u64 = 8;
    pub const COREDUMP: u64 = 16;
    pub const SUPPORTED_MASK: u64 = 32;
    pub const COREDUMP_SIGNAL: u64 = 64;
    pub const COREDUMP_CODE: u64 = 128;
    pub const SUPPORTED: u64 = 255;
    /// Bytes of the structure's first version.
    pub const SIZE_VER0: usize = 64;
}

/// Bits of `PidfdInfo::coredump_mask`.
pub mod coredump {
    pub const COREDUMPED: u32 = 1;
    pub const SKIP: u32 = 2;
    pub const USER: u32 = 4;
    pub const ROOT: u32 = 8;
}

/// `struct pidfd_info`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PidfdInfo {
    pub mask: u64,
    pub cgroupid: u64,
    pub pid: u32,
    pub tgid: u32,
    pub ppid: u32,
    pub ruid: u32,
    pub rgid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    pub fsuid: u32,
    pub fsgid: u32,
    pub exit_code: i32,
    pub coredump_mask: u32,
    pub coredump_signal: u32,
    pub coredump_code: u32,
    pub pad: u32,
    pub supported_mask: u64,
}

const _: () = assert!(size_of::<PidfdInfo>() == 88);

/// `handle_type` of handles that are 64-bit inode numbers (`FILEID_KERNFS`).
pub const FILEID_KERNFS: i32 = 0xfe;
