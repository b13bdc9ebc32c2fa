//! What kcmp(2) compares. Source: `linux/kcmp.h`.
#![allow(missing_docs)] // names are those of the header above

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const KCMP_FILE: i32 = 0;
pub const KCMP_VM: i32 = 1;
pub const KCMP_FILES: i32 = 2;
pub const KCMP_FS: i32 = 3;
pub const KCMP_SIGHAND: i32 = 4;
pub const KCMP_IO: i32 = 5;
pub const KCMP_SYSVSEM: i32 = 6;
pub const KCMP_EPOLL_TFD: i32 = 7;
pub const KCMP_TYPES: usize = 8;

/// `struct kcmp_epoll_slot`: a file that an epoll watches.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EpollSlot {
    /// The epoll's descriptor.
    pub efd: u32,
    /// The descriptor that is watched.
    pub tfd: u32,
    /// Which of those that were watched under this number.
    pub toff: u32,
}
