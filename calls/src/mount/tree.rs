//! Trees of mounts behind descriptors: open_tree(2), move_mount(2), mount_setattr(2), open_tree_attr(2).

use super::{may_mount, propagation_type};
use crate::{at, support};
use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, OpenFlags};
use abi::mount::{MountFlags, MoveFlags, OPEN_TREE_CLONE, OPEN_TREE_NAMESPACE, attr};
use alloc::sync::Arc;
use machine::{PAGE_SIZE, VirtAddr};
use mm::user::UserCStr;
use task::Cx;
use task::ns::nsfs;
use vfs::namespace::{self, Attributes, Source};
use vfs::ns::NsKind;
use vfs::open::{How, open_found};
use vfs::user_ns::UserNamespace;
use vfs::{Cap, File, MntFlags, Path};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

const OPEN_TREE_CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();

/// Flags of a mount that mean the same in `MOUNT_ATTR_*`.
const SAME: [(u64, MntFlags); 6] = [
    (attr::RDONLY, MntFlags::RDONLY),
    (attr::NOSUID, MntFlags::NOSUID),
    (attr::NODEV, MntFlags::NODEV),
    (attr::NOEXEC, MntFlags::NOEXEC),
    (attr::NODIRATIME, MntFlags::NODIRATIME),
    (attr::NOSYMFOLLOW, MntFlags::NOSYMFOLLOW),
];

/// The flags that attributes stand for, without the rule for access times.
pub(super) fn mount_flags(attributes: u64) -> MntFlags {
    SAME.iter().filter(|(bit, _)| attributes & bit != 0).fold(MntFlags::empty(), |all, (_, flag)| all | *flag)
}

/// The rule for access times among attributes.
pub(super) fn atime_flags(attributes: u64) -> Option<MntFlags> {
    match attributes & attr::ATIME {
        attr::RELATIME => Some(MntFlags::RELATIME),
        attr::NOATIME => Some(MntFlags::NOATIME),
        attr::STRICTATIME => Some(MntFlags::empty()),
        _ => None,
    }
}

/// The attributes of a mount with these flags.
pub(super) fn attributes_of(flags: MntFlags) -> u64 {
    let atime = if flags.contains(MntFlags::NOATIME) {
        attr::NOATIME
    } else if flags.contains(MntFlags::RELATIME) {
        attr::RELATIME
    } else {
        attr::STRICTATIME
    };
    SAME.iter().filter(|(_, flag)| flags.contains(*flag)).fold(atime, |all, (bit, _)| all | bit)
}

/// Makes a mount namespace of the caller's user namespace and opens its file.
pub(super) fn open_namespace(cx: &Cx, source: &Source<'_>, cloexec: bool) -> Result<i32, Errno> {
    let ns = namespace::namespace_of(source, &cx.mnt_ns(), &cx.cred().user_ns)?;
    cx.install(nsfs::file_of(ns, cx.cred()), cloexec)
}

/// What open_tree(2) opens. Its flags were checked.
fn tree_file(cx: &Cx, dirfd: i32, path: UserCStr, flags: u32) -> Result<Arc<File>, Errno> {
    let known = AT_EMPTY_PATH
        | AT_NO_AUTOMOUNT
        | AT_RECURSIVE
        | AT_SYMLINK_NOFOLLOW
        | OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | OPEN_TREE_NAMESPACE;
    let kind = flags & (OPEN_TREE_CLONE | OPEN_TREE_NAMESPACE);
    let recursive = flags & AT_RECURSIVE != 0;
    if flags & !known != 0 || recursive && kind == 0 || kind == OPEN_TREE_CLONE | OPEN_TREE_NAMESPACE {
        return Err(Errno::EINVAL);
    }
    let cred = cx.cred();
    if kind == OPEN_TREE_NAMESPACE && !cred.capable_in(&cred.user_ns, Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    if kind == OPEN_TREE_CLONE {
        may_mount(cx)?;
    }
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    match kind {
        OPEN_TREE_NAMESPACE => {
            let source = Source::Copy(&place, recursive);
            Ok(nsfs::file_of(namespace::namespace_of(&source, &cx.mnt_ns(), &cred.user_ns)?, cred))
        }
        OPEN_TREE_CLONE => namespace::open_copy(&place, recursive, &cx.mnt_ns(), cred),
        _ => open_found(place, &How { flags: OpenFlags::PATH, mode: 0, umask: 0, regular: false }, &cx.caller(), false),
    }
}

/// open_tree(2)
pub fn open_tree(cx: &mut Cx, dirfd: i32, path: UserCStr, flags: u32) -> Result<i32, Errno> {
    let file = tree_file(cx, dirfd, path, flags)?;
    cx.install(file, flags & OPEN_TREE_CLOEXEC != 0)
}

/// open_tree_attr(2)
pub fn open_tree_attr(
    cx: &mut Cx,
    dirfd: i32,
    path: UserCStr,
    flags: u32,
    attributes: VirtAddr,
    size: usize,
) -> Result<i32, Errno> {
    if attributes.0 == 0 && size != 0 {
        return Err(Errno::EINVAL);
    }
    let file = tree_file(cx, dirfd, path, flags)?;
    if attributes.0 != 0
        && let Some(change) = read_attributes(cx, attributes, size, flags & OPEN_TREE_CLONE != 0)?
    {
        namespace::set_attributes(file.path(), change, flags & AT_RECURSIVE != 0, &cx.mnt_ns())?;
    }
    cx.install(file, flags & OPEN_TREE_CLOEXEC != 0)
}

/// An end of move_mount(2). Without a path, or with an empty one and the flag, it is the descriptor itself.
fn end(cx: &Cx, fd: i32, path: UserCStr, empty: bool, follow: bool) -> Result<Path, Errno> {
    if path.is_null() && empty && fd >= 0 {
        return at::place_of(cx, fd);
    }
    at::lookup(cx, fd, path, if empty { AT_EMPTY_PATH } else { 0 }, follow)
}

/// move_mount(2)
pub fn move_mount(
    cx: &mut Cx,
    from_fd: i32,
    from: UserCStr,
    to_fd: i32,
    to: UserCStr,
    flags: u32,
) -> Result<(), Errno> {
    may_mount(cx)?;
    let f = MoveFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if f.contains(MoveFlags::BENEATH | MoveFlags::SET_GROUP) {
        return Err(Errno::EINVAL);
    }
    let to = end(cx, to_fd, to, f.contains(MoveFlags::T_EMPTY_PATH), f.contains(MoveFlags::T_SYMLINKS))?;
    let from = end(cx, from_fd, from, f.contains(MoveFlags::F_EMPTY_PATH), f.contains(MoveFlags::F_SYMLINKS))?;
    if f.contains(MoveFlags::SET_GROUP) {
        return namespace::set_group(&from, &to, cx.cred());
    }
    namespace::move_mount(&from, &to, f.contains(MoveFlags::BENEATH), &cx.mnt_ns())
}

/// `struct mount_attr`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Reads and checks `struct mount_attr`; `None` if it changes nothing. `fresh`: nobody has seen the mounts.
fn read_attributes(cx: &Cx, at: VirtAddr, size: usize, fresh: bool) -> Result<Option<Attributes>, Errno> {
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < size_of::<MountAttr>() {
        return Err(Errno::EINVAL);
    }
    may_mount(cx)?;
    let mut asked = MountAttr::new_zeroed();
    support::read_extensible(cx, at, size, asked.as_mut_bytes())?;
    if asked.set == 0 && asked.clear == 0 && asked.propagation == 0 {
        return Ok(None);
    }
    let propagation = match asked.propagation {
        0 => None,
        bits => Some(MountFlags::from_bits(bits).and_then(propagation_type).ok_or(Errno::EINVAL)?),
    };
    if (asked.set | asked.clear) & !attr::SETTABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let (mut set, mut clear) = (mount_flags(asked.set), mount_flags(asked.clear));
    // The rule for access times is a field: it is changed as a whole or not at all.
    match asked.clear & attr::ATIME {
        0 if asked.set & attr::ATIME == 0 => {}
        attr::ATIME => {
            clear |= MntFlags::RELATIME | MntFlags::NOATIME;
            set |= atime_flags(asked.set).ok_or(Errno::EINVAL)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    if (asked.set | asked.clear) & attr::IDMAP != 0 {
        check_idmap(cx, &asked, fresh)?;
    }
    Ok(Some(Attributes { set, clear, propagation }))
}

/// What is checked of an id map before the file system is asked; none of those here has them.
fn check_idmap(cx: &Cx, asked: &MountAttr, fresh: bool) -> Result<(), Errno> {
    if asked.clear & attr::IDMAP != 0 {
        if !fresh {
            return Err(Errno::EINVAL);
        }
        // There is none to take away.
        if asked.set & attr::IDMAP == 0 {
            return Ok(());
        }
    }
    let fd = i32::try_from(asked.userns_fd).map_err(|_| Errno::EINVAL)?;
    let file = cx.files().get(fd)?;
    let ns = file.inode().namespace().filter(|ns| ns.kind() == NsKind::User).ok_or(Errno::EINVAL)?;
    let user: &UserNamespace = ns.downcast_ref().ok_or(Errno::EINVAL)?;
    if user.is_first() || !cx.cred().capable_in(user, Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    Err(Errno::EINVAL)
}

/// mount_setattr(2)
pub fn mount_setattr(
    cx: &mut Cx,
    dirfd: i32,
    path: UserCStr,
    flags: u32,
    attributes: VirtAddr,
    size: usize,
) -> Result<(), Errno> {
    if flags & !(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::EINVAL);
    }
    let Some(change) = read_attributes(cx, attributes, size, false)? else { return Ok(()) };
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    namespace::set_attributes(&place, change, flags & AT_RECURSIVE != 0, &cx.mnt_ns())
}
