//! Where the bytes of a core go: a file, in which zeroes become holes, a pipe or a socket.

use super::socket::Connection;
use abi::Errno;
use abi::resource::RLIM_INFINITY;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use mm::Src;
use vfs::File;

/// What takes the bytes.
enum Out {
    /// Can be written anywhere.
    File(Arc<File>),
    Pipe(Arc<File>),
    Socket(Arc<Connection>),
}

/// A place for a core.
pub(crate) struct Sink {
    out: Out,
    at: u64,
    /// Bytes that are no holes.
    written: u64,
    /// RLIMIT_CORE and RLIMIT_FSIZE.
    limit: u64,
    file_limit: u64,
    /// The last bytes were left out.
    hole: bool,
    /// What a stream has not been given yet: it gets whole pages, so that a reader that stores them page by page stores pages.
    pending: Vec<u8>,
}

static ZEROES: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

impl Sink {
    fn new(out: Out, limit: u64, file_limit: u64) -> Sink {
        Sink { out, at: 0, written: 0, limit, file_limit, hole: false, pending: Vec::new() }
    }
    /// Writes to `file`, at most `limit` bytes besides holes.
    pub fn file(file: Arc<File>, limit: u64, file_limit: u64) -> Sink {
        Sink::new(Out::File(file), limit, file_limit)
    }
    /// Writes to a pipe.
    pub fn pipe(file: Arc<File>) -> Sink {
        Sink::new(Out::Pipe(file), RLIM_INFINITY, RLIM_INFINITY)
    }
    /// Sends.
    pub fn socket(connection: Arc<Connection>) -> Sink {
        Sink::new(Out::Socket(connection), RLIM_INFINITY, RLIM_INFINITY)
    }
    /// Bytes so far.
    pub fn at(&self) -> u64 {
        self.at
    }
    /// Writes all of `bytes`; EFBIG when the limit is reached.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let len = bytes.len() as u64;
        if len > self.limit.saturating_sub(self.written) {
            return Err(Errno::EFBIG);
        }
        (self.at, self.written) = (self.at + len, self.written + len);
        self.hole = false;
        match &self.out {
            Out::File(file) => self.give(bytes, |src, at| file.pwrite(src, at, self.file_limit)),
            _ if self.pending.is_empty() && bytes.len().is_multiple_of(PAGE_SIZE) => self.stream(bytes),
            _ => {
                self.pending.try_reserve(bytes.len()).map_err(|_| Errno::ENOMEM)?;
                self.pending.extend_from_slice(bytes);
                let whole = self.pending.len() / PAGE_SIZE * PAGE_SIZE;
                let rest = self.pending.split_off(whole);
                let pages = core::mem::replace(&mut self.pending, rest);
                self.stream(&pages)
            }
        }
    }
    /// Gives all of `bytes`, which end where the core ends now, to `put`.
    fn give(&self, bytes: &[u8], mut put: impl FnMut(&mut Src<'_>, u64) -> Result<usize, Errno>) -> Result<(), Errno> {
        let mut src = Src::kernel(bytes);
        while src.remaining() > 0 {
            let at = self.at.saturating_sub(src.remaining() as u64);
            if put(&mut src, at)? == 0 {
                return Err(Errno::EIO);
            }
        }
        Ok(())
    }
    /// Sends to what has no positions.
    fn stream(&self, bytes: &[u8]) -> Result<(), Errno> {
        match &self.out {
            Out::File(_) => Ok(()),
            Out::Pipe(file) => self.give(bytes, |src, _| file.write(src, u64::MAX)),
            Out::Socket(connection) => self.give(bytes, |src, _| connection.send(src)),
        }
    }
    /// Goes on `len` bytes further, over zeroes.
    pub fn skip(&mut self, len: u64) -> Result<(), Errno> {
        if let Out::File(_) = self.out {
            self.at += len;
            self.hole |= len > 0;
            return Ok(());
        }
        let mut left = len;
        while left > 0 {
            let part = left.min(ZEROES.len() as u64);
            self.write(ZEROES.get(..part as usize).unwrap_or_default())?;
            left -= part;
        }
        Ok(())
    }
    /// A stream gets the rest, a file that ends in a hole its size.
    pub fn finish(&mut self) -> Result<(), Errno> {
        let rest = core::mem::take(&mut self.pending);
        self.stream(&rest)?;
        if !self.hole || self.at == 0 {
            return Ok(());
        }
        self.at -= 1;
        self.write(&[0])
    }
}
