//! Extended attributes (xattr(7), setxattr(2), getxattr(2), listxattr(2), removexattr(2)).

use crate::at;
use abi::Errno;
use abi::fcntl::AT_FDCWD;
use abi::stat::{S_ISVTX, XATTR_CREATE, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX};
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::user::{UserCStr, UserSlice};
use task::Cx;
use task::exec::filecaps;
use vfs::notify::{self, Event};
use vfs::privileges::FILE_CAPS;
use vfs::{Cap, FileType, Inode, Path, may};

fn read_name(cx: &Cx, name: UserCStr) -> Result<Vec<u8>, Errno> {
    let name = name.read_string(cx.mm(), XATTR_NAME_MAX, Errno::ERANGE)?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

/// The rules of xattr(7) on who may use which namespace.
fn allowed(cx: &Cx, inode: &alloc::sync::Arc<dyn Inode>, name: &[u8], mask: u32) -> Result<(), Errno> {
    let cred = cx.cred();
    let refuse = Err(if mask & may::WRITE != 0 { Errno::EPERM } else { Errno::ENODATA });
    if name.starts_with(b"security.") || name.starts_with(b"system.") {
        let free = mask & may::WRITE == 0
            || !name.starts_with(b"security.")
            || if name == FILE_CAPS {
                cred.capable_over(inode.base(), Cap::Setfcap)
            } else {
                cred.capable_in(inode.sb().user_ns(), Cap::SysAdmin)
            };
        if !free {
            return Err(Errno::EPERM);
        }
        return Ok(());
    }
    if name.starts_with(b"trusted.") {
        return if cred.capable(Cap::SysAdmin) { Ok(()) } else { refuse };
    }
    if name.starts_with(b"user.") {
        let base = inode.base();
        match base.kind() {
            FileType::Regular => {}
            FileType::Directory => {
                let sticky = base.mode() & S_ISVTX != 0;
                if sticky && mask & may::WRITE != 0 && !inode.owner_or_capable(cred) {
                    return Err(Errno::EPERM);
                }
            }
            _ => return refuse,
        }
    }
    inode.check(cred, mask)
}

/// What a program wants to set, checked as far as it can be before the file is looked up.
struct Wanted {
    name: Vec<u8>,
    value: Vec<u8>,
    flags: u32,
}

fn wanted(cx: &Cx, name: UserCStr, value: VirtAddr, size: usize, flags: u32) -> Result<Wanted, Errno> {
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_name(cx, name)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let value = UserSlice::<u8>::new(value, size).read_vec(cx.mm())?;
    Ok(Wanted { name, value, flags })
}

fn set_at(cx: &Cx, place: &Path, wanted: Wanted) -> Result<(), Errno> {
    let Wanted { name, mut value, flags } = wanted;
    place.mnt.want_write()?;
    let inode = place.inode();
    if name == FILE_CAPS {
        let (ns, fs) = (&cx.cred().user_ns, inode.sb().user_ns());
        value = filecaps::to_store(&value, ns, fs, cx.cred().capable_in(fs, Cap::Setfcap))?;
    }
    allowed(cx, inode, &name, may::WRITE)?;
    {
        let _guard = inode.base().lock.lock();
        inode.set_xattr(&name, &value, flags)?;
        if name == FILE_CAPS {
            inode.base().note_no_caps(false);
        }
        inode.base().touch_ctime();
    }
    notify::on_dentry(&place.dentry, Event::ATTRIB);
    Ok(())
}

/// Copies a result out; with size 0 only its length is asked.
fn give(cx: &Cx, bytes: &[u8], out: VirtAddr, size: usize) -> Result<usize, Errno> {
    if size != 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE);
        }
        cx.mm().write_bytes(out, bytes)?;
    }
    Ok(bytes.len())
}

fn get_at(cx: &Cx, place: &Path, name: &[u8], out: VirtAddr, size: usize) -> Result<usize, Errno> {
    allowed(cx, place.inode(), name, may::READ)?;
    let mut value = place.inode().get_xattr(name)?;
    if name == FILE_CAPS {
        value = filecaps::to_show(&value, &cx.cred().user_ns, place.inode().sb().user_ns())?;
    }
    give(cx, &value, out, size)
}

fn list_at(cx: &Cx, place: &Path, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    let mut names = place.inode().list_xattr()?;
    if !cx.cred().capable(Cap::SysAdmin) {
        let visible = names.split_inclusive(|&b| b == 0).filter(|n| !n.starts_with(b"trusted."));
        names = visible.flatten().copied().collect();
    }
    give(cx, &names, out, size)
}

fn remove_at(cx: &Cx, place: &Path, name: &[u8]) -> Result<(), Errno> {
    place.mnt.want_write()?;
    let inode = place.inode();
    allowed(cx, inode, name, may::WRITE)?;
    {
        let _guard = inode.base().lock.lock();
        inode.remove_xattr(name)?;
        inode.base().touch_ctime();
    }
    notify::on_dentry(&place.dentry, Event::ATTRIB);
    Ok(())
}

fn by_path(cx: &Cx, path: UserCStr, follow: bool) -> Result<Path, Errno> {
    at::lookup(cx, AT_FDCWD, path, 0, follow)
}

fn by_fd(cx: &Cx, fd: i32) -> Result<Path, Errno> {
    Ok(cx.files().get(fd)?.path().clone())
}

/// setxattr(2).
pub fn setxattr(
    cx: &mut Cx,
    path: UserCStr,
    name: UserCStr,
    value: VirtAddr,
    size: usize,
    flags: u32,
) -> Result<(), Errno> {
    let wanted = wanted(cx, name, value, size, flags)?;
    set_at(cx, &by_path(cx, path, true)?, wanted)
}

/// lsetxattr(2).
pub fn lsetxattr(
    cx: &mut Cx,
    path: UserCStr,
    name: UserCStr,
    value: VirtAddr,
    size: usize,
    flags: u32,
) -> Result<(), Errno> {
    let wanted = wanted(cx, name, value, size, flags)?;
    set_at(cx, &by_path(cx, path, false)?, wanted)
}

/// fsetxattr(2).
pub fn fsetxattr(cx: &mut Cx, fd: i32, name: UserCStr, value: VirtAddr, size: usize, flags: u32) -> Result<(), Errno> {
    let wanted = wanted(cx, name, value, size, flags)?;
    set_at(cx, &by_fd(cx, fd)?, wanted)
}

/// getxattr(2).
pub fn getxattr(cx: &mut Cx, path: UserCStr, name: UserCStr, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    let name = read_name(cx, name)?;
    get_at(cx, &by_path(cx, path, true)?, &name, out, size)
}

/// lgetxattr(2).
pub fn lgetxattr(cx: &mut Cx, path: UserCStr, name: UserCStr, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    let name = read_name(cx, name)?;
    get_at(cx, &by_path(cx, path, false)?, &name, out, size)
}

/// fgetxattr(2).
pub fn fgetxattr(cx: &mut Cx, fd: i32, name: UserCStr, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    let name = read_name(cx, name)?;
    get_at(cx, &by_fd(cx, fd)?, &name, out, size)
}

/// listxattr(2).
pub fn listxattr(cx: &mut Cx, path: UserCStr, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    list_at(cx, &by_path(cx, path, true)?, out, size)
}

/// llistxattr(2).
pub fn llistxattr(cx: &mut Cx, path: UserCStr, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    list_at(cx, &by_path(cx, path, false)?, out, size)
}

/// flistxattr(2).
pub fn flistxattr(cx: &mut Cx, fd: i32, out: VirtAddr, size: usize) -> Result<usize, Errno> {
    list_at(cx, &by_fd(cx, fd)?, out, size)
}

/// removexattr(2).
pub fn removexattr(cx: &mut Cx, path: UserCStr, name: UserCStr) -> Result<(), Errno> {
    let name = read_name(cx, name)?;
    remove_at(cx, &by_path(cx, path, true)?, &name)
}

/// lremovexattr(2).
pub fn lremovexattr(cx: &mut Cx, path: UserCStr, name: UserCStr) -> Result<(), Errno> {
    let name = read_name(cx, name)?;
    remove_at(cx, &by_path(cx, path, false)?, &name)
}

/// fremovexattr(2).
pub fn fremovexattr(cx: &mut Cx, fd: i32, name: UserCStr) -> Result<(), Errno> {
    let name = read_name(cx, name)?;
    remove_at(cx, &by_fd(cx, fd)?, &name)
}
