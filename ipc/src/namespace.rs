//! One world of IPC objects (ipc_namespaces(7)).

use crate::ids::Ids;
use crate::limits::Limits;
use crate::mqueue::Home;
use crate::msg::Queue;
use crate::sem::Set;
use crate::shm::Segment;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::Once;
use vfs::ns::{Namespace, NsHead, NsKind};
use vfs::user_ns::UserNamespace;

/// The objects and their limits.
pub struct IpcNamespace {
    head: NsHead,
    /// Shared memory segments.
    pub shm: Ids<Segment>,
    /// Semaphore sets.
    pub sem: Ids<Set>,
    /// Message queues.
    pub msg: Ids<Queue>,
    /// Limits of these.
    pub limits: Limits,
    /// POSIX message queues.
    pub mqueue: Home,
    /// Pages of all segments.
    pub(crate) shm_pages: Arc<Counter>,
    /// Semaphores of all sets.
    pub(crate) sems: Arc<Counter>,
    /// Messages waiting in all queues.
    pub(crate) messages: Counter,
    /// Their bytes.
    pub(crate) message_bytes: Counter,
}

/// A sum over objects.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
    /// Adds `n`, until the result is dropped; ENOSPC if the sum would exceed `max`.
    pub fn take(self: &Arc<Self>, n: u64, max: u64) -> Result<Share, Errno> {
        let add = |sum: u64| sum.checked_add(n).filter(|sum| *sum <= max);
        self.0.fetch_update(Relaxed, Relaxed, add).map_err(|_| Errno::ENOSPC)?;
        Ok(Share { of: self.clone(), n })
    }
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }
}

/// What one object adds to a sum.
pub(crate) struct Share {
    of: Arc<Counter>,
    n: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.sub(self.n);
    }
}

impl IpcNamespace {
    /// An empty one with Linux's limits; `owner` is the user namespace it is made in.
    pub fn new(owner: &Arc<UserNamespace>) -> Arc<IpcNamespace> {
        IpcNamespace::build(NsHead::next(NsKind::Ipc, owner))
    }
    fn build(head: NsHead) -> Arc<IpcNamespace> {
        vfs::ns::enlist(Arc::new(IpcNamespace {
            head,
            shm: Ids::new(),
            sem: Ids::new(),
            msg: Ids::new(),
            limits: Limits::new(),
            mqueue: Home::default(),
            shm_pages: Arc::default(),
            sems: Arc::default(),
            messages: Counter::default(),
            message_bytes: Counter::default(),
        }))
    }
    /// The user namespace whose capabilities count here.
    pub fn user_ns(&self) -> &Arc<UserNamespace> {
        self.head.owner()
    }
}

impl Namespace for IpcNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

/// The namespace of the first process.
pub fn first() -> &'static Arc<IpcNamespace> {
    static FIRST: Once<Arc<IpcNamespace>> = Once::new();
    FIRST.get_or_init(|| IpcNamespace::build(NsHead::first(NsKind::Ipc)))
}
