//! What each real user id has in use in a user namespace, against RLIMIT_NPROC and RLIMIT_SIGPENDING.
//!
//! A thread counts for its user, for the owner of his namespace in the namespace above, and so on: who makes a namespace cannot use more by way of
//! it than the limit he had then (user_namespaces(7), getrlimit(2)).

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;
use vfs::{Cred, Namespace, UserNamespace};

/// Counts of one real user id in one namespace.
pub struct UserCounts {
    uid: u32,
    ns: Arc<UserNamespace>,
    /// The owner of the namespace, in the namespace above.
    above: Option<Arc<UserCounts>>,
    tasks: AtomicU32,
    signals: AtomicU32,
}

/// Users that own something; others would only keep their namespaces alive.
static USERS: SpinLock<BTreeMap<(u64, u32), Weak<UserCounts>>> = SpinLock::new(BTreeMap::new());

impl UserCounts {
    /// The counts of the real user of `cred`, made when the user is new.
    pub fn of(cred: &Cred) -> Arc<UserCounts> {
        // From the first namespace down, so that nothing nests.
        let mut path = alloc::vec![(cred.user_ns.clone(), cred.uid)];
        while let Some((ns, owner)) = path.last().and_then(|(ns, _)| Some((ns.parent()?.clone(), ns.owner_uid()))) {
            path.push((ns, owner));
        }
        let mut above = None;
        while let Some((ns, uid)) = path.pop() {
            above = Some(UserCounts::in_ns(ns, uid, above));
        }
        above.unwrap_or_else(|| UserCounts::in_ns(UserNamespace::first().clone(), cred.uid, None))
    }
    fn in_ns(ns: Arc<UserNamespace>, uid: u32, above: Option<Arc<UserCounts>>) -> Arc<UserCounts> {
        let key = (ns.id(), uid);
        let new = Arc::new(UserCounts { uid, ns, above, tasks: AtomicU32::new(0), signals: AtomicU32::new(0) });
        let mut users = USERS.lock();
        if let Some(known) = users.get(&key).and_then(Weak::upgrade) {
            drop(users);
            return known;
        }
        // Users that own nothing any more leave when another comes.
        if users.len() > 64 {
            users.retain(|_, u| u.strong_count() > 0);
        }
        users.insert(key, Arc::downgrade(&new));
        new
    }
    /// Counts that nobody else finds.
    #[cfg(test)]
    pub fn alone() -> Arc<UserCounts> {
        let ns = UserNamespace::first().clone();
        Arc::new(UserCounts { uid: 0, ns, above: None, tasks: AtomicU32::new(0), signals: AtomicU32::new(0) })
    }
    /// The user, as the kernel knows it.
    pub fn uid(&self) -> u32 {
        self.uid
    }
    /// They are those of the real user of `cred`.
    pub fn are_of(&self, cred: &Cred) -> bool {
        self.uid == cred.uid && Arc::ptr_eq(&self.ns, &cred.user_ns)
    }
    /// There are more threads than `limit`, or than a namespace on the way up may have.
    pub fn over_limit(&self, limit: u64) -> bool {
        let (mut at, mut limit) = (self, limit);
        loop {
            if u64::from(at.tasks()) > limit {
                return true;
            }
            let Some(up) = &at.above else { return false };
            limit = at.ns.max_tasks();
            at = up;
        }
    }
    fn each(&self, f: impl Fn(&AtomicU32) -> u32) {
        let mut at = Some(self);
        while let Some(one) = at {
            f(&one.tasks);
            at = one.above.as_deref();
        }
    }
    /// Threads.
    pub fn tasks(&self) -> u32 {
        self.tasks.load(Ordering::Relaxed)
    }
    /// Queued signals.
    pub fn signals(&self) -> u32 {
        self.signals.load(Ordering::Relaxed)
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

/// A thread's place among those of its user. It is taken before the thread is made, so that two that fork at once cannot both
/// have the last one, and is free when the thread is reaped, however long others still hold on to what is left of it.
pub struct Place {
    user: Arc<UserCounts>,
    taken: bool,
}

impl Place {
    /// One thread more of this user.
    pub fn take(user: Arc<UserCounts>) -> Place {
        user.each(|n| n.fetch_add(1, Ordering::Relaxed));
        Place { user, taken: true }
    }
    /// Whose it is, or was.
    pub fn user(&self) -> &Arc<UserCounts> {
        &self.user
    }
    /// One thread less, if it was not given back before.
    pub fn give_back(&mut self) {
        if core::mem::take(&mut self.taken) {
            self.user.each(|n| n.fetch_sub(1, Ordering::Relaxed));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_until_it_is_given_back_once() {
        let user = UserCounts::alone();
        let (mut first, second) = (Place::take(user.clone()), Place::take(user.clone()));
        assert!(user.over_limit(1) && !user.over_limit(2));
        first.give_back();
        assert!(!user.over_limit(1));
        drop(first);
        assert_eq!(user.tasks(), 1);
        drop(second);
        assert_eq!(user.tasks(), 0);
    }
}
