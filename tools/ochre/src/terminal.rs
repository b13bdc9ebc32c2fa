//! The caller's standard streams and terminal.

use rustix::fs::{FileType, fstat};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd};

/// What one of the caller's standard streams is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `/dev/null`, or closed.
    Null,
    /// A pipe, a file, a socket: bytes.
    Pipe,
    /// A terminal.
    Tty,
    /// Standard error only: the same file as standard output, so that both share one pipe and
    /// keep their order.
    Stdout,
}

impl Stream {
    /// The word the guest's first process knows it by.
    pub fn word(self) -> &'static str {
        match self {
            Stream::Null => "null",
            Stream::Pipe => "pipe",
            Stream::Tty => "tty",
            Stream::Stdout => "stdout",
        }
    }
}

/// One of the standard streams by its number.
pub fn stream(number: usize) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

/// The caller's three streams.
pub fn detect() -> [Stream; 3] {
    let kind = |fd: BorrowedFd<'_>| match fstat(fd) {
        Err(_) => Stream::Null,
        Ok(_) if isatty(fd) => Stream::Tty,
        Ok(s)
            if FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice
                && s.st_rdev == rustix::fs::makedev(1, 3) =>
        {
            Stream::Null
        }
        Ok(_) => Stream::Pipe,
    };
    let mut streams = [0, 1, 2].map(|n| kind(stream(n)));
    if let (Stream::Pipe, Stream::Pipe, Ok(out), Ok(err)) = (streams[1], streams[2], fstat(stream(1)), fstat(stream(2)))
        && (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
    {
        streams[2] = Stream::Stdout;
    }
    streams
}

/// Rows and columns of the terminal, if one of the streams is one.
pub fn size() -> (u16, u16) {
    let size = (0..3).map(stream).find_map(|fd| tcgetwinsize(fd).ok());
    size.map_or((24, 80), |s| (s.ws_row, s.ws_col))
}

/// The terminal in raw mode until dropped.
pub struct Raw(Termios);

impl Raw {
    /// Switches standard input's terminal.
    pub fn enter() -> Option<Raw> {
        let fd = stream(0);
        let saved = tcgetattr(fd.as_fd()).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(fd, OptionalActions::Now, &raw).ok()?;
        Some(Raw(saved))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stream(0), OptionalActions::Drain, &self.0);
    }
}
