//! System V IPC (sysvipc(7)) and POSIX message queues (mq_overview(7)).
//!
//! - [`ids`] is what the three kinds of System V objects share: keys, ids with sequence numbers, permissions ([`perm`]);
//! - [`shm`], [`sem`] and [`msg`] are the kinds;
//! - [`mqueue`] is the file system of POSIX message queues;
//! - [`namespace`] holds one set of all of them with its limits.
//!
//! The calls layer names the caller as a [`Who`]; process numbers in this crate are those of the first pid namespace and user ids those
//! of the kernel. What ends with a process ends by being dropped: semaphore adjustments with the last [`sem::UndoList`], attachments with
//! their address space, so nothing here is called by exit.
//!
//! Lock order (all are spin locks; user memory is never touched under one):
//! ```text
//! Ids::table
//!   Entry state (one object at a time)
//!     UndoList::sets, counters of the namespace
//! ```
//! An object is removed by marking it under its own lock and then, without it, taking it out of the table: whoever still finds it sees the
//! mark.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod ids;
pub mod limits;
pub mod mqueue;
pub mod msg;
pub mod namespace;
pub mod perm;
pub mod sem;
pub mod shm;

pub use namespace::{IpcNamespace, first};
pub use perm::{Perm, Who};

/// Seconds since 1970, as the time stamps of System V objects count.
fn seconds() -> i64 {
    (sched::clock::realtime_ns() / 1_000_000_000) as i64
}
