//! Looking at files: stat(2), statx(2), statfs(2), access(2).

use crate::at;
use abi::Errno;
use abi::fcntl::*;
use abi::mount::st;
use abi::stat::*;
use alloc::borrow::Cow;
use mm::user::{UserCStr, UserPtr};
use task::Cx;
use task::exec::creds::SECBIT_NO_SETUID_FIXUP;
use vfs::cred::CapSet;
use vfs::{Attr, Cred, FileType, MntFlags, Mount, Path, SbFlags, Timespec, dev_to_user, major, may, minor};

#[inline]
fn encode(cx: &Cx, a: &Attr) -> Stat {
    let ns = &cx.cred().user_ns;
    Stat {
        st_dev: dev_to_user(a.dev),
        st_ino: a.ino,
        st_nlink: u64::from(a.nlink),
        st_mode: a.mode,
        st_uid: ns.show_uid(a.uid),
        st_gid: ns.show_gid(a.gid),
        pad0: 0,
        st_rdev: dev_to_user(a.rdev),
        st_size: a.size as i64,
        st_blksize: i64::from(a.blksize),
        st_blocks: a.blocks as i64,
        st_atime: a.atime.sec,
        st_atime_nsec: i64::from(a.atime.nsec),
        st_mtime: a.mtime.sec,
        st_mtime_nsec: i64::from(a.mtime.nsec),
        st_ctime: a.ctime.sec,
        st_ctime_nsec: i64::from(a.ctime.nsec),
        unused: [0; 3],
    }
}

/// stat(2).
#[inline]
pub fn stat(cx: &mut Cx, path: UserCStr, out: UserPtr<Stat>) -> Result<(), Errno> {
    let place = at::lookup(cx, AT_FDCWD, path, 0, true)?;
    out.write(cx.mm(), &encode(cx, &place.inode().attr()?))
}

/// lstat(2).
pub fn lstat(cx: &mut Cx, path: UserCStr, out: UserPtr<Stat>) -> Result<(), Errno> {
    let place = at::lookup(cx, AT_FDCWD, path, 0, false)?;
    out.write(cx.mm(), &encode(cx, &place.inode().attr()?))
}

/// fstat(2).
#[inline]
pub fn fstat(cx: &mut Cx, fd: i32, out: UserPtr<Stat>) -> Result<(), Errno> {
    let file = cx.files().get_any(fd)?;
    out.write(cx.mm(), &encode(cx, &file.attr()?))
}

/// The path is "" or NULL: fstat in the clothes of newfstatat.
#[inline]
fn names_nothing(cx: &Cx, path: UserCStr) -> Result<bool, Errno> {
    if path.is_null() {
        return Ok(true);
    }
    let first: u8 = UserPtr::new(path.addr()).read(cx.mm())?;
    Ok(first == 0)
}

/// newfstatat(2).
#[inline]
pub fn newfstatat(cx: &mut Cx, dirfd: i32, path: UserCStr, out: UserPtr<Stat>, flags: u32) -> Result<(), Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & AT_EMPTY_PATH != 0 && dirfd >= 0 && names_nothing(cx, path)? {
        return fstat(cx, dirfd, out);
    }
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    out.write(cx.mm(), &encode(cx, &place.inode().attr()?))
}

fn stamp(t: Timespec) -> StatxTimestamp {
    StatxTimestamp { tv_sec: t.sec, tv_nsec: t.nsec, pad: 0 }
}

/// statx(2).
pub fn statx(cx: &mut Cx, dirfd: i32, path: UserCStr, flags: u32, mask: u32, out: UserPtr<Statx>) -> Result<(), Errno> {
    if mask & STATX_RESERVED != 0
        || flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) != 0
        || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL);
    }
    let place = if flags & AT_EMPTY_PATH != 0 && names_nothing(cx, path)? {
        at::place_of(cx, dirfd)?
    } else {
        at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?
    };
    let a = place.inode().attr()?;
    let at_root = alloc::sync::Arc::ptr_eq(&place.dentry, place.mnt.root());
    let unique = mask & STATX_MNT_ID_UNIQUE != 0;
    let mut result = Statx {
        stx_mask: STATX_BASIC_STATS | STATX_BTIME | if unique { STATX_MNT_ID_UNIQUE } else { STATX_MNT_ID },
        stx_blksize: a.blksize,
        stx_attributes: if at_root { STATX_ATTR_MOUNT_ROOT } else { 0 },
        stx_nlink: a.nlink,
        stx_uid: cx.cred().user_ns.show_uid(a.uid),
        stx_gid: cx.cred().user_ns.show_gid(a.gid),
        stx_mode: a.mode as u16,
        stx_ino: a.ino,
        stx_size: a.size,
        stx_blocks: a.blocks,
        stx_attributes_mask: STATX_ATTR_MOUNT_ROOT,
        stx_atime: stamp(a.atime),
        stx_btime: stamp(a.btime),
        stx_ctime: stamp(a.ctime),
        stx_mtime: stamp(a.mtime),
        stx_rdev_major: major(a.rdev),
        stx_rdev_minor: minor(a.rdev),
        stx_dev_major: major(a.dev),
        stx_dev_minor: minor(a.dev),
        stx_mnt_id: if unique { place.mnt.unique_id() } else { u64::from(place.mnt.id()) },
        ..Statx::default()
    };
    if a.btime == Timespec::default() {
        result.stx_mask &= !STATX_BTIME;
    }
    out.write(cx.mm(), &result)
}

/// The flags of a mount and its instance as statfs(2) shows them.
pub fn mount_flags(mnt: &Mount) -> u64 {
    let (m, s) = (mnt.flags(), mnt.sb().flags());
    let mut bits = st::VALID;
    for (on, bit) in [
        (mnt.want_write().is_err(), st::RDONLY),
        (mnt.is_nosuid(), st::NOSUID),
        (mnt.is_nodev(), st::NODEV),
        (mnt.is_noexec(), st::NOEXEC),
        (s.contains(SbFlags::SYNCHRONOUS), st::SYNCHRONOUS),
        (m.contains(MntFlags::NOATIME), st::NOATIME),
        (m.contains(MntFlags::NODIRATIME), st::NODIRATIME),
        (m.contains(MntFlags::RELATIME), st::RELATIME),
        (m.contains(MntFlags::NOSYMFOLLOW), st::NOSYMFOLLOW),
    ] {
        if on {
            bits |= bit;
        }
    }
    bits
}

fn fs_info(place: &Path) -> Result<Statfs, Errno> {
    let sb = place.mnt.sb();
    let s = sb.ops().statfs()?;
    Ok(Statfs {
        f_type: s.magic as i64,
        f_bsize: i64::from(s.bsize),
        f_blocks: s.blocks,
        f_bfree: s.bfree,
        f_bavail: s.bavail,
        f_files: s.files,
        f_ffree: s.ffree,
        f_fsid: [sb.dev() as i32, 0],
        f_namelen: i64::from(s.namelen),
        f_frsize: i64::from(s.bsize),
        f_flags: mount_flags(&place.mnt) as i64,
        f_spare: [0; 4],
    })
}

/// statfs(2).
pub fn statfs(cx: &mut Cx, path: UserCStr, out: UserPtr<Statfs>) -> Result<(), Errno> {
    let place = at::lookup(cx, AT_FDCWD, path, 0, true)?;
    out.write(cx.mm(), &fs_info(&place)?)
}

/// fstatfs(2).
pub fn fstatfs(cx: &mut Cx, fd: i32, out: UserPtr<Statfs>) -> Result<(), Errno> {
    let file = cx.files().get_any(fd)?;
    out.write(cx.mm(), &fs_info(file.path())?)
}

/// The credentials access(2) checks with: real ids, and the capabilities a program run by them would have.
fn real(cred: &Cred) -> Cow<'_, Cred> {
    let caps = if cred.securebits & SECBIT_NO_SETUID_FIXUP != 0 {
        cred.cap_effective
    } else if cred.user_ns.root_uid() == Some(cred.uid) {
        cred.cap_permitted
    } else {
        CapSet::EMPTY
    };
    if cred.fsuid == cred.uid && cred.fsgid == cred.gid && cred.cap_effective == caps {
        return Cow::Borrowed(cred);
    }
    Cow::Owned(Cred { fsuid: cred.uid, fsgid: cred.gid, cap_effective: caps, ..cred.clone() })
}

/// faccessat2(2).
pub fn faccessat2(cx: &mut Cx, dirfd: i32, path: UserCStr, mode: u32, flags: u32) -> Result<(), Errno> {
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let cred = if flags & AT_EACCESS != 0 { Cow::Borrowed(&**cx.cred()) } else { real(cx.cred()) };
    let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
    let mut text = mm::user::PathBuf::new();
    path.read_path(cx.mm(), &mut text)?;
    let place = if text.is_empty() && flags & AT_EMPTY_PATH != 0 {
        at::place_of(cx, dirfd)?
    } else {
        at::with_text(cx, dirfd, &text, ResolveFlags::empty(), |start, text| {
            vfs::walk::lookup(&vfs::Start { cred: &cred, ..*start }, text, follow)
        })?
    };
    let kind = place.dentry.kind();
    if mode & may::EXEC != 0 && kind == FileType::Regular && place.mnt.is_noexec() {
        return Err(Errno::EACCES);
    }
    place.inode().check(&cred, mode)?;
    let special = matches!(kind, FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket);
    if mode & may::WRITE != 0 && !special {
        place.mnt.want_write()?;
    }
    Ok(())
}

/// faccessat(2).
pub fn faccessat(cx: &mut Cx, dirfd: i32, path: UserCStr, mode: u32) -> Result<(), Errno> {
    faccessat2(cx, dirfd, path, mode, 0)
}

/// access(2).
pub fn access(cx: &mut Cx, path: UserCStr, mode: u32) -> Result<(), Errno> {
    faccessat2(cx, AT_FDCWD, path, mode, 0)
}
