//! Open regular files: through the page cache where the server is trusted, straight to the server where it is not.
//!
//! Writes always go to the server before they return; cached pages they touch are updated in place, so that mappings of the
//! same file see them. Changes made through mappings are written back by msync, fsync, close and before direct reads.

use crate::client::{Fid, Patience};
use crate::content::{RDONLY, RDWR, WRONLY, segments};
use crate::node::Node;
use crate::wire::request;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::PAGE_SIZE;
use machine::mem::Frame;
use mm::io::{Dst, Src};
use vfs::{File, FileOps, Inode, MmapKind};

/// Open flags that reach the server besides the access mode.
const O_APPEND: u32 = 0o2000;

/// An open regular file.
pub struct OpenFile {
    node: Arc<Node>,
    fid: Arc<Fid>,
}

/// Opens a regular file.
pub fn open(node: Arc<Node>, flags: OpenFlags) -> Result<Arc<dyn FileOps>, Errno> {
    let access = match (flags.wants_read(), flags.wants_write()) {
        (true, true) => RDWR,
        (false, true) => WRONLY,
        _ => RDONLY,
    };
    let append = flags.contains(OpenFlags::APPEND);
    let content = node.content();
    let living = if append { None } else { content.living(access) };
    let fid = match living {
        Some(fid) => fid,
        None => {
            let fid = content.open(access | if append { O_APPEND } else { 0 })?;
            if access == RDONLY && content.session().trusting() {
                content.session().keep(fid.clone());
            }
            fid
        }
    };
    Ok(Arc::new(OpenFile { node, fid }))
}

impl OpenFile {
    /// Pages for moving up to `len` bytes at once.
    fn bounce(&self, len: usize) -> Result<Vec<Frame>, Errno> {
        let pages = len.min(self.fid.client().max_data()).div_ceil(PAGE_SIZE);
        let mut frames = Vec::new();
        frames.try_reserve_exact(pages).map_err(|_| Errno::ENOMEM)?;
        for _ in 0..pages {
            frames.push(mm::frames::alloc().map_err(|_| Errno::ENOMEM)?);
        }
        Ok(frames)
    }

    fn read_direct(&self, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        self.node.write_back()?;
        let frames = self.bounce(dst.remaining())?;
        let chunk = frames.len() * PAGE_SIZE;
        let mut done = 0usize;
        while dst.remaining() > 0 {
            let want = dst.remaining().min(chunk).min(self.fid.client().max_data());
            let message = request::read(self.fid.id(), off.saturating_add(done as u64), want as u32);
            let got = match self.fid.client().read_data(message, &segments(&frames, 0, want)?, Patience::Killable) {
                Ok(got) => got,
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            };
            let mut put = 0;
            for (frame, start) in frames.iter().zip((0..got).step_by(PAGE_SIZE)) {
                let len = (got - start).min(PAGE_SIZE);
                match dst.put_frame(frame, 0, len) {
                    Ok(n) => put += n,
                    Err(_) if done + put > 0 => return Ok(done + put),
                    Err(e) => return Err(e),
                }
            }
            done += put;
            if put < want {
                break;
            }
        }
        Ok(done)
    }

    /// Brings cached pages up to date with bytes that were written at `off`.
    fn patch(&self, frames: &[Frame], off: u64, len: usize) -> Result<(), Errno> {
        let Some(pages) = self.node.cache().filter(|pages| pages.nr_pages() > 0) else { return Ok(()) };
        let mut buf = Vec::new();
        buf.try_reserve_exact(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
        buf.resize(PAGE_SIZE, 0u8);
        let mut done = 0;
        while done < len {
            let at = off + done as u64;
            let in_page = (at % PAGE_SIZE as u64) as usize;
            let from = done % PAGE_SIZE;
            let n = (len - done).min(PAGE_SIZE - in_page).min(PAGE_SIZE - from);
            if let (Some(page), Some(frame), Some(part)) =
                (pages.lookup(at / PAGE_SIZE as u64), frames.get(done / PAGE_SIZE), buf.get_mut(..n))
            {
                frame.read(from, part);
                page.write(in_page, part);
            }
            done += n;
        }
        Ok(())
    }
}

impl FileOps for OpenFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        match self.node.cache() {
            Some(pages) if self.node.content().session().trusting() => pages.read(dst, off),
            _ => self.read_direct(dst, off),
        }
    }
    fn write_at(&self, _f: &File, src: &mut Src<'_>, off: u64) -> Result<usize, Errno> {
        // Pages changed through a mapping go first: write-back must not undo this write later.
        self.node.write_back()?;
        let frames = self.bounce(src.remaining())?;
        let mut done = 0usize;
        while src.remaining() > 0 {
            let mut taken = 0;
            for frame in &frames {
                let want = src.remaining().min(PAGE_SIZE).min(self.fid.client().max_data() - taken);
                match src.get_frame(frame, 0, want) {
                    Ok(0) => break,
                    Ok(n) => taken += n,
                    Err(_) if done + taken > 0 => break,
                    Err(e) => return Err(e),
                }
                if !taken.is_multiple_of(PAGE_SIZE) {
                    break;
                }
            }
            if taken == 0 {
                break;
            }
            let at = off.checked_add(done as u64).ok_or(Errno::EFBIG)?;
            let message = request::write(self.fid.id(), at, taken as u32);
            let sent = self.fid.client().write_data(message, &segments(&frames, 0, taken)?, Patience::Killable);
            let wrote = match sent {
                Ok(n) => n,
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            };
            self.patch(&frames, at, wrote)?;
            done += wrote;
            self.node.wrote(at + wrote as u64);
            if wrote < taken {
                break;
            }
        }
        Ok(done)
    }
    fn mmap(&self, f: &File) -> Result<MmapKind, Errno> {
        match self.node.cache() {
            Some(_) if f.inode().cache().is_some() => Ok(MmapKind::Cache),
            _ => Err(Errno::ENODEV),
        }
    }
    fn fsync(&self, _f: &File, data_only: bool) -> Result<(), Errno> {
        self.node.write_back()?;
        self.fid.client().call(request::fsync(self.fid.id(), data_only), Patience::Killable, |_| Ok(()))
    }
    fn flush(&self, f: &File) -> Result<(), Errno> {
        if f.is_writable() { self.node.write_back() } else { Ok(()) }
    }
}

/// Reads `size` bytes from the start of an open fid: an extended attribute.
pub fn read_bytes(fid: &Fid, size: usize) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    out.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    let mut buf = [0u8; 256];
    let frame = mm::frames::alloc().map_err(|_| Errno::ENOMEM)?;
    while out.len() < size {
        let want = (size - out.len()).min(PAGE_SIZE).min(fid.client().max_data());
        let message = request::read(fid.id(), out.len() as u64, want as u32);
        let part = segments(core::slice::from_ref(&frame), 0, want)?;
        let got = fid.client().read_data(message, &part, Patience::Killable)?;
        if got == 0 {
            break;
        }
        for at in (0..got).step_by(buf.len()) {
            let n = frame.read(at, buf.get_mut(..(got - at).min(256)).unwrap_or_default());
            out.extend_from_slice(buf.get(..n).unwrap_or_default());
        }
    }
    Ok(out)
}

/// Writes bytes from the start of an open fid: an extended attribute.
pub fn write_bytes(fid: &Fid, bytes: &[u8]) -> Result<(), Errno> {
    let frame = mm::frames::alloc().map_err(|_| Errno::ENOMEM)?;
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        let n = frame.write(0, rest).min(fid.client().max_data());
        let message = request::write(fid.id(), done as u64, n as u32);
        let part = segments(core::slice::from_ref(&frame), 0, n)?;
        match fid.client().write_data(message, &part, Patience::Killable)? {
            0 => return Err(Errno::EIO),
            wrote => done += wrote,
        }
    }
    Ok(())
}
