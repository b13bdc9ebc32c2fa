//! Copy-up: the first change of a lower object makes a copy of it in the upper layer.
//!
//! The copy is made under a temporary name in the work directory, given the contents, owner, mode, times and extended
//! attributes of the original, and then moved to its place in one step; whoever looks sees the old object or the finished new
//! one. The directories above it are copied first, from the top down and without recursion.

use crate::fs::Fs;
use crate::node::{Node, names};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::{Attr, Dst, FileType, Inode, SetAttr, Src};

/// Bytes copied at once.
const BUFFER: usize = 64 << 10;

/// How much of a file is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Everything.
    Whole,
    /// Nothing: it is about to be cut to length 0.
    Empty,
}

impl Fs {
    /// The inode number an upper object had before it was copied up.
    pub fn origin(&self, upper: &Arc<dyn Inode>) -> Option<u64> {
        let value = upper.get_xattr(self.mark("origin").as_bytes()).ok()?;
        Some(u64::from_le_bytes(value.try_into().ok()?))
    }
}

impl Node {
    /// The upper object, made by copying if there is none yet. EROFS without an upper layer.
    pub fn copy_up(&self, contents: Contents) -> Result<&Arc<dyn Inode>, Errno> {
        if let Some(upper) = self.upper.get() {
            return Ok(upper);
        }
        self.fs.work()?;
        let mut above = Vec::new();
        let mut next = self.parent();
        while let Some(dir) = next.filter(|dir| dir.upper.get().is_none()) {
            next = dir.parent();
            above.push(dir);
        }
        for dir in above.iter().rev() {
            dir.copy_one(Contents::Whole)?;
        }
        self.copy_one(contents)?;
        self.upper.get().ok_or(Errno::EIO)
    }

    fn parent(&self) -> Option<Arc<Node>> {
        self.place.lock().as_ref().map(|(parent, _)| parent.clone())
    }

    fn copy_one(&self, contents: Contents) -> Result<(), Errno> {
        let _copying = self.copying.lock();
        if self.upper.get().is_some() {
            return Ok(());
        }
        let lower = &self.lowers.first().ok_or(Errno::EIO)?.inode;
        let attr = self.attr()?;
        let upper = if self.base.nlink() == 0 {
            // Removed, but open: the copy has no name either.
            let copy = self.fs.work()?.tmpfile(attr.mode, &self.fs.cred)?;
            self.fill(lower, &copy, &attr, contents)?;
            copy
        } else {
            self.copy_to_place(lower, &attr, contents)?
        };
        let _ = self.upper.set(upper);
        let place = self.place.lock().take();
        drop(place);
        Ok(())
    }

    fn copy_to_place(&self, lower: &Arc<dyn Inode>, attr: &Attr, contents: Contents) -> Result<Arc<dyn Inode>, Errno> {
        let (parent, name) = self.place.lock().clone().ok_or(Errno::EIO)?;
        let dir = parent.upper.get().ok_or(Errno::EIO)?;
        let (work, temp) = (self.fs.work()?, self.fs.temp_name());
        let copy = {
            let _guard = work.base().lock.lock();
            match self.base.kind() {
                FileType::Symlink => work.symlink(temp.as_bytes(), &lower.readlink()?, &self.fs.cred)?,
                _ => work.create(temp.as_bytes(), attr.mode, attr.rdev, &self.fs.cred)?,
            }
        };
        let done = self.fill(lower, &copy, attr, contents).and_then(|()| {
            let _dir_guard = dir.base().lock.lock();
            let _work_guard = work.base().lock.lock();
            // The directory's contents stay the same in everyone's eyes.
            let times = dir.base().times();
            self.fs.move_in(work, &temp, &copy, dir, &name, None)?;
            dir.base().with_times(|t| *t = times);
            Ok(())
        });
        if let Err(error) = done {
            let _guard = work.base().lock.lock();
            let _ = match self.base.kind() {
                FileType::Directory => work.rmdir(temp.as_bytes(), &copy),
                _ => work.unlink(temp.as_bytes(), &copy),
            };
            return Err(error);
        }
        Ok(copy)
    }

    /// Gives a fresh copy the contents and attributes of the original.
    fn fill(&self, from: &Arc<dyn Inode>, to: &Arc<dyn Inode>, attr: &Attr, contents: Contents) -> Result<(), Errno> {
        if self.base.kind() == FileType::Regular && contents == Contents::Whole {
            self.copy_data(from, to)?;
        }
        let _guard = to.base().lock.lock();
        copy_xattrs(&self.fs, from, to)?;
        if self.base.kind() != FileType::Directory {
            // Lets the inode number survive when the overlay forgets the inode; an upper layer that cannot keep it goes without.
            let _ = to.set_xattr(self.fs.mark("origin").as_bytes(), &self.base.ino().to_le_bytes(), 0);
        }
        to.set_attr(&SetAttr {
            mode: (self.base.kind() != FileType::Symlink).then_some(attr.mode & 0o7777),
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            atime: Some(attr.atime),
            mtime: Some(attr.mtime),
            ..SetAttr::default()
        })
    }

    /// Copies the contents of a file through the layers' own file operations, which know their limits.
    fn copy_data(&self, from: &Arc<dyn Inode>, to: &Arc<dyn Inode>) -> Result<(), Errno> {
        let layer = self.lowers.first().map_or(0, |lower| lower.layer);
        let (Some(lower), Some(upper)) = (self.fs.lowers.get(layer), &self.fs.upper) else { return Err(Errno::EIO) };
        let source = self.fs.open_real(lower, from, OpenFlags::empty())?;
        let target = self.fs.open_real(upper, to, OpenFlags::WRONLY)?;
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(BUFFER).map_err(|_| Errno::ENOMEM)?;
        buffer.resize(BUFFER, 0);
        let mut pos = 0;
        loop {
            let n = source.pread(&mut Dst::kernel(&mut buffer), pos)?;
            let mut part = Src::kernel(buffer.get(..n).unwrap_or_default());
            while part.remaining() > 0 {
                let at = pos + part.done() as u64;
                if target.pwrite(&mut part, at, u64::MAX)? == 0 {
                    return Err(Errno::ENOSPC);
                }
            }
            if n == 0 {
                return Ok(());
            }
            pos += n as u64;
            sched::cond_resched();
        }
    }
}

/// Copies extended attributes but overlay's own. Layers without any, or an upper layer that does not take a name, lose them.
fn copy_xattrs(fs: &Fs, from: &Arc<dyn Inode>, to: &Arc<dyn Inode>) -> Result<(), Errno> {
    let list = match from.list_xattr() {
        Ok(list) => list,
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e),
    };
    for name in names(&list).filter(|name| !name.starts_with(fs.mark_prefix().as_bytes())) {
        match from.get_xattr(name) {
            Ok(value) => match to.set_xattr(name, &value, 0) {
                Ok(()) | Err(Errno::EOPNOTSUPP) => {}
                Err(e) => return Err(e),
            },
            // Gone since it was listed, or not for us to read.
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
