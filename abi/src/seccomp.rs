//! seccomp(2): operations, flags, actions, what filters see, and the notifications of listeners. Source: `linux/seccomp.h`,
//! `linux/filter.h`.
#![allow(missing_docs)] // names are those of the headers above

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Operations of seccomp(2).
pub mod op {
    pub const SET_MODE_STRICT: u32 = 0;
    pub const SET_MODE_FILTER: u32 = 1;
    pub const GET_ACTION_AVAIL: u32 = 2;
    pub const GET_NOTIF_SIZES: u32 = 3;
}

/// Modes, as prctl(PR_GET_SECCOMP) tells them.
pub mod mode {
    pub const DISABLED: u8 = 0;
    pub const STRICT: u8 = 1;
    pub const FILTER: u8 = 2;
    /// Killed by a filter; /proc shows it of what is left.
    pub const DEAD: u8 = 3;
}

bitflags::bitflags! {
    /// Flags of `SECCOMP_SET_MODE_FILTER`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct FilterFlags: u32 {
        const TSYNC = 1;
        const LOG = 2;
        const SPEC_ALLOW = 4;
        const NEW_LISTENER = 8;
        const TSYNC_ESRCH = 16;
        const WAIT_KILLABLE_RECV = 32;
    }
}

/// What a filter's result asks for: the high half is the action, the low half its data.
pub mod action {
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const USER_NOTIF: u32 = 0x7fc0_0000;
    pub const TRACE: u32 = 0x7ff0_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
    /// The bits of the action.
    pub const FULL: u32 = 0xffff_0000;
    /// The bits of the data.
    pub const DATA: u32 = 0xffff;
    /// The largest errno `ERRNO` gives.
    pub const MAX_ERRNO: u32 = 4095;
}

/// What a filter sees (`struct seccomp_data`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SeccompData {
    pub nr: i32,
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

/// One instruction of a filter (`struct sock_filter`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockFilter {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// A filter (`struct sock_fprog`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockFprog {
    pub len: u16,
    pub pad: [u16; 3],
    pub filter: u64,
}

/// A call that waits for a listener (`struct seccomp_notif`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SeccompNotif {
    pub id: u64,
    pub pid: u32,
    pub flags: u32,
    pub data: SeccompData,
}

/// The listener's answer (`struct seccomp_notif_resp`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SeccompNotifResp {
    pub id: u64,
    pub val: i64,
    pub error: i32,
    pub flags: u32,
}

/// The call goes on as if there were no filter.
pub const NOTIF_CONTINUE: u32 = 1;

/// Sizes of the structures above (`struct seccomp_notif_sizes`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SeccompNotifSizes {
    pub notif: u16,
    pub resp: u16,
    pub data: u16,
}

/// A descriptor for the waiting task (`struct seccomp_notif_addfd`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SeccompNotifAddFd {
    pub id: u64,
    pub flags: u32,
    pub srcfd: u32,
    pub newfd: u32,
    pub newfd_flags: u32,
}

/// `SeccompNotifAddFd::flags`: at this number.
pub const ADDFD_SETFD: u32 = 1;
/// `SeccompNotifAddFd::flags`: and its number is the call's result.
pub const ADDFD_SEND: u32 = 2;

/// Commands of a listener.
pub mod ioctl {
    pub const RECV: u32 = 0xc050_2100;
    pub const SEND: u32 = 0xc018_2101;
    pub const ID_VALID: u32 = 0x4008_2102;
    /// As old headers had it.
    pub const ID_VALID_WRONG: u32 = 0x8008_2102;
    pub const SET_FLAGS: u32 = 0x4008_2104;
    /// Without the size, which the caller chooses.
    pub const ADDFD: u32 = 0x2103;
    /// Flag of `SET_FLAGS`: wake the other side on this CPU.
    pub const SYNC_WAKE_UP: u64 = 1;
}

const _: () = assert!(size_of::<SeccompData>() == 64 && size_of::<SeccompNotif>() == 80);
const _: () = assert!(size_of::<SeccompNotifResp>() == 24 && size_of::<SeccompNotifAddFd>() == 24);
