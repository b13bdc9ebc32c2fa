//! Changes of directories: new names, removed names, moved names, and the whiteouts that hide lower ones.
//!
//! A new object goes straight into the upper directory when its name is free there. Where a whiteout holds the name, the object is
//! made in the work directory and moved over it; a new directory is made opaque first, so that it does not merge with what
//! the whiteout hid. A name is removed by a plain removal when no lower layer shows it, else by a whiteout moved over it.
//!
//! `vfs` holds the locks of the overlay directories; the locks of upper directories are taken here (see [`crate::fs`]).

use crate::copyup::Contents;
use crate::fs::Fs;
use crate::lookup::{UpperEntry, upper_entry};
use crate::node::{Covers, Found, Node};
use abi::Errno;
use abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use alloc::sync::Arc;
use smallvec::SmallVec;
use vfs::{Cred, FileType, Inode, Rename, SetAttr};

const S_ISGID: u32 = 0o2000;

impl Node {
    /// Makes a new object under `name` by `op` (called with a directory whose lock is held, and a name in it).
    pub fn make(
        &self,
        name: &[u8],
        cred: &Cred,
        op: impl FnOnce(&Arc<dyn Inode>, &[u8]) -> Result<Arc<dyn Inode>, Errno>,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let dir = self.copy_up(Contents::Whole)?;
        let guard = dir.base().lock.lock();
        let (upper, covers) = match upper_entry(dir, name)? {
            UpperEntry::None => (op(dir, name)?, Covers::Nothing),
            UpperEntry::Whiteout(mark) => (self.make_over(dir, name, &mark, cred, op)?, Covers::Something),
            UpperEntry::Object(_) => return Err(Errno::EEXIST),
        };
        drop(guard);
        let node = Node::new(&self.fs, Found { upper: Some(upper), lowers: SmallVec::new() }, None, covers)?;
        self.entries_changed();
        Ok(node)
    }

    fn make_over(
        &self,
        dir: &Arc<dyn Inode>,
        name: &[u8],
        mark: &Arc<dyn Inode>,
        cred: &Cred,
        op: impl FnOnce(&Arc<dyn Inode>, &[u8]) -> Result<Arc<dyn Inode>, Errno>,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let (work, temp) = (self.fs.work()?, self.fs.temp_name());
        let _guard = work.base().lock.lock();
        let made = op(work, temp.as_bytes())?;
        let moved = self.adopt_group(dir, &made, cred).and_then(|()| {
            if !made.is_dir() {
                return self.fs.move_in(work, &temp, &made, dir, name, Some(mark));
            }
            self.fs.set_opaque(&made)?;
            dir.unlink(name, mark)?;
            self.fs.move_in(work, &temp, &made, dir, name, None)
        });
        if let Err(error) = moved {
            let _ =
                if made.is_dir() { work.rmdir(temp.as_bytes(), &made) } else { work.unlink(temp.as_bytes(), &made) };
            return Err(error);
        }
        Ok(made)
    }

    /// A new object inherits the group of a set-group-id directory, which the work directory is not.
    fn adopt_group(&self, dir: &Arc<dyn Inode>, made: &Arc<dyn Inode>, cred: &Cred) -> Result<(), Errno> {
        let base = dir.base();
        if base.mode() & S_ISGID == 0 || base.gid() == cred.fsgid {
            return Ok(());
        }
        let _guard = made.base().lock.lock();
        made.set_attr(&SetAttr { gid: Some(base.gid()), ..SetAttr::default() })
    }

    /// Makes `name` another name of `target`.
    pub fn add_link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), Errno> {
        let node = Node::of(target)?;
        let file = node.copy_up(Contents::Whole)?.clone();
        let dir = self.copy_up(Contents::Whole)?;
        let covers = {
            let _guard = dir.base().lock.lock();
            let found = upper_entry(dir, name)?;
            let covers = match &found {
                UpperEntry::None => Covers::Nothing,
                UpperEntry::Whiteout(mark) => {
                    dir.unlink(name, mark)?;
                    Covers::Something
                }
                UpperEntry::Object(_) => return Err(Errno::EEXIST),
            };
            if let Err(error) = dir.link(name, &file) {
                if covers == Covers::Something {
                    self.fs.whiteout(dir, name, None)?;
                }
                return Err(error);
            }
            covers
        };
        if node.covers() != covers {
            // The names differ in what they cover: it must be looked up when one goes.
            node.set_covers(Covers::Unknown);
        }
        node.base.set_nlink(file.base().nlink());
        node.base.touch_ctime();
        if let Some(node) = node.me.upgrade() {
            self.fs.share(&file, &node);
        }
        self.entries_changed();
        Ok(())
    }

    /// Whether removing `name`, which leads to `node`, uncovers something in a lower layer.
    fn uncovers(&self, name: &[u8], node: &Node) -> Result<bool, Errno> {
        match node.covers() {
            Covers::Something => Ok(true),
            Covers::Nothing => Ok(false),
            Covers::Unknown => self.lower_has(name),
        }
    }

    /// Removes a name; a directory was emptied before.
    pub fn remove(&self, name: &[u8], victim: &Node) -> Result<(), Errno> {
        let needs_whiteout = self.uncovers(name, victim)?;
        let dir = self.copy_up(Contents::Whole)?;
        let upper = victim.upper.get();
        {
            let _guard = dir.base().lock.lock();
            match upper {
                _ if needs_whiteout => self.fs.whiteout(dir, name, upper)?,
                Some(upper) if upper.is_dir() => dir.rmdir(name, upper)?,
                Some(upper) => dir.unlink(name, upper)?,
                None => return Err(Errno::EIO),
            }
        }
        victim.name_gone();
        self.entries_changed();
        Ok(())
    }

    /// One of this object's names was removed or replaced.
    fn name_gone(&self) {
        match self.upper.get() {
            _ if self.base.kind() == FileType::Directory => self.base.set_nlink(0),
            Some(upper) => self.base.set_nlink(upper.base().nlink()),
            // Other names of a lower file lead to overlay inodes of their own.
            None => self.base.set_nlink(0),
        }
        self.base.touch_ctime();
    }

    /// Moves or exchanges names. Directories that lower layers take part in cannot move (EXDEV), as on Linux with
    /// `redirect_dir=off`.
    pub fn move_entry(&self, how: &Rename<'_>) -> Result<(), Errno> {
        // That RENAME_NOREPLACE is obeyed was seen to above the file system.
        if how.flags & !(RENAME_EXCHANGE | RENAME_NOREPLACE) != 0 {
            return Err(Errno::EINVAL);
        }
        let exchange = how.flags & RENAME_EXCHANGE != 0;
        let to = Node::of(how.new_dir)?;
        let moved = Node::of(how.old)?;
        let victim = how.victim.map(Node::of).transpose()?;
        let fixed = |node: &Node| node.base.kind() == FileType::Directory && !node.lowers.is_empty();
        if fixed(moved) || exchange && victim.is_some_and(fixed) {
            return Err(Errno::EXDEV);
        }
        if let Some(victim) = victim.filter(|v| !exchange && v.base.kind() == FileType::Directory) {
            victim.clear_for_removal()?;
        }
        let old_covered = self.uncovers(how.old_name, moved)?;
        let new_covered = match victim {
            Some(victim) => to.uncovers(how.new_name, victim)?,
            // Looked up and not there: a lower object under this name is hidden by a whiteout, which is found below.
            None => false,
        };
        let upper = moved.copy_up(Contents::Whole)?.clone();
        if exchange && let Some(victim) = victim {
            victim.copy_up(Contents::Whole)?;
        }
        let (from_dir, to_dir) = (self.copy_up(Contents::Whole)?, to.copy_up(Contents::Whole)?);
        let whiteout_replaced = {
            let _guards = lock_two(from_dir, to_dir);
            let there = upper_entry(to_dir, how.new_name)?;
            if moved.base.kind() == FileType::Directory && !exchange {
                let merges = new_covered || matches!(there, UpperEntry::Whiteout(_));
                if merges {
                    self.fs.set_opaque(&upper)?;
                }
            }
            self.move_upper(how, &upper, from_dir, to_dir, &there, old_covered && !exchange)?;
            matches!(there, UpperEntry::Whiteout(_))
        };
        let state = |covered: bool| if covered { Covers::Something } else { Covers::Nothing };
        if upper.base().nlink() > 1 && !upper.is_dir() {
            moved.set_covers(Covers::Unknown);
        } else {
            moved.set_covers(state(new_covered || whiteout_replaced));
        }
        match victim {
            Some(victim) if exchange => victim.set_covers(Covers::Unknown),
            Some(victim) => victim.name_gone(),
            None => {}
        }
        moved.base.touch_ctime();
        self.entries_changed();
        to.entries_changed();
        Ok(())
    }

    /// The move in the upper layer; both directories are locked. `there` is what the new name leads to now.
    fn move_upper(
        &self,
        how: &Rename<'_>,
        upper: &Arc<dyn Inode>,
        from: &Arc<dyn Inode>,
        to: &Arc<dyn Inode>,
        there: &UpperEntry,
        leave_whiteout: bool,
    ) -> Result<(), Errno> {
        // What a file can replace: a directory moves only over an empty one.
        let victim = match there {
            UpperEntry::Object(old) => Some(old),
            UpperEntry::Whiteout(mark) if !upper.is_dir() => Some(mark),
            UpperEntry::Whiteout(mark) => {
                to.unlink(how.new_name, mark)?;
                None
            }
            UpperEntry::None => None,
        };
        let rename = Rename {
            old_name: how.old_name,
            old: upper,
            new_dir: to,
            new_name: how.new_name,
            victim,
            flags: how.flags,
            cred: &self.fs.cred,
        };
        if !leave_whiteout {
            return from.rename(&rename);
        }
        from.rename(&rename)?;
        self.fs.whiteout(from, how.old_name, None).inspect_err(|_| {
            // Back to where it was, so that the lower object does not come to light twice.
            let _ = to.rename(&Rename {
                old_name: how.new_name,
                new_dir: from,
                new_name: how.old_name,
                victim: None,
                flags: 0,
                ..rename
            });
        })
    }
}

/// Locks two upper directories, by address.
fn lock_two<'a>(
    a: &'a Arc<dyn Inode>,
    b: &'a Arc<dyn Inode>,
) -> (sched::MutexGuard<'a, ()>, Option<sched::MutexGuard<'a, ()>>) {
    if Arc::ptr_eq(a, b) {
        return (a.base().lock.lock(), None);
    }
    let (first, second) = if Fs::address(a) < Fs::address(b) { (a, b) } else { (b, a) };
    (first.base().lock.lock(), Some(second.base().lock.lock()))
}
