//! Mount options, as Linux's overlayfs takes them.
//!
//! Features that change what is written to the layers (`redirect_dir`, `metacopy`, `index`, `nfs_export`, `verity`) are not
//! built; saying that they are off is accepted, asking for them is EINVAL.
//!
//! Source: Linux `Documentation/filesystems/overlayfs.rst`.

use abi::Errno;
use alloc::vec::Vec;

/// Lower layers at most.
const MAX_LOWERS: usize = 500;

/// What a mount asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Lower directories, topmost first.
    pub lowers: Vec<Vec<u8>>,
    /// Upper directory; without one the mount is read-only.
    pub upper: Option<Vec<u8>>,
    /// Work directory, on the same mount as the upper one.
    pub work: Option<Vec<u8>>,
    /// Marks are kept in `user.overlay.` attributes instead of `trusted.overlay.`.
    pub user_xattrs: bool,
    /// Never flushes the upper layer.
    pub volatile: bool,
}

/// Parses the data string of mount(2). Unknown options are EINVAL; `\` before a comma or colon takes it literally.
pub fn parse(data: &[u8]) -> Result<Options, Errno> {
    let mut options = Options::default();
    for option in split(data, b',', false) {
        let mut parts = option.splitn(2, |b| *b == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        match (name, value) {
            (b"lowerdir", Some(value)) => options.lowers = lowers(value)?,
            (b"lowerdir+", Some(value)) => options.lowers.push(unescape(value)?),
            (b"upperdir", Some(value)) => options.upper = Some(unescape(value)?),
            (b"workdir", Some(value)) => options.work = Some(unescape(value)?),
            (b"userxattr", None) => options.user_xattrs = true,
            (b"volatile", None) => options.volatile = true,
            (b"default_permissions", None) => {}
            (b"redirect_dir", Some(b"off" | b"nofollow")) => {}
            (b"index" | b"nfs_export" | b"metacopy" | b"verity", Some(b"off")) => {}
            // Inode numbers are made unique in a way of our own, file handles are not made.
            (b"xino", Some(b"off" | b"auto")) | (b"uuid", Some(b"off" | b"null" | b"auto")) => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if options.lowers.is_empty() || options.lowers.len() > MAX_LOWERS {
        return Err(Errno::EINVAL);
    }
    match (&options.upper, &options.work) {
        (Some(_), None) => Err(Errno::EINVAL),
        (None, _) if options.lowers.len() < 2 => Err(Errno::EINVAL),
        _ => Ok(options),
    }
}

fn lowers(value: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    split(value, b':', true).map(unescape).collect()
}

/// The parts of `text` between separators that no backslash escapes; escapes are kept. Empty parts are left out unless
/// `empty` is set.
fn split(text: &[u8], separator: u8, empty: bool) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    text.split(move |byte| {
        let is_separator = *byte == separator && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_separator
    })
    .filter(move |part| empty || !part.is_empty())
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

    #[test]
    fn layers_and_escapes() {
        let options = parse(b"lowerdir=/a:/b\\:c\\,d,upperdir=/u,workdir=/w,index=off").unwrap();
        assert_eq!(options.lowers, [&b"/a"[..], b"/b:c,d"]);
        assert_eq!((options.upper.as_deref(), options.work.as_deref()), (Some(&b"/u"[..]), Some(&b"/w"[..])));
    }

    #[test]
    fn what_cannot_be_mounted_is_einval() {
        let cases: [&[u8]; 8] = [
            b"",
            b"lowerdir=/a",
            b"lowerdir=/a:,upperdir=/u,workdir=/w",
            b"lowerdir=/a,upperdir=/u",
            b"upperdir=/u,workdir=/w",
            b"lowerdir=/a:/b,redirect_dir=on",
            b"lowerdir=/a:/b,metacopy=on",
            b"lowerdir=/a:/b,colour=blue",
        ];
        for data in cases {
            assert_eq!(parse(data), Err(Errno::EINVAL), "{}", data.escape_ascii());
        }
        assert!(parse(b"lowerdir=/a:/b").is_ok());
    }
}
