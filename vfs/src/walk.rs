//! Path walk: from text to a place in the tree (path_resolution(7), openat2(2)).
//!
//! The walker goes component by component: search permission of the directory, one look into its dentry's table (the file system is
//! asked, under the directory's lock, only for names not known there), mounts that cover the result, symbolic links. What is left of
//! the texts of nested links waits on a short list, not on the kernel stack. The result is a reference to a place; nothing stays
//! locked.

use crate::attr::FileType;
use crate::cred::Cred;
use crate::dentry::{Cached, Dentry};
use crate::inode::Inode;
use crate::mount::MntFlags;
use crate::name::first_component;
use crate::path::Path;
use crate::superblock::SbFlags;
use abi::Errno;
use abi::fcntl::ResolveFlags;
use alloc::sync::Arc;
use smallvec::SmallVec;

/// Longest component.
pub const NAME_MAX: usize = 255;
/// Symbolic links followed in one walk.
const MAX_LINKS: u32 = 40;

/// Where a walk starts and for whom.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The process's root directory.
    pub root: &'a Path,
    /// Where relative paths start.
    pub base: &'a Path,
    /// Whose permissions count.
    pub cred: &'a Cred,
    /// Limits of openat2(2).
    pub resolve: ResolveFlags,
}

impl<'a> Start<'a> {
    /// An ordinary walk.
    pub fn new(root: &'a Path, base: &'a Path, cred: &'a Cred) -> Start<'a> {
        Start { root, base, cred, resolve: ResolveFlags::empty() }
    }
}

/// The last component of a path, not yet looked up.
#[derive(Clone, Copy)]
pub struct Last<'p> {
    /// The component; empty when the path is `/`.
    pub name: &'p [u8],
    /// Its hash.
    pub hash: u64,
    /// A slash follows: it must be a directory.
    pub trailing_slash: bool,
}

impl Last<'_> {
    /// `.`, `..` or the root: nothing that can be made or removed by name.
    pub fn is_special(&self) -> bool {
        matches!(self.name, b"" | b"." | b"..")
    }
}

/// Looks `path` up. `follow`: a symbolic link at the end is followed (always when a slash comes after it). The empty path is ENOENT.
pub fn lookup(start: &Start<'_>, path: &[u8], follow: bool) -> Result<Path, Errno> {
    let mut w = Walker::new(start, path)?;
    w.walk_all(path, follow)?;
    Ok(w.finish())
}

/// Walks to the directory that holds the last component. The directory exists and is searchable.
pub fn lookup_parent<'p>(start: &Start<'_>, path: &'p [u8]) -> Result<(Path, Last<'p>), Errno> {
    let mut w = Walker::new(start, path)?;
    let last = w.walk_prefix(path)?;
    Ok((w.finish(), last))
}

pub(crate) struct Walker<'a> {
    start: &'a Start<'a>,
    at: Path,
    links: u32,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(start: &'a Start<'a>, path: &[u8]) -> Result<Walker<'a>, Errno> {
        let Some(&first) = path.first() else { return Err(Errno::ENOENT) };
        let at = if first == b'/' && !start.resolve.contains(ResolveFlags::IN_ROOT) {
            if start.resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
            start.root.clone()
        } else {
            if first != b'/' && start.base.dentry.kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            start.base.clone()
        };
        Ok(Walker { start, at, links: 0 })
    }

    pub(crate) fn finish(self) -> Path {
        self.at
    }

    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// The root this walk cannot leave by `..`.
    fn root(&self) -> &'a Path {
        if self.start.resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
            self.start.base
        } else {
            self.start.root
        }
    }

    /// Goes to the root: an absolute path or link target.
    fn jump_to_root(&mut self) -> Result<(), Errno> {
        let resolve = self.start.resolve;
        if resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let root = self.root();
        if resolve.contains(ResolveFlags::NO_XDEV) && !Arc::ptr_eq(&self.at.mnt, &root.mnt) {
            return Err(Errno::EXDEV);
        }
        self.at = root.clone();
        Ok(())
    }

    fn walk_all(&mut self, path: &[u8], follow: bool) -> Result<(), Errno> {
        let last = self.walk_prefix(path)?;
        self.walk_last(&last, follow)
    }

    /// The last component, where it must exist.
    pub(crate) fn walk_last(&mut self, last: &Last<'_>, follow: bool) -> Result<(), Errno> {
        self.component(last.name, last.hash, follow || last.trailing_slash)?;
        if last.trailing_slash && self.at.dentry.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(())
    }

    /// Walks all but the last component.
    pub(crate) fn walk_prefix<'p>(&mut self, path: &'p [u8]) -> Result<Last<'p>, Errno> {
        let mut at = skip_slashes(path, 0);
        loop {
            if at >= path.len() {
                return Ok(Last { name: b"", hash: 0, trailing_slash: false });
            }
            self.at.inode().may_search(self.start.cred)?;
            let (len, hash) = first_component(path, at);
            let name = path.get(at..at + len).unwrap_or_default();
            let next = skip_slashes(path, at + len);
            if next >= path.len() {
                return Ok(Last { name, hash, trailing_slash: next > at + len });
            }
            self.component(name, hash, true)?;
            if self.at.dentry.kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            at = next;
        }
    }

    /// The child `name` of the directory the walk is in: from the cache, or from the file system. `None` when it does not exist.
    #[inline]
    pub(crate) fn child(&self, name: &[u8], hash: u64) -> Result<Option<Arc<Dentry>>, Errno> {
        let dir = &self.at.dentry;
        match dir.cached(name, hash) {
            Cached::Positive(d) => Ok(Some(d)),
            Cached::Negative => Ok(None),
            Cached::Unknown if self.start.resolve.contains(ResolveFlags::CACHED) => Err(Errno::EAGAIN),
            Cached::Unknown => lookup_slow(dir, name, hash),
        }
    }

    #[inline]
    fn component(&mut self, name: &[u8], hash: u64, follow: bool) -> Result<(), Errno> {
        match name {
            [] | [b'.'] => Ok(()),
            [b'.', b'.'] => self.up(),
            _ => {
                let found = self.child(name, hash)?;
                let child = found.ok_or(Errno::ENOENT)?;
                self.step_into(child, follow)
            }
        }
    }

    /// Enters `child` of the current directory: crosses mounts, follows a link.
    #[inline]
    pub(crate) fn step_into(&mut self, child: Arc<Dentry>, follow: bool) -> Result<(), Errno> {
        if child.kind() == FileType::Symlink && follow && !child.is_mountpoint() {
            return self.follow_link(child);
        }
        let covered = child.is_mountpoint();
        self.at.dentry = child;
        if covered { self.cross_mounts() } else { Ok(()) }
    }

    #[inline(never)]
    fn cross_mounts(&mut self) -> Result<(), Errno> {
        while self.at.dentry.is_mountpoint() {
            let Some(mnt) = self.at.mnt.child_at(&self.at.dentry) else { break };
            if self.start.resolve.contains(ResolveFlags::NO_XDEV) {
                return Err(Errno::EXDEV);
            }
            self.at = Path::root_of(&mnt);
        }
        Ok(())
    }

    fn up(&mut self) -> Result<(), Errno> {
        let resolve = self.start.resolve;
        loop {
            let root = self.root();
            if self.at == *root {
                if resolve.contains(ResolveFlags::BENEATH) {
                    return Err(Errno::EXDEV);
                }
                break;
            }
            if Arc::ptr_eq(&self.at.dentry, self.at.mnt.root()) {
                match self.at.mnt.parent() {
                    Some(_) if resolve.contains(ResolveFlags::NO_XDEV) => return Err(Errno::EXDEV),
                    Some(above) => self.at = above,
                    None => break,
                }
            } else {
                if let Some(parent) = self.at.dentry.parent() {
                    self.at.dentry = parent;
                }
                break;
            }
        }
        self.cross_mounts()
    }

    /// Goes where a symbolic link leads, following every link on the way.
    #[inline(never)]
    fn follow_link(&mut self, link: Arc<Dentry>) -> Result<(), Errno> {
        let mut pending: SmallVec<[(Arc<[u8]>, usize); 4]> = SmallVec::new();
        if let Some(text) = self.enter_link(&link)? {
            pending.push((text, 0));
        }
        drop(link);
        'texts: while let Some((text, from)) = pending.pop() {
            let mut at = skip_slashes(&text, from);
            while at < text.len() {
                if self.at.dentry.kind() != FileType::Directory {
                    return Err(Errno::ENOTDIR);
                }
                self.at.inode().may_search(self.start.cred)?;
                let (len, hash) = first_component(&text, at);
                let name = text.get(at..at + len).unwrap_or_default();
                at = skip_slashes(&text, at + len);
                match name {
                    [b'.'] => {}
                    [b'.', b'.'] => self.up()?,
                    _ => {
                        let child = self.child(name, hash)?.ok_or(Errno::ENOENT)?;
                        if child.kind() != FileType::Symlink || child.is_mountpoint() {
                            self.step_into(child, false)?;
                        } else if let Some(target) = self.enter_link(&child)? {
                            pending.push((text, at));
                            pending.push((target, 0));
                            continue 'texts;
                        }
                    }
                }
            }
            if text.ends_with(b"/") && self.at.dentry.kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
        }
        Ok(())
    }

    /// Counts and checks a link. A magic link is gone to at once; for another the text to walk is returned, with the walker at the
    /// root if it is absolute.
    fn enter_link(&mut self, link: &Arc<Dentry>) -> Result<Option<Arc<[u8]>>, Errno> {
        let resolve = self.start.resolve;
        self.count_link()?;
        if self.at.mnt.flags().contains(MntFlags::NOSYMFOLLOW) {
            return Err(Errno::ELOOP);
        }
        if let Some(place) = link.inode().magic_link(self.start.cred) {
            if resolve.contains(ResolveFlags::NO_MAGICLINKS) {
                return Err(Errno::ELOOP);
            }
            let place = place?;
            if resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT)
                || resolve.contains(ResolveFlags::NO_XDEV) && !Arc::ptr_eq(&place.mnt, &self.at.mnt)
            {
                return Err(Errno::EXDEV);
            }
            self.at = place;
            return Ok(None);
        }
        let target = link.inode().readlink()?;
        match target.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => self.jump_to_root()?,
            Some(_) => {}
        }
        Ok(Some(target))
    }

    /// Counts one more symbolic link met at the end of a path; ELOOP when they are too many.
    pub(crate) fn count_link(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS || self.start.resolve.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        Ok(())
    }

    /// Walks a link's target up to its last component, from the directory the walker is in.
    pub(crate) fn walk_target_prefix<'p>(&mut self, target: &'p [u8]) -> Result<Last<'p>, Errno> {
        match target.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => self.jump_to_root()?,
            Some(_) => {}
        }
        self.walk_prefix(target)
    }
}

/// The first position from `at` on that holds no slash.
#[inline]
fn skip_slashes(path: &[u8], at: usize) -> usize {
    let mut at = at;
    while path.get(at) == Some(&b'/') {
        at += 1;
    }
    at
}

#[inline(never)]
fn lookup_slow(dir: &Arc<Dentry>, name: &[u8], hash: u64) -> Result<Option<Arc<Dentry>>, Errno> {
    let _guard = dir.inode().base().lock.lock();
    lookup_locked(dir, name, hash)
}

/// The same with the directory's inode lock held.
pub(crate) fn lookup_locked(dir: &Arc<Dentry>, name: &[u8], hash: u64) -> Result<Option<Arc<Dentry>>, Errno> {
    match dir.cached(name, hash) {
        Cached::Positive(d) => return Ok(Some(d)),
        Cached::Negative => return Ok(None),
        Cached::Unknown => {}
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if dir.is_deleted() {
        return Ok(None);
    }
    match dir.inode().lookup(name) {
        Ok(inode) => dir.add_child(name, hash, inode).map(Some),
        Err(Errno::ENOENT) => {
            let flags = dir.sb().flags();
            if flags.contains(SbFlags::EMPTY) {
                return Err(Errno::ENOENT);
            }
            if flags.contains(SbFlags::CACHE_NEGATIVE) {
                dir.add_negative(name, hash);
            }
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Checks that `cred` may search the directory behind an inode; used where a walk starts at a descriptor.
pub fn may_enter(inode: &Arc<dyn Inode>, cred: &Cred) -> Result<(), Errno> {
    if !inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    inode.check(cred, crate::inode::may::EXEC)
}
