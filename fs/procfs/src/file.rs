//! Open files whose contents are made when they are read.
//!
//! The text is made at the first read and at every read from offset 0, as by Linux's sequence files; reads further on
//! continue in the text that was made.

use crate::node::{Node, What};
use crate::pid::PidEntry;
use crate::text::Text;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use mm::io::{Dst, Src};
use vfs::{Caller, File, FileOps};

/// Longest text a file takes in one write.
const MAX_WRITE: usize = 4096;

/// An open text file.
pub struct TextFile {
    node: Arc<Node>,
    text: sched::Mutex<Option<Vec<u8>>>,
}

impl TextFile {
    /// Opens `node`.
    pub fn open(node: Arc<Node>) -> Arc<dyn FileOps> {
        Arc::new(TextFile { node, text: sched::Mutex::new(None) })
    }
    /// What a read of `room` bytes gets of `rest`: of a text of records no part of one, if the reader has room for a page.
    fn whole_lines<'a>(&self, rest: &'a [u8], room: usize) -> &'a [u8] {
        let lines = matches!(&self.node.what, What::PidText(_, entry) if entry.lines);
        match rest.get(..room) {
            Some(part) if lines && room >= machine::PAGE_SIZE => {
                let end = part.iter().rposition(|b| *b == b'\n').map_or(room, |last| last + 1);
                part.get(..end).unwrap_or(part)
            }
            Some(part) => part,
            None => rest,
        }
    }
    fn make(&self, f: &File) -> Result<Vec<u8>, Errno> {
        let mut text = Text::new();
        match &self.node.what {
            What::Text(entry) => (entry.show)(&mut text)?,
            What::PidText(subject, entry) => (entry.show)(subject, f, &mut text)?,
            _ => return Err(Errno::EIO),
        }
        text.finish()
    }
}

impl FileOps for TextFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let mut slot = self.text.lock();
        if off == 0 || slot.is_none() {
            *slot = Some(self.make(f)?);
        }
        let text = slot.as_deref().unwrap_or_default();
        match usize::try_from(off).ok().and_then(|off| text.get(off..)) {
            Some(rest) if !rest.is_empty() => dst.put(self.whole_lines(rest, dst.remaining())),
            _ => Ok(0),
        }
    }
    fn ioctl(&self, f: &File, caller: &Caller<'_>, command: u32, arg: u64) -> Result<i64, Errno> {
        match &self.node.what {
            What::PidText(subject, PidEntry { ioctl: Some(ioctl), .. }) => ioctl(subject, f, caller, command, arg),
            _ => Err(Errno::ENOTTY),
        }
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        let len = src.remaining();
        if len > MAX_WRITE {
            return Err(Errno::EINVAL);
        }
        let mut input = Vec::new();
        input.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        input.resize(len, 0);
        let got = src.get(&mut input)?;
        let input = input.get(..got).unwrap_or_default();
        match &self.node.what {
            What::Text(entry) => (entry.store.ok_or(Errno::EINVAL)?)(input)?,
            What::PidText(subject, entry) => (entry.store.ok_or(Errno::EINVAL)?)(subject, f, input)?,
            _ => return Err(Errno::EINVAL),
        }
        Ok(got)
    }
}

/// A decimal number with white space around it, as sysctl files take it.
pub fn parse_number<T: core::str::FromStr>(input: &[u8]) -> Result<T, Errno> {
    let text = core::str::from_utf8(input).map_err(|_| Errno::EINVAL)?;
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0').parse().map_err(|_| Errno::EINVAL)
}
