//! Limits of queues (mq_overview(7), "/proc interfaces" and RLIMIT_MSGQUEUE).

use abi::Errno;
use abi::ipc::{MQ_PRIO_MAX, MqAttr};
use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};
use machine::sync::SpinLock;
use vfs::{Cap, Cred};

/// The most messages anybody may ask for.
pub const HARD_MSG: i32 = 65536;
/// The longest message anybody may ask for.
pub const HARD_SIZE: i32 = 16 << 20;
/// The least `msg_max` and `msg_default`.
pub const LEAST_MSG: i32 = 1;
/// The least `msgsize_max` and `msgsize_default`.
pub const LEAST_SIZE: i32 = 128;
/// What Linux counts for the record of a message, and for a priority in use.
const RECORD: u64 = 48;

/// Settings of a namespace, `/proc/sys/fs/mqueue`, and its queues.
pub struct MqLimits {
    /// Queues.
    pub queues_max: AtomicI32,
    /// Messages of a queue.
    pub msg_max: AtomicI32,
    /// Bytes of a message.
    pub msgsize_max: AtomicI32,
    /// Messages of a queue made without attributes.
    pub msg_default: AtomicI32,
    /// Bytes of a message of such a queue.
    pub msgsize_default: AtomicI32,
    queues: AtomicU32,
}

impl MqLimits {
    /// What Linux starts with.
    pub const fn new() -> MqLimits {
        MqLimits {
            queues_max: AtomicI32::new(256),
            msg_max: AtomicI32::new(10),
            msgsize_max: AtomicI32::new(8192),
            msg_default: AtomicI32::new(10),
            msgsize_default: AtomicI32::new(8192),
            queues: AtomicU32::new(0),
        }
    }
    /// Counts one more queue; ENOSPC.
    pub(super) fn take_queue(&self, cred: &Cred) -> Result<(), Errno> {
        let most = self.queues_max.load(Relaxed) as u32;
        let free = cred.capable(Cap::SysResource);
        let add = |n: u32| (n < most || free).then(|| n.saturating_add(1));
        self.queues.fetch_update(Relaxed, Relaxed, add).map(drop).map_err(|_| Errno::ENOSPC)
    }
    pub(super) fn give_queue(&self) {
        self.queues.fetch_sub(1, Relaxed);
    }
    /// Messages and bytes of a message of a new queue, checked.
    pub(super) fn shape(&self, cred: &Cred, asked: Option<&MqAttr>) -> Result<(u32, u32), Errno> {
        let (msg_max, size_max) = (self.msg_max.load(Relaxed), self.msgsize_max.load(Relaxed));
        let (count, size) = match asked {
            Some(attr) => (attr.maxmsg, attr.msgsize),
            None => (
                msg_max.min(self.msg_default.load(Relaxed)).into(),
                size_max.min(self.msgsize_default.load(Relaxed)).into(),
            ),
        };
        let (most, longest) = if cred.capable(Cap::SysResource) { (HARD_MSG, HARD_SIZE) } else { (msg_max, size_max) };
        if !(1..=i64::from(most)).contains(&count) || !(1..=i64::from(longest)).contains(&size) {
            return Err(Errno::EINVAL);
        }
        Ok((count as u32, size as u32))
    }
}

impl Default for MqLimits {
    fn default() -> Self {
        MqLimits::new()
    }
}

/// Bytes of the queues each user has made.
static BYTES: SpinLock<BTreeMap<u32, u64>> = SpinLock::new(BTreeMap::new());

/// What a queue counts for its maker; given back when dropped.
pub(super) struct Charge {
    uid: u32,
    bytes: u64,
}

impl Charge {
    /// EMFILE when the user would have more than `limit` bytes.
    pub fn new(uid: u32, count: u32, size: u32, limit: u64) -> Result<Charge, Errno> {
        let records = u64::from(count) + u64::from(count.min(MQ_PRIO_MAX));
        let bytes = u64::from(count) * u64::from(size) + records * RECORD;
        let mut all = BYTES.lock();
        let mine = all.entry(uid).or_insert(0);
        if mine.saturating_add(bytes) > limit {
            if *mine == 0 {
                all.remove(&uid);
            }
            return Err(Errno::EMFILE);
        }
        *mine += bytes;
        Ok(Charge { uid, bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut all = BYTES.lock();
        if let Some(mine) = all.get_mut(&self.uid) {
            *mine = mine.saturating_sub(self.bytes);
            if *mine == 0 {
                all.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_bytes() {
        let a = Charge::new(77, 10, 8192, 200_000).unwrap();
        assert_eq!(a.bytes, 82_880);
        let b = Charge::new(77, 10, 8192, 200_000).unwrap();
        assert_eq!(Charge::new(77, 10, 8192, 200_000).err(), Some(Errno::EMFILE));
        drop((a, b));
        assert!(!BYTES.lock().contains_key(&77));
    }

    #[test]
    fn shapes_are_checked_against_the_callers_limits() {
        let (limits, user, root) = (MqLimits::new(), Cred::user(1, 1), Cred::root());
        let attr = |maxmsg, msgsize| MqAttr { maxmsg, msgsize, ..MqAttr::default() };
        assert_eq!(limits.shape(&user, None), Ok((10, 8192)));
        assert_eq!(limits.shape(&user, Some(&attr(11, 1))), Err(Errno::EINVAL));
        assert_eq!(limits.shape(&root, Some(&attr(11, 1))), Ok((11, 1)));
        assert_eq!(limits.shape(&root, Some(&attr(0, 1))), Err(Errno::EINVAL));
        assert_eq!(limits.shape(&root, Some(&attr(1, 1 << 25))), Err(Errno::EINVAL));
    }
}
