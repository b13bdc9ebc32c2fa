//! The limits of an instance and what is used of them.

use crate::options::{Asked, Options, RamOptions, What};
use abi::Errno;
use abi::stat::magic;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use mm::pagecache::PageQuota;
use vfs::{Configure, StatFs, SuperOps};

/// Pages and inodes of one instance. A maximum of 0 is none.
pub struct Space {
    max_pages: AtomicU64,
    used_pages: AtomicU64,
    max_inodes: AtomicU64,
    used_inodes: AtomicU64,
    wide: AtomicBool,
    root: Options,
}

impl Space {
    pub fn new(o: &Options) -> Arc<Space> {
        Arc::new(Space {
            max_pages: AtomicU64::new(o.max_pages),
            used_pages: AtomicU64::new(0),
            max_inodes: AtomicU64::new(o.max_inodes),
            used_inodes: AtomicU64::new(0),
            wide: AtomicBool::new(o.wide),
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

/// Why limits cannot be changed.
pub enum Limit {
    /// There was none for space.
    NoSize,
    /// More space is used already.
    Size,
    /// There was none for inodes.
    NoInodes,
    /// More inodes are used already.
    Inodes,
    /// `noswap` came too late.
    Swap,
}

impl Space {
    /// Shows from now on whether inode numbers were asked to be wide.
    pub fn set_wide(&self, wide: Option<bool>) {
        if let Some(wide) = wide {
            self.wide.store(wide, Ordering::Relaxed);
        }
    }
    /// Changes the limits that are given. They cannot go below what is used, and an instance without a limit cannot get one (tmpfs(5)).
    pub fn set_limits(&self, pages: Option<u64>, inodes: Option<u64>, noswap: bool) -> Result<(), Limit> {
        if pages.is_some_and(|new| new != 0) && self.max_pages.load(Ordering::Relaxed) == 0 {
            return Err(Limit::NoSize);
        }
        if pages.is_some_and(|new| new != 0 && new < self.used_pages.load(Ordering::Relaxed)) {
            return Err(Limit::Size);
        }
        if inodes.is_some_and(|new| new != 0) && self.max_inodes.load(Ordering::Relaxed) == 0 {
            return Err(Limit::NoInodes);
        }
        if inodes.is_some_and(|new| new != 0 && new < self.used_inodes.load(Ordering::Relaxed)) {
            return Err(Limit::Inodes);
        }
        if noswap && !self.root.noswap {
            return Err(Limit::Swap);
        }
        for (slot, new) in [(&self.max_pages, pages), (&self.max_inodes, inodes)] {
            if let Some(new) = new {
                slot.store(new, Ordering::Relaxed);
            }
        }
        Ok(())
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
        Ok(StatFs {
            magic: if s.root.kind == What::Ramfs { magic::RAMFS } else { magic::TMPFS },
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
        if s.root.kind == What::Ramfs {
            return if s.root.mode == 0o755 { Ok(()) } else { write!(out, ",mode={:o}", s.root.mode) };
        }
        let pages = s.max_pages.load(Ordering::Relaxed);
        // Limits are shown that are not the usual ones.
        let usual = Options::limited();
        let shown = s.root.kind == What::Tmpfs;
        if shown && pages != usual.max_pages {
            write!(out, ",size={}k", pages.wrapping_mul(4))?;
        }
        let inodes = s.max_inodes.load(Ordering::Relaxed);
        if shown && inodes != usual.max_inodes {
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
        if s.wide.load(Ordering::Relaxed) {
            out.write_str(",inode64")?;
        }
        if s.root.noswap { out.write_str(",noswap") } else { Ok(()) }
    }
    fn configure(&self) -> Box<dyn Configure> {
        if self.0.root.kind == What::Ramfs {
            Box::new(RamOptions(0o755))
        } else {
            Box::new(Asked::change(self.0.clone()))
        }
    }
}
