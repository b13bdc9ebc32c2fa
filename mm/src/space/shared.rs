//! Shared anonymous memory: MAP_SHARED | MAP_ANONYMOUS, and the object under memfd and System V segments.

use crate::file::MappedFile;
use crate::pagecache::PageCache;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

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
