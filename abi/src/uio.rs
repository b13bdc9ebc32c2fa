//! Scatter-gather buffers (`linux/uio.h`; readv(2)).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct iovec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Iov {
    /// Start of the buffer.
    pub base: u64,
    /// Its length.
    pub len: u64,
}

/// Most `iovec`s a call takes.
pub const UIO_MAXIOV: usize = 1024;
/// Most bytes one read or write moves (`MAX_RW_COUNT`).
pub const MAX_RW_COUNT: usize = 0x7fff_f000;
