//! The thread that made a segment, as far as kernel.shm_rmid_forced cares: its end removes what it made and nobody uses.

use super::remove_orphans;
use crate::IpcNamespace;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering::Relaxed;

/// Held by a thread; segments refer to it weakly.
pub struct ShmOwner {
    ns: Weak<IpcNamespace>,
}

impl ShmOwner {
    pub(super) fn new(ns: &Arc<IpcNamespace>) -> Arc<ShmOwner> {
        Arc::new(ShmOwner { ns: Arc::downgrade(ns) })
    }
}

/// Only the thread holds it, so this is its end.
impl Drop for ShmOwner {
    fn drop(&mut self) {
        if let Some(ns) = self.ns.upgrade()
            && ns.limits.shm_rmid_forced.load(Relaxed)
        {
            remove_orphans(&ns);
        }
    }
}
