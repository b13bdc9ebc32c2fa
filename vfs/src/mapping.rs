//! Files as memory mappings see them (mmap(2)).

use crate::file::File;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use mm::pagecache::PageCache;

/// A file as memory mappings refer to it.
pub struct Mapping {
    file: Arc<File>,
    cache: Arc<PageCache>,
}

impl Mapping {
    /// The mapping object of an open file; ENODEV if it has no pages.
    pub fn new(file: &Arc<File>) -> Result<Arc<Mapping>, Errno> {
        let cache = file.inode().cache().ok_or(Errno::ENODEV)?.clone();
        Ok(Arc::new(Mapping { file: file.clone(), cache }))
    }
    /// The same of a file of zeroes ([`crate::MmapKind::Anonymous`]): it has no pages.
    pub fn of_zeroes(file: &Arc<File>) -> Arc<Mapping> {
        Arc::new(Mapping { file: file.clone(), cache: PageCache::new(None) })
    }
    /// The open file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }
}

impl mm::MappedFile for Mapping {
    fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }
    fn describe(&self) -> (u64, u64) {
        let (dev, ino) = self.file.inode().identity();
        (crate::attr::dev_to_user(dev), ino)
    }
    fn path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let text = self.file.path().display(&crate::namespace::outermost(&self.file.path().mnt));
        out.write_str(&alloc::string::String::from_utf8_lossy(&text))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn may_observe(&self) -> bool {
        let (inode, cred) = (self.file.inode(), self.file.cred());
        inode.owner_or_capable(cred) || inode.check(cred, crate::may::WRITE).is_ok()
    }
    fn mkwrite(&self) -> Result<(), Errno> {
        self.file.inode().base().touch_mtime();
        Ok(())
    }
}
