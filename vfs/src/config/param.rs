//! Mount parameters: a table a file system says what it takes, and what was given is turned into what it wants.
//!
//! Numbers are read by [`crate::number`] with the radix of the table. Source: fsconfig(2), and Linux's
//! `Documentation/filesystems/mount_api.rst` for the kinds.

use super::log::Log;
use crate::file::File;
use crate::number;
use crate::user_ns::UserNamespace;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;

/// What a parameter wants as its value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Nothing.
    Flag,
    /// Nothing; `no` before the name turns it off.
    FlagOrNo,
    /// A text that is not empty.
    Text,
    /// A text.
    TextOrEmpty,
    /// An unsigned number of 32 bits with this radix, 0 for "by prefix".
    Number(u32),
    /// A signed number of 32 bits.
    Signed,
    /// One of these words, which stands for the number beside it.
    Word(&'static [(&'static str, u32)]),
    /// A user id of the caller's user namespace.
    Uid,
    /// A group id of it.
    Gid,
    /// An open file or the path of one.
    FileOrText,
}

impl Kind {
    fn is_flag(self) -> bool {
        matches!(self, Kind::Flag | Kind::FlagOrNo)
    }
}

/// A row of a file system's table. A name may stand twice: as a flag and with a value.
pub type Param = (&'static str, Kind);

/// A value as user space gave it.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    /// None.
    Flag,
    /// A string (all there is in option strings of mount(2)).
    Text(&'a [u8]),
    /// Bytes.
    Blob,
    /// A path to be looked up.
    Path,
    /// An open file.
    File(&'a Arc<File>),
}

/// A value as the table wants it.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A flag, false if it was negated.
    Flag(bool),
    /// A text.
    Text(&'a [u8]),
    /// A number, or what a word stands for.
    Number(u32),
    /// A signed number.
    Signed(i32),
    /// An id of the kernel's.
    Id(u32),
    /// An open file.
    File(&'a Arc<File>),
}

/// Finds `key` in a table; true for a flag that is negated. With and without a value the rows of that sort come first.
fn find(table: &'static [Param], key: &[u8], given: &Given<'_>) -> Option<(Param, bool)> {
    let wants_flag = matches!(given, Given::Flag);
    let named =
        |key: &[u8]| table.iter().copied().filter(move |(name, _)| name.as_bytes() == key).take(2).collect::<Rows>();
    let same = named(key);
    if let Some(row) = same.iter().find(|(_, kind)| kind.is_flag() == wants_flag) {
        return Some((*row, false));
    }
    if let Some(rest) = key.strip_prefix(b"no").filter(|rest| wants_flag && !rest.is_empty())
        && let Some(row) = named(rest).iter().find(|(_, kind)| matches!(kind, Kind::FlagOrNo))
    {
        return Some((*row, true));
    }
    same.first().map(|row| (*row, false))
}

type Rows = arrayvec::ArrayVec<Param, 2>;

/// Finds `key` in the table and makes its value one that the table wants. `None`: no such parameter. What is wrong goes to the log.
pub fn parse<'a>(
    table: &'static [Param],
    key: &[u8],
    given: Given<'a>,
    names: &UserNamespace,
    log: &mut Log,
) -> Result<Option<(&'static str, Value<'a>)>, Errno> {
    let Some(((name, kind), negated)) = find(table, key, &given) else { return Ok(None) };
    let shown = String::from_utf8_lossy(key);
    if kind.is_flag() {
        return match given {
            Given::Flag => Ok(Some((name, Value::Flag(!negated)))),
            _ => Err(log.invalid_fs(format_args!("Unexpected value for '{shown}'"))),
        };
    }
    let bad = |log: &mut Log| log.invalid_fs(format_args!("Bad value for '{shown}'"));
    let text = match given {
        Given::Text(text) => text,
        Given::File(file) if matches!(kind, Kind::FileOrText) => return Ok(Some((name, Value::File(file)))),
        _ => return Err(bad(log)),
    };
    let value = match kind {
        Kind::Text | Kind::FileOrText if text.is_empty() => None,
        Kind::Text | Kind::TextOrEmpty | Kind::FileOrText => Some(Value::Text(text)),
        Kind::Number(radix) => number::unsigned(text, radix).ok().map(Value::Number),
        Kind::Signed => number::signed(text, 0).ok().map(Value::Signed),
        Kind::Word(words) => {
            words.iter().find(|(word, _)| word.as_bytes() == text).map(|(_, number)| Value::Number(*number))
        }
        Kind::Uid | Kind::Gid => {
            let Ok(id) = number::unsigned(text, 0) else {
                // As on Linux, where the number's reader and the id's both say so.
                bad(log);
                return Err(bad(log));
            };
            let (what, kernel) =
                if matches!(kind, Kind::Uid) { ("uid", names.kuid(id)) } else { ("gid", names.kgid(id)) };
            let shown = String::from_utf8_lossy(text);
            let kernel = kernel.ok_or_else(|| log.invalid_fs(format_args!("Invalid {what} '{shown}'")))?;
            Some(Value::Id(kernel))
        }
        Kind::Flag | Kind::FlagOrNo => None,
    };
    match value {
        Some(value) => Ok(Some((name, value))),
        None => Err(bad(log)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[Param] = &[
        ("size", Kind::Text),
        ("any", Kind::TextOrEmpty),
        ("mode", Kind::Number(8)),
        ("max", Kind::Signed),
        ("uid", Kind::Uid),
        ("huge", Kind::Word(&[("never", 0), ("advise", 3)])),
        ("fold", Kind::Text),
        ("fold", Kind::Flag),
        ("creds", Kind::FlagOrNo),
        ("dir", Kind::FileOrText),
    ];

    fn read(key: &str, given: Given<'_>) -> (String, String) {
        let mut log = Log::kept("fs");
        let value = match parse(TABLE, key.as_bytes(), given, UserNamespace::first(), &mut log) {
            Ok(None) => "unknown".into(),
            Ok(Some((_, Value::Flag(on)))) => alloc::format!("{on}"),
            Ok(Some((_, Value::Text(text)))) => String::from_utf8_lossy(text).into(),
            Ok(Some((_, Value::Number(n) | Value::Id(n)))) => alloc::format!("{n}"),
            Ok(Some((_, Value::Signed(n)))) => alloc::format!("{n}"),
            Ok(Some((_, Value::File(_)))) => "file".into(),
            Err(e) => alloc::format!("{e}"),
        };
        (value, log.take(999).map(|m| String::from_utf8_lossy(&m).into()).unwrap_or_default())
    }

    fn text(key: &str, value: &str) -> String {
        read(key, Given::Text(value.as_bytes())).0
    }

    #[test]
    fn values_are_what_the_table_wants() {
        assert_eq!(text("mode", "0755"), "493");
        assert_eq!((text("max", "-0x10"), text("max", "2147483648")), ("-16".into(), "EINVAL".into()));
        assert_eq!((text("huge", "advise"), text("huge", "always")), ("3".into(), "EINVAL".into()));
        assert_eq!((text("any", ""), text("size", "")), ("".into(), "EINVAL".into()));
        assert_eq!((text("fold", "x"), read("fold", Given::Flag).0), ("x".into(), "true".into()));
        assert_eq!((read("nocreds", Given::Flag).0, text("nocreds", "1")), ("false".into(), "unknown".into()));
        assert_eq!(read("size", Given::Flag), ("EINVAL".into(), "e fs: Bad value for 'size'\n".into()));
        assert_eq!(read("creds", Given::Text(b"1")).1, "e fs: Unexpected value for 'creds'\n");
        assert_eq!(read("uid", Given::Text(b"-1")).1, "e fs: Bad value for 'uid'\n");
        assert_eq!(read("uid", Given::Text(b"4294967295")).1, "e fs: Invalid uid '4294967295'\n");
        assert_eq!(read("dir", Given::Path).0, "EINVAL");
        assert_eq!(text("other", "1"), "unknown");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(row in 0..TABLE.len(), cut in 0usize..4, text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let key = TABLE[row].0.as_bytes();
            let mut log = Log::kept("fs");
            let given = [Given::Flag, Given::Text(&text), Given::Blob, Given::Path][cut];
            match parse(TABLE, key, given, UserNamespace::first(), &mut log) {
                Ok(value) => prop_assert!(value.is_some() && log.take(999).is_err()),
                Err(e) => prop_assert!(e == Errno::EINVAL && log.take(9999).is_ok()),
            }
        }
    }
}
