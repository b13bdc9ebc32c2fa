//! What each real user id has in use, against RLIMIT_NPROC and RLIMIT_SIGPENDING.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;

/// Counts of one real user id.
#[derive(Default)]
pub struct UserCounts {
    uid: u32,
    tasks: AtomicU32,
    signals: AtomicU32,
}

static USERS: SpinLock<BTreeMap<u32, Arc<UserCounts>>> = SpinLock::new(BTreeMap::new());

impl UserCounts {
    /// The counts of `uid`, made when the user is new.
    pub fn of(uid: u32) -> Arc<UserCounts> {
        let mut users = USERS.lock();
        // Users that own nothing any more leave when another comes.
        if users.len() > 64 && !users.contains_key(&uid) {
            users.retain(|_, u| Arc::strong_count(u) > 1);
        }
        users.entry(uid).or_insert_with(|| Arc::new(UserCounts { uid, ..UserCounts::default() })).clone()
    }
    /// The user.
    pub fn uid(&self) -> u32 {
        self.uid
    }
    /// Threads.
    pub fn tasks(&self) -> u32 {
        self.tasks.load(Ordering::Relaxed)
    }
    /// Queued signals.
    pub fn signals(&self) -> u32 {
        self.signals.load(Ordering::Relaxed)
    }
    /// A thread more.
    pub fn add_task(&self) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }
    /// A thread less.
    pub fn remove_task(&self) {
        self.tasks.fetch_sub(1, Ordering::Relaxed);
    }
    /// Counts one more queued signal unless there are `limit` already.
    pub fn try_add_signal(&self, limit: u64) -> bool {
        let n = self.signals.fetch_add(1, Ordering::Relaxed);
        if u64::from(n) >= limit {
            self.signals.fetch_sub(1, Ordering::Relaxed);
        }
        u64::from(n) < limit
    }
    /// A queued signal less.
    pub fn remove_signal(&self) {
        self.signals.fetch_sub(1, Ordering::Relaxed);
    }
}
