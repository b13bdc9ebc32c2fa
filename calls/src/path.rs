//! Names: remove, rename, link, make special files, read links (unlink(2), rename(2), link(2), symlink(2), mknod(2), readlink(2)).

use crate::at;
use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, ResolveFlags};
use abi::stat::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK};
use machine::VirtAddr;
use mm::user::{PathBuf, UserCStr};
use task::Cx;
use vfs::ops::{self, Make};
use vfs::{Cap, FileType, dev_from_user, rename, walk};

/// unlinkat(2).
pub fn unlinkat(cx: &mut Cx, dirfd: i32, path: UserCStr, flags: u32) -> Result<(), Errno> {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    at::with_path(cx, dirfd, path, if flags != 0 { ops::rmdir } else { ops::unlink })
}

/// unlink(2).
pub fn unlink(cx: &mut Cx, path: UserCStr) -> Result<(), Errno> {
    unlinkat(cx, AT_FDCWD, path, 0)
}

/// renameat2(2).
pub fn renameat2(cx: &mut Cx, olddir: i32, old: UserCStr, newdir: i32, new: UserCStr, flags: u32) -> Result<(), Errno> {
    let flags = rename::check_flags(flags)?;
    let (mut from, mut to) = (PathBuf::new(), PathBuf::new());
    old.read_path(cx.mm(), &mut from)?;
    // What is wrong with the second path counts only when the first leads somewhere.
    let copied = new.read_path(cx.mm(), &mut to);
    let none = ResolveFlags::empty();
    at::with_text(cx, olddir, &from, none, |start, from| {
        let found = walk::lookup_parent(start, from)?;
        copied?;
        at::with_text(cx, newdir, &to, none, |start, to| rename::rename(found, start, to, flags))
    })
}

/// renameat(2).
pub fn renameat(cx: &mut Cx, olddir: i32, old: UserCStr, newdir: i32, new: UserCStr) -> Result<(), Errno> {
    renameat2(cx, olddir, old, newdir, new, 0)
}

/// rename(2).
pub fn rename(cx: &mut Cx, old: UserCStr, new: UserCStr) -> Result<(), Errno> {
    renameat2(cx, AT_FDCWD, old, AT_FDCWD, new, 0)
}

/// linkat(2).
pub fn linkat(cx: &mut Cx, olddir: i32, old: UserCStr, newdir: i32, new: UserCStr, flags: u32) -> Result<(), Errno> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut text = PathBuf::new();
    old.read_path(cx.mm(), &mut text)?;
    // An open file can be given a name by its opener or with the capability (linkat(2), AT_EMPTY_PATH).
    let target = if text.is_empty() && flags & AT_EMPTY_PATH != 0 {
        let file = cx.files().get_any(olddir)?;
        if !cx.cred().capable(Cap::DacReadSearch) && **file.cred() != **cx.cred() {
            return Err(Errno::ENOENT);
        }
        file.path().clone()
    } else {
        let follow = flags & AT_SYMLINK_FOLLOW != 0;
        at::with_text(cx, olddir, &text, ResolveFlags::empty(), |start, text| walk::lookup(start, text, follow))?
    };
    at::with_path(cx, newdir, new, |start, text| ops::link(&target, start, text))
}

/// link(2).
pub fn link(cx: &mut Cx, old: UserCStr, new: UserCStr) -> Result<(), Errno> {
    linkat(cx, AT_FDCWD, old, AT_FDCWD, new, 0)
}

/// symlinkat(2).
pub fn symlinkat(cx: &mut Cx, target: UserCStr, dirfd: i32, path: UserCStr) -> Result<(), Errno> {
    let mut text = PathBuf::new();
    target.read_path(cx.mm(), &mut text)?;
    if text.is_empty() {
        return Err(Errno::ENOENT);
    }
    at::with_path(cx, dirfd, path, |start, path| ops::make(start, path, Make::Symlink(&text), 0)).map(drop)
}

/// symlink(2).
pub fn symlink(cx: &mut Cx, target: UserCStr, path: UserCStr) -> Result<(), Errno> {
    symlinkat(cx, target, AT_FDCWD, path)
}

/// mknodat(2).
pub fn mknodat(cx: &mut Cx, dirfd: i32, path: UserCStr, mode: u32, dev: u32) -> Result<(), Errno> {
    let kind = match mode & S_IFMT {
        0 => S_IFREG,
        kind @ (S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK) => kind,
        S_IFDIR => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    let what = Make::Node(kind | mode & !S_IFMT, dev_from_user(dev));
    let umask = cx.fs().umask();
    at::with_path(cx, dirfd, path, |start, text| ops::make(start, text, what, umask)).map(drop)
}

/// mknod(2).
pub fn mknod(cx: &mut Cx, path: UserCStr, mode: u32, dev: u32) -> Result<(), Errno> {
    mknodat(cx, AT_FDCWD, path, mode, dev)
}

/// readlinkat(2): the text without a NUL, cut at `size`.
pub fn readlinkat(cx: &mut Cx, dirfd: i32, path: UserCStr, buf: VirtAddr, size: i32) -> Result<usize, Errno> {
    let size = usize::try_from(size).ok().filter(|&n| n > 0).ok_or(Errno::EINVAL)?;
    let mut text = PathBuf::new();
    path.read_path(cx.mm(), &mut text)?;
    let empty = text.is_empty();
    let place = if empty {
        // The descriptor of a link opened with O_PATH | O_NOFOLLOW.
        at::place_of(cx, dirfd)?
    } else {
        at::with_text(cx, dirfd, &text, ResolveFlags::empty(), |start, text| walk::lookup(start, text, false))?
    };
    if place.dentry.kind() != FileType::Symlink {
        return Err(if empty { Errno::ENOENT } else { Errno::EINVAL });
    }
    let target = match place.inode().magic_link(cx.cred()) {
        Some(to) => to?.display(&cx.fs().dirs().root).into(),
        None => place.inode().readlink()?,
    };
    let n = target.len().min(size);
    cx.mm().write_bytes(buf, target.get(..n).unwrap_or_default())?;
    Ok(n)
}

/// readlink(2).
pub fn readlink(cx: &mut Cx, path: UserCStr, buf: VirtAddr, size: i32) -> Result<usize, Errno> {
    readlinkat(cx, AT_FDCWD, path, buf, size)
}
