//! Futexes. Sources: `linux/futex.h`, futex(2), futex_waitv(2), set_robust_list(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Commands of futex(2).
#[allow(missing_docs)]
pub mod op {
    pub const WAIT: u32 = 0;
    pub const WAKE: u32 = 1;
    pub const FD: u32 = 2;
    pub const REQUEUE: u32 = 3;
    pub const CMP_REQUEUE: u32 = 4;
    pub const WAKE_OP: u32 = 5;
    pub const LOCK_PI: u32 = 6;
    pub const UNLOCK_PI: u32 = 7;
    pub const TRYLOCK_PI: u32 = 8;
    pub const WAIT_BITSET: u32 = 9;
    pub const WAKE_BITSET: u32 = 10;
    pub const WAIT_REQUEUE_PI: u32 = 11;
    pub const CMP_REQUEUE_PI: u32 = 12;
    pub const LOCK_PI2: u32 = 13;
    pub const PRIVATE_FLAG: u32 = 128;
    pub const CLOCK_REALTIME: u32 = 256;
    pub const ROBUST_UNLOCK: u32 = 512;
    pub const ROBUST_LIST32: u32 = 1024;
    pub const CMD_MASK: u32 = !(PRIVATE_FLAG | CLOCK_REALTIME | ROBUST_UNLOCK | ROBUST_LIST32);
}

/// Matches every waiter.
pub const BITSET_MATCH_ANY: u32 = u32::MAX;

/// Bits of a robust or priority-inheriting futex word.
#[allow(missing_docs)]
pub mod word {
    pub const WAITERS: u32 = 0x8000_0000;
    pub const OWNER_DIED: u32 = 0x4000_0000;
    pub const TID_MASK: u32 = 0x3fff_ffff;
}

/// The operation encoded in the last argument of FUTEX_WAKE_OP.
#[allow(missing_docs)]
pub mod wake_op {
    pub const SET: u32 = 0;
    pub const ADD: u32 = 1;
    pub const OR: u32 = 2;
    pub const ANDN: u32 = 3;
    pub const XOR: u32 = 4;
    pub const ARG_SHIFT: u32 = 8;
    pub const CMP_EQ: u32 = 0;
    pub const CMP_NE: u32 = 1;
    pub const CMP_LT: u32 = 2;
    pub const CMP_LE: u32 = 3;
    pub const CMP_GT: u32 = 4;
    pub const CMP_GE: u32 = 5;
}

/// `struct robust_list_head`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RobustListHead {
    pub list: u64,
    pub futex_offset: i64,
    pub list_op_pending: u64,
}

/// The longest robust list that is walked at exit.
pub const ROBUST_LIST_LIMIT: usize = 2048;

/// Flags of the futex2 calls.
#[allow(missing_docs)]
pub mod futex2 {
    pub const SIZE_U32: u32 = 2;
    pub const SIZE_MASK: u32 = 3;
    pub const NUMA: u32 = 4;
    pub const MPOL: u32 = 8;
    pub const PRIVATE: u32 = 128;
}

/// The node word of a FUTEX2_NUMA futex that has not been given a node.
pub const NO_NODE: u32 = u32::MAX;

/// Most words futex_waitv(2) waits for.
pub const WAITV_MAX: usize = 128;

/// `struct futex_waitv`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Waitv {
    pub val: u64,
    pub uaddr: u64,
    pub flags: u32,
    pub reserved: u32,
}
