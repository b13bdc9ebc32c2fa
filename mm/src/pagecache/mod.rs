//! The pages of a file.

use crate::io::{Dst, Src};
use abi::Errno;
use alloc::sync::Arc;
use machine::mem::Frame;

/// Where the pages of a cache come from and go to: implemented by file systems.
pub trait PageBacking: Send + Sync {
    /// Fills one page (zero past the end of the file).
    fn read_page(&self, index: u64, into: &Frame) -> Result<(), Errno>;
    /// Fills consecutive pages; returns how many (at least one unless it fails).
    fn read_pages(&self, first: u64, into: &[Frame]) -> Result<usize, Errno> {
        for (index, frame) in (first..).zip(into) {
            self.read_page(index, frame)?;
        }
        Ok(into.len())
    }
    /// Stores the first `len` bytes of one page.
    fn write_page(&self, index: u64, from: &Frame, len: usize) -> Result<(), Errno>;
}

/// The pages of one file or shared-memory object.
pub struct PageCache {
    backing: Option<Arc<dyn PageBacking>>,
}

#[allow(unused_variables, missing_docs)]
impl PageCache {
    /// An empty cache. Without a backing the cache is the file (tmpfs, shared memory): holes read as zero, pages stay.
    pub fn new(backing: Option<Arc<dyn PageBacking>>) -> Arc<PageCache> {
        Arc::new(PageCache { backing })
    }
    /// A number no other cache ever has.
    pub fn id(&self) -> u64 {
        0
    }
    /// File size in bytes.
    pub fn size(&self) -> u64 {
        0
    }
    /// Sets the size without touching pages (a file system learned it, or a write extended the file).
    pub fn set_size(&self, size: u64) {}
    /// Pages held.
    pub fn nr_pages(&self) -> u64 {
        0
    }
    /// The page, if it is here.
    pub fn lookup(&self, index: u64) -> Option<Frame> {
        None
    }
    /// The page, read in if need be. A hole of a cache without backing is made a zero page.
    pub fn get(&self, index: u64) -> Result<Frame, Errno> {
        Err(Errno::ENOSYS)
    }
    /// The page for writing, marked dirty; `whole`: the caller overwrites all of it, so it need not be read.
    pub fn get_for_write(&self, index: u64, whole: bool) -> Result<Frame, Errno> {
        Err(Errno::ENOSYS)
    }
    /// Reads up to the end of the file; 0 at or past it.
    pub fn read(&self, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
    /// Writes, extending the size. The caller serialises writers and truncation (inode lock).
    pub fn write(&self, src: &mut Src<'_>, off: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
    /// Sets the size; when it shrinks, zeroes the tail, drops the pages past it and unmaps them everywhere.
    pub fn truncate(&self, size: u64) {}
    /// Drops (zeroes at the edges) the bytes `[start, end)`: holes.
    pub fn punch(&self, start: u64, end: u64) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
    /// Writes dirty pages back.
    pub fn writeback(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// Drops clean, unmapped pages in the range (POSIX_FADV_DONTNEED, O_DIRECT coherence).
    pub fn invalidate(&self, first: u64, last: u64) {}
    /// First page at or after `index` that is here (SEEK_DATA of tmpfs).
    pub fn next_page(&self, index: u64) -> Option<u64> {
        None
    }
    /// Refuses new shared writable mappings (F_SEAL_WRITE): EBUSY while there are some.
    pub fn deny_shared_writes(&self) -> Result<(), Errno> {
        Ok(())
    }
}
