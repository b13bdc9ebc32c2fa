//! Mounting (mount(2), umount2(2), pivot_root(2)); the newer calls are in [`context`] (instances in the making), [`tree`] (trees of mounts behind
//! descriptors) and [`stat`] (what is mounted). Both ways work on [`vfs::MountContext`] and [`vfs::namespace`].

mod context;
mod stat;
mod tree;

pub use context::{fsconfig, fsmount, fsopen, fspick};
pub use stat::{listmount, statmount};
pub use tree::{mount_setattr, move_mount, open_tree, open_tree_attr};

use crate::at;
use abi::Errno;
use abi::fcntl::AT_FDCWD;
use abi::mount::{MS_MGC_MSK, MS_MGC_VAL, MountFlags, UmountFlags};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use mm::user::{PathBuf, UserCStr};
use task::Cx;
use vfs::config::Given;
use vfs::ns::Namespace;
use vfs::propagate::PropagationType;
use vfs::{Cap, FileType, MntFlags, MountContext, Path, SbFlags, namespace, walk};

fn may_mount(cx: &Cx) -> Result<(), Errno> {
    if cx.cred().capable_in(&cx.mnt_ns().owner(), Cap::SysAdmin) { Ok(()) } else { Err(Errno::EPERM) }
}

/// The flags that belong to the mount.
fn mount_flags(f: MountFlags) -> MntFlags {
    let mut out = MntFlags::empty();
    for (ms, mnt) in [
        (MountFlags::RDONLY, MntFlags::RDONLY),
        (MountFlags::NOSUID, MntFlags::NOSUID),
        (MountFlags::NODEV, MntFlags::NODEV),
        (MountFlags::NOEXEC, MntFlags::NOEXEC),
        (MountFlags::NOATIME, MntFlags::NOATIME),
        (MountFlags::NODIRATIME, MntFlags::NODIRATIME),
        (MountFlags::NOSYMFOLLOW, MntFlags::NOSYMFOLLOW),
    ] {
        out.set(mnt, f.contains(ms));
    }
    // relatime unless told otherwise (mount(2)).
    out.set(MntFlags::RELATIME, !f.contains(MountFlags::NOATIME));
    if f.contains(MountFlags::STRICTATIME) {
        out -= MntFlags::RELATIME | MntFlags::NOATIME;
    }
    out
}

/// The flags that belong to the instance.
fn instance_flags(f: MountFlags) -> SbFlags {
    let mut out = SbFlags::empty();
    for (ms, sb) in [
        (MountFlags::RDONLY, SbFlags::RDONLY),
        (MountFlags::SYNCHRONOUS, SbFlags::SYNCHRONOUS),
        (MountFlags::DIRSYNC, SbFlags::DIRSYNC),
        (MountFlags::LAZYTIME, SbFlags::LAZYTIME),
    ] {
        out.set(sb, f.contains(ms));
    }
    out
}

fn optional(cx: &Cx, text: UserCStr) -> Result<Option<Vec<u8>>, Errno> {
    if text.is_null() {
        return Ok(None);
    }
    text.read_string(cx.mm(), PAGE_SIZE - 1, Errno::EINVAL).map(Some)
}

/// The options of mount(2): what a page holds of them.
fn options(cx: &Cx, data: UserCStr) -> Result<Vec<u8>, Errno> {
    if data.is_null() {
        return Ok(Vec::new());
    }
    let mut text = PathBuf::new();
    match data.read_path(cx.mm(), &mut text) {
        Err(Errno::ENAMETOOLONG) => text.truncate(PAGE_SIZE - 1),
        result => result?,
    }
    Ok(text.into_vec())
}

/// mount(2).
pub fn mount(
    cx: &mut Cx,
    source: UserCStr,
    target: UserCStr,
    fs_type: UserCStr,
    flags: u64,
    data: UserCStr,
) -> Result<(), Errno> {
    let fs_type = optional(cx, fs_type)?;
    let source = optional(cx, source)?;
    let data = options(cx, data)?;
    let place = at::lookup(cx, AT_FDCWD, target, 0, true)?;
    let flags = if flags & MS_MGC_MSK == MS_MGC_VAL { flags & !MS_MGC_MSK } else { flags };
    let f = MountFlags::from_bits_truncate(flags);
    if f.contains(MountFlags::NOUSER) {
        return Err(Errno::EINVAL);
    }
    may_mount(cx)?;
    let propagation = MountFlags::SHARED | MountFlags::PRIVATE | MountFlags::SLAVE | MountFlags::UNBINDABLE;
    let recursive = f.contains(MountFlags::REC);
    let dirs = cx.fs().dirs();
    let (ns, caller) = (&dirs.ns, &cx.caller());
    if f.contains(MountFlags::REMOUNT) {
        let new = remount_flags(f, &place);
        if f.contains(MountFlags::BIND) {
            return namespace::change_flags(&place, new, ns);
        }
        namespace::may_change_flags(&place, new, ns)?;
        let context = MountContext::for_reconfigure(&place.dentry)?;
        let mut context = context.legacy(instance_flags(f), SbFlags::REMOUNTABLE);
        context.set_all(&data, caller, &dirs)?;
        context.reconfigure(caller, &dirs)?;
        place.mnt.set_flags(MntFlags::SETTABLE, new);
        return Ok(());
    }
    if f.contains(MountFlags::BIND) {
        let from = source_place(cx, source.as_deref())?;
        return namespace::bind(&from, &place, recursive, ns);
    }
    if f.intersects(propagation) {
        let others = propagation | MountFlags::REC | MountFlags::SILENT;
        let to = propagation_type(f & propagation).ok_or(Errno::EINVAL)?;
        if !(f - others).is_empty() {
            return Err(Errno::EINVAL);
        }
        return namespace::change_propagation(&place, to, recursive, cx.cred());
    }
    if f.contains(MountFlags::MOVE) {
        let from = source_place(cx, source.as_deref())?;
        return namespace::move_mount(&from, &place, false, ns);
    }
    let fs = vfs::find_fs(&fs_type.ok_or(Errno::EINVAL)?).ok_or(Errno::ENODEV)?;
    let mut context = MountContext::for_mount(fs, cx.cred())?.legacy(instance_flags(f), SbFlags::empty());
    if let Some(source) = &source {
        context.set(b"source", Given::Text(source), caller, &dirs)?;
    }
    context.set_all(&data, caller, &dirs)?;
    context.create(false, caller, &dirs)?;
    let mnt = context.mount(mount_flags(f), ns)?;
    namespace::attach(&mnt, &place, ns)
}

/// The one propagation type that is set.
fn propagation_type(f: MountFlags) -> Option<PropagationType> {
    Some(match f {
        MountFlags::SHARED => PropagationType::Shared,
        MountFlags::PRIVATE => PropagationType::Private,
        MountFlags::SLAVE => PropagationType::Slave,
        MountFlags::UNBINDABLE => PropagationType::Unbindable,
        _ => return None,
    })
}

/// A remount that names no rule for access times keeps the old one.
fn remount_flags(f: MountFlags, place: &Path) -> MntFlags {
    let atime = MountFlags::NOATIME | MountFlags::NODIRATIME | MountFlags::RELATIME | MountFlags::STRICTATIME;
    let new = mount_flags(f);
    if f.intersects(atime) {
        return new;
    }
    let kept = MntFlags::NOATIME | MntFlags::NODIRATIME | MntFlags::RELATIME;
    (new - kept) | (place.mnt.flags() & kept)
}

/// A directory that a path leads to.
fn directory(cx: &Cx, path: UserCStr) -> Result<Path, Errno> {
    let place = at::lookup(cx, AT_FDCWD, path, 0, true)?;
    if place.dentry.kind() == FileType::Directory { Ok(place) } else { Err(Errno::ENOTDIR) }
}

fn source_place(cx: &Cx, source: Option<&[u8]>) -> Result<Path, Errno> {
    let text = source.filter(|s| !s.is_empty()).ok_or(Errno::EINVAL)?;
    at::with_text(cx, AT_FDCWD, text, Default::default(), |start, text| walk::lookup(start, text, true))
}

/// umount2(2).
pub fn umount2(cx: &mut Cx, target: UserCStr, flags: u32) -> Result<(), Errno> {
    let flags = UmountFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let mut place = at::lookup(cx, AT_FDCWD, target, 0, !flags.contains(UmountFlags::NOFOLLOW))?;
    may_mount(cx)?;
    // Also `.` and `/` mean what lies on top there. No other reference to the mount must be left.
    place = namespace::topmost(&place);
    if !Arc::ptr_eq(&place.dentry, place.mnt.root()) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(UmountFlags::EXPIRE) {
        if flags.intersects(UmountFlags::FORCE | UmountFlags::DETACH) {
            return Err(Errno::EINVAL);
        }
        // Marks for expiry are not kept: no mount is ever idle enough.
        return Err(Errno::EAGAIN);
    }
    let dirs = cx.fs().dirs();
    namespace::umount(place, flags, &dirs.ns, &dirs.root)
}

/// pivot_root(2). Every process whose root or working directory was the old root follows.
pub fn pivot_root(cx: &mut Cx, new_root: UserCStr, put_old: UserCStr) -> Result<(), Errno> {
    let [new, old] = [directory(cx, new_root)?, directory(cx, put_old)?];
    may_mount(cx)?;
    let dirs = cx.fs().dirs();
    namespace::pivot_root(&new, &old, &dirs.root, &dirs.ns)?;
    let before = dirs.root.clone();
    for process in task::tree::all_processes() {
        for fs in process.threads().iter().filter_map(|t| t.fs()) {
            fs.replace_root(&before, &new);
        }
    }
    Ok(())
}
