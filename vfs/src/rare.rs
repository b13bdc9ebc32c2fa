//! What only few inodes need, kept out of the others: file locks, watches, the shared state of a FIFO or a bound socket.

use crate::dnotify::DirWatches;
use crate::locks::FileLocks;
use crate::notify::Watches;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::SpinLock;

/// The rarely used part of an inode.
pub struct Rare {
    pub(crate) locks: FileLocks,
    pub(crate) watches: Watches,
    pub(crate) dir_watches: DirWatches,
    attachment: SpinLock<Option<Arc<dyn Any + Send + Sync>>>,
}

impl Rare {
    pub(crate) fn new() -> Rare {
        Rare {
            locks: FileLocks::new(),
            watches: Watches::new(),
            dir_watches: SpinLock::new(Vec::new()),
            attachment: SpinLock::new(None),
        }
    }
    /// The object attached to the inode (the pipe of a FIFO, the socket bound to a path).
    pub fn attachment(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.attachment.lock().clone()
    }
    /// Attaches an object; the old one is returned.
    pub fn attach(&self, object: Option<Arc<dyn Any + Send + Sync>>) -> Option<Arc<dyn Any + Send + Sync>> {
        core::mem::replace(&mut *self.attachment.lock(), object)
    }
    /// The attached object, made by `make` if there is none; one caller's object wins.
    pub fn attachment_or(&self, make: impl FnOnce() -> Arc<dyn Any + Send + Sync>) -> Arc<dyn Any + Send + Sync> {
        self.attachment.lock().get_or_insert_with(make).clone()
    }
}
