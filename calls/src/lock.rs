//! Record locks of fcntl(2): from `struct flock` to byte ranges and back.

use abi::Errno;
use abi::fcntl::{F_RDLCK, F_UNLCK, F_WRLCK, Flock, SEEK_CUR, SEEK_END, SEEK_SET, cmd};
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::user::UserPtr;
use task::Cx;
use vfs::File;
use vfs::file::MAX_OFFSET;
use vfs::locks::{self, LockOwner, RecordLock};

fn is_ofd(command: u32) -> bool {
    matches!(command, cmd::F_OFD_GETLK | cmd::F_OFD_SETLK | cmd::F_OFD_SETLKW)
}

fn range(file: &File, l: &Flock) -> Result<(u64, u64), Errno> {
    let base = match l.l_whence as u32 {
        SEEK_SET => 0,
        SEEK_CUR => file.pos() as i64,
        SEEK_END => file.inode().size() as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(l.l_start).ok_or(Errno::EOVERFLOW)?;
    if start < 0 {
        return Err(Errno::EINVAL);
    }
    let (start, end) = match l.l_len {
        0 => (start, MAX_OFFSET as i64),
        n if n > 0 => (start, start.checked_add(n - 1).ok_or(Errno::EOVERFLOW)?),
        n => (start.checked_add(n).filter(|&s| s >= 0).ok_or(Errno::EINVAL)?, start - 1),
    };
    Ok((start as u64, end as u64))
}

fn decode(cx: &Cx, file: &File, command: u32, l: &Flock) -> Result<RecordLock, Errno> {
    let (start, end) = range(file, l)?;
    let (owner, pid) = if is_ofd(command) {
        if l.l_pid != 0 {
            return Err(Errno::EINVAL);
        }
        (LockOwner::of(file), -1)
    } else {
        (LockOwner::Table(cx.files().id()), cx.task.pid())
    };
    Ok(RecordLock { start, end, write: l.l_type == F_WRLCK, owner, pid })
}

/// `F_GETLK`, `F_OFD_GETLK`.
pub fn test(cx: &Cx, file: &Arc<File>, command: u32, arg: u64) -> Result<i64, Errno> {
    let ptr: UserPtr<Flock> = UserPtr::new(VirtAddr(arg));
    let mut l = ptr.read(cx.mm())?;
    let of_own = l.l_type == F_UNLCK && is_ofd(command);
    if l.l_type != F_RDLCK && l.l_type != F_WRLCK && !of_own {
        return Err(Errno::EINVAL);
    }
    let want = decode(cx, file, command, &l)?;
    let base = file.inode().base();
    match if of_own { locks::own(base, &want) } else { locks::test(base, &want) } {
        None => l.l_type = F_UNLCK,
        Some(held) => {
            l.l_type = if held.write { F_WRLCK } else { F_RDLCK };
            l.l_whence = SEEK_SET as i16;
            l.l_start = held.start as i64;
            l.l_len = if held.end == MAX_OFFSET { 0 } else { (held.end - held.start + 1) as i64 };
            l.l_pid = if held.pid > 0 { cx.nr_of(held.pid) } else { held.pid };
        }
    }
    ptr.write(cx.mm(), &l)?;
    Ok(0)
}

/// `F_SETLK`, `F_SETLKW` and their OFD forms.
pub fn set(cx: &Cx, file: &Arc<File>, command: u32, arg: u64) -> Result<i64, Errno> {
    let ptr: UserPtr<Flock> = UserPtr::new(VirtAddr(arg));
    let l = ptr.read(cx.mm())?;
    let want = decode(cx, file, command, &l)?;
    match l.l_type {
        F_UNLCK => locks::clear(file.inode().base(), &want)?,
        F_RDLCK if !file.is_readable() => return Err(Errno::EBADF),
        F_WRLCK if !file.is_writable() => return Err(Errno::EBADF),
        F_RDLCK | F_WRLCK => {
            let wait = matches!(command, cmd::F_SETLKW | cmd::F_OFD_SETLKW);
            locks::set(file, &want, wait)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
