//! Shared anonymous memory: MAP_SHARED | MAP_ANONYMOUS, and the object under memfd and System V segments.

use super::areas::Dead;
use super::{Mm, PAGE, page_up};
use crate::commit;
use crate::file::MappedFile;
use crate::pagecache::PageCache;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use machine::VirtAddr;

/// A nameless file in memory.
pub struct SharedMemory {
    cache: Arc<PageCache>,
}

impl SharedMemory {
    /// `len` bytes of zeroes.
    pub fn anonymous(len: u64) -> Arc<SharedMemory> {
        let cache = PageCache::new(None);
        cache.set_size(len);
        Arc::new(SharedMemory { cache })
    }
}

impl MappedFile for SharedMemory {
    fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }
    fn describe(&self) -> (u64, u64) {
        // Linux's internal shmem mount has device 0:1.
        (1, self.cache.id())
    }
    fn path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/dev/zero (deleted)")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Pages promised to an object that no area counts for (Committed_AS); the promise ends when this is dropped.
pub struct Promise(u64);

impl Promise {
    /// Promises `pages`; ENOMEM when the overcommit policy refuses.
    pub fn new(pages: u64) -> Result<Promise, Errno> {
        commit::charge(pages)?;
        Ok(Promise(pages))
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        commit::uncharge(self.0);
    }
}

impl Mm {
    /// Unmaps a segment that was mapped at `addr`, as far as its parts are still where they would be then; false when there is none.
    /// `size_of` gives the length in bytes of files that are segments. Whole areas go, so the rest of the space is left alone.
    pub fn unmap_parts(&self, addr: VirtAddr, size_of: &dyn Fn(&dyn MappedFile) -> Option<u64>) -> Result<bool, Errno> {
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let mut segment: Option<(Arc<dyn MappedFile>, u64)> = None;
        let mut at = addr.0;
        while let Some((start, vma)) = areas.map.at(areas.overlap(at)) {
            let end = vma.end;
            if segment.as_ref().is_some_and(|(_, limit)| end > *limit) {
                break;
            }
            let here = vma.file().filter(|_| (start.wrapping_sub(addr.0)) / PAGE == vma.pgoff).cloned();
            if let Some(file) = here
                && let Some(size) = size_of(&*file)
                && segment.as_ref().is_none_or(|(first, _)| Arc::ptr_eq(first, &file))
            {
                let limit = page_up(size).and_then(|len| addr.0.checked_add(len)).unwrap_or(u64::MAX);
                segment.get_or_insert((file, limit));
                self.clear(&mut areas, start, end, &mut dead)?;
            }
            at = end;
        }
        Ok(segment.is_some())
    }
}
