//! Waiting for files: `struct pollfd`, select sets, epoll and eventfd.
//! Sources: `asm-generic/poll.h`, `linux/eventpoll.h`, `linux/eventfd.h`, poll(2), epoll_ctl(2), eventfd(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct pollfd`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct PollFd {
    pub fd: i32,
    pub events: u16,
    pub revents: u16,
}

/// `struct epoll_event`: packed on x86-64, hence three words.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EpollEvent {
    /// `EPOLL*` bits.
    pub events: u32,
    data: [u32; 2],
}

impl EpollEvent {
    /// An event with the program's own data.
    #[inline]
    pub const fn new(events: u32, data: u64) -> EpollEvent {
        EpollEvent { events, data: [data as u32, (data >> 32) as u32] }
    }
    /// The program's own data.
    #[inline]
    pub const fn data(&self) -> u64 {
        self.data[0] as u64 | (self.data[1] as u64) << 32
    }
}

/// `op` of epoll_ctl(2).
#[allow(missing_docs)]
pub mod epoll_op {
    pub const ADD: i32 = 1;
    pub const DEL: i32 = 2;
    pub const MOD: i32 = 3;
}

/// Flag of epoll_create1(2).
pub const EPOLL_CLOEXEC: u32 = 0o2000000;
/// Only one of the waiting epolls is woken.
pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// Keep the system awake (needs CAP_BLOCK_SUSPEND; without it the bit is dropped).
pub const EPOLLWAKEUP: u32 = 1 << 29;
/// One event, then silence until EPOLL_CTL_MOD.
pub const EPOLLONESHOT: u32 = 1 << 30;
/// Report changes, not states.
pub const EPOLLET: u32 = 1 << 31;

/// The sixth argument of pselect6(2): a signal set and its size.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SigsetArg {
    pub addr: u64,
    pub size: u64,
}

bitflags::bitflags! {
    /// Flags of eventfd2(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct EventfdFlags: u32 {
        /// Reads take 1 instead of all.
        const SEMAPHORE = 1;
        /// Non-blocking reads and writes.
        const NONBLOCK = 0o4000;
        /// Closed on exec.
        const CLOEXEC = 0o2000000;
    }
}

const _: () = assert!(size_of::<EpollEvent>() == 12 && size_of::<PollFd>() == 8);
