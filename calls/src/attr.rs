//! Changing attributes: mode, owner, times (chmod(2), chown(2), utimensat(2)).

use crate::at;
use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use abi::stat::{S_IALLUGO, S_ISGID, UTIME_NOW, UTIME_OMIT};
use abi::time::{Timespec as UserTime, Timeval};
use machine::VirtAddr;
use mm::user::{UserCStr, UserPtr};
use task::Cx;
use vfs::inode::without_setid;
use vfs::{Cap, FileType, Path, SetAttr, Timespec, may, ops};

fn change_mode(cx: &Cx, place: &Path, mode: u32) -> Result<(), Errno> {
    place.mnt.want_write()?;
    if place.dentry.kind() == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let inode = place.inode();
    let cred = cx.cred();
    if !inode.owner_or_capable(cred) {
        return Err(Errno::EPERM);
    }
    let mut mode = mode & S_IALLUGO;
    if !cred.in_group(inode.base().gid()) && !cred.capable_over(inode.base(), Cap::Fsetid) {
        mode &= !S_ISGID;
    }
    ops::set_attr(place, SetAttr { mode: Some(mode), ..SetAttr::default() })
}

/// fchmodat2(2).
pub fn fchmodat2(cx: &mut Cx, dirfd: i32, path: UserCStr, mode: u32, flags: u32) -> Result<(), Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    change_mode(cx, &place, mode)
}

/// fchmodat(2).
pub fn fchmodat(cx: &mut Cx, dirfd: i32, path: UserCStr, mode: u32) -> Result<(), Errno> {
    fchmodat2(cx, dirfd, path, mode, 0)
}

/// chmod(2).
pub fn chmod(cx: &mut Cx, path: UserCStr, mode: u32) -> Result<(), Errno> {
    fchmodat2(cx, AT_FDCWD, path, mode, 0)
}

/// fchmod(2).
pub fn fchmod(cx: &mut Cx, fd: i32, mode: u32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    change_mode(cx, file.path(), mode)
}

/// An id of -1 is left alone; others must be ids of the caller's user namespace, which `down` looks up.
fn wanted(id: u32, down: impl Fn(u32) -> Option<u32>) -> Result<Option<u32>, Errno> {
    if id == u32::MAX { Ok(None) } else { down(id).ok_or(Errno::EINVAL).map(Some) }
}

fn change_owner(cx: &Cx, place: &Path, uid: u32, gid: u32) -> Result<(), Errno> {
    place.mnt.want_write()?;
    let base = place.inode().base();
    let cred = cx.cred();
    let (uid, gid) = (wanted(uid, |u| cred.user_ns.kuid(u))?, wanted(gid, |g| cred.user_ns.kgid(g))?);
    let owner = cred.fsuid == base.uid();
    if !cred.capable_over(base, Cap::Chown) {
        if uid.is_some_and(|u| !owner || u != base.uid()) {
            return Err(Errno::EPERM);
        }
        if gid.is_some_and(|g| !owner || !cred.in_group(g) && g != base.gid()) {
            return Err(Errno::EPERM);
        }
    }
    // A change of owner takes set-id bits away from what can be executed by them.
    let mode = base.mode();
    let kept = if place.dentry.kind() == FileType::Directory { mode } else { without_setid(mode) };
    let mode = if kept != mode { Some(kept & S_IALLUGO) } else { None };
    ops::set_attr(place, SetAttr { uid, gid, mode, ..SetAttr::default() })
}

/// fchownat(2).
pub fn fchownat(cx: &mut Cx, dirfd: i32, path: UserCStr, uid: u32, gid: u32, flags: u32) -> Result<(), Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    change_owner(cx, &place, uid, gid)
}

/// chown(2).
pub fn chown(cx: &mut Cx, path: UserCStr, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(cx, AT_FDCWD, path, uid, gid, 0)
}

/// lchown(2).
pub fn lchown(cx: &mut Cx, path: UserCStr, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(cx, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)
}

/// fchown(2).
pub fn fchown(cx: &mut Cx, fd: i32, uid: u32, gid: u32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    change_owner(cx, file.path(), uid, gid)
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    Omit,
    At(Timespec),
    /// Nanoseconds out of range: EINVAL once the path was found.
    Bad,
}

impl When {
    fn decode(t: UserTime) -> When {
        match t.nsec {
            UTIME_NOW => When::Now,
            UTIME_OMIT => When::Omit,
            nsec => match u32::try_from(nsec) {
                Ok(nsec) if nsec < 1_000_000_000 => When::At(Timespec { sec: t.sec, nsec }),
                _ => When::Bad,
            },
        }
    }
    fn time(self, now: Timespec) -> Option<Timespec> {
        match self {
            When::Now => Some(now),
            When::Omit | When::Bad => None,
            When::At(t) => Some(t),
        }
    }
}

fn change_times(cx: &Cx, place: &Path, atime: When, mtime: When) -> Result<(), Errno> {
    if [atime, mtime].contains(&When::Bad) {
        return Err(Errno::EINVAL);
    }
    place.mnt.want_write()?;
    let inode = place.inode();
    let cred = cx.cred();
    if !inode.owner_or_capable(cred) {
        if atime != When::Now || mtime != When::Now {
            return Err(Errno::EPERM);
        }
        inode.check(cred, may::WRITE)?;
    }
    let now = vfs::now();
    let set = SetAttr { atime: atime.time(now), mtime: mtime.time(now), ..SetAttr::default() };
    ops::set_attr(place, set)
}

/// The path of utimensat may be NULL: the descriptor itself, which then must be no `O_PATH` one.
fn times_at(cx: &Cx, dirfd: i32, path: UserCStr, times: (When, When), flags: u32) -> Result<(), Errno> {
    if times == (When::Omit, When::Omit) {
        return Ok(());
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    if path.is_null() && dirfd != AT_FDCWD {
        if flags & AT_SYMLINK_NOFOLLOW != 0 {
            return Err(Errno::EINVAL);
        }
        let file = cx.files().get(dirfd)?;
        return change_times(cx, file.path(), times.0, times.1);
    }
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    change_times(cx, &place, times.0, times.1)
}

/// utimensat(2).
pub fn utimensat(cx: &mut Cx, dirfd: i32, path: UserCStr, times: UserPtr<UserTime>, flags: u32) -> Result<(), Errno> {
    let pair = match times.non_null() {
        None => (When::Now, When::Now),
        Some(t) => (When::decode(t.read(cx.mm())?), When::decode(t.at(1).read(cx.mm())?)),
    };
    times_at(cx, dirfd, path, pair, flags)
}

/// futimesat(2).
pub fn futimesat(cx: &mut Cx, dirfd: i32, path: UserCStr, times: UserPtr<Timeval>) -> Result<(), Errno> {
    let pair = match times.non_null() {
        None => (When::Now, When::Now),
        Some(t) => (from_timeval(t.read(cx.mm())?)?, from_timeval(t.at(1).read(cx.mm())?)?),
    };
    times_at(cx, dirfd, path, pair, 0)
}

fn from_timeval(t: Timeval) -> Result<When, Errno> {
    if !(0..1_000_000).contains(&t.usec) {
        return Err(Errno::EINVAL);
    }
    Ok(When::At(Timespec { sec: t.sec, nsec: t.usec as u32 * 1000 }))
}

/// utimes(2).
pub fn utimes(cx: &mut Cx, path: UserCStr, times: UserPtr<Timeval>) -> Result<(), Errno> {
    futimesat(cx, AT_FDCWD, path, times)
}

/// utime(2): `times` is two seconds counts, access then modification.
pub fn utime(cx: &mut Cx, path: UserCStr, times: UserPtr<i64>) -> Result<(), Errno> {
    let pair = match times.non_null() {
        None => (When::Now, When::Now),
        Some(t) => {
            let at = |sec| When::At(Timespec { sec, nsec: 0 });
            let (atime, mtime) = (t.read(cx.mm())?, t.at(1).read(cx.mm())?);
            (at(atime), at(mtime))
        }
    };
    // The path of utime is never NULL: address 0 faults.
    if path.is_null() {
        let _: u8 = UserPtr::new(VirtAddr(0)).read(cx.mm())?;
    }
    times_at(cx, AT_FDCWD, path, pair, 0)
}
