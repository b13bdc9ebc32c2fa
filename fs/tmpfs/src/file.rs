//! Regular files: a page cache without backing, made when the file first gets contents, and the seals of memfds.

use crate::node::{Common, xattr_ops};
use abi::Errno;
use abi::fcntl::{FallocFlags, OpenFlags, seal};
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::Once;
use vfs::file::MAX_OFFSET;
use vfs::{Attr, Caller, Dst, File, FileOps, Inode, InodeBase, PageCache, Path, SetAttr, Src};

const PAGE: u64 = machine::PAGE_SIZE as u64;

/// A regular file.
pub struct RegularFile {
    common: Common,
    cache: Once<Arc<PageCache>>,
    seals: AtomicU32,
}

impl RegularFile {
    pub fn new(common: Common) -> RegularFile {
        RegularFile {
            common,
            cache: Once::new(),
            // Only memfds that ask for it can be sealed.
            seals: AtomicU32::new(seal::SEAL),
        }
    }
    pub fn set_seals(&self, seals: u32) {
        self.seals.store(seals, Ordering::Relaxed);
    }
    fn pages(&self) -> &Arc<PageCache> {
        self.cache.get_or_init(|| PageCache::with_quota(self.common.space.clone()))
    }
    fn has_seal(&self, any: u32) -> bool {
        self.seals.load(Ordering::Relaxed) & any != 0
    }
}

impl Inode for RegularFile {
    fn base(&self) -> &InodeBase {
        &self.common.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        let (size, pages) = self.cache.get().map_or((0, 0), |c| (c.size(), c.nr_pages()));
        Ok(self.common.base.attr_with(size, pages * (PAGE / 512)))
    }
    fn size(&self) -> u64 {
        self.cache.get().map_or(0, |c| c.size())
    }
    fn set_attr(&self, set: &SetAttr) -> Result<(), Errno> {
        if let Some(mode) = set.mode
            && self.has_seal(seal::EXEC)
            && (mode ^ self.common.base.mode()) & 0o111 != 0
        {
            return Err(Errno::EPERM);
        }
        if let Some(size) = set.size {
            let old = Inode::size(self);
            if size < old && self.has_seal(seal::SHRINK) || size > old && self.has_seal(seal::GROW) {
                return Err(Errno::EPERM);
            }
            if size > MAX_OFFSET {
                return Err(Errno::EFBIG);
            }
            if size != old {
                self.pages().truncate(size);
            }
        }
        self.common.base.apply(set);
        Ok(())
    }
    fn cache(&self) -> Option<&Arc<PageCache>> {
        Some(self.pages())
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self)
    }
    fn seals(&self) -> Result<u32, Errno> {
        Ok(self.seals.load(Ordering::Relaxed))
    }
    fn add_seals(&self, seals: u32) -> Result<(), Errno> {
        let _guard = self.common.base.lock.lock();
        if self.has_seal(seal::SEAL) {
            return Err(Errno::EPERM);
        }
        let mut seals = seals;
        if seals & seal::WRITE != 0 && !self.has_seal(seal::WRITE) {
            self.pages().deny_shared_writes()?;
        }
        // An executable that can no longer change its mode must not change its contents either (memfd_create(2)).
        if seals & seal::EXEC != 0 && self.common.base.mode() & 0o111 != 0 {
            seals |= seal::SHRINK | seal::GROW | seal::WRITE | seal::FUTURE_WRITE;
        }
        self.seals.fetch_or(seals, Ordering::Relaxed);
        Ok(())
    }
    fn seek_data(&self, off: u64, hole: bool) -> Result<u64, Errno> {
        let size = Inode::size(self);
        if off >= size {
            return Err(Errno::ENXIO);
        }
        let cache = self.pages();
        if !hole {
            let page = cache.next_page(off / PAGE).ok_or(Errno::ENXIO)?;
            let at = (page * PAGE).max(off);
            return if at < size { Ok(at) } else { Err(Errno::ENXIO) };
        }
        let mut index = off / PAGE;
        while index * PAGE < size && cache.next_page(index) == Some(index) {
            index += 1;
        }
        Ok((index * PAGE).clamp(off, size))
    }
    xattr_ops!();
}

impl FileOps for RegularFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let n = match self.cache.get() {
            Some(cache) => cache.read(dst, off)?,
            None => 0,
        };
        f.accessed();
        Ok(n)
    }
    fn write_at(&self, _f: &File, src: &mut Src<'_>, off: u64) -> Result<usize, Errno> {
        if self.has_seal(seal::WRITE | seal::FUTURE_WRITE | seal::GROW) {
            let len = src.remaining() as u64;
            if self.has_seal(seal::WRITE | seal::FUTURE_WRITE) {
                return Err(Errno::EPERM);
            }
            if off.saturating_add(len) > Inode::size(self) {
                return Err(Errno::EPERM);
            }
        }
        let n = self.pages().write(src, off);
        self.common.base.touch_mtime();
        n
    }
    fn fsync(&self, _f: &File, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }
    fn fallocate(&self, _f: &File, mode: FallocFlags, off: u64, len: u64) -> Result<(), Errno> {
        let end = off + len;
        if mode.contains(FallocFlags::PUNCH_HOLE) {
            if self.has_seal(seal::WRITE | seal::FUTURE_WRITE) {
                return Err(Errno::EPERM);
            }
            self.pages().punch(off, end);
            self.common.base.touch_mtime();
            return Ok(());
        }
        if !(mode - FallocFlags::KEEP_SIZE).is_empty() {
            return Err(Errno::EOPNOTSUPP);
        }
        let cache = self.pages();
        let grows = !mode.contains(FallocFlags::KEEP_SIZE) && end > cache.size();
        if grows && self.has_seal(seal::GROW) {
            return Err(Errno::EPERM);
        }
        if let Err(e) = cache.preallocate(off / PAGE, end.div_ceil(PAGE)) {
            // What lies past the old end was certainly not there before.
            let old_end = cache.size().next_multiple_of(PAGE);
            cache.punch(off.max(old_end), end.max(old_end));
            return Err(e);
        }
        if grows {
            cache.set_size(end);
        }
        self.common.base.touch_ctime();
        Ok(())
    }
}
