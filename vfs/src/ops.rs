//! Changes of the tree by path: make, remove, link (mkdir(2), mknod(2), unlink(2), rmdir(2), symlink(2), link(2)).
//!
//! Each operation walks to the parent, takes the directory's lock, looks the name up under it, checks in Linux's order, calls the file
//! system and brings the dentry cache up to date. Renames are in [`crate::rename`].

use crate::attr::{FileType, SetAttr};
use crate::clock;
use crate::cred::{Cap, Cred};
use crate::dentry::Dentry;
use crate::inode::{Inode, may};
use crate::notify::{self, Event};
use crate::path::Path;
use crate::walk::{Last, Start, lookup_locked, lookup_parent};
use abi::Errno;
use abi::stat::*;
use alloc::sync::Arc;

/// What to make.
#[derive(Clone, Copy)]
pub enum Make<'a> {
    /// A directory with these permission bits (before the umask).
    Directory(u32),
    /// A file or special file: mode with type bits (before the umask), device number.
    Node(u32, u32),
    /// A symbolic link with this target.
    Symlink(&'a [u8]),
}

/// May `cred` add or remove entries of `dir`?
pub(crate) fn may_change_dir(dir: &Arc<dyn Inode>, cred: &Cred) -> Result<(), Errno> {
    dir.check(cred, may::WRITE | may::EXEC)
}

/// May `cred` remove `victim` from `dir` (unlink(2): EACCES, EPERM of sticky directories, ENOTDIR, EISDIR)?
pub(crate) fn may_delete(dir: &Arc<dyn Inode>, victim: &Dentry, cred: &Cred, want_dir: bool) -> Result<(), Errno> {
    may_change_dir(dir, cred)?;
    let d = dir.base();
    let inode = victim.inode();
    if d.mode() & S_ISVTX != 0
        && inode.base().uid() != cred.fsuid
        && d.uid() != cred.fsuid
        && !cred.capable_over(inode.base(), Cap::Fowner)
    {
        return Err(Errno::EPERM);
    }
    match (want_dir, victim.kind() == FileType::Directory) {
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        _ => Ok(()),
    }
}

/// The mode a new object gets in `dir`: set-group-id is inherited by directories.
fn new_mode(dir: &Arc<dyn Inode>, mode: u32, umask: u32, is_dir: bool) -> u32 {
    let mode = mode & !umask;
    if is_dir && dir.base().mode() & S_ISGID != 0 { mode | S_ISGID } else { mode }
}

/// Makes something new at `path`.
pub fn make(start: &Start<'_>, path: &[u8], what: Make<'_>, umask: u32) -> Result<Path, Errno> {
    let (dir, last) = lookup_parent(start, path)?;
    if last.is_special() {
        return Err(Errno::EEXIST);
    }
    let inode = dir.inode();
    let _guard = inode.base().lock.lock();
    let want_write = dir.mnt.want_write();
    if lookup_locked(&dir.dentry, last.name, last.hash)?.is_some() {
        return Err(Errno::EEXIST);
    }
    if last.trailing_slash && !matches!(what, Make::Directory(_)) {
        return Err(Errno::ENOENT);
    }
    want_write?;
    may_make(&dir, start.cred)?;
    let child = match what {
        Make::Directory(mode) => {
            let mode = new_mode(inode, mode & (0o777 | S_ISVTX), umask, true) | S_IFDIR;
            inode.create(last.name, mode, 0, start.cred)?
        }
        Make::Node(mode, rdev) => {
            let kind = FileType::from_mode(mode);
            let is_device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
            // Character device 0:0 is a whiteout, which anybody may make.
            if is_device && !(kind == FileType::CharDevice && rdev == 0) && !start.cred.capable(Cap::Mknod) {
                return Err(Errno::EPERM);
            }
            let mode = new_mode(inode, mode & S_IALLUGO, umask, false) | kind.mode();
            inode.create(last.name, mode, if is_device { rdev } else { 0 }, start.cred)?
        }
        Make::Symlink(target) => inode.symlink(last.name, target, start.cred)?,
    };
    let dentry = dir.dentry.add_child(last.name, last.hash, child)?;
    notify::on_child(&dir.dentry, &dentry, Event::CREATE);
    Ok(Path { mnt: dir.mnt.clone(), dentry })
}

/// Checks shared by everything that adds an entry: the directory still exists, is writable and searchable.
pub(crate) fn may_make(dir: &Path, cred: &Cred) -> Result<(), Errno> {
    if dir.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    // Every owner has a name in the namespace that mounted the instance.
    if !dir.mnt.sb().user_ns().maps_both(cred.fsuid, cred.fsgid) {
        return Err(Errno::EOVERFLOW);
    }
    may_change_dir(dir.inode(), cred)
}

/// Makes a regular file in a directory whose lock is held (open with O_CREAT).
pub(crate) fn create_file(
    dir: &Path,
    last: &Last<'_>,
    mode: u32,
    umask: u32,
    cred: &Cred,
) -> Result<Arc<Dentry>, Errno> {
    let mode = new_mode(dir.inode(), mode & S_IALLUGO, umask, false) | S_IFREG;
    let child = dir.inode().create(last.name, mode, 0, cred)?;
    let dentry = dir.dentry.add_child(last.name, last.hash, child)?;
    notify::on_child(&dir.dentry, &dentry, Event::CREATE);
    Ok(dentry)
}

/// unlink(2).
pub fn unlink(start: &Start<'_>, path: &[u8]) -> Result<(), Errno> {
    let (dir, last) = lookup_parent(start, path)?;
    if last.is_special() {
        return Err(Errno::EISDIR);
    }
    dir.mnt.want_write()?;
    let inode = dir.inode();
    let guard = inode.base().lock.lock();
    let victim = lookup_locked(&dir.dentry, last.name, last.hash)?.ok_or(Errno::ENOENT)?;
    if last.trailing_slash {
        return Err(if victim.kind() == FileType::Directory { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    may_delete(inode, &victim, start.cred, false)?;
    if victim.is_mountpoint() {
        return Err(Errno::EBUSY);
    }
    inode.unlink(last.name, victim.inode())?;
    dir.dentry.delete_child(&victim);
    notify::on_link_count(&victim);
    notify::on_child(&dir.dentry, &victim, Event::DELETE);
    // The last reference may free the file's pages: not under the directory's lock.
    drop(guard);
    notify::on_unlinked(&victim);
    Ok(())
}

/// rmdir(2).
pub fn rmdir(start: &Start<'_>, path: &[u8]) -> Result<(), Errno> {
    let (dir, last) = lookup_parent(start, path)?;
    match last.name {
        b".." => return Err(Errno::ENOTEMPTY),
        b"." => return Err(Errno::EINVAL),
        b"" => return Err(Errno::EBUSY),
        _ => {}
    }
    dir.mnt.want_write()?;
    let inode = dir.inode();
    let _guard = inode.base().lock.lock();
    let victim = lookup_locked(&dir.dentry, last.name, last.hash)?.ok_or(Errno::ENOENT)?;
    may_delete(inode, &victim, start.cred, true)?;
    if victim.is_mountpoint() {
        return Err(Errno::EBUSY);
    }
    {
        let _victim_guard = victim.inode().base().lock.lock();
        inode.rmdir(last.name, victim.inode())?;
        dir.dentry.delete_child(&victim);
    }
    victim.prune();
    notify::on_child(&dir.dentry, &victim, Event::DELETE);
    notify::on_unlinked(&victim);
    Ok(())
}

/// link(2): a new name at `path` for what `old` leads to. The caller resolved `old` by its own rules.
pub fn link(old: &Path, start: &Start<'_>, path: &[u8]) -> Result<(), Errno> {
    let (dir, last) = lookup_parent(start, path)?;
    if last.is_special() {
        return Err(Errno::EEXIST);
    }
    let inode = dir.inode();
    let _guard = inode.base().lock.lock();
    let want_write = dir.mnt.want_write();
    if lookup_locked(&dir.dentry, last.name, last.hash)?.is_some() {
        return Err(Errno::EEXIST);
    }
    if last.trailing_slash {
        return Err(Errno::ENOENT);
    }
    want_write?;
    // Linux compares the mounts, not only the instances.
    if !Arc::ptr_eq(&old.mnt, &dir.mnt) {
        return Err(Errno::EXDEV);
    }
    may_make(&dir, start.cred)?;
    let target = old.inode();
    if target.is_dir() {
        return Err(Errno::EPERM);
    }
    if target.base().nlink() == 0 && !old.dentry.is_linkable() {
        return Err(Errno::ENOENT);
    }
    inode.link(last.name, target)?;
    let dentry = dir.dentry.add_child(last.name, last.hash, target.clone())?;
    notify::on_inode(target, Event::ATTRIB);
    notify::on_child(&dir.dentry, &dentry, Event::CREATE);
    Ok(())
}

/// Changes attributes of what `path` leads to, permission already checked: stamps the change time and tells watchers.
pub fn set_attr(path: &Path, mut set: SetAttr) -> Result<(), Errno> {
    path.mnt.want_write()?;
    set.ctime = Some(clock::now());
    let inode = path.inode();
    {
        let _guard = inode.base().lock.lock();
        if set.size.is_some() || (set.uid.is_some() || set.gid.is_some()) && !inode.is_dir() {
            inode.drop_caps()?;
        }
        inode.set_attr(&set)?;
    }
    notify::on_dentry(&path.dentry, if set.size.is_some() { Event::MODIFY } else { Event::ATTRIB });
    Ok(())
}
