//! System V message queues (msgget(2), msgop(2), msgctl(2)).
//!
//! A message goes straight to the first waiting receiver that wants it; only without one it enters the queue. Senders to a full queue wait on
//! a wait queue of their own and look again when there may be room.

mod control;
mod queue;
mod transfer;

pub use control::{control, info, stat};
pub use queue::{Message, Queue};
pub use transfer::{Want, receive, send};

use crate::IpcNamespace;
use crate::ids::Entry;
use crate::perm::{Perm, Who};
use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;

/// msgget(2).
pub fn get(ns: &IpcNamespace, who: Who<'_>, key: i32, flags: u32) -> Result<i32, Errno> {
    let max = ns.limits.msgmni.load(Relaxed).max(0) as usize;
    let make = || Ok(Queue::new(ns.limits.msgmnb.load(Relaxed).max(0) as u64));
    Ok(ns.msg.get((key, flags), who, max, |_| Ok(()), make)?.id())
}

/// A queue as `/proc/sysvipc/msg` shows it.
#[allow(missing_docs)]
pub struct Snapshot {
    pub key: i32,
    pub perm: Perm,
    pub bytes: u64,
    pub messages: u64,
    pub lspid: i32,
    pub lrpid: i32,
    pub stime: i64,
    pub rtime: i64,
    pub ctime: i64,
}

/// What there is to show of a queue.
pub fn snapshot(entry: &Entry<Queue>) -> Snapshot {
    let state = entry.lock();
    let q = &state.body;
    Snapshot {
        key: state.key(),
        perm: state.perm,
        bytes: q.bytes,
        messages: q.messages.len() as u64,
        lspid: q.lspid,
        lrpid: q.lrpid,
        stime: q.stime,
        rtime: q.rtime,
        ctime: q.ctime,
    }
}
