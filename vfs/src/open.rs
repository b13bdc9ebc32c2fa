//! open(2), openat2(2).

use crate::attr::{FileType, SetAttr};
use crate::caller::Caller;
use crate::clock;
use crate::cred::Cred;
use crate::dentry::Dentry;
use crate::file::File;
use crate::fileops::FileOps;
use crate::inode::{Inode, may};
use crate::notify::{self, Event};
use crate::ops;
use crate::path::Path;
use crate::walk::{Last, Start, Walker, lookup_locked};
use abi::Errno;
use abi::fcntl::{OPENAT2_REGULAR, OpenFlags, ResolveFlags};
use abi::stat::{S_IALLUGO, S_IFREG};
use alloc::sync::Arc;
use core::any::Any;

/// What may stand beside `O_PATH`.
const WITH_PATH: OpenFlags = OpenFlags::PATH
    .union(OpenFlags::DIRECTORY)
    .union(OpenFlags::NOFOLLOW)
    .union(OpenFlags::CLOEXEC)
    .union(OpenFlags::EMPTY_PATH);

/// How to open.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Flags, checked by [`How::check`].
    pub flags: OpenFlags,
    /// Permission bits of a new file.
    pub mode: u32,
    /// The caller's umask.
    pub umask: u32,
    /// Only a regular file will do.
    pub regular: bool,
}

impl How {
    /// As open(2) takes them: unknown flags are ignored, contradictions repaired or refused.
    pub fn from_open(flags: u32, mode: u32, umask: u32) -> Result<How, Errno> {
        let flags = OpenFlags::from_bits_truncate(flags);
        let flags = if flags.contains(OpenFlags::PATH) {
            flags & WITH_PATH
        } else {
            // On 64-bit machines every open(2) is one for large files, and F_GETFL says so.
            flags | OpenFlags::LARGEFILE
        };
        let mode = if flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE_BIT) { mode & S_IALLUGO } else { 0 };
        let how = How { flags: complete(flags), mode, umask, regular: false };
        how.check()?;
        Ok(how)
    }
    /// As openat2(2) takes them: everything unknown or without effect is EINVAL.
    pub fn from_openat2(flags: u64, mode: u64, umask: u32) -> Result<How, Errno> {
        let regular = flags & OPENAT2_REGULAR != 0;
        let bits = u32::try_from(flags & !OPENAT2_REGULAR).map_err(|_| Errno::EINVAL)?;
        let flags = OpenFlags::from_bits(bits).ok_or(Errno::EINVAL)?;
        let makes = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE_BIT);
        if makes && mode & !(S_IALLUGO as u64) != 0 || !makes && mode != 0 {
            return Err(Errno::EINVAL);
        }
        if flags.contains(OpenFlags::PATH) && (regular || !WITH_PATH.contains(flags)) {
            return Err(Errno::EINVAL);
        }
        let how = How { flags: complete(flags), mode: mode as u32, umask, regular };
        how.check()?;
        Ok(how)
    }
    fn check(&self) -> Result<(), Errno> {
        let f = self.flags;
        if f.contains(OpenFlags::DIRECTORY) && (self.regular || f.contains(OpenFlags::CREAT)) {
            return Err(Errno::EINVAL);
        }
        if f.contains(OpenFlags::TMPFILE_BIT) && (!f.contains(OpenFlags::DIRECTORY) || !f.wants_write()) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
    /// Permissions the file must give.
    fn mask(&self) -> u32 {
        let f = self.flags;
        let mut mask = match f.access() {
            0 => may::READ,
            1 => may::WRITE,
            _ => may::READ | may::WRITE,
        };
        if f.contains(OpenFlags::TRUNC) {
            mask |= may::WRITE;
        }
        mask
    }
}

/// The bit that makes `O_SYNC` more than `O_DSYNC` means both.
fn complete(flags: OpenFlags) -> OpenFlags {
    if flags.contains(OpenFlags::SYNC_BIT) { flags | OpenFlags::SYNC } else { flags }
}

/// Opens `path`.
pub fn open(start: &Start<'_>, path: &[u8], how: &How, caller: &Caller<'_>) -> Result<Arc<File>, Errno> {
    let flags = how.flags;
    if flags.contains(OpenFlags::TMPFILE_BIT) {
        return open_tmpfile(start, path, how, caller);
    }
    let mut walker = Walker::new(start, path)?;
    let last = walker.walk_prefix(path)?;
    if !flags.contains(OpenFlags::CREAT) {
        walker.walk_last(&last, !flags.contains(OpenFlags::NOFOLLOW))?;
        return open_found(walker.finish(), how, caller, false);
    }
    open_create(walker, last, how, caller)
}

/// open with `O_CREAT`: the last component may be missing, also at the end of a symbolic link.
fn open_create(mut walker: Walker<'_>, last: Last<'_>, how: &How, caller: &Caller<'_>) -> Result<Arc<File>, Errno> {
    // The text of the last link, kept alive while its components are walked.
    let mut text: Arc<[u8]>;
    let mut last = last;
    loop {
        if last.is_special() {
            walker.walk_last(&last, true)?;
            // `O_CREAT` on what is surely a directory.
            return Err(if how.flags.contains(OpenFlags::EXCL) { Errno::EEXIST } else { Errno::EISDIR });
        }
        if last.trailing_slash {
            return Err(Errno::EISDIR);
        }
        let dir = walker.at().clone();
        let (child, created) = match walker.child(last.name, last.hash)? {
            Some(child) => (child, false),
            None => find_or_create(&dir, &last, how, caller.cred)?,
        };
        if created {
            return open_found(Path { mnt: dir.mnt, dentry: child }, how, caller, true);
        }
        if how.flags.contains(OpenFlags::EXCL) {
            return Err(Errno::EEXIST);
        }
        let follow = !how.flags.contains(OpenFlags::NOFOLLOW);
        let is_link = child.kind() == FileType::Symlink && !child.is_mountpoint();
        if is_link && follow && child.inode().magic_link(caller.cred).is_none() {
            walker.count_link()?;
            text = child.inode().readlink()?;
            last = walker.walk_target_prefix(&text)?;
            continue;
        }
        walker.step_into(child, follow)?;
        return open_found(walker.finish(), how, caller, false);
    }
}

/// Looks again under the directory's lock and makes the file if it is still missing.
fn find_or_create(dir: &Path, last: &Last<'_>, how: &How, cred: &Cred) -> Result<(Arc<Dentry>, bool), Errno> {
    let _guard = dir.inode().base().lock.lock();
    if let Some(child) = lookup_locked(&dir.dentry, last.name, last.hash)? {
        return Ok((child, false));
    }
    dir.mnt.want_write()?;
    ops::may_make(dir, cred)?;
    Ok((ops::create_file(dir, last, how.mode, how.umask, cred)?, true))
}

/// An unnamed file in the directory `path`.
fn open_tmpfile(start: &Start<'_>, path: &[u8], how: &How, caller: &Caller<'_>) -> Result<Arc<File>, Errno> {
    let dir = crate::walk::lookup(start, path, !how.flags.contains(OpenFlags::NOFOLLOW))?;
    if dir.dentry.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    dir.mnt.want_write()?;
    ops::may_change_dir(dir.inode(), caller.cred)?;
    let mode = how.mode & !how.umask & S_IALLUGO | S_IFREG;
    let inode = dir.inode().tmpfile(mode, caller.cred)?;
    let name = alloc::format!("#{}", inode.base().ino());
    let dentry = Dentry::unhashed(inode, &dir.dentry, name.as_bytes(), !how.flags.contains(OpenFlags::EXCL));
    open_found(Path { mnt: dir.mnt, dentry }, how, caller, true)
}

/// Opens what a walk found (or `created`): type and permission checks, then the file system's open, then truncation.
pub fn open_found(path: Path, how: &How, caller: &Caller<'_>, created: bool) -> Result<Arc<File>, Errno> {
    let mut flags = how.flags;
    let kind = path.dentry.kind();
    if flags.contains(OpenFlags::CREAT) && !created && kind == FileType::Directory {
        return Err(Errno::EISDIR);
    }
    if how.regular && kind != FileType::Regular {
        return Err(Errno::EFTYPE);
    }
    // `O_TMPFILE` holds `O_DIRECTORY`, which is about where the file is made.
    let wants_dir = flags.contains(OpenFlags::DIRECTORY) && !flags.contains(OpenFlags::TMPFILE_BIT);
    if wants_dir && kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    if flags.contains(OpenFlags::PATH) {
        return Ok(File::new(path, Arc::new(PathOnly), flags, caller.cred.clone()));
    }
    if created {
        flags -= OpenFlags::TRUNC;
    } else {
        may_open(&path, &mut flags, how, caller.cred)?;
    }
    if flags.contains(OpenFlags::DIRECT) && !takes_direct(&path) {
        return Err(Errno::EINVAL);
    }
    let writes = flags.wants_write() && kind == FileType::Regular;
    if writes || flags.contains(OpenFlags::TRUNC) {
        path.mnt.want_write()?;
    }
    let ops = if writes {
        let base = path.inode().base();
        base.get_write_access()?;
        let ops = path
            .mnt
            .add_writer()
            .and_then(|()| path.inode().clone().open(&path, flags, caller).inspect_err(|_| path.mnt.remove_writer()));
        ops.inspect_err(|_| base.put_write_access())?
    } else {
        path.inode().clone().open(&path, flags, caller)?
    };
    let truncate = flags.contains(OpenFlags::TRUNC);
    let file = if writes {
        File::new_counted(path, ops, flags, caller.cred.clone())
    } else {
        File::new(path, ops, flags, caller.cred.clone())
    };
    if truncate && file.inode().size() != 0 {
        truncate_open(&file)?;
    } else if truncate {
        file.inode().base().touch_mtime();
    }
    if created {
        file.note_created();
    }
    notify::on_file(&file, Event::OPEN);
    Ok(file)
}

/// `O_DIRECT` means something here: there is a page cache to go round.
pub(crate) fn takes_direct(path: &Path) -> bool {
    path.inode().cache().is_some()
}

fn truncate_open(file: &File) -> Result<(), Errno> {
    let now = clock::now();
    let set = SetAttr { size: Some(0), mtime: Some(now), ctime: Some(now), ..SetAttr::default() };
    let inode = file.inode();
    let _guard = inode.base().lock.lock();
    inode.set_attr(&set)
}

/// The checks on an existing object, in Linux's order.
fn may_open(path: &Path, flags: &mut OpenFlags, how: &How, cred: &Cred) -> Result<(), Errno> {
    let inode: &Arc<dyn Inode> = path.inode();
    match path.dentry.kind() {
        FileType::Symlink => return Err(Errno::ELOOP),
        FileType::Directory if how.mask() & may::WRITE != 0 => return Err(Errno::EISDIR),
        FileType::CharDevice | FileType::BlockDevice => {
            if path.mnt.is_nodev() {
                return Err(Errno::EACCES);
            }
            *flags -= OpenFlags::TRUNC;
        }
        FileType::Fifo | FileType::Socket => *flags -= OpenFlags::TRUNC,
        _ => {}
    }
    inode.check(cred, how.mask())?;
    if flags.contains(OpenFlags::NOATIME) && !inode.owner_or_capable(cred) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Opens for the kernel itself (exec): a regular file for reading, with search and execute permission checked by the caller.
pub fn open_path(path: &Path, caller: &Caller<'_>) -> Result<Arc<File>, Errno> {
    let ops = path.inode().clone().open(path, OpenFlags::empty(), caller)?;
    Ok(File::new(path.clone(), ops, OpenFlags::empty(), caller.cred.clone()))
}

/// The operations of an `O_PATH` descriptor: none.
struct PathOnly;

impl FileOps for PathOnly {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Whether the flags of openat2(2) make sense together.
pub fn check_resolve(resolve: u64) -> Result<ResolveFlags, Errno> {
    let resolve = ResolveFlags::from_bits(resolve).ok_or(Errno::EINVAL)?;
    if resolve.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    Ok(resolve)
}
