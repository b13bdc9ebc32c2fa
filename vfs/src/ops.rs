//! Changes of the tree by path: make, remove, link, rename (mkdir(2), mknod(2), unlink(2), rmdir(2), symlink(2), link(2), rename(2)).
//!
//! Each operation walks to the parent, takes the directory's lock, looks the name up under it, checks in Linux's order, calls the file
//! system and brings the dentry cache up to date. Two directories are locked ancestors first, else by address; [`RENAME`] keeps
//! the tree's shape still while that is decided.

use crate::attr::{FileType, SetAttr};
use crate::clock;
use crate::cred::{Cap, Cred};
use crate::dentry::Dentry;
use crate::inode::{Inode, Rename, may};
use crate::notify::{self, Event};
use crate::path::Path;
use crate::walk::{Last, Start, lookup_locked, lookup_parent};
use abi::Errno;
use abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
use abi::stat::*;
use alloc::sync::Arc;

/// Serialises renames between directories, so that no one can move a directory below itself. Taken before directory locks.
static RENAME: sched::Mutex<()> = sched::Mutex::new(());

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
fn may_delete(dir: &Arc<dyn Inode>, victim: &Dentry, cred: &Cred, want_dir: bool) -> Result<(), Errno> {
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

/// Locks of two directories, in the order that cannot deadlock.
struct TwoDirs<'a> {
    _first: sched::MutexGuard<'a, ()>,
    _second: Option<sched::MutexGuard<'a, ()>>,
}

fn lock_two<'a>(a: &'a Arc<Dentry>, b: &'a Arc<Dentry>) -> TwoDirs<'a> {
    if Arc::ptr_eq(a, b) {
        return TwoDirs { _first: a.inode().base().lock.lock(), _second: None };
    }
    let a_first = if b.is_below(a) {
        true
    } else if a.is_below(b) {
        false
    } else {
        Arc::as_ptr(a) < Arc::as_ptr(b)
    };
    let (first, second) = if a_first { (a, b) } else { (b, a) };
    TwoDirs { _first: first.inode().base().lock.lock(), _second: Some(second.inode().base().lock.lock()) }
}

/// The flags of renameat2(2) when they go together; else EINVAL.
pub fn rename_flags(flags: u32) -> Result<u32, Errno> {
    let unknown = flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0;
    let at_odds = flags & RENAME_EXCHANGE != 0 && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0;
    if unknown || at_odds { Err(Errno::EINVAL) } else { Ok(flags) }
}

/// renameat2(2), with the old name looked up ([`lookup_parent`]): only then Linux looks at the new one.
pub fn rename((old_dir, old_last): (Path, Last<'_>), to: &Start<'_>, new: &[u8], flags: u32) -> Result<(), Errno> {
    let (new_dir, new_last) = lookup_parent(to, new)?;
    if !Arc::ptr_eq(&old_dir.mnt, &new_dir.mnt) {
        return Err(Errno::EXDEV);
    }
    if old_last.is_special() {
        return Err(Errno::EBUSY);
    }
    if new_last.is_special() {
        return Err(if flags & RENAME_NOREPLACE != 0 { Errno::EEXIST } else { Errno::EBUSY });
    }
    old_dir.mnt.want_write()?;
    let same_dir = Arc::ptr_eq(&old_dir.dentry, &new_dir.dentry);
    let _tree = if same_dir { None } else { Some(RENAME.lock()) };
    let guard = lock_two(&old_dir.dentry, &new_dir.dentry);
    let moved = lookup_locked(&old_dir.dentry, old_last.name, old_last.hash)?.ok_or(Errno::ENOENT)?;
    let target = lookup_locked(&new_dir.dentry, new_last.name, new_last.hash)?;
    let exchange = flags & RENAME_EXCHANGE != 0;
    match &target {
        Some(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
        None if exchange => return Err(Errno::ENOENT),
        _ => {}
    }
    let is_dir = moved.kind() == FileType::Directory;
    if !is_dir && (old_last.trailing_slash || !exchange && new_last.trailing_slash) {
        return Err(Errno::ENOTDIR);
    }
    if let (true, Some(t)) = (exchange && new_last.trailing_slash, &target)
        && t.kind() != FileType::Directory
    {
        return Err(Errno::ENOTDIR);
    }
    // A directory cannot move below itself, nor replace its own ancestor.
    if new_dir.dentry.is_below(&moved) {
        return Err(Errno::EINVAL);
    }
    if let Some(t) = &target
        && old_dir.dentry.is_below(t)
    {
        return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
    }
    if let Some(t) = &target
        && (Arc::ptr_eq(t, &moved) || Arc::ptr_eq(t.inode(), moved.inode()))
    {
        // Two names of one file: nothing to do (rename(2)).
        return Ok(());
    }
    may_delete(old_dir.inode(), &moved, to.cred, is_dir)?;
    match &target {
        None => may_make(&new_dir, to.cred)?,
        Some(t) if exchange => may_delete(new_dir.inode(), t, to.cred, t.kind() == FileType::Directory)?,
        Some(t) => may_delete(new_dir.inode(), t, to.cred, is_dir)?,
    }
    // A directory that gets another parent is itself changed: its `..`.
    if !same_dir {
        if is_dir {
            moved.inode().check(to.cred, may::WRITE)?;
        }
        if let (true, Some(t)) = (exchange, &target)
            && t.kind() == FileType::Directory
        {
            t.inode().check(to.cred, may::WRITE)?;
        }
    }
    if moved.is_mountpoint() || target.as_ref().is_some_and(|t| t.is_mountpoint()) {
        return Err(Errno::EBUSY);
    }
    // Keeps entries from appearing in a directory that is being replaced.
    let victim_guard = match &target {
        Some(t) if !exchange && t.kind() == FileType::Directory => Some(t.inode().base().lock.lock()),
        _ => None,
    };
    old_dir.inode().rename(&Rename {
        old_name: old_last.name,
        old: moved.inode(),
        new_dir: new_dir.inode(),
        new_name: new_last.name,
        victim: target.as_ref().map(|t| t.inode()),
        flags,
        cred: to.cred,
    })?;
    match &target {
        Some(t) if exchange => {
            new_dir.dentry.forget(t);
            old_dir.dentry.move_child(&moved, &new_dir.dentry, new_last.name, new_last.hash)?;
            new_dir.dentry.move_child(t, &old_dir.dentry, old_last.name, old_last.hash)?;
        }
        _ => {
            if let Some(t) = &target {
                new_dir.dentry.delete_child(t);
            }
            old_dir.dentry.move_child(&moved, &new_dir.dentry, new_last.name, new_last.hash)?;
        }
    }
    drop(victim_guard);
    notify::on_rename(&old_dir.dentry, old_last.name, &new_dir.dentry, new_last.name, &moved);
    if let (true, Some(t)) = (exchange, &target) {
        notify::on_rename(&new_dir.dentry, new_last.name, &old_dir.dentry, old_last.name, t);
    }
    drop(guard);
    if let (false, Some(t)) = (exchange, &target) {
        notify::on_link_count(t);
        notify::on_unlinked(t);
    }
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
