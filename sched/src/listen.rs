//! Listeners of a wait queue: poll and epoll are told of events through them.
//!
//! The list is allocated at the first subscription and outlives the queue as long as a subscription exists, so the two can be
//! dropped in either order. Dropping a [`Subscription`] waits for a notification under way on another CPU; a listener's `notify`
//! runs under the list's lock and must not drop subscriptions.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};
use machine::sync::{IrqLock, Once};
use smallvec::SmallVec;

/// Is told of wake-ups. Called with interrupts off, under a spin lock, from any context: set a mark, wake a thread, no more.
pub trait Listener: Send + Sync {
    /// Something happened; `key` has the poll events that did, or 0 if the waker does not say. The result says whether the
    /// listener will act on it (matters for exclusive ones only).
    fn notify(&self, key: u64) -> bool;
}

struct Entry {
    id: u64,
    exclusive: bool,
    listener: Arc<dyn Listener>,
}

struct Shared {
    count: AtomicU32,
    entries: IrqLock<SmallVec<[Entry; 1]>>,
}

pub(crate) struct Listeners(Once<Arc<Shared>>);

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Listeners {
    pub const fn new() -> Listeners {
        Listeners(Once::new())
    }
    #[inline]
    pub fn any(&self) -> bool {
        self.0.get().is_some_and(|shared| shared.count.load(Relaxed) != 0)
    }
    pub fn notify(&self, key: u64) {
        let Some(shared) = self.0.get() else { return };
        let mut entries = shared.entries.lock();
        let mut taken = None;
        for (at, entry) in entries.iter().enumerate() {
            if entry.exclusive && taken.is_some() {
                continue;
            }
            if entry.listener.notify(key) && entry.exclusive {
                taken = Some(at);
            }
        }
        // The next event goes to another exclusive listener.
        if let Some(at) = taken {
            entries[at..].rotate_left(1);
        }
    }
    pub fn add(&self, listener: Arc<dyn Listener>, exclusive: bool) -> Subscription {
        let shared = self
            .0
            .get_or_init(|| Arc::new(Shared { count: AtomicU32::new(0), entries: IrqLock::new(SmallVec::new()) }));
        let id = NEXT_ID.fetch_add(1, Relaxed);
        let mut entries = shared.entries.lock();
        entries.push(Entry { id, exclusive, listener });
        shared.count.store(entries.len() as u32, Relaxed);
        drop(entries);
        fence(SeqCst);
        Subscription { shared: shared.clone(), id }
    }
}

/// A listener's place on a queue, given up when dropped. After that the listener is not told any more.
pub struct Subscription {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut entries = self.shared.entries.lock();
        let at = entries.iter().position(|e| e.id == self.id);
        let entry = at.map(|at| entries.remove(at));
        self.shared.count.store(entries.len() as u32, Relaxed);
        drop(entries);
        drop(entry); // may be the listener's last reference: not under the lock
    }
}
