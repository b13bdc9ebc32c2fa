//! What a file's inode and its page cache share: the handles on the server's file, and data moving through them.
//!
//! A file is reached by a *path fid* (never opened, for attributes and walks) and by *open fids*. Reads of the page cache use
//! whichever open fid still lives, or open one and leave it in the session's ring of recent ones, so that opening and reading
//! the same files again (programs, libraries, sources) costs the server nothing.

use crate::client::{Client, Fid, Patience};
use crate::session::Session;
use crate::transport::Segment;
use crate::wire::{Qid, reply, request};
use abi::Errno;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use machine::mem::Frame;
use machine::sync::SpinLock;
use mm::pagecache::PageBacking;

/// Access modes of open(2), as the protocol has them too.
pub const RDONLY: u32 = 0;
/// See [`RDONLY`].
pub const WRONLY: u32 = 1;
/// See [`RDONLY`].
pub const RDWR: u32 = 2;

/// See the module's head comment.
pub struct Content {
    session: Arc<Session>,
    qid: Qid,
    path_fid: SpinLock<Arc<Fid>>,
    /// Open for reading, while someone has it.
    reader: SpinLock<Weak<Fid>>,
    /// Open for writing, while someone has it.
    writer: SpinLock<Weak<Fid>>,
}

impl Content {
    /// The file that `fid` leads to.
    pub fn new(session: Arc<Session>, qid: Qid, fid: Fid) -> Content {
        Content {
            session,
            qid,
            path_fid: SpinLock::new(Arc::new(fid)),
            reader: SpinLock::new(Weak::new()),
            writer: SpinLock::new(Weak::new()),
        }
    }
    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
    /// The connection.
    pub fn client(&self) -> &Arc<Client> {
        self.session.client()
    }
    /// Identity on the server.
    pub fn qid(&self) -> &Qid {
        &self.qid
    }
    /// The path fid.
    pub fn fid(&self) -> Arc<Fid> {
        self.path_fid.lock().clone()
    }
    /// Replaces the path fid by one that a walk has just reached.
    pub fn set_fid(&self, fid: Fid) {
        let fid = Arc::new(fid);
        let old = core::mem::replace(&mut *self.path_fid.lock(), fid);
        drop(old);
    }

    /// A new open fid. `flags` are Linux's open flags.
    pub fn open(&self, flags: u32) -> Result<Arc<Fid>, Errno> {
        let (fid, _) = self.fid().walk(&[])?;
        let qid =
            self.client().call(request::lopen(fid.id(), flags), Patience::Killable, |b| Ok(reply::opened(b)?.0))?;
        if !qid.same_file(&self.qid) {
            return Err(Errno::ESTALE);
        }
        let fid = Arc::new(fid);
        self.remember(&fid, flags);
        Ok(fid)
    }
    /// Lets reads and write-back use an open fid.
    pub fn remember(&self, fid: &Arc<Fid>, flags: u32) {
        let access = flags & 3;
        if access == RDONLY || access == RDWR {
            *self.reader.lock() = Arc::downgrade(fid);
        }
        if access == WRONLY || access == RDWR {
            *self.writer.lock() = Arc::downgrade(fid);
        }
    }
    /// A living fid that is open for `access`.
    pub fn living(&self, access: u32) -> Option<Arc<Fid>> {
        let reader = || self.reader.lock().upgrade();
        let writer = || self.writer.lock().upgrade();
        match access {
            RDONLY => reader(),
            WRONLY => writer(),
            _ => reader().filter(|fid| writer().is_some_and(|other| Arc::ptr_eq(fid, &other))),
        }
    }
    /// A fid open for reading: a living one, else a new one that the session keeps for a while.
    pub fn reader(&self) -> Result<Arc<Fid>, Errno> {
        if let Some(fid) = self.reader.lock().upgrade() {
            return Ok(fid);
        }
        let fid = self.open(RDONLY)?;
        self.session.keep(fid.clone());
        Ok(fid)
    }
    fn writer(&self) -> Result<Arc<Fid>, Errno> {
        if let Some(fid) = self.writer.lock().upgrade() {
            return Ok(fid);
        }
        self.open(WRONLY)
    }

    /// Fills pages from byte `pos` of the server's file; what lies past its end is zeroed.
    fn fill(&self, first: u64, frames: &[Frame]) -> Result<usize, Errno> {
        let fid = self.reader()?;
        let total = frames.len().saturating_mul(PAGE_SIZE);
        let mut done = 0;
        while done < total {
            let want = (total - done).min(self.client().max_data());
            let segments = segments(frames, done, want)?;
            let pos =
                first.checked_mul(PAGE_SIZE as u64).and_then(|p| p.checked_add(done as u64)).ok_or(Errno::EFBIG)?;
            let message = request::read(fid.id(), pos, want as u32);
            let got = self.client().read_data(message, &segments, Patience::Uninterruptible)?;
            if got == 0 {
                break;
            }
            done += got;
        }
        for (index, frame) in frames.iter().enumerate() {
            let start = index * PAGE_SIZE;
            if start + PAGE_SIZE > done {
                let from = done.saturating_sub(start);
                frame.zero_range(from, PAGE_SIZE - from);
            }
        }
        Ok(frames.len())
    }
}

/// The pieces of `frames` that hold bytes `[from, from + len)`.
pub fn segments(frames: &[Frame], from: usize, len: usize) -> Result<Vec<Segment>, Errno> {
    let mut out = Vec::new();
    out.try_reserve_exact(len / PAGE_SIZE + 2).map_err(|_| Errno::ENOMEM)?;
    let mut left = len;
    let mut off = from % PAGE_SIZE;
    for frame in frames.iter().skip(from / PAGE_SIZE) {
        if left == 0 {
            break;
        }
        let len = left.min(PAGE_SIZE - off);
        out.push(Segment { frame: frame.clone(), off, len });
        left -= len;
        off = 0;
    }
    Ok(out)
}

impl PageBacking for Content {
    fn read_page(&self, index: u64, into: &Frame) -> Result<(), Errno> {
        self.fill(index, core::slice::from_ref(into)).map(drop)
    }
    fn read_pages(&self, first: u64, into: &[Frame]) -> Result<usize, Errno> {
        self.fill(first, into)
    }
    fn write_page(&self, index: u64, from: &Frame, len: usize) -> Result<(), Errno> {
        let fid = self.writer()?;
        let start = index.checked_mul(PAGE_SIZE as u64).ok_or(Errno::EFBIG)?;
        let mut done = 0;
        while done < len.min(PAGE_SIZE) {
            let part = [Segment { frame: from.clone(), off: done, len: len.min(PAGE_SIZE) - done }];
            let message = request::write(fid.id(), start + done as u64, (len.min(PAGE_SIZE) - done) as u32);
            match self.client().write_data(message, &part, Patience::Uninterruptible)? {
                0 => return Err(Errno::EIO),
                n => done += n,
            }
        }
        Ok(())
    }
}
