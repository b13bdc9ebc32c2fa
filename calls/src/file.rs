//! Descriptors: open, close, duplicate, control (open(2), openat2(2), close(2), dup(2), fcntl(2), ioctl(2)).

use crate::at;
use crate::{lock, socket};
use abi::Errno;
use abi::fcntl::{self, AT_FDCWD, FOwnerEx, OpenFlags, OpenHow, cmd};
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::user::{UserCStr, UserPtr, UserSlice};
use net::Socket;
use task::Cx;
use vfs::file::Owner;
use vfs::fileops::Signals;
use vfs::open::{How, check_resolve, open as vfs_open, open_found};
use vfs::user_ns::IdKind;
use vfs::{File, FileType};

fn do_open(cx: &Cx, dirfd: i32, text: &[u8], how: &How, resolve: u64) -> Result<i32, Errno> {
    let resolve = check_resolve(resolve)?;
    // A full table fails the call before a file is made.
    cx.files().check_room(cx.process().limits.nofile())?;
    let caller = cx.caller();
    let file = if text.is_empty() && how.flags.contains(OpenFlags::EMPTY_PATH) {
        open_found(at::place_of(cx, dirfd)?, how, &caller, false)?
    } else {
        at::with_text(cx, dirfd, text, resolve, |start, text| vfs_open(start, text, how, &caller))?
    };
    cx.install(file, how.flags.contains(OpenFlags::CLOEXEC))
}

/// openat(2).
pub fn openat(cx: &mut Cx, dirfd: i32, path: UserCStr, flags: u32, mode: u32) -> Result<i32, Errno> {
    let how = How::from_open(flags, mode, cx.fs().umask())?;
    path.with_path(cx.mm(), |text| do_open(cx, dirfd, text, &how, 0))
}

/// open(2).
pub fn open(cx: &mut Cx, path: UserCStr, flags: u32, mode: u32) -> Result<i32, Errno> {
    openat(cx, AT_FDCWD, path, flags, mode)
}

/// creat(2).
pub fn creat(cx: &mut Cx, path: UserCStr, mode: u32) -> Result<i32, Errno> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(cx, AT_FDCWD, path, flags.bits(), mode)
}

/// Copies in a structure that may be shorter (older programs) or longer (newer ones) than what we know; E2BIG if a newer part is
/// not zero.
pub fn read_extensible<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
    cx: &Cx,
    ptr: UserPtr<T>,
    size: usize,
    min: usize,
) -> Result<T, Errno> {
    if size < min {
        return Err(Errno::EINVAL);
    }
    if size > machine::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let mut value = T::new_zeroed();
    let known = size.min(size_of::<T>());
    if let Some(rest) = size.checked_sub(known).filter(|&n| n > 0) {
        let tail: UserSlice<u8> = UserSlice::new(ptr.byte_add::<u8>(known).addr(), rest);
        if tail.read_vec(cx.mm())?.iter().any(|&b| b != 0) {
            return Err(Errno::E2BIG);
        }
    }
    let bytes = value.as_mut_bytes().get_mut(..known).unwrap_or_default();
    cx.mm().read_bytes(ptr.addr(), bytes)?;
    Ok(value)
}

/// openat2(2).
pub fn openat2(cx: &mut Cx, dirfd: i32, path: UserCStr, how: UserPtr<OpenHow>, size: usize) -> Result<i32, Errno> {
    let how = read_extensible(cx, how, size, size_of::<OpenHow>())?;
    let open_how = How::from_openat2(how.flags, how.mode, cx.fs().umask())?;
    check_resolve(how.resolve)?;
    let changes = OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::TMPFILE_BIT;
    if how.resolve & fcntl::ResolveFlags::CACHED.bits() != 0 && open_how.flags.intersects(changes) {
        return Err(Errno::EAGAIN);
    }
    path.with_path(cx.mm(), |text| do_open(cx, dirfd, text, &open_how, how.resolve))
}

/// close(2).
pub fn close(cx: &mut Cx, fd: i32) -> Result<(), Errno> {
    cx.files().close(fd)
}

/// close_range(2).
pub fn close_range(cx: &mut Cx, first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    if flags & !(fcntl::CLOSE_RANGE_UNSHARE | fcntl::CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    if flags & fcntl::CLOSE_RANGE_UNSHARE != 0 {
        let own = cx.files().fork()?;
        cx.set_files(own);
    }
    cx.files().close_range(first, last, flags & fcntl::CLOSE_RANGE_CLOEXEC != 0);
    Ok(())
}

/// dup(2).
pub fn dup(cx: &mut Cx, fd: i32) -> Result<i32, Errno> {
    let file = cx.files().get_any(fd)?;
    cx.install(file, false)
}

/// dup2(2).
pub fn dup2(cx: &mut Cx, old: i32, new: i32) -> Result<i32, Errno> {
    if old == new {
        cx.files().get_any(old)?;
        return Ok(new);
    }
    dup_to(cx, old, new, false)
}

/// dup3(2).
pub fn dup3(cx: &mut Cx, old: i32, new: i32, flags: u32) -> Result<i32, Errno> {
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    dup_to(cx, old, new, flags != 0)
}

fn dup_to(cx: &Cx, old: i32, new: i32, cloexec: bool) -> Result<i32, Errno> {
    let slot = u32::try_from(new).ok().filter(|&fd| fd < cx.process().limits.nofile()).ok_or(Errno::EBADF)?;
    let file = cx.files().get_any(old)?;
    cx.files().install_at(slot, file, cloexec)?;
    Ok(new)
}

/// The global number of an owner as fcntl(2) takes it: negative for a process group, 0 for nobody.
fn signed_global(cx: &Cx, nr: i32) -> Result<i32, Errno> {
    if nr == 0 {
        return Ok(0);
    }
    let global = cx.global_of(nr.saturating_abs()).ok_or(Errno::ESRCH)?;
    Ok(global * nr.signum())
}

/// An owner as the caller sees it.
fn signed_nr(cx: &Cx, global: i32) -> i32 {
    cx.nr_of(global.saturating_abs()) * global.signum()
}

/// Makes somebody the receiver of SIGIO, with the rights of the caller.
fn set_owner(cx: &Cx, file: &Arc<File>, pid: i32, thread: bool) {
    let cred = cx.cred();
    file.set_owner(Owner { pid, thread, uid: cred.uid, euid: cred.euid, ..file.owner() });
    file.ops().owned(file);
}

/// `F_SETOWN`: the owner is a process, or with a negative number a group.
fn set_owner_nr(cx: &Cx, file: &Arc<File>, nr: i32) -> Result<i64, Errno> {
    if nr == i32::MIN {
        return Err(Errno::EINVAL);
    }
    set_owner(cx, file, signed_global(cx, nr)?, false);
    Ok(0)
}

/// `O_ASYNC` was set or cleared. A terminal that belongs to nobody becomes its foreground group's, or else the caller's.
fn drive_signals(cx: &Cx, file: &Arc<File>, fd: i32, on: bool) {
    if on
        && let Signals::ToGroup(pgid) = file.ops().signals()
        && file.owner().pid == 0
    {
        set_owner(cx, file, if pgid != 0 { -pgid } else { cx.process().pid() }, false);
    }
    task::sigio::drive(file, fd, on);
}

/// `F_NOTIFY`: the caller is told of events in a directory, unless somebody else was made its owner.
fn notify_directory(cx: &Cx, file: &Arc<File>, fd: i32, events: u32) -> Result<i64, Errno> {
    let table = cx.files();
    task::sigio::watch_directory(file, table.id(), fd, events)?;
    if table.get_any(fd).is_ok_and(|now| Arc::ptr_eq(&now, file)) {
        if events & !fcntl::dn::MULTISHOT != 0 && file.owner().pid == 0 {
            set_owner(cx, file, cx.process().pid(), false);
        }
    } else {
        // Closed meanwhile by another thread, which found nothing to end.
        task::sigio::watch_directory(file, table.id(), fd, 0)?;
    }
    Ok(0)
}

/// fcntl(2).
pub fn fcntl(cx: &mut Cx, fd: i32, command: u32, arg: u64) -> Result<i64, Errno> {
    let file = cx.files().get_any(fd)?;
    match command {
        cmd::F_DUPFD | cmd::F_DUPFD_CLOEXEC => {
            let min = u32::try_from(arg).ok().filter(|&fd| fd < cx.process().limits.nofile()).ok_or(Errno::EINVAL)?;
            let cloexec = command == cmd::F_DUPFD_CLOEXEC;
            return cx.files().install_from(min, file, cloexec, cx.process().limits.nofile()).map(i64::from);
        }
        cmd::F_GETFD => return cx.files().cloexec(fd).map(i64::from),
        cmd::F_SETFD => {
            cx.files().set_cloexec(fd, arg as u32 & fcntl::FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        cmd::F_GETFL => return Ok(file.flags().bits().into()),
        cmd::F_DUPFD_QUERY => {
            let other = cx.files().get_any(arg as i32)?;
            return Ok(i64::from(Arc::ptr_eq(&file, &other)));
        }
        cmd::F_CREATED_QUERY => return Ok(file.was_created().into()),
        _ if file.is_path_only() => return Err(Errno::EBADF),
        _ => {}
    }
    match command {
        cmd::F_SETFL => {
            let was = file.flags().contains(OpenFlags::ASYNC);
            file.set_flags(OpenFlags::from_bits_truncate(arg as u32))?;
            let on = file.flags().contains(OpenFlags::ASYNC);
            if on != was {
                drive_signals(cx, &file, fd, on);
            }
            Ok(0)
        }
        cmd::F_GETLK | cmd::F_OFD_GETLK => lock::test(cx, &file, command, arg),
        cmd::F_SETLK | cmd::F_SETLKW | cmd::F_OFD_SETLK | cmd::F_OFD_SETLKW => lock::set(cx, &file, command, arg),
        cmd::F_GETOWN => Ok(i64::from(signed_nr(cx, file.owner().pid))),
        cmd::F_SETOWN => set_owner_nr(cx, &file, arg as i32),
        cmd::F_GETOWN_EX => {
            let owner = file.owner();
            let (kind, pid) = match (owner.thread, signed_nr(cx, owner.pid)) {
                (true, pid) => (0, pid),
                (false, pid) if pid < 0 => (2, pid.saturating_neg()),
                (false, pid) => (1, pid),
            };
            UserPtr::new(VirtAddr(arg)).write(cx.mm(), &FOwnerEx { kind, pid })?;
            Ok(0)
        }
        cmd::F_SETOWN_EX => {
            let new: FOwnerEx = UserPtr::new(VirtAddr(arg)).read(cx.mm())?;
            let (pid, thread) = match new.kind {
                0 => (new.pid, true),
                1 => (new.pid, false),
                2 => (new.pid.checked_neg().ok_or(Errno::EINVAL)?, false),
                _ => return Err(Errno::EINVAL),
            };
            set_owner(cx, &file, signed_global(cx, pid)?, thread);
            Ok(0)
        }
        cmd::F_GETOWNER_UIDS => {
            let (owner, cred) = (file.owner(), cx.cred());
            let shown = [owner.uid, owner.euid].map(|id| cred.user_ns.up(IdKind::Uid, id).unwrap_or(u32::MAX));
            UserPtr::new(VirtAddr(arg)).write(cx.mm(), &shown)?;
            Ok(0)
        }
        cmd::F_GETSIG => Ok(i64::from(file.owner().signal)),
        cmd::F_SETSIG => {
            let signal = i32::try_from(arg).ok().filter(|s| (0..=64).contains(s)).ok_or(Errno::EINVAL)?;
            file.set_owner(Owner { signal, ..file.owner() });
            Ok(0)
        }
        cmd::F_NOTIFY => notify_directory(cx, &file, fd, arg as u32),
        cmd::F_GET_SEALS => file.inode().seals().map(i64::from),
        cmd::F_ADD_SEALS => {
            if !file.is_writable() {
                return Err(Errno::EPERM);
            }
            let seals = u32::try_from(arg).ok().filter(|s| s & !fcntl::seal::ALL == 0).ok_or(Errno::EINVAL)?;
            file.inode().add_seals(seals).map(|()| 0)
        }
        _ => file.ops().fcntl(&file, command, arg),
    }
}

/// flock(2).
pub fn flock(cx: &mut Cx, fd: i32, operation: u32) -> Result<(), Errno> {
    // Mandatory locks are gone; asking for one has no effect (since Linux 5.15).
    if operation & fcntl::LOCK_MAND != 0 {
        return Ok(());
    }
    let wait = operation & fcntl::LOCK_NB == 0;
    let mode = match operation & !fcntl::LOCK_NB {
        fcntl::LOCK_SH => Some(false),
        fcntl::LOCK_EX => Some(true),
        fcntl::LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let file = cx.files().get(fd)?;
    vfs::locks::flock(&file, mode, wait)
}

const FIONREAD: u32 = 0x541b;
const SIOCGSKNS: u32 = 0x894c;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
const FIOGETOWN: u32 = 0x8903;
const SIOCGPGRP: u32 = 0x8904;
const FIONBIO: u32 = 0x5421;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIOASYNC: u32 = 0x5452;
const FIGETBSZ: u32 = 2;

/// ioctl(2): the commands every descriptor knows here, the rest by the file.
pub fn ioctl(cx: &mut Cx, fd: i32, command: u32, arg: u64) -> Result<i64, Errno> {
    let file = cx.files().get(fd)?;
    match command {
        FIOCLEX | FIONCLEX => {
            cx.files().set_cloexec(fd, command == FIOCLEX)?;
            return Ok(0);
        }
        FIONBIO => {
            let on: i32 = UserPtr::new(VirtAddr(arg)).read(cx.mm())?;
            file.set_flag(OpenFlags::NONBLOCK, on != 0)?;
            return Ok(0);
        }
        FIOASYNC => {
            let on: i32 = UserPtr::new(VirtAddr(arg)).read(cx.mm())?;
            if file.flags().contains(OpenFlags::ASYNC) != (on != 0) {
                if file.ops().signals() == Signals::Never {
                    return Err(Errno::ENOTTY);
                }
                file.set_flag(OpenFlags::ASYNC, on != 0)?;
                drive_signals(cx, &file, fd, on != 0);
            }
            return Ok(0);
        }
        FIGETBSZ => {
            let size = file.attr()?.blksize as i32;
            UserPtr::new(VirtAddr(arg)).write(cx.mm(), &size)?;
            return Ok(0);
        }
        FIOSETOWN | SIOCSPGRP if Socket::of(&file).is_ok() => {
            return set_owner_nr(cx, &file, UserPtr::new(VirtAddr(arg)).read(cx.mm())?);
        }
        FIOGETOWN | SIOCGPGRP if Socket::of(&file).is_ok() => {
            UserPtr::new(VirtAddr(arg)).write(cx.mm(), &signed_nr(cx, file.owner().pid))?;
            return Ok(0);
        }
        SIOCGSKNS if Socket::of(&file).is_ok() => return socket::open_namespace(cx, &file).map(i64::from),
        FIONREAD if file.path().dentry.kind() == FileType::Regular && !file.is_anonymous() => {
            let left = file.inode().size().saturating_sub(file.pos());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            UserPtr::new(VirtAddr(arg)).write(cx.mm(), &left)?;
            return Ok(0);
        }
        _ => {}
    }
    file.ioctl(&cx.caller(), command, arg)
}
