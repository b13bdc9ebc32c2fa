//! What a mapping refers to: the open file as far as memory cares.

use crate::pagecache::PageCache;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

/// An open file that can be mapped. `vfs::File` implements it; so do the anonymous shared objects of this crate.
pub trait MappedFile: Send + Sync {
    /// The pages.
    fn cache(&self) -> &Arc<PageCache>;
    /// Device number (as /proc/PID/maps shows it: major << 8 | minor in Linux's user encoding) and inode number.
    fn describe(&self) -> (u64, u64);
    /// Writes the path as /proc/PID/maps shows it.
    fn path(&self, out: &mut dyn fmt::Write) -> fmt::Result;
    /// The implementor, to find the file behind a mapping again.
    fn as_any(&self) -> &dyn Any;
    /// The opener owns the file or may write it, and so may learn which of its pages are resident (mincore(2)).
    fn may_observe(&self) -> bool {
        true
    }
    /// An area shows it from now on: once for each mapping made, and for each copy that fork makes.
    fn mapped(&self) {}
    /// The last part of such an area is gone. Called without the lock of the address space.
    fn unmapped(&self) {}
    /// A page of a shared mapping is about to become writable: time stamps, frozen file systems.
    fn mkwrite(&self) -> Result<(), Errno> {
        Ok(())
    }
}
