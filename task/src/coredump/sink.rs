//! Where the bytes of a core go: a file, in which zeroes become holes, or a pipe.

use abi::Errno;
use alloc::sync::Arc;
use mm::Src;
use vfs::File;

/// A place for a core.
pub(crate) struct Sink {
    file: Arc<File>,
    /// A file can be written anywhere.
    seekable: bool,
    at: u64,
    /// RLIMIT_CORE and RLIMIT_FSIZE.
    limit: u64,
    file_limit: u64,
    /// The last bytes were left out.
    hole: bool,
}

const ZEROES: [u8; 512] = [0; 512];

impl Sink {
    /// Writes to `file`, at most `limit` bytes.
    pub fn new(file: Arc<File>, seekable: bool, limit: u64, file_limit: u64) -> Sink {
        Sink { file, seekable, at: 0, limit, file_limit, hole: false }
    }
    /// Bytes so far.
    pub fn at(&self) -> u64 {
        self.at
    }
    /// Writes all of `bytes`; EFBIG when the limit is reached.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() as u64 > self.limit.saturating_sub(self.at) {
            return Err(Errno::EFBIG);
        }
        let mut src = Src::kernel(bytes);
        while src.remaining() > 0 {
            let n = if self.seekable {
                self.file.pwrite(&mut src, self.at, self.file_limit)?
            } else {
                self.file.write(&mut src, u64::MAX)?
            };
            if n == 0 {
                return Err(Errno::EIO);
            }
            self.at += n as u64;
        }
        self.hole = false;
        Ok(())
    }
    /// Goes on `len` bytes further, over zeroes.
    pub fn skip(&mut self, len: u64) -> Result<(), Errno> {
        if self.seekable {
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
    /// A file that ends in a hole gets its size.
    pub fn finish(&mut self) -> Result<(), Errno> {
        if !self.hole || self.at == 0 {
            return Ok(());
        }
        self.at -= 1;
        self.write(&[0])
    }
}
