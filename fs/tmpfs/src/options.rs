//! Mount options: `size`, `nr_blocks`, `nr_inodes`, `mode`, `uid`, `gid` (tmpfs(5)).

use abi::Errno;
use vfs::{Cred, UserNamespace};

/// The parsed options of an instance. A limit of 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub max_pages: u64,
    pub max_inodes: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

fn total_pages() -> u64 {
    machine::mem::extent().1 as u64
}

impl Options {
    /// Half of memory in pages and in inodes.
    pub fn limited() -> Options {
        let half = total_pages() / 2;
        Options { max_pages: half, max_inodes: half, ..Options::unlimited() }
    }
    /// No limits, a world-writable sticky root.
    pub fn unlimited() -> Options {
        Options { max_pages: 0, max_inodes: 0, mode: 0o1777, uid: 0, gid: 0 }
    }
    /// The same for a root that belongs to who mounts it.
    pub fn owned_by(self, cred: &Cred) -> Options {
        Options { uid: cred.fsuid, gid: cred.fsgid, ..self }
    }
    /// Applies an option string; EINVAL for what is unknown or malformed.
    ///
    /// Ids are those of `names`.
    pub fn parse(data: &[u8], defaults: Options, names: &UserNamespace) -> Result<Options, Errno> {
        let mut o = defaults;
        for (key, value) in vfs::parse_options(data) {
            match (key, value) {
                (b"size", Some(v)) => o.max_pages = size(v)?.div_ceil(4096),
                (b"nr_blocks", Some(v)) => o.max_pages = number(v)?,
                (b"nr_inodes", Some(v)) => o.max_inodes = number(v)?,
                (b"mode", Some(v)) => o.mode = octal(v)?,
                (b"uid", Some(v)) => o.uid = id(v).and_then(|id| names.kuid(id)).ok_or(Errno::EINVAL)?,
                (b"gid", Some(v)) => o.gid = id(v).and_then(|id| names.kgid(id)).ok_or(Errno::EINVAL)?,
                // Placement and huge pages are hints; there is one node and no huge page here.
                (b"mpol", Some(_)) | (b"huge", Some(b"never" | b"advise")) => {}
                (b"inode32" | b"inode64", None) => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(o)
    }
}

fn id(v: &[u8]) -> Option<u32> {
    u32::try_from(decimal(v).ok()?).ok()
}

fn decimal(v: &[u8]) -> Result<u64, Errno> {
    let text = core::str::from_utf8(v).map_err(|_| Errno::EINVAL)?;
    text.parse().map_err(|_| Errno::EINVAL)
}

pub fn octal(v: &[u8]) -> Result<u32, Errno> {
    let text = core::str::from_utf8(v).map_err(|_| Errno::EINVAL)?;
    let mode = u32::from_str_radix(text, 8).map_err(|_| Errno::EINVAL)?;
    if mode > 0o7777 { Err(Errno::EINVAL) } else { Ok(mode) }
}

/// A number with an optional suffix k, m, g, t.
fn number(v: &[u8]) -> Result<u64, Errno> {
    let (digits, shift) = match v.split_last() {
        Some((b'k' | b'K', d)) => (d, 10),
        Some((b'm' | b'M', d)) => (d, 20),
        Some((b'g' | b'G', d)) => (d, 30),
        Some((b't' | b'T', d)) => (d, 40),
        _ => (v, 0),
    };
    decimal(digits)?.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

/// Bytes, or with `%` a share of memory.
fn size(v: &[u8]) -> Result<u64, Errno> {
    match v.split_last() {
        Some((b'%', d)) => Ok(total_pages().saturating_mul(4096) / 100 * decimal(d)?.min(1_000_000)),
        _ => number(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes_and_shares() {
        let o = Options::parse(b"size=1m,nr_inodes=2k,mode=755,uid=7", Options::unlimited(), UserNamespace::first())
            .unwrap();
        assert_eq!((o.max_pages, o.max_inodes, o.mode, o.uid), (256, 2048, 0o755, 7));
        let all = Options::parse(b"size=100%", Options::unlimited(), UserNamespace::first()).unwrap();
        assert!(all.max_pages.abs_diff(total_pages()) < 100);
        for bad in ["size", "size=x", "mode=9", "mode=77777", "colour=red", "nr_inodes=99999999999999999999"] {
            assert_eq!(
                Options::parse(bad.as_bytes(), Options::unlimited(), UserNamespace::first()),
                Err(Errno::EINVAL),
                "{bad}"
            );
        }
    }
}
