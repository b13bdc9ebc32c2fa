//! What System V IPC keeps for a thread: semaphore operations to take back, segments it made.

use alloc::sync::Arc;
use ipc::sem::UndoList;
use ipc::shm::ShmOwner;

/// Both act when the last holder drops them, which is the end of the thread or of the last one that shares them.
#[derive(Default)]
pub struct Sysv {
    undo: Option<Arc<UndoList>>,
    /// Made with the first segment.
    pub owner: Option<Arc<ShmOwner>>,
}

impl Sysv {
    /// The list of operations to take back, made when there is none.
    pub fn undo(&mut self) -> Arc<UndoList> {
        self.undo.get_or_insert_with(UndoList::new).clone()
    }
    /// Where the list is, 0 for nowhere: what kcmp(2) knows it by.
    pub fn undo_address(&self) -> usize {
        self.undo.as_ref().map_or(0, |list| Arc::as_ptr(list).addr())
    }
    /// What a child has with CLONE_SYSVSEM: the parent's list.
    pub(crate) fn share(&mut self) -> Sysv {
        Sysv { undo: Some(self.undo()), owner: None }
    }
    /// Leaves the list; the last one to leave takes the operations back (unshare(2), setns(2)).
    pub fn leave_undo(&mut self) {
        self.undo = None;
    }
}
