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
use vfs::inode::may;
use vfs::{Caller, File, FileOps, number};

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
            What::Text(entry) => {
                if entry.judge.is_some_and(|judge| judge(f.cred(), entry.mode) & may::WRITE == 0) {
                    return Err(Errno::EPERM);
                }
                (entry.store.ok_or(Errno::EINVAL)?)(input)?
            }
            What::PidText(subject, entry) => (entry.store.ok_or(Errno::EINVAL)?)(subject, f, input)?,
            _ => return Err(Errno::EINVAL),
        }
        Ok(got)
    }
}

/// Longest number that settings take, as on Linux.
const LONGEST: usize = 21;

/// The first number of a list as the files below /proc/sys take it, and what follows: by prefix, with white space around it. `None` if
/// there is only white space left.
fn first_number(input: &[u8]) -> Result<Option<(i128, &[u8])>, Errno> {
    let text = input.get(input.iter().take_while(|b| number::is_space(**b)).count()..).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let found = digits.first().filter(|b| b.is_ascii_digit()).and_then(|_| number::leading(digits, 0));
    let Some((Some(value), rest)) = found else { return Err(Errno::EINVAL) };
    if text.len() - rest.len() >= LONGEST || !matches!(rest.first(), None | Some(b' ' | b'\t' | b'\n' | b'\0')) {
        return Err(Errno::EINVAL);
    }
    let value = i128::from(value);
    Ok(Some((if digits.len() < text.len() { -value } else { value }, rest)))
}

/// A setting that is one number; what is written after it does not count.
pub fn parse_number<T: TryFrom<i128>>(input: &[u8]) -> Result<T, Errno> {
    let (value, _) = first_number(input)?.ok_or(Errno::EINVAL)?;
    T::try_from(value).map_err(|_| Errno::EINVAL)
}

/// A setting that is 0 or 1.
pub fn parse_switch(input: &[u8]) -> Result<bool, Errno> {
    match parse_number::<i32>(input)? {
        on @ 0..=1 => Ok(on == 1),
        _ => Err(Errno::EINVAL),
    }
}

/// A setting that is a list: calls `set` with as many of `most` numbers as are given, at least one. Those before a bad one are set.
pub fn parse_numbers<T: TryFrom<i128>>(
    mut input: &[u8],
    most: usize,
    mut set: impl FnMut(usize, T) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for at in 0..most {
        match first_number(input)? {
            Some((value, rest)) => {
                set(at, T::try_from(value).map_err(|_| Errno::EINVAL)?)?;
                input = rest;
            }
            None if at == 0 => return Err(Errno::EINVAL),
            None => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn settings_are_numbers_by_prefix() {
        for (text, value) in [
            ("7", Ok(7)),
            (" -7\n", Ok(-7)),
            ("0x10", Ok(16)),
            ("010 junk", Ok(8)),
            ("5\0", Ok(5)),
            ("+5", Err(Errno::EINVAL)),
            ("5x", Err(Errno::EINVAL)),
            ("--5", Err(Errno::EINVAL)),
            ("", Err(Errno::EINVAL)),
            ("\n", Err(Errno::EINVAL)),
            ("2147483648", Err(Errno::EINVAL)),
            ("0000000000000000000001", Err(Errno::EINVAL)),
            ("99999999999999999999", Err(Errno::EINVAL)),
        ] {
            assert_eq!(parse_number::<i32>(text.as_bytes()), value, "{text}");
        }
        assert_eq!(list(b"4 0x4\t1\n"), (Ok(()), vec![4, 4, 1]));
        assert_eq!(list(b"4 3 256 2"), (Err(Errno::EINVAL), vec![4, 3]));
        assert_eq!(list(b"4 3 2 1 x"), (Ok(()), vec![4, 3, 2, 1]));
        assert_eq!(list(b" "), (Err(Errno::EINVAL), vec![]));
    }

    fn list(input: &[u8]) -> (Result<(), Errno>, Vec<u8>) {
        let mut all = vec![];
        let done = parse_numbers(input, 4, |at, value| {
            assert_eq!(at, all.len());
            all.push(value);
            Ok(())
        });
        (done, all)
    }

    proptest! {
        #[test]
        fn any_bytes_are_settings_or_not(text in proptest::collection::vec(proptest::sample::select(b"0179fx+- \n\t\0\xff".to_vec()), 0..40)) {
            let (one, (done, all)) = (parse_number::<u8>(&text), list(&text));
            if let Ok(n) = one {
                prop_assert_eq!(parse_number::<u8>(n.to_string().as_bytes()), Ok(n));
            }
            prop_assert_eq!(one.ok(), all.first().copied());
            prop_assert!(done.is_ok() || done == Err(Errno::EINVAL));
            prop_assert!(one.err().is_none_or(|e| e == Errno::EINVAL));
        }
    }
}
