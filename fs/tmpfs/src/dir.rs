//! Directories.
//!
//! Entries lie in slots found through a hash table by name. A slot keeps its number as long as its entry exists, and that number is
//! the position of a directory stream: a scan that goes on while entries come and go sees each lasting entry exactly once.

use crate::file::RegularFile;
use crate::node::{Common, Special, Symlink, xattr_ops};
use crate::space::Space;
use abi::Errno;
use abi::fcntl::{OpenFlags, RENAME_EXCHANGE, RENAME_WHITEOUT};
use abi::stat::{S_IFCHR, S_ISGID};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use hashbrown::HashTable;
use machine::sync::SpinLock;
use vfs::dentry::{Name, hash_name};
use vfs::{
    Attr, Caller, Cred, DirSink, Dst, File, FileOps, FileType, Inode, InodeBase, Path, Rename, SuperBlock, emit_dots,
};

/// What `st_size` counts for an entry.
const ENTRY_SIZE: u64 = 20;

struct Entry {
    name: Name,
    hash: u64,
    inode: Arc<dyn Inode>,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    index: HashTable<u32>,
}

impl Entries {
    fn slot_of(&self, name: &[u8], hash: u64) -> Option<u32> {
        self.index
            .find(hash, |&i| self.slots.get(i as usize).and_then(Option::as_ref).is_some_and(|e| e.name[..] == *name))
            .copied()
    }
    fn get(&self, name: &[u8]) -> Option<&Entry> {
        let slot = self.slot_of(name, hash_name(name))?;
        self.slots.get(slot as usize)?.as_ref()
    }
    fn insert(&mut self, name: &[u8], inode: Arc<dyn Inode>) -> Result<(), Errno> {
        let hash = hash_name(name);
        let oom = |_| Errno::ENOMEM;
        let slots = &self.slots;
        self.index
            .try_reserve(1, |&i| slots.get(i as usize).and_then(Option::as_ref).map_or(0, |e| e.hash))
            .map_err(|_| Errno::ENOMEM)?;
        let entry = Some(Entry { name: Name::from_slice(name), hash, inode });
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.try_reserve(1).map_err(oom)?;
                // Room to free every slot later without allocating.
                self.free.try_reserve(self.slots.len() + 1).map_err(oom)?;
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = entry;
        }
        let slots = &self.slots;
        self.index.insert_unique(hash, slot, |&i| slots.get(i as usize).and_then(Option::as_ref).map_or(0, |e| e.hash));
        Ok(())
    }
    fn remove(&mut self, name: &[u8]) -> Option<Arc<dyn Inode>> {
        let hash = hash_name(name);
        let slot = self.slot_of(name, hash)?;
        if let Ok(found) = self.index.find_entry(hash, |&i| i == slot) {
            found.remove();
        }
        let entry = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        if self.index.is_empty() {
            self.slots.clear();
            self.free.clear();
        }
        Some(entry.inode)
    }
    /// Puts another inode under an existing name.
    fn replace(&mut self, name: &[u8], inode: Arc<dyn Inode>) -> Option<Arc<dyn Inode>> {
        let slot = self.slot_of(name, hash_name(name))?;
        let entry = self.slots.get_mut(slot as usize)?.as_mut()?;
        Some(core::mem::replace(&mut entry.inode, inode))
    }
}

/// A directory.
pub struct Dir {
    common: Common,
    entries: SpinLock<Entries>,
}

impl Dir {
    /// The root of an instance.
    pub fn root(sb: &Arc<SuperBlock>, space: &Arc<Space>, mode: u32, uid: u32, gid: u32) -> Arc<dyn Inode> {
        // The root is not refused by the limit it belongs to.
        let _ = space.take_inode();
        let base = InodeBase::new(sb, 1, FileType::Directory.mode() | mode, uid, gid, 0);
        let common = Common { base, space: space.clone(), xattrs: vfs::xattrs::Xattrs::new() };
        Arc::new(Dir { common, entries: SpinLock::new(Entries::default()) })
    }
    fn sb(&self) -> &Arc<SuperBlock> {
        self.common.base.sb()
    }
    /// Group of a new object: the directory's if that is set-group-id.
    fn new_gid(&self, cred: &Cred) -> u32 {
        if self.common.base.mode() & S_ISGID != 0 { self.common.base.gid() } else { cred.fsgid }
    }
    fn new_common(&self, mode: u32, rdev: u32, cred: &Cred) -> Result<Common, Errno> {
        Common::new(self.sb(), &self.common.space, mode, cred.fsuid, self.new_gid(cred), rdev)
    }
    fn new_inode(&self, mode: u32, rdev: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        let common = self.new_common(mode, rdev, cred)?;
        Ok(match FileType::from_mode(mode) {
            FileType::Regular => Arc::new(RegularFile::new(common)),
            FileType::Directory => Arc::new(Dir { common, entries: SpinLock::new(Entries::default()) }),
            _ => Arc::new(Special { common }),
        })
    }
    fn add(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let count = {
            let mut entries = self.entries.lock();
            entries.insert(name, inode.clone())?;
            entries.index.len() as u64
        };
        self.changed(count);
        if inode.kind() == FileType::Directory {
            self.common.base.inc_nlink();
        }
        Ok(())
    }
    fn take(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let (inode, count) = {
            let mut entries = self.entries.lock();
            (entries.remove(name).ok_or(Errno::ENOENT)?, entries.index.len() as u64)
        };
        self.changed(count);
        if inode.kind() == FileType::Directory {
            self.common.base.dec_nlink();
        }
        Ok(inode)
    }
    fn changed(&self, count: u64) {
        self.common.base.set_size(count * ENTRY_SIZE);
        self.common.base.touch_mtime();
    }
    fn is_empty(&self) -> bool {
        self.entries.lock().index.is_empty()
    }
    fn swap(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<Arc<dyn Inode>, Errno> {
        let old = self.entries.lock().replace(name, inode.clone()).ok_or(Errno::ENOENT)?;
        match (old.kind() == FileType::Directory, inode.kind() == FileType::Directory) {
            (true, false) => drop(self.common.base.dec_nlink()),
            (false, true) => self.common.base.inc_nlink(),
            _ => {}
        }
        self.common.base.touch_mtime();
        Ok(old)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A list instead of recursion: a tree may be deeper than the kernel stack.
        let mut dying: Vec<Entry> = core::mem::take(&mut self.entries.get_mut().slots).into_iter().flatten().collect();
        while let Some(entry) = dying.pop() {
            if Arc::strong_count(&entry.inode) == 1
                && let Some(dir) = as_dir(&entry.inode)
            {
                dying.extend(core::mem::take(&mut dir.entries.lock().slots).into_iter().flatten());
            }
        }
    }
}

fn as_dir(inode: &Arc<dyn Inode>) -> Option<&Dir> {
    inode.as_any().downcast_ref()
}

/// One name of `victim` is gone; an (empty) directory loses both its links.
fn drop_link(victim: &Arc<dyn Inode>) {
    let base = victim.base();
    if victim.kind() == FileType::Directory {
        base.set_nlink(0);
    } else {
        base.dec_nlink();
    }
    base.touch_ctime();
}

impl Inode for Dir {
    fn base(&self) -> &InodeBase {
        &self.common.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.common.base.attr_with(self.common.base.size(), 0))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        self.entries.lock().get(name).map(|e| e.inode.clone()).ok_or(Errno::ENOENT)
    }
    fn create(&self, name: &[u8], mode: u32, rdev: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        let inode = self.new_inode(mode, rdev, cred)?;
        self.add(name, &inode)?;
        Ok(inode)
    }
    fn symlink(&self, name: &[u8], target: &[u8], cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        let common = self.new_common(FileType::Symlink.mode() | 0o777, 0, cred)?;
        let inode: Arc<dyn Inode> = Arc::new(Symlink::new(common, target)?);
        self.add(name, &inode)?;
        Ok(inode)
    }
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.add(name, target)?;
        target.base().inc_nlink();
        target.base().touch_ctime();
        Ok(())
    }
    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.take(name)?;
        drop_link(victim);
        Ok(())
    }
    fn rmdir(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        if as_dir(victim).is_some_and(|d| !d.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.take(name)?;
        drop_link(victim);
        Ok(())
    }
    fn rename(&self, how: &Rename<'_>) -> Result<(), Errno> {
        let to = as_dir(how.new_dir).ok_or(Errno::EXDEV)?;
        if how.flags & RENAME_EXCHANGE != 0 {
            let victim = how.victim.ok_or(Errno::ENOENT)?;
            self.swap(how.old_name, victim)?;
            to.swap(how.new_name, how.old)?;
            victim.base().touch_ctime();
            how.old.base().touch_ctime();
            return Ok(());
        }
        if how.victim.and_then(as_dir).is_some_and(|d| !d.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        let whiteout = match how.flags & RENAME_WHITEOUT {
            0 => None,
            _ => Some(self.new_inode(S_IFCHR, 0, how.cred)?),
        };
        match how.victim {
            Some(victim) => {
                to.swap(how.new_name, how.old)?;
                drop_link(victim);
            }
            None => to.add(how.new_name, how.old)?,
        }
        match whiteout {
            Some(node) => drop(self.swap(how.old_name, &node)?),
            None => drop(self.take(how.old_name)?),
        }
        how.old.base().touch_ctime();
        Ok(())
    }
    fn tmpfile(&self, mode: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        let inode = self.new_inode(mode, 0, cred)?;
        inode.base().set_nlink(0);
        Ok(inode)
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self)
    }
    xattr_ops!();
}

impl FileOps for Dir {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _f: &File, _dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(pos) = emit_dots(f, pos, sink) else { return Ok(pos.min(1)) };
        let entries = self.entries.lock();
        let first = usize::try_from(pos - 2).unwrap_or(usize::MAX);
        let mut next = pos;
        for (i, entry) in entries.slots.iter().enumerate().skip(first) {
            let after = i as u64 + 3;
            if let Some(e) = entry {
                let base = e.inode.base();
                if !sink.entry(after, base.ino(), base.kind(), &e.name) {
                    return Ok(next);
                }
            }
            next = after;
        }
        Ok(next)
    }
}
