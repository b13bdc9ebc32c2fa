//! Renames by path (rename(2)): what is moved where, whether it may be, and what follows for the dentry cache and for watchers.
//!
//! Two directories are locked ancestors first, else by address; [`RENAME`] keeps the tree's shape still while that is decided.

use crate::attr::FileType;
use crate::cred::Cred;
use crate::dentry::Dentry;
use crate::inode::{Rename, may};
use crate::notify;
use crate::ops::{may_delete, may_make};
use crate::path::Path;
use crate::walk::{Last, Start, lookup_locked, lookup_parent};
use abi::Errno;
use abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
use alloc::sync::Arc;

/// Serialises renames between directories, so that no one can move a directory below itself. Taken before directory locks.
static RENAME: sched::Mutex<()> = sched::Mutex::new(());

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
pub fn check_flags(flags: u32) -> Result<u32, Errno> {
    let unknown = flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0;
    let at_odds = flags & RENAME_EXCHANGE != 0 && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0;
    if unknown || at_odds { Err(Errno::EINVAL) } else { Ok(flags) }
}

/// renameat2(2), with the old name looked up ([`lookup_parent`]): only then Linux looks at the new one.
pub fn rename((old_dir, old): (Path, Last<'_>), to: &Start<'_>, new: &[u8], flags: u32) -> Result<(), Errno> {
    let (new_dir, new) = lookup_parent(to, new)?;
    if !Arc::ptr_eq(&old_dir.mnt, &new_dir.mnt) {
        return Err(Errno::EXDEV);
    }
    if old.is_special() {
        return Err(Errno::EBUSY);
    }
    if new.is_special() {
        return Err(if flags & RENAME_NOREPLACE != 0 { Errno::EEXIST } else { Errno::EBUSY });
    }
    old_dir.mnt.want_write()?;
    let same_dir = Arc::ptr_eq(&old_dir.dentry, &new_dir.dentry);
    let _tree = if same_dir { None } else { Some(RENAME.lock()) };
    let guard = lock_two(&old_dir.dentry, &new_dir.dentry);
    let moved = lookup_locked(&old_dir.dentry, old.name, old.hash)?.ok_or(Errno::ENOENT)?;
    let target = lookup_locked(&new_dir.dentry, new.name, new.hash)?;
    let step = Step { old_dir: &old_dir, old, new_dir: &new_dir, new, moved, target, flags };
    step.check_names()?;
    if step.is_one_file() {
        return Ok(());
    }
    step.check_permission(to.cred)?;
    if [Some(&step.moved), step.target.as_ref()].into_iter().flatten().any(|dentry| dentry.is_mountpoint()) {
        return Err(Errno::EBUSY);
    }
    step.carry_out(to.cred)?;
    drop(guard);
    if let Some(replaced) = step.replaced() {
        notify::on_link_count(replaced);
        notify::on_unlinked(replaced);
    }
    Ok(())
}

/// A rename whose directories are locked and whose names are looked up.
struct Step<'a> {
    old_dir: &'a Path,
    old: Last<'a>,
    new_dir: &'a Path,
    new: Last<'a>,
    moved: Arc<Dentry>,
    /// What the new name stands for until now.
    target: Option<Arc<Dentry>>,
    flags: u32,
}

impl Step<'_> {
    fn exchanges(&self) -> bool {
        self.flags & RENAME_EXCHANGE != 0
    }
    /// What goes the other way.
    fn exchanged(&self) -> Option<&Arc<Dentry>> {
        self.target.as_ref().filter(|_| self.exchanges())
    }
    /// What loses its name.
    fn replaced(&self) -> Option<&Arc<Dentry>> {
        self.target.as_ref().filter(|_| !self.exchanges())
    }

    /// Whether the flags, the names and the shape of the tree allow it.
    fn check_names(&self) -> Result<(), Errno> {
        match &self.target {
            Some(_) if self.flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            None if self.exchanges() => return Err(Errno::ENOENT),
            _ => {}
        }
        // A slash behind a name asks for a directory: behind the new one, for what will be there, or is there to be exchanged.
        let slashed = self.old.trailing_slash || !self.exchanges() && self.new.trailing_slash;
        let not_dir = |dentry: &Arc<Dentry>| dentry.kind() != FileType::Directory;
        if slashed && not_dir(&self.moved) || self.new.trailing_slash && self.exchanged().is_some_and(not_dir) {
            return Err(Errno::ENOTDIR);
        }
        // A directory cannot move below itself, nor replace its own ancestor.
        if self.new_dir.dentry.is_below(&self.moved) {
            return Err(Errno::EINVAL);
        }
        if self.target.as_ref().is_some_and(|target| self.old_dir.dentry.is_below(target)) {
            return Err(if self.exchanges() { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        Ok(())
    }

    /// Both are names of one file: there is nothing to do (rename(2)).
    fn is_one_file(&self) -> bool {
        let moved = &self.moved;
        self.target.as_ref().is_some_and(|t| Arc::ptr_eq(t, moved) || Arc::ptr_eq(t.inode(), moved.inode()))
    }

    /// Whether `cred` may take these names away and make them.
    fn check_permission(&self, cred: &Cred) -> Result<(), Errno> {
        let is_dir = |dentry: &Arc<Dentry>| dentry.kind() == FileType::Directory;
        may_delete(self.old_dir.inode(), &self.moved, cred, is_dir(&self.moved))?;
        match &self.target {
            None => may_make(self.new_dir, cred)?,
            Some(target) => {
                let as_dir = if self.exchanges() { is_dir(target) } else { is_dir(&self.moved) };
                may_delete(self.new_dir.inode(), target, cred, as_dir)?;
            }
        }
        if Arc::ptr_eq(&self.old_dir.dentry, &self.new_dir.dentry) {
            return Ok(());
        }
        // A directory that gets another parent is itself changed: its `..`.
        let mut changed = [Some(&self.moved), self.exchanged()].into_iter().flatten();
        changed.try_for_each(|dentry| if is_dir(dentry) { dentry.inode().check(cred, may::WRITE) } else { Ok(()) })
    }

    /// Has the file system do it, brings the dentry cache up to date and tells watchers.
    fn carry_out(&self, cred: &Cred) -> Result<(), Errno> {
        let (old_dir, new_dir) = (&self.old_dir.dentry, &self.new_dir.dentry);
        // Keeps entries from appearing in a directory that is being replaced.
        let victim = self.replaced().filter(|target| target.kind() == FileType::Directory);
        let victim_guard = victim.map(|target| target.inode().base().lock.lock());
        self.old_dir.inode().rename(&Rename {
            old_name: self.old.name,
            old: self.moved.inode(),
            new_dir: self.new_dir.inode(),
            new_name: self.new.name,
            victim: self.target.as_ref().map(|target| target.inode()),
            flags: self.flags,
            cred,
        })?;
        if let Some(exchanged) = self.exchanged() {
            new_dir.forget(exchanged);
        }
        if let Some(replaced) = self.replaced() {
            new_dir.delete_child(replaced);
        }
        old_dir.move_child(&self.moved, new_dir, self.new.name, self.new.hash)?;
        if let Some(exchanged) = self.exchanged() {
            new_dir.move_child(exchanged, old_dir, self.old.name, self.old.hash)?;
        }
        drop(victim_guard);
        notify::on_rename(old_dir, self.old.name, new_dir, self.new.name, &self.moved);
        if let Some(exchanged) = self.exchanged() {
            notify::on_rename(new_dir, self.new.name, old_dir, self.old.name, exchanged);
        }
        Ok(())
    }
}
