//! From archive entries to calls on a [`Tree`], with Linux's rules for links, conflicts and times.
//!
//! * Later entries replace earlier ones of another type; a directory stays if a directory comes again.
//! * Entries with two or more links and the same identity become hard links of the first; the body may come with any of
//!   them (GNU cpio puts it last), so a link with a body sets the file's contents again.
//! * Modification times of directories are set at the end, when nothing more is made inside them.

use crate::cpio::{self, Entry, Item};
use crate::{Error, gzip};
use abi::Errno;
use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use hashbrown::HashMap;

const S_IFMT: u32 = 0o170000;
const S_IFSOCK: u32 = 0o140000;
const S_IFLNK: u32 = 0o120000;
const S_IFREG: u32 = 0o100000;
const S_IFBLK: u32 = 0o060000;
const S_IFDIR: u32 = 0o040000;
const S_IFCHR: u32 = 0o020000;
const S_IFIFO: u32 = 0o010000;

/// What to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// A regular file with these contents.
    File(&'a [u8]),
    /// A directory (kept if it exists).
    Dir,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    /// A device node, FIFO or socket; type in the mode, device number (major, minor).
    Node(u32, u32),
}

/// Attributes of what is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
}

/// Where entries go: a file system, or a fake in tests. Names are as in the archive (relative to the root, or absolute).
pub trait Tree {
    /// Makes or replaces `name`; what is there and of another type is removed first. The modification time of a directory
    /// is set later by [`Tree::set_dir_time`].
    fn make(&mut self, name: &[u8], meta: &Meta, kind: Kind<'_>) -> Result<(), Errno>;
    /// Makes `name` another name of `old`; with `body`, sets the contents and attributes of the file.
    fn link(&mut self, old: &[u8], name: &[u8], meta: &Meta, body: Option<&[u8]>) -> Result<(), Errno>;
    /// Sets the modification time of a directory made before.
    fn set_dir_time(&mut self, name: &[u8], mtime: u32);
}

/// How much was unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Entries made.
    pub entries: usize,
    /// Entries the tree refused (a parent directory is missing, a name is too long).
    pub refused: usize,
}

/// Unpacks a whole image into `tree`. A refused entry is counted and skipped, as Linux does; malformed input ends it.
pub fn unpack(image: &[u8], tree: &mut impl Tree) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let mut dirs = Vec::new();
    let result = segments(image, tree, &mut counts, &mut dirs);
    for (name, mtime) in dirs.iter().rev() {
        tree.set_dir_time(name, *mtime);
    }
    result.map(|()| counts)
}

type DirTimes = Vec<(Vec<u8>, u32)>;

fn segments(image: &[u8], tree: &mut impl Tree, counts: &mut Counts, dirs: &mut DirTimes) -> Result<(), Error> {
    let mut pos = 0;
    while let Some(rest) = image.get(pos..).filter(|rest| !rest.is_empty()) {
        match *rest {
            [b'0', ..] if pos.is_multiple_of(4) => pos = archive(image, pos, tree, counts, dirs)?,
            [0, ..] => pos += rest.iter().position(|b| *b != 0).unwrap_or(rest.len()),
            _ if rest.starts_with(&gzip::MAGIC) => {
                let (contents, len) = gzip::inflate(rest)?;
                pos += len;
                // A member may itself hold several archives, but no further compression.
                let mut at = 0;
                while let Some(rest) = contents.get(at..).filter(|rest| !rest.is_empty()) {
                    at += rest.iter().position(|b| *b != 0).unwrap_or(rest.len());
                    if at < contents.len() {
                        at = archive(&contents, at, tree, counts, dirs)?;
                    }
                }
            }
            _ => return Err(Error::Junk),
        }
    }
    Ok(())
}

/// Unpacks the archive at `pos`; returns the position after its trailer (or the end of the image).
fn archive(
    image: &[u8],
    mut pos: usize,
    tree: &mut impl Tree,
    counts: &mut Counts,
    dirs: &mut DirTimes,
) -> Result<usize, Error> {
    let mut links = HashMap::new();
    while pos < image.len() {
        let (item, next) = cpio::read(image, pos)?;
        pos = next;
        match item {
            Item::Trailer => break,
            Item::Skipped => {}
            Item::Entry(entry) => match make(&entry, tree, &mut links, dirs) {
                Ok(()) => counts.entries += 1,
                Err(_) => counts.refused += 1,
            },
        }
    }
    Ok(pos)
}

type Identity = (u32, (u32, u32), u32);

fn make<'a>(
    entry: &Entry<'a>,
    tree: &mut impl Tree,
    links: &mut HashMap<Identity, &'a [u8]>,
    dirs: &mut DirTimes,
) -> Result<(), Errno> {
    let meta = Meta { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime };
    let format = entry.mode & S_IFMT;
    let kind = match format {
        S_IFREG => Kind::File(entry.body),
        S_IFDIR => Kind::Dir,
        S_IFLNK if entry.body.len() < cpio::PATH_MAX => Kind::Symlink(entry.body),
        S_IFBLK | S_IFCHR | S_IFIFO | S_IFSOCK => Kind::Node(entry.rdev.0, entry.rdev.1),
        _ => return Err(Errno::EINVAL),
    };
    if entry.nlink >= 2 && format != S_IFDIR && format != S_IFLNK {
        let identity = (entry.ino, entry.dev, format);
        if let Some(old) = links.get(&identity) {
            let body = (format == S_IFREG && !entry.body.is_empty()).then_some(entry.body);
            return tree.link(old, entry.name, &meta, body);
        }
        tree.make(entry.name, &meta, kind)?;
        links.insert(identity, entry.name);
        return Ok(());
    }
    tree.make(entry.name, &meta, kind)?;
    if kind == Kind::Dir {
        dirs.push((entry.name.to_owned(), entry.mtime));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::tests::put;
    use crate::gzip::tests::member;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Tree for Log {
        fn make(&mut self, name: &[u8], meta: &Meta, kind: Kind<'_>) -> Result<(), Errno> {
            if name == b"refused" {
                return Err(Errno::ENOENT);
            }
            let name = String::from_utf8_lossy(name);
            let kind = match kind {
                Kind::File(body) => format!("file {}", String::from_utf8_lossy(body)),
                Kind::Dir => "dir".to_string(),
                Kind::Symlink(target) => format!("symlink {}", String::from_utf8_lossy(target)),
                Kind::Node(major, minor) => format!("node {major}:{minor}"),
            };
            self.0.push(format!("{name} {:o} {kind}", meta.mode));
            Ok(())
        }
        fn link(&mut self, old: &[u8], name: &[u8], _: &Meta, body: Option<&[u8]>) -> Result<(), Errno> {
            let [old, name] = [old, name].map(String::from_utf8_lossy);
            self.0.push(format!("{name} = {old} {:?}", body.map(String::from_utf8_lossy)));
            Ok(())
        }
        fn set_dir_time(&mut self, name: &[u8], mtime: u32) {
            self.0.push(format!("{} @{mtime}", String::from_utf8_lossy(name)));
        }
    }

    fn image() -> Vec<u8> {
        let mut image = Vec::new();
        put(&mut image, "dev", [1, 0o40755, 0, 0, 2, 50], b"");
        put(&mut image, "dev/console", [2, 0o20600, 0, 0, 1, 0], b"");
        put(&mut image, "a", [3, 0o100644, 0, 0, 2, 0], b"");
        put(&mut image, "b", [3, 0o100644, 0, 0, 2, 0], b"late");
        put(&mut image, "l", [4, 0o120777, 0, 0, 1, 0], b"dev/console");
        put(&mut image, "refused", [5, 0o100644, 0, 0, 1, 0], b"");
        put(&mut image, "TRAILER!!!", [0, 0, 0, 0, 1, 0], b"");
        image
    }

    const EXPECTED: [&str; 6] = [
        "dev 40755 dir",
        "dev/console 20600 node 5:1",
        "a 100644 file ",
        "b = a Some(\"late\")",
        "l 120777 symlink dev/console",
        "dev @50",
    ];

    #[test]
    fn all_types_links_and_times() {
        let mut log = Log::default();
        assert_eq!(unpack(&image(), &mut log), Ok(Counts { entries: 5, refused: 1 }));
        assert_eq!(log.0, EXPECTED);
    }

    #[test]
    fn gzip_members_and_bare_archives_follow_each_other() {
        let mut all = image();
        all.resize(all.len().next_multiple_of(512), 0);
        all.extend(member(&image()));
        all.resize(all.len().next_multiple_of(4) + 8, 0);
        all.extend(image());
        let mut log = Log::default();
        assert_eq!(unpack(&all, &mut log), Ok(Counts { entries: 15, refused: 3 }));
        assert_eq!(log.0.len(), 18);
    }

    #[test]
    fn what_came_before_junk_is_kept() {
        let mut all = image();
        all.extend_from_slice(b"junk");
        let mut log = Log::default();
        assert_eq!(unpack(&all, &mut log), Err(Error::Junk));
        assert_eq!(log.0, EXPECTED);
        assert_eq!(unpack(&vec![b'0'; 400], &mut Log::default()), Err(Error::Junk));
    }
}
