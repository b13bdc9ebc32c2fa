//! The paged read and write of regular files: used by every file system that caches.

use super::{PageCache, no_memory, page_of};
use crate::frames;
use crate::io::{Dst, Src};
use abi::Errno;
use core::sync::atomic::Ordering;
use machine::PAGE_SIZE;

/// Offset within the page and the bytes from there to its end.
#[inline]
fn within(off: u64) -> (usize, usize) {
    let at = (off % PAGE_SIZE as u64) as usize;
    (at, PAGE_SIZE - at)
}

/// What a transfer that stopped with `e` after `done` bytes returns.
#[inline]
fn partial(done: usize, e: Errno) -> Result<usize, Errno> {
    if done > 0 { Ok(done) } else { Err(e) }
}

impl PageCache {
    /// Reads up to the end of the file; 0 at or past it.
    pub fn read(&self, dst: &mut Dst<'_>, mut off: u64) -> Result<usize, Errno> {
        let mut done = 0;
        loop {
            let left = self.size().saturating_sub(off).min(dst.remaining() as u64) as usize;
            if left == 0 {
                return Ok(done);
            }
            let (at, room) = within(off);
            let n = room.min(left);
            let moved = match self.lookup(page_of(off)) {
                Some(frame) => dst.put_frame(&frame, at, n),
                None if self.backing.is_none() => dst.put_zeros(n),
                None => self
                    .bring_in(page_of(off), ((at + left).div_ceil(PAGE_SIZE)) as u64)
                    .and_then(|frame| dst.put_frame(&frame, at, n)),
            };
            match moved {
                Ok(k) => {
                    done += k;
                    off += k as u64;
                    if k < n {
                        return Ok(done);
                    }
                }
                Err(e) => return partial(done, e),
            }
        }
    }

    /// Writes, extending the size. The caller serialises writers and truncation (inode lock) and has checked limits.
    pub fn write(&self, src: &mut Src<'_>, mut off: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while src.remaining() > 0 {
            let (at, room) = within(off);
            let n = room.min(src.remaining());
            let moved = match self.lookup_dirty(page_of(off)) {
                Some(frame) => src.get_frame(&frame, at, n),
                None => self.write_missing(src, off, n),
            };
            match moved {
                Ok(k) => {
                    done += k;
                    off += k as u64;
                    if off > self.size() {
                        self.size.fetch_max(off, Ordering::AcqRel);
                    }
                    if k < n {
                        return Ok(done);
                    }
                }
                Err(e) => return partial(done, e),
            }
        }
        Ok(done)
    }

    /// Writes `n` bytes at `off` into a page that is not here.
    fn write_missing(&self, src: &mut Src<'_>, off: u64, n: usize) -> Result<usize, Errno> {
        let index = page_of(off);
        let (at, _) = within(off);
        let inside = self.has_index(index);
        if self.backing.is_some() && inside && n < PAGE_SIZE {
            let frame = self.get_for_write(index, false)?;
            return src.get_frame(&frame, at, n);
        }
        // Nobody sees the new page before its bytes are there, so only what the copy leaves out is zeroed.
        let fresh = frames::alloc().map_err(no_memory)?;
        fresh.zero_range(0, at);
        let moved = src.get_frame(&fresh, at, n)?;
        fresh.zero_range(at + moved, PAGE_SIZE - at - moved);
        if self.backing.is_some() && inside && moved < PAGE_SIZE {
            // The copy faulted half-way over bytes that the file has: merge into the page as stored.
            let frame = self.get_for_write(index, false)?;
            copy_part(&fresh, &frame, at, moved);
            return Ok(moved);
        }
        let there = self.insert(index, fresh.clone())?;
        if there.pfn() != fresh.pfn() {
            copy_part(&fresh, &there, at, moved);
        }
        if self.backing.is_some() {
            self.lookup_dirty(index);
        }
        Ok(moved)
    }
}

/// Copies `[at, at+len)` of one page to another through a small buffer (a rare race; whole pages never come here).
fn copy_part(from: &machine::mem::Frame, to: &machine::mem::Frame, at: usize, len: usize) {
    let mut chunk = [0u8; 128];
    let mut off = at;
    while off < at + len {
        let n = chunk.len().min(at + len - off);
        let part = chunk.get_mut(..n).unwrap_or_default();
        from.read(off, part);
        to.write(off, part);
        off += n;
    }
}
