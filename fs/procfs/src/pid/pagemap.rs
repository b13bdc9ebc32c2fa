//! `pagemap`: eight bytes for each page of an address space (proc_pid_pagemap(5)). There is no swap and no soft-dirty mark.

use super::Subject;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use machine::{PAGE_SIZE, USER_MAX};
use mm::Mm;
use mm::io::Dst;
use mm::space::Kind;
use vfs::{Cap, File, FileOps};
use zerocopy::IntoBytes;

/// Bits of an entry; those below are the number of the page in memory.
mod bit {
    pub const EXCLUSIVE: u64 = 1 << 56;
    pub const FILE: u64 = 1 << 61;
    pub const PRESENT: u64 = 1 << 63;
}

const ENTRY: u64 = 8;
const PAGE: u64 = PAGE_SIZE as u64;
/// Entries made at once.
const CHUNK: u64 = 512;

/// An open file. It stays with the address space that it was opened for, and is empty once nobody lives there any more.
struct PageMap(Weak<Mm>);

/// Opens `pagemap`.
pub fn open(subject: &Arc<Subject>, _: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    let mm = subject.task()?.mm().ok_or(Errno::ESRCH)?;
    Ok(Arc::new(PageMap(Arc::downgrade(&mm))))
}

impl FileOps for PageMap {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let Some(mm) = self.0.upgrade() else { return Ok(0) };
        if !off.is_multiple_of(ENTRY) || !(dst.remaining() as u64).is_multiple_of(ENTRY) {
            return Err(Errno::EINVAL);
        }
        // Where pages lie in memory is a secret.
        let numbers = f.cred().capable(Cap::SysAdmin);
        let end = USER_MAX.div_ceil(PAGE);
        let mut at = off / ENTRY;
        let mut entries: Vec<u64> = Vec::new();
        entries.try_reserve_exact(CHUNK as usize).map_err(|_| Errno::ENOMEM)?;
        let mut done = 0;
        while dst.remaining() > 0 && at < end {
            let count = (dst.remaining() as u64 / ENTRY).min(CHUNK).min(end - at);
            entries.clear();
            entries.resize(count as usize, 0);
            mm.pages_between(at * PAGE, (at + count) * PAGE, &mut |page| {
                if let Some(entry) = page.page.checked_sub(at).and_then(|i| entries.get_mut(i as usize)) {
                    let kind = if page.kind == Kind::Anon { 0 } else { bit::FILE };
                    let alone = if page.owners == 1 { bit::EXCLUSIVE } else { 0 };
                    *entry = bit::PRESENT | kind | alone | if numbers { page.pfn.into() } else { 0 };
                }
            });
            done += dst.put(entries.as_bytes())?;
            at += count;
        }
        Ok(done)
    }
    fn seek(&self, f: &File, off: i64, whence: u32) -> Option<Result<u64, Errno>> {
        super::memory::seek(f, off, whence)
    }
}
