//! Messages of a mount: read(2) on the descriptor of fsopen(2) gives them one at a time; those of mount(2) go to the kernel's log.

use abi::Errno;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Messages kept; the oldest give way.
const KEPT: usize = 8;

/// Where the messages of one mount go.
pub struct Log {
    fs: &'static str,
    kept: Option<VecDeque<String>>,
}

impl Log {
    /// One whose messages are kept until they are read; `fs` is the type.
    pub fn kept(fs: &'static str) -> Log {
        Log { fs, kept: Some(VecDeque::new()) }
    }
    /// One that goes to the kernel's log.
    pub fn kernel(fs: &'static str) -> Log {
        Log { fs, kept: None }
    }
    fn add(&mut self, level: char, text: fmt::Arguments<'_>) {
        match &mut self.kept {
            Some(kept) => {
                if kept.len() >= KEPT {
                    kept.pop_front();
                }
                kept.push_back(alloc::format!("{level} {text}\n"));
            }
            None => machine::kwarn_limited!("{text}"),
        }
    }
    /// An error.
    pub fn error(&mut self, text: fmt::Arguments<'_>) {
        self.add('e', text);
    }
    /// An error; gives EINVAL to return.
    pub fn invalid(&mut self, text: fmt::Arguments<'_>) -> Errno {
        self.error(text);
        Errno::EINVAL
    }
    /// An error that starts with the name of the file system; gives EINVAL to return.
    pub fn invalid_fs(&mut self, text: fmt::Arguments<'_>) -> Errno {
        self.error_fs(text);
        Errno::EINVAL
    }
    /// An error that starts with the name of the file system.
    pub fn error_fs(&mut self, text: fmt::Arguments<'_>) {
        let fs = self.fs;
        self.add('e', format_args!("{fs}: {text}"));
    }
    /// A warning that starts with the name of the file system.
    pub fn warn_fs(&mut self, text: fmt::Arguments<'_>) {
        let fs = self.fs;
        self.add('w', format_args!("{fs}: {text}"));
    }
    /// Takes the oldest message if it has at most `room` bytes: ENODATA for none, EMSGSIZE if it is longer.
    pub fn take(&mut self, room: usize) -> Result<Vec<u8>, Errno> {
        let kept = self.kept.as_mut().ok_or(Errno::ENODATA)?;
        let first = kept.front().ok_or(Errno::ENODATA)?;
        if first.len() > room {
            return Err(Errno::EMSGSIZE);
        }
        Ok(kept.pop_front().unwrap_or_default().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_message_comes_first_and_gives_way() {
        let mut log = Log::kept("fs");
        assert_eq!(log.take(99), Err(Errno::ENODATA));
        for n in 0..10 {
            log.error_fs(format_args!("{n}"));
        }
        assert_eq!(log.take(3), Err(Errno::EMSGSIZE));
        assert_eq!(log.take(99).as_deref(), Ok(&b"e fs: 2\n"[..]));
        assert_eq!((3..10).filter(|_| log.take(99).is_ok()).count(), 7);
        assert_eq!(log.take(99), Err(Errno::ENODATA));
    }
}
