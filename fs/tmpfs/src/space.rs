//! The limits of an instance and what is used of them.

use crate::options::Options;
use abi::Errno;
use abi::stat::magic;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use mm::pagecache::PageQuota;
use vfs::{SbFlags, StatFs, SuperOps, UserNamespace};

/// Pages and inodes of one instance. A maximum of 0 is none.
pub struct Space {
    max_pages: AtomicU64,
    used_pages: AtomicU64,
    max_inodes: AtomicU64,
    used_inodes: AtomicU64,
    root: Options,
}

impl Space {
    pub fn new(o: &Options) -> Arc<Space> {
        Arc::new(Space {
            max_pages: AtomicU64::new(o.max_pages),
            used_pages: AtomicU64::new(0),
            max_inodes: AtomicU64::new(o.max_inodes),
            used_inodes: AtomicU64::new(0),
            root: *o,
        })
    }
    /// Counts a new inode; ENOSPC at the limit.
    pub fn take_inode(&self) -> Result<(), Errno> {
        let used = self.used_inodes.fetch_add(1, Ordering::Relaxed);
        let max = self.max_inodes.load(Ordering::Relaxed);
        if max != 0 && used >= max {
            self.give_inode();
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }
    pub fn give_inode(&self) {
        self.used_inodes.fetch_sub(1, Ordering::Relaxed);
    }
    /// Pages that may still be used; `None` for "any number".
    pub fn free_pages(&self) -> Option<u64> {
        match self.max_pages.load(Ordering::Relaxed) {
            0 => None,
            max => Some(max.saturating_sub(self.used_pages.load(Ordering::Relaxed))),
        }
    }
}

impl PageQuota for Space {
    fn charge(&self, pages: u64) -> Result<(), Errno> {
        let max = match self.max_pages.load(Ordering::Relaxed) {
            0 => u64::MAX,
            max => max,
        };
        self.used_pages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(pages).filter(|&n| n <= max))
            .map(drop)
            .map_err(|_| Errno::ENOSPC)
    }
    fn uncharge(&self, pages: u64) {
        self.used_pages.fetch_sub(pages, Ordering::Relaxed);
    }
}

/// The instance as a whole.
pub struct Super(pub Arc<Space>);

impl SuperOps for Super {
    fn statfs(&self) -> Result<StatFs, Errno> {
        let s = &self.0;
        let blocks = s.max_pages.load(Ordering::Relaxed);
        let files = s.max_inodes.load(Ordering::Relaxed);
        let bfree = s.free_pages().unwrap_or(0);
        let is_ramfs = blocks == 0 && files == 0;
        Ok(StatFs {
            magic: if is_ramfs { magic::RAMFS } else { magic::TMPFS },
            bsize: 4096,
            blocks,
            bfree,
            bavail: bfree,
            files,
            ffree: files.saturating_sub(s.used_inodes.load(Ordering::Relaxed)),
            namelen: 255,
        })
    }
    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let s = &self.0;
        let pages = s.max_pages.load(Ordering::Relaxed);
        if pages != 0 {
            write!(out, ",size={}k", pages * 4)?;
        }
        let inodes = s.max_inodes.load(Ordering::Relaxed);
        if inodes != 0 {
            write!(out, ",nr_inodes={inodes}")?;
        }
        if s.root.mode != 0o1777 {
            write!(out, ",mode={:03o}", s.root.mode)?;
        }
        if s.root.uid != 0 {
            write!(out, ",uid={}", s.root.uid)?;
        }
        if s.root.gid != 0 {
            write!(out, ",gid={}", s.root.gid)?;
        }
        Ok(())
    }
    fn remount(&self, _flags: SbFlags, data: &[u8]) -> Result<(), Errno> {
        let s = &self.0;
        let now = Options {
            max_pages: s.max_pages.load(Ordering::Relaxed),
            max_inodes: s.max_inodes.load(Ordering::Relaxed),
            ..s.root
        };
        let new = Options::parse(data, now, UserNamespace::first())?;
        // Limits cannot go below what is used, and an instance without a limit cannot get one (tmpfs(5)).
        let fits = |max: u64, used: u64, old: u64| max == old || old != 0 && (max == 0 || max >= used);
        if !fits(new.max_pages, s.used_pages.load(Ordering::Relaxed), now.max_pages)
            || !fits(new.max_inodes, s.used_inodes.load(Ordering::Relaxed), now.max_inodes)
        {
            return Err(Errno::EINVAL);
        }
        s.max_pages.store(new.max_pages, Ordering::Relaxed);
        s.max_inodes.store(new.max_inodes, Ordering::Relaxed);
        Ok(())
    }
}
