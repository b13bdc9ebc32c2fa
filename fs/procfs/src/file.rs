//! Open files whose contents are made when they are read.
//!
//! The text is made at the first read and at every read from offset 0, as by Linux's sequence files; reads further on
//! continue in the text that was made. Of a file of records ([`PidEntry::records`]) only the part that is read is made: a page of whole
//! records, or one that is longer.

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
    made: sched::Mutex<Option<Made>>,
}

/// The part of the text that was made last.
struct Made {
    /// Where it starts in the file.
    at: u64,
    text: Vec<u8>,
    /// The position of the record after it.
    next: Option<u64>,
}

impl TextFile {
    /// Opens `node`.
    pub fn open(node: Arc<Node>) -> Arc<dyn FileOps> {
        Arc::new(TextFile { node, made: sched::Mutex::new(None) })
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
    /// The text, or the part of it that starts with the record at `position`, which is at byte `at`.
    fn make(&self, f: &File, at: u64, position: u64) -> Result<Made, Errno> {
        let mut text = Text::new();
        let mut next = None;
        match &self.node.what {
            What::Text(entry) => (entry.show)(&mut text)?,
            What::PidText(subject, PidEntry { records: Some(records), .. }) => {
                next = records(subject, position, &mut text)?;
            }
            What::PidText(subject, entry) => (entry.show)(subject, f, &mut text)?,
            _ => return Err(Errno::EIO),
        }
        Ok(Made { at, text: text.finish()?, next })
    }
}

impl FileOps for TextFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let mut slot = self.made.lock();
        let mut made = match slot.take().filter(|made| off != 0 && made.at <= off) {
            Some(made) => made,
            None => self.make(f, 0, 0)?,
        };
        while let Some(next) = made.next {
            let end = made.at + made.text.len() as u64;
            if off < end {
                break;
            }
            made = self.make(f, end, next)?;
        }
        let made = slot.insert(made);
        match usize::try_from(off - made.at).ok().and_then(|off| made.text.get(off..)) {
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

/// A setting that is 0 or 1.
pub fn parse_switch(input: &[u8]) -> Result<bool, Errno> {
    match parse_number::<i32>(input)? {
        on @ 0..=1 => Ok(on == 1),
        _ => Err(Errno::EINVAL),
    }
}

/// A decimal number with white space around it, as sysctl files take it.
pub fn parse_number<T: core::str::FromStr>(input: &[u8]) -> Result<T, Errno> {
    let text = core::str::from_utf8(input).map_err(|_| Errno::EINVAL)?;
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0').parse().map_err(|_| Errno::EINVAL)
}
