//! Mount parameters, as Linux's overlayfs takes them.
//!
//! Layers are looked up when they are named. Features that change what is written to the layers (`redirect_dir`, `metacopy`, `index`, `nfs_export`,
//! `verity`, data-only layers) are not built; saying that they are off is accepted, asking for them is EINVAL.
//!
//! Source: Linux `Documentation/filesystems/overlayfs.rst`.

use abi::Errno;
use alloc::vec::Vec;
use vfs::{Kind, Mounting, Param, Path, Value};

/// Lower layers at most.
const MAX_LOWERS: usize = 500;

/// A layer: its path as it was given, and where that led.
pub type Layer = (Vec<u8>, Path);

/// What a mount asks for.
#[derive(Clone, Default)]
pub struct Options {
    /// Lower directories, topmost first.
    pub lowers: Vec<Layer>,
    /// The value of `lowerdir`, if they came that way.
    pub lowerdir: Option<Vec<u8>>,
    /// Upper directory; without one the mount is read-only.
    pub upper: Option<Layer>,
    /// Work directory, on the same mount as the upper one.
    pub work: Option<Layer>,
    /// Marks are kept in `user.overlay.` attributes instead of `trusted.overlay.`.
    pub user_xattrs: bool,
    /// Never flushes the upper layer.
    pub volatile: bool,
}

const OFF: u32 = 0;
const ON: u32 = 1;
const AUTO: u32 = 2;
const NULL: u32 = 3;
const NOFOLLOW: u32 = 4;
const OFF_ON: Kind = Kind::Word(&[("on", ON), ("off", OFF)]);

/// The parameters.
pub const TABLE: &[Param] = &[
    ("lowerdir", Kind::TextOrEmpty),
    ("lowerdir+", Kind::FileOrText),
    ("datadir+", Kind::FileOrText),
    ("upperdir", Kind::FileOrText),
    ("workdir", Kind::FileOrText),
    ("default_permissions", Kind::Flag),
    ("redirect_dir", Kind::Word(&[("off", OFF), ("follow", ON), ("nofollow", NOFOLLOW), ("on", ON)])),
    ("index", OFF_ON),
    ("uuid", Kind::Word(&[("off", OFF), ("null", NULL), ("auto", AUTO), ("on", ON)])),
    ("nfs_export", OFF_ON),
    ("userxattr", Kind::Flag),
    ("xino", Kind::Word(&[("off", OFF), ("auto", AUTO), ("on", ON)])),
    ("metacopy", OFF_ON),
    ("verity", Kind::Word(&[("off", OFF), ("on", ON), ("require", ON)])),
    ("fsync", Kind::Word(&[("volatile", OFF), ("auto", AUTO), ("strict", ON)])),
    ("volatile", Kind::Flag),
];

impl Options {
    /// Takes over one parameter of [`TABLE`].
    pub fn set(&mut self, name: &'static str, value: Value<'_>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        match (name, value) {
            ("lowerdir", Value::Text(text)) => self.set_lowers(text, by)?,
            ("lowerdir+", value) => {
                let layer = find(value, false, by)?;
                check(&layer, false, by)?;
                if self.lowerdir.is_some() {
                    return Err(by.log.invalid_fs(format_args!("lowerdir+ and datadir+ cannot follow lowerdir")));
                }
                self.add_lower(layer, by)?;
            }
            ("upperdir", value) => {
                let layer = find(value, true, by)?;
                check(&layer, true, by)?;
                self.upper = Some(layer);
            }
            ("workdir", value) => {
                let layer = find(value, true, by)?;
                check(&layer, true, by)?;
                self.work = Some(layer);
            }
            ("userxattr", _) => self.user_xattrs = true,
            ("volatile", _) | ("fsync", Value::Number(OFF)) => self.volatile = true,
            ("fsync", Value::Number(AUTO)) => self.volatile = false,
            ("default_permissions", _) => {}
            ("redirect_dir", Value::Number(OFF | NOFOLLOW)) => {}
            ("index" | "nfs_export" | "metacopy" | "verity", Value::Number(OFF)) => {}
            // Inode numbers are made unique in a way of our own, file handles are not made.
            ("xino", Value::Number(OFF | AUTO)) | ("uuid", Value::Number(OFF | NULL | AUTO)) => {}
            _ => return Err(by.log.invalid_fs(format_args!("Unsupported parameter '{name}'"))),
        }
        Ok(())
    }
    fn set_lowers(&mut self, text: &[u8], by: &mut Mounting<'_>) -> Result<(), Errno> {
        self.lowers.clear();
        self.lowerdir = None;
        if text.is_empty() {
            return Ok(());
        }
        self.lowerdir = Some(text.to_vec());
        for part in split(text, b':') {
            let layer = find(Value::Text(part), true, by)?;
            check(&layer, false, by)?;
            self.add_lower(layer, by)?;
        }
        Ok(())
    }
    fn add_lower(&mut self, layer: Layer, by: &mut Mounting<'_>) -> Result<(), Errno> {
        if self.lowers.len() >= MAX_LOWERS {
            return Err(by.log.invalid_fs(format_args!("too many lower directories, limit is {MAX_LOWERS}")));
        }
        self.lowers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.lowers.push(layer);
        Ok(())
    }
    /// What must be there before an instance is made.
    pub fn check(&self) -> Result<(), Errno> {
        if self.lowers.is_empty() || self.upper.is_some() && self.work.is_none() {
            return Err(Errno::EINVAL);
        }
        if self.upper.is_none() && self.lowers.len() < 2 { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// Finds the layer that a value names. An open file's is shown by its path.
fn find(value: Value<'_>, escaped: bool, by: &Mounting<'_>) -> Result<Layer, Errno> {
    match value {
        Value::Text(text) if escaped => Ok((text.to_vec(), by.resolve(&unescape(text)?)?)),
        Value::Text(text) => Ok((text.to_vec(), by.resolve(text)?)),
        Value::File(file) => Ok((file.path().display(&by.dirs.root), file.path().clone())),
        _ => Err(Errno::EINVAL),
    }
}

fn check((name, path): &Layer, upper: bool, by: &mut Mounting<'_>) -> Result<(), Errno> {
    let name = name.escape_ascii();
    if !path.inode().is_dir() {
        return Err(by.log.invalid_fs(format_args!("{name} is not a directory")));
    }
    if upper && path.mnt.want_write().is_err() {
        return Err(by.log.invalid_fs(format_args!("filesystem on {name} is read-only")));
    }
    Ok(())
}

/// The parts of `text` between separators that no backslash escapes; escapes are kept.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    text.split(move |byte| {
        let is_separator = *byte == separator && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_separator
    })
}

/// The text up to a comma that no backslash escapes, and what follows.
pub fn next_option(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let first = split(text, b',').next().unwrap_or(text);
    (first, text.get(first.len() + 1..))
}

/// Takes the escapes out of a path; an empty path is EINVAL.
fn unescape(text: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    if out.is_empty() { Err(Errno::EINVAL) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_and_layers_end_at_separators_without_a_backslash() {
        let text = b"lowerdir=/a:/b\\:c\\,d,upperdir=/u";
        let (first, rest) = next_option(text);
        assert_eq!((first, rest), (&b"lowerdir=/a:/b\\:c\\,d"[..], Some(&b"upperdir=/u"[..])));
        let layers: Vec<Vec<u8>> = split(b"/a:/b\\:c\\,d", b':').map(|part| unescape(part).unwrap()).collect();
        assert_eq!(layers, [&b"/a"[..], b"/b:c,d"]);
        assert_eq!(next_option(b"a,"), (&b"a"[..], Some(&b""[..])));
        assert_eq!(unescape(b""), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn any_text_is_split(text in proptest::collection::vec(prop_oneof![Just(b','), Just(b':'), Just(b'\\'), any::<u8>()], 0..40)) {
            let (first, rest) = next_option(&text);
            prop_assert_eq!(first.len() + rest.map_or(0, |rest| rest.len() + 1), text.len());
            for part in split(&text, b':') {
                prop_assert!(unescape(part).is_ok() || part.is_empty());
            }
        }
    }
}
