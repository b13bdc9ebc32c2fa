//! Watching files (inotify(7)).

use crate::at;
use abi::Errno;
use abi::fcntl::{AT_FDCWD, OpenFlags};
use abi::inotify::*;
use mm::user::UserCStr;
use task::Cx;
use vfs::inotify::Inotify;
use vfs::{FileType, may};

/// inotify_init1(2).
pub fn inotify_init1(cx: &mut Cx, flags: u32) -> Result<i32, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(flags - (OpenFlags::CLOEXEC | OpenFlags::NONBLOCK)).is_empty() {
        return Err(Errno::EINVAL);
    }
    let file = Inotify::create(flags, cx.cred());
    cx.install(file, flags.contains(OpenFlags::CLOEXEC))
}

/// inotify_init(2).
pub fn inotify_init(cx: &mut Cx) -> Result<i32, Errno> {
    inotify_init1(cx, 0)
}

/// inotify_add_watch(2).
pub fn inotify_add_watch(cx: &mut Cx, fd: i32, path: UserCStr, mask: u32) -> Result<i32, Errno> {
    // Bits that mean nothing are passed over; only a mask of nothing else is refused.
    let options = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT;
    let told = IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ISDIR;
    if mask & (IN_ALL_EVENTS | options | told) == 0 {
        return Err(Errno::EINVAL);
    }
    if mask & IN_MASK_ADD != 0 && mask & IN_MASK_CREATE != 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd)?;
    let instance = Inotify::of(&file)?;
    let place = at::lookup(cx, AT_FDCWD, path, 0, mask & IN_DONT_FOLLOW == 0)?;
    if mask & IN_ONLYDIR != 0 && place.dentry.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    place.inode().check(cx.cred(), may::READ)?;
    instance.add(place.inode(), mask)
}

/// inotify_rm_watch(2).
pub fn inotify_rm_watch(cx: &mut Cx, fd: i32, wd: i32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    Inotify::of(&file)?.remove(wd)
}
