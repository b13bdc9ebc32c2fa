//! The file system as a [`Tree`]: entries become files below a directory of the mount tree.

use crate::Error;
use crate::unpack::{Counts, Kind, Meta, Tree, unpack};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use mm::Mm;
use mm::io::Src;
use vfs::ops::{self, Make};
use vfs::{Caller, Cred, File, FileType, NoJobs, Path, SetAttr, Start, Timespec, makedev, walk};

/// Unpacks `image` below `root` as the superuser. What came before an error stays.
pub fn unpack_at(image: &[u8], root: &Path) -> Result<Counts, Error> {
    let mm = Mm::new().map_err(|_| Error::NoMemory)?;
    unpack(image, &mut Place { root, cred: Cred::root(), mm })
}

struct Place<'a> {
    root: &'a Path,
    cred: Arc<Cred>,
    mm: Arc<Mm>,
}

impl Place<'_> {
    fn start(&self) -> Start<'_> {
        Start::new(self.root, self.root, &self.cred)
    }
    fn find(&self, name: &[u8]) -> Option<Path> {
        walk::lookup(&self.start(), name, false).ok()
    }
    /// Removes what is at `name`, unless it is a directory and a directory comes again.
    fn clear(&self, name: &[u8], kind: &Kind<'_>) -> Result<Option<Path>, Errno> {
        let Some(old) = self.find(name) else { return Ok(None) };
        match (old.dentry.kind(), kind) {
            (FileType::Directory, Kind::Dir) => return Ok(Some(old)),
            (FileType::Directory, _) => ops::rmdir(&self.start(), name)?,
            _ => ops::unlink(&self.start(), name)?,
        }
        Ok(None)
    }
    fn write(&self, path: &Path, body: &[u8]) -> Result<(), Errno> {
        let caller = Caller { mm: &self.mm, cred: &self.cred, jobs: &NoJobs };
        let flags = OpenFlags::WRONLY;
        let opened = path.inode().clone().open(path, flags, &caller)?;
        let file = File::new(path.clone(), opened, flags, self.cred.clone());
        let mut src = Src::kernel(body);
        while src.remaining() > 0 {
            let done = src.done() as u64;
            if file.pwrite(&mut src, done, u64::MAX)? == 0 {
                return Err(Errno::EIO);
            }
        }
        Ok(())
    }
    fn set_meta(&self, path: &Path, meta: &Meta) -> Result<(), Errno> {
        let time = Timespec { sec: i64::from(meta.mtime), nsec: 0 };
        let is_link = path.dentry.kind() == FileType::Symlink;
        ops::set_attr(
            path,
            SetAttr {
                mode: (!is_link).then_some(meta.mode & 0o7777),
                uid: Some(meta.uid),
                gid: Some(meta.gid),
                atime: Some(time),
                mtime: Some(time),
                ..SetAttr::default()
            },
        )
    }
}

impl Tree for Place<'_> {
    fn make(&mut self, name: &[u8], meta: &Meta, kind: Kind<'_>) -> Result<(), Errno> {
        if let Some(dir) = self.clear(name, &kind)? {
            return self.set_meta(&dir, meta);
        }
        let what = match kind {
            Kind::File(_) => Make::Node(FileType::Regular.mode() | meta.mode & 0o7777, 0),
            Kind::Dir => Make::Directory(meta.mode & 0o7777),
            Kind::Symlink(target) => Make::Symlink(target),
            Kind::Node(major, minor) => Make::Node(meta.mode, makedev(major, minor)),
        };
        let path = ops::make(&self.start(), name, what, 0)?;
        if let Kind::File(body) = kind {
            self.write(&path, body)?;
        }
        self.set_meta(&path, meta)
    }
    fn link(&mut self, old: &[u8], name: &[u8], meta: &Meta, body: Option<&[u8]>) -> Result<(), Errno> {
        let target = self.find(old).ok_or(Errno::ENOENT)?;
        self.clear(name, &Kind::File(&[]))?;
        ops::link(&target, &self.start(), name)?;
        let Some(body) = body else { return Ok(()) };
        self.write(&target, body)?;
        self.set_meta(&target, meta)
    }
    fn set_dir_time(&mut self, name: &[u8], mtime: u32) {
        let time = Some(Timespec { sec: i64::from(mtime), nsec: 0 });
        // A directory that a later entry removed has no time to set.
        if let Some(dir) = self.find(name) {
            let _ = ops::set_attr(&dir, SetAttr { atime: time, mtime: time, ..SetAttr::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::tests::put;
    use alloc::vec::Vec;
    use tmpfs::testing::World;

    #[test]
    fn an_archive_becomes_files_links_and_times() {
        let mut image = Vec::new();
        put(&mut image, ".", [1, 0o40711, 0, 0, 2, 5], b"");
        put(&mut image, "bin", [2, 0o40755, 0, 0, 2, 50], b"");
        put(&mut image, "bin/tool", [3, 0o104755, 7, 8, 2, 60], b"");
        put(&mut image, "bin/same", [3, 0o104755, 7, 8, 2, 60], b"body");
        put(&mut image, "null", [5, 0o20666, 0, 0, 1, 0], b"");
        put(&mut image, "link", [6, 0o120777, 0, 0, 1, 0], b"bin/tool");
        put(&mut image, "TRAILER!!!", [0, 0, 0, 0, 1, 0], b"");
        let world = World::new();
        let root = world.fs.dirs().root.clone();
        assert_eq!(unpack_at(&image, &root), Ok(Counts { entries: 6, refused: 0 }));
        assert_eq!(world.read("link").unwrap(), b"body");
        let tool = world.lstat("/bin/tool").unwrap();
        assert_eq!((tool.mode, tool.uid, tool.gid, tool.nlink, tool.mtime.sec), (0o104755, 7, 8, 2, 60));
        assert_eq!(world.lstat("/bin").unwrap().mtime.sec, 50);
        assert_eq!(world.lstat("/").unwrap().mode, 0o40711);
        assert_eq!(world.lstat("/null").unwrap().rdev, makedev(5, 1));
    }
}
