//! The `newc` cpio format: 110-byte ASCII header, name, body, each padded to four bytes.
//!
//! Both variants are read: magic `070701`, and `070702` whose check field is the sum of the body's bytes.

use crate::Error;

/// Bytes in a header.
const HEADER: usize = 110;
/// Longest name, its NUL included, and longest symbolic link target that is unpacked (PATH_MAX).
pub const PATH_MAX: usize = 4096;
/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// One entry, borrowed from the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Inode number in the archive: with `dev`, the identity of hard links.
    pub ino: u32,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of links in the archive.
    pub nlink: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
    /// Device the entry came from, (major, minor).
    pub dev: (u32, u32),
    /// Device number of a device node, (major, minor).
    pub rdev: (u32, u32),
    /// Path without the final NUL; relative or absolute.
    pub name: &'a [u8],
    /// File contents or link target.
    pub body: &'a [u8],
}

/// What the next bytes of an archive are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A file of some type.
    Entry(Entry<'a>),
    /// An entry without a usable name, skipped as Linux does.
    Skipped,
    /// The end of this archive; another may follow.
    Trailer,
}

/// Reads the item at `pos` of `image`; returns it and the position after it. Positions are multiples of four counted from
/// the start of `image`.
pub fn read(image: &[u8], pos: usize) -> Result<(Item<'_>, usize), Error> {
    let header: &[u8; HEADER] = image.get(pos..).and_then(|rest| rest.first_chunk()).ok_or(Error::Truncated)?;
    let check = match header.first_chunk::<6>() {
        Some(b"070701") => false,
        Some(b"070702") => true,
        _ => return Err(Error::Junk),
    };
    let mut fields = [0u32; 13];
    let digits = header.get(6..).unwrap_or(&[]);
    for (field, text) in fields.iter_mut().zip(digits.chunks_exact(8)) {
        *field = hex(text).ok_or(Error::BadHeader)?;
    }
    let [ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, name_len, sum] = fields;

    let name_start = pos + HEADER;
    let name_end = name_start.checked_add(name_len as usize).ok_or(Error::Truncated)?;
    let name = image.get(name_start..name_end).ok_or(Error::Truncated)?;
    if name_len == 0 || name_len as usize > PATH_MAX {
        let body_end = align(name_end)?.checked_add(size as usize).ok_or(Error::Truncated)?;
        return Ok((Item::Skipped, align(body_end)?));
    }
    let (0, name) = name.split_last().map(|(last, name)| (*last, name)).ok_or(Error::BadHeader)? else {
        return Err(Error::BadHeader);
    };
    // A name may hold a NUL before its end; what follows it is padding.
    let name = name.split(|b| *b == 0).next().unwrap_or(name);
    if name == TRAILER {
        return Ok((Item::Trailer, align(name_end)?.min(image.len())));
    }
    let body_start = align(name_end)?;
    let body_end = body_start.checked_add(size as usize).ok_or(Error::Truncated)?;
    let body = image.get(body_start..body_end).ok_or(Error::Truncated)?;
    if check && body.iter().fold(0u32, |sum, b| sum.wrapping_add(u32::from(*b))) != sum {
        return Err(Error::BadChecksum);
    }
    let entry = Entry { ino, mode, uid, gid, nlink, mtime, dev: (major, minor), rdev: (rmajor, rminor), name, body };
    Ok((Item::Entry(entry), align(body_end)?))
}

fn align(pos: usize) -> Result<usize, Error> {
    pos.checked_next_multiple_of(4).ok_or(Error::Truncated)
}

/// Eight hexadecimal digits of either case.
fn hex(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |value, digit| {
        let digit = (*digit as char).to_digit(16)?;
        Some(value << 4 | digit)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    /// Appends an entry to `out`.
    pub(crate) fn put(out: &mut Vec<u8>, name: &str, fields: [u32; 6], body: &[u8]) {
        let [ino, mode, uid, gid, nlink, mtime] = fields;
        out.extend_from_slice(
            format!(
                "070701{ino:08x}{mode:08X}{uid:08x}{gid:08x}{nlink:08x}{mtime:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
                body.len(),
                8,
                1,
                5,
                1,
                name.len() + 1,
                0
            )
            .as_bytes(),
        );
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
    }

    #[test]
    fn an_entry_is_read_whole() {
        let mut image = Vec::new();
        put(&mut image, "etc/hosts", [7, 0o100644, 1, 2, 1, 99], b"hello");
        let (item, end) = read(&image, 0).unwrap();
        let Item::Entry(entry) = item else { panic!("not an entry") };
        assert_eq!((entry.name, entry.body), (&b"etc/hosts"[..], &b"hello"[..]));
        assert_eq!((entry.ino, entry.mode, entry.uid, entry.gid, entry.mtime), (7, 0o100644, 1, 2, 99));
        assert_eq!((entry.dev, entry.rdev), ((8, 1), (5, 1)));
        assert_eq!(end, image.len());
    }

    #[test]
    fn every_cut_of_an_archive_is_an_error_or_shorter() {
        let mut image = Vec::new();
        put(&mut image, "a", [7, 0o100644, 0, 0, 1, 0], b"body!");
        for len in 0..image.len() - 3 {
            assert_eq!(read(&image[..len], 0), Err(Error::Truncated), "cut at {len}");
        }
    }

    #[test]
    fn bad_digits_and_bad_magic_are_refused() {
        let mut image = Vec::new();
        put(&mut image, "a", [7, 0o100644, 0, 0, 1, 0], b"");
        image[10] = b'g';
        assert_eq!(read(&image, 0), Err(Error::BadHeader));
        image[0] = b'x';
        assert_eq!(read(&image, 0), Err(Error::Junk));
    }

    #[test]
    fn a_checksummed_body_is_verified() {
        let mut image = Vec::new();
        put(&mut image, "a", [7, 0o100644, 0, 0, 1, 0], b"\x01\x02");
        image[5] = b'2';
        assert_eq!(read(&image, 0), Err(Error::BadChecksum));
        image[109] = b'3';
        assert!(matches!(read(&image, 0), Ok((Item::Entry(_), _))));
    }

    #[test]
    fn huge_sizes_do_not_overflow() {
        let mut image = Vec::new();
        put(&mut image, "a", [7, 0o100644, 0, 0, 1, 0], b"");
        image[54..62].copy_from_slice(b"ffffffff");
        assert_eq!(read(&image, 0), Err(Error::Truncated));
        image[94..102].copy_from_slice(b"ffffffff");
        assert_eq!(read(&image, 0), Err(Error::Truncated));
    }
}
