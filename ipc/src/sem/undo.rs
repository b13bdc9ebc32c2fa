//! SEM_UNDO: what a process takes back when it ends.
//!
//! The amounts lie in the sets. A process (or the processes that share one by CLONE_SYSVSEM) holds an [`UndoList`]; when the last holder
//! drops it, each set it was used on takes the operations back.

use super::Set;
use crate::ids::Entry;
use abi::Errno;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::SpinLock;

/// The sets on which operations are to be taken back.
pub struct UndoList {
    id: u64,
    sets: SpinLock<Vec<Weak<Entry<Set>>>>,
}

impl UndoList {
    /// One with nothing to take back.
    pub fn new() -> Arc<UndoList> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(UndoList { id: NEXT.fetch_add(1, Relaxed), sets: SpinLock::new(Vec::new()) })
    }
    pub(super) fn id(&self) -> u64 {
        self.id
    }
    /// There will be something to take back on `set`.
    pub(super) fn include(&self, set: &Arc<Entry<Set>>) -> Result<(), Errno> {
        let mut sets = self.sets.lock();
        if sets.iter().any(|s| core::ptr::eq(s.as_ptr(), Arc::as_ptr(set))) {
            return Ok(());
        }
        sets.retain(|s| s.strong_count() > 0);
        sets.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        sets.push(Arc::downgrade(set));
        Ok(())
    }
}

impl Drop for UndoList {
    fn drop(&mut self) {
        let pid = vfs::jobs().pid();
        for set in self.sets.get_mut().drain(..).filter_map(|s| s.upgrade()) {
            if let Ok(mut state) = set.live() {
                state.body.take_back(self.id, pid);
            }
        }
    }
}
