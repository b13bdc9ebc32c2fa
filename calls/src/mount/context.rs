//! Instances of file systems in the making or under change: fsopen(2), fsconfig(2), fsmount(2), fspick(2).

use super::{may_mount, tree};
use crate::at;
use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD};
use abi::mount::{FspickFlags, attr, fsconfig as cmd};
use alloc::sync::Arc;
use machine::{PAGE_SIZE, VirtAddr};
use mm::user::{PathBuf, UserCStr, UserSlice};
use task::Cx;
use vfs::config::{ContextFile, Given};
use vfs::namespace::{self, Source};
use vfs::{Cap, File, MountContext};

/// Bytes of keys and strings, their NUL included.
const MAX_STRING: usize = 256;
/// Bytes of a binary value.
const MAX_BINARY: i32 = 1 << 20;

fn context_of(file: &File) -> Result<&ContextFile, Errno> {
    file.ops_as::<ContextFile>().ok_or(Errno::EINVAL)
}

/// fsopen(2)
pub fn fsopen(cx: &mut Cx, name: UserCStr, flags: u32) -> Result<i32, Errno> {
    may_mount(cx)?;
    if flags & !cmd::FSOPEN_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let name = name.read_string(cx.mm(), PAGE_SIZE - 1, Errno::EINVAL)?;
    let fs = vfs::find_fs(&name).ok_or(Errno::ENODEV)?;
    let context = MountContext::for_mount(fs, cx.cred())?;
    cx.install(ContextFile::open(context, cx.cred()), flags != 0)
}

/// fspick(2)
pub fn fspick(cx: &mut Cx, dirfd: i32, path: UserCStr, flags: u32) -> Result<i32, Errno> {
    may_mount(cx)?;
    let flags = FspickFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let empty = if flags.contains(FspickFlags::EMPTY_PATH) { AT_EMPTY_PATH } else { 0 };
    let place = at::lookup(cx, dirfd, path, empty, !flags.contains(FspickFlags::SYMLINK_NOFOLLOW))?;
    if !Arc::ptr_eq(&place.dentry, place.mnt.root()) {
        return Err(Errno::EINVAL);
    }
    let context = MountContext::for_reconfigure(&place.dentry)?;
    cx.install(ContextFile::open(context, cx.cred()), flags.contains(FspickFlags::CLOEXEC))
}

/// fsconfig(2)
pub fn fsconfig(cx: &mut Cx, fd: i32, command: u32, key: UserCStr, value: VirtAddr, aux: i32) -> Result<(), Errno> {
    if fd < 0 {
        return Err(Errno::EINVAL);
    }
    let (has_key, has_value) = (!key.is_null(), value.0 != 0);
    let fits = match command {
        cmd::SET_FLAG => has_key && !has_value && aux == 0,
        cmd::SET_STRING => has_key && has_value && aux == 0,
        cmd::SET_BINARY => has_key && has_value && (1..=MAX_BINARY).contains(&aux),
        cmd::SET_PATH | cmd::SET_PATH_EMPTY => has_key && has_value && (aux == AT_FDCWD || aux >= 0),
        cmd::SET_FD => has_key && !has_value && aux >= 0,
        cmd::CREATE | cmd::CREATE_EXCL | cmd::RECONFIGURE => !has_key && !has_value && aux == 0,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if !fits {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd)?;
    let context = context_of(&file)?;
    let dirs = cx.fs().dirs();
    let caller = &cx.caller();
    match command {
        cmd::CREATE => return context.lock().create(false, caller, &dirs),
        cmd::CREATE_EXCL => return context.lock().create(true, caller, &dirs),
        cmd::RECONFIGURE => return context.lock().reconfigure(caller, &dirs),
        _ => {}
    }
    let key = key.read_string(cx.mm(), MAX_STRING - 1, Errno::EINVAL)?;
    let (text, open);
    let given = match command {
        cmd::SET_FLAG => Given::Flag,
        cmd::SET_STRING => {
            text = UserCStr::new(value).read_string(cx.mm(), MAX_STRING - 1, Errno::EINVAL)?;
            Given::Text(&text)
        }
        cmd::SET_BINARY => {
            // No parameter takes one, but it must be there.
            UserSlice::<u8>::new(value, usize::try_from(aux).map_err(|_| Errno::EINVAL)?).read_vec(cx.mm())?;
            Given::Blob
        }
        cmd::SET_FD => {
            open = cx.files().get_any(aux)?;
            Given::File(&open)
        }
        _ => {
            let mut path = PathBuf::new();
            UserCStr::new(value).read_path(cx.mm(), &mut path)?;
            if path.is_empty() && command == cmd::SET_PATH {
                return Err(Errno::ENOENT);
            }
            Given::Path
        }
    };
    context.lock().set(&key, given, caller, &dirs)
}

/// fsmount(2)
pub fn fsmount(cx: &mut Cx, fd: i32, flags: u32, attributes: u32) -> Result<i32, Errno> {
    if flags & !(cmd::FSMOUNT_CLOEXEC | cmd::FSMOUNT_NAMESPACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let as_namespace = flags & cmd::FSMOUNT_NAMESPACE != 0;
    if !as_namespace {
        may_mount(cx)?;
    } else if !cx.cred().capable_in(&cx.cred().user_ns, Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    let attributes = u64::from(attributes);
    if attributes & !attr::FSMOUNT != 0 {
        return Err(Errno::EINVAL);
    }
    let mnt_flags = tree::mount_flags(attributes) | tree::atime_flags(attributes).ok_or(Errno::EINVAL)?;
    let file = cx.files().get(fd)?;
    let ns = cx.mnt_ns();
    let mnt = context_of(&file)?.lock().mount(mnt_flags, &ns)?;
    let cloexec = flags & cmd::FSMOUNT_CLOEXEC != 0;
    if as_namespace {
        return tree::open_namespace(cx, &Source::New(&mnt), cloexec);
    }
    cx.install(namespace::open_mount(mnt, &ns, cx.cred()), cloexec)
}
