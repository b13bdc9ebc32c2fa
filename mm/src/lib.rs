//! Memory: which frame is handed out, what each address space maps, and the pages of files.
//!
//! - [`frames`] is the policy behind `machine::mem`: a buddy allocator with per-CPU caches, watermarks, reclaim and the
//!   out-of-memory hook.
//! - [`space`] holds [`Mm`], the address space of a process: its areas (VMAs) and its private pages are the truth; the page
//!   tables under `machine::aspace` only cache it and may be dropped at any time.
//! - [`pagecache`] holds the pages of a file; `read`, `write` and mappings share them.
//! - [`io`] and [`user`] are how the floors above move bytes to and from programs.
//!
//! Lock order (outermost first; sleeping locks may be held over a page read):
//! ```text
//! inode locks of vfs (sleep)
//!   Mm::areas (sleep; faults take it shared)
//!     PageCache::fill (sleep; one reader-in of pages, truncation)
//!       locks of the file system under the cache (sleep)
//!         PageCache::tree, PageCache::links (spin)
//!         Mm::pages (spin)
//!           the address space's own lock, frame caches (machine, spin)
//! ```
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod commit;
pub mod file;
pub mod frames;
pub mod io;
pub mod pagecache;
pub mod space;
#[cfg(test)]
mod testing;
pub mod user;

pub use commit::{
    mode as overcommit_mode, ratio as overcommit_ratio, set_mode as set_overcommit_mode,
    set_ratio as set_overcommit_ratio,
};
pub use file::MappedFile;
pub use frames::init;
pub use io::{Dst, Src};
pub use pagecache::{PageBacking, PageCache, PageQuota};
pub use space::{Access, FaultError, FutexKey, Limits, MapRequest, Mm, VmaInfo, VmaName};
pub use user::{PathBuf, UserCStr, UserPtr, UserSlice};
