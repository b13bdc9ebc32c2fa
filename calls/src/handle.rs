//! File handles: name_to_handle_at(2), open_by_handle_at(2).

use crate::at;
use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, OpenFlags};
use abi::pidfd::{FD_NSFS_ROOT, FD_PIDFS_ROOT};
use machine::VirtAddr;
use mm::UserPtr;
use mm::user::UserCStr;
use task::ns::nsfs;
use task::{Cx, pidfd};
use vfs::open::{How, open_found};
use vfs::superblock::{Handle, MAX_HANDLE};
use vfs::{Cap, Path};
use zerocopy::IntoBytes;

/// `AT_HANDLE_MNT_ID_UNIQUE`.
const MNT_ID_UNIQUE: u32 = 1;
/// `AT_HANDLE_CONNECTABLE`: only for file systems that find a file's directory from its handle; none does yet.
const CONNECTABLE: u32 = 2;
/// `AT_HANDLE_FID`: the handle is for comparing, nobody will open it.
const FID: u32 = 0x200;
/// `handle_type` of inode number and generation (`FILEID_INO64_GEN`).
const FILEID_INO64_GEN: i32 = 0x81;
/// Bytes of `struct file_handle` before the handle.
const HEAD: usize = 8;
/// The bits of `handle_type` that are the kernel's own.
const USER_FLAGS: i32 = 0x7fff_0000;

/// name_to_handle_at(2)
pub fn name_to_handle_at(
    cx: &mut Cx,
    dirfd: i32,
    path: UserCStr,
    handle: UserPtr<[u32; 2]>,
    mount_id: VirtAddr,
    flags: u32,
) -> Result<(), Errno> {
    let known = AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | FID | MNT_ID_UNIQUE | CONNECTABLE;
    if flags & !known != 0 || (flags & CONNECTABLE != 0 && flags & (FID | AT_EMPTY_PATH) != 0) {
        return Err(Errno::EINVAL);
    }
    let place = at::lookup(cx, dirfd, path, flags, flags & AT_SYMLINK_FOLLOW != 0)?;
    if flags & CONNECTABLE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let name = encode(&place, flags & FID != 0).ok_or(Errno::EOPNOTSUPP)?;
    let [room, _] = handle.read(cx.mm())?;
    if room as usize > MAX_HANDLE {
        return Err(Errno::EINVAL);
    }
    if flags & MNT_ID_UNIQUE != 0 {
        UserPtr::new(mount_id).write(cx.mm(), &place.mnt.unique_id())?;
    } else {
        UserPtr::new(mount_id).write(cx.mm(), &place.mnt.id())?;
    }
    let fits = name.bytes().len() <= room as usize;
    // With too little room the caller learns how much it takes.
    let kind = if fits { name.kind() } else { 0xff };
    handle.write(cx.mm(), &[name.bytes().len() as u32, kind as u32])?;
    if !fits {
        return Err(Errno::EOVERFLOW);
    }
    cx.mm().write_bytes(VirtAddr(handle.addr().0.wrapping_add(HEAD as u64)), name.bytes())
}

fn encode(place: &Path, to_compare: bool) -> Option<Handle> {
    let inode = place.inode();
    match inode.sb().ops().export() {
        Some(export) => export.encode(inode),
        None if to_compare => {
            let mut bytes = [0u8; 12];
            bytes.split_first_chunk_mut().map(|(ino, _)| *ino = inode.base().ino().to_ne_bytes())?;
            Some(Handle::new(FILEID_INO64_GEN, &bytes))
        }
        None => None,
    }
}

/// open_by_handle_at(2)
pub fn open_by_handle_at(cx: &mut Cx, mount_fd: i32, handle: UserPtr<[u32; 2]>, flags: u32) -> Result<i32, Errno> {
    let [len, kind] = handle.read(cx.mm())?;
    let (len, kind) = (len as usize, kind as i32);
    if len > MAX_HANDLE || len == 0 || kind < 0 || kind & USER_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let place = match mount_fd {
        FD_PIDFS_ROOT => pidfd::root_place(),
        FD_NSFS_ROOT => nsfs::root_place(),
        AT_FDCWD => at::place_of(cx, AT_FDCWD)?,
        fd => cx.files().get(fd)?.path().clone(),
    };
    let sb = place.inode().sb().clone();
    let export = sb.ops().export();
    let raw = OpenFlags::from_bits_retain(flags) | OpenFlags::LARGEFILE;
    match export.and_then(|e| e.permission(raw)) {
        Some(allowed) => allowed?,
        None if cx.cred().capable(Cap::DacReadSearch) => {}
        None => return Err(Errno::EPERM),
    }
    let mut bytes = [0u8; MAX_HANDLE];
    let bytes = bytes.get_mut(..len).unwrap_or_default();
    cx.mm().read_bytes(VirtAddr(handle.addr().0.wrapping_add(HEAD as u64)), bytes.as_mut_bytes())?;
    let export = export.ok_or(Errno::ESTALE)?;
    let found = export.decode(&Handle::new(kind, bytes)).ok_or(Errno::ESTALE)?;
    let cloexec = raw.contains(OpenFlags::CLOEXEC);
    let file = match export.open(&found, raw, cx.cred()) {
        Some(file) => file,
        None => open_found(found, &How::from_open(flags, 0, 0)?, &cx.caller(), false)?,
    };
    cx.install(file, cloexec)
}
