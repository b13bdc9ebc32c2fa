//! Mount options, as Linux's v9fs takes them.
//!
//! Source: Linux `Documentation/filesystems/9p.rst`.

use crate::client::{MAX_MSIZE, MIN_MSIZE};
use crate::wire::NONUNAME;
use abi::Errno;
use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::fmt;
use vfs::number;
use vfs::{Kind, Param, Value};

/// How much of what the server said is believed later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// Nothing: attributes and names are asked for again, reads and writes go to the server.
    None,
    /// As `None`, and files can be mapped shared and writable.
    Mmap,
    /// Everything, absence of names included: the server's files do not change while they are mounted.
    Loose,
}

/// Whose identity requests carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// The mounting user's for all; local users are told apart by the modes of files.
    User,
    /// One for everybody: the server decides alone.
    Any,
    /// Only this user may use the mount.
    Only(u32),
}

/// All options with their defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Largest message.
    pub msize: u32,
    /// See [`Cache`].
    pub cache: Cache,
    /// See [`Access`].
    pub access: Access,
    /// User name sent with attach.
    pub uname: Vec<u8>,
    /// Tree of the server.
    pub aname: Vec<u8>,
    /// User id sent with attach by `access=any`.
    pub default_uid: u32,
    /// Device nodes of the server are plain files here.
    pub nodevmap: bool,
    /// No extended attributes.
    pub noxattr: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            msize: 128 << 10,
            cache: Cache::None,
            access: Access::User,
            uname: b"nobody".to_vec(),
            aname: Vec::new(),
            default_uid: NONUNAME - 1,
            nodevmap: false,
            noxattr: false,
        }
    }
}

impl Options {
    /// Writes the options as /proc/mounts shows them, each with a leading comma.
    pub fn show(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        if self.default_uid != NONUNAME - 1 {
            write!(out, ",dfltuid={}", self.default_uid)?;
        }
        if self.uname != b"nobody" {
            write!(out, ",uname={}", self.uname.escape_ascii())?;
        }
        if !self.aname.is_empty() {
            write!(out, ",aname={}", self.aname.escape_ascii())?;
        }
        match self.cache {
            Cache::None => {}
            Cache::Mmap => out.write_str(",cache=mmap")?,
            Cache::Loose => out.write_str(",cache=loose")?,
        }
        match self.access {
            Access::User => out.write_str(",access=user")?,
            Access::Any => out.write_str(",access=any")?,
            Access::Only(uid) => write!(out, ",access={uid}")?,
        }
        if self.nodevmap {
            out.write_str(",nodevmap")?;
        }
        if self.noxattr {
            out.write_str(",noxattr")?;
        }
        write!(out, ",msize={},trans=virtio", self.msize)
    }
    /// The user id that attach carries.
    pub fn attach_uid(&self) -> u32 {
        match self.access {
            Access::User => 0,
            Access::Any => self.default_uid,
            Access::Only(uid) => uid,
        }
    }
}

/// The parameters, in the order of [`Options`]. Those of other transports and versions are known, so that they are refused with a message.
pub const TABLE: &[Param] = &[
    ("debug", Kind::Number(16)),
    ("dfltuid", Kind::Uid),
    ("dfltgid", Kind::Gid),
    ("afid", Kind::Number(0)),
    ("uname", Kind::Text),
    ("aname", Kind::Text),
    ("nodevmap", Kind::Flag),
    ("noxattr", Kind::Flag),
    ("cache", Kind::Text),
    ("access", Kind::Text),
    ("locktimeout", Kind::Number(0)),
    ("msize", Kind::Number(0)),
    ("trans", Kind::Text),
    ("version", Kind::Word(&[("9p2000", 0), ("9p2000.u", 1), ("9p2000.L", 2)])),
];

impl Options {
    /// Takes over one parameter of [`TABLE`]; EINVAL for values that mean nothing here.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), Errno> {
        match (name, value) {
            ("trans", Value::Text(b"virtio")) | ("version", Value::Number(2)) => {}
            ("msize", Value::Number(size)) if size >= MIN_MSIZE => self.msize = size.min(MAX_MSIZE),
            ("cache", Value::Text(text)) => self.cache = cache(text)?,
            ("access", Value::Text(b"user" | b"client")) => self.access = Access::User,
            ("access", Value::Text(b"any")) => self.access = Access::Any,
            ("access", Value::Text(text)) => {
                self.access = Access::Only(number::unsigned(text, 10).map_err(|_| Errno::EINVAL)?)
            }
            ("uname", Value::Text(text)) => self.uname = text.to_owned(),
            ("aname", Value::Text(text)) => self.aname = text.to_owned(),
            ("dfltuid", Value::Id(id)) => self.default_uid = id,
            ("locktimeout", Value::Number(0)) => return Err(Errno::EINVAL),
            // Numbers that only other transports, servers or a debugger look at.
            ("dfltgid" | "afid" | "locktimeout" | "debug", _) => {}
            ("nodevmap", _) => self.nodevmap = true,
            ("noxattr", _) => self.noxattr = true,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

fn cache(value: &[u8]) -> Result<Cache, Errno> {
    match value {
        b"none" | b"readahead" | b"0" | b"0x0" => Ok(Cache::None),
        b"mmap" => Ok(Cache::Mmap),
        b"loose" => Ok(Cache::Loose),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use vfs::UserNamespace;
    use vfs::config::{Given, Log, param};

    /// The options of a data string of mount(2).
    pub fn parse(data: &[u8]) -> Result<Options, Errno> {
        let mut options = Options::default();
        for option in data.split(|b| *b == b',').filter(|option| !option.is_empty()) {
            let mut parts = option.splitn(2, |b| *b == b'=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next());
            let given = value.map_or(Given::Flag, Given::Text);
            let found = param::parse(TABLE, name, given, UserNamespace::first(), &mut Log::kept("9p"))?;
            if let Some((name, value)) = found {
                options.set(name, value)?;
            }
        }
        Ok(options)
    }

    #[test]
    fn the_options_of_a_root_mount() {
        let options = parse(b"trans=virtio,version=9p2000.L,msize=512000,access=any,cache=loose").unwrap();
        assert_eq!((options.msize, options.access, options.cache), (512_000, Access::Any, Cache::Loose));
        assert_eq!(parse(b""), Ok(Options::default()));
    }

    #[test]
    fn bad_options_are_einval() {
        for data in [
            &b"cache=maybe"[..],
            b"msize=4095",
            b"msize=x",
            b"trans=tcp",
            b"version=9p2000",
            b"version=x",
            b"access=-1",
        ] {
            assert_eq!(parse(data), Err(Errno::EINVAL), "{}", data.escape_ascii());
        }
    }
    proptest! {
        #[test]
        fn any_values_are_taken_or_refused(row in 0..TABLE.len(), value in proptest::collection::vec(any::<u8>(), 0..20), digits in "[0-9x-]{0,12}") {
            for value in [&value[..], digits.as_bytes()] {
                match parse(&[TABLE[row].0.as_bytes(), b"=", value].concat()) {
                    Ok(options) => prop_assert!((MIN_MSIZE..=MAX_MSIZE).contains(&options.msize)),
                    Err(e) => prop_assert_eq!(e, Errno::EINVAL),
                }
            }
        }
    }
}
