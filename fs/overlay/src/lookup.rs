//! Finding names in the layers.

use crate::fs::is_whiteout;
use crate::node::{Covers, Found, Lower, Node};
use abi::Errno;
use alloc::sync::Arc;
use smallvec::SmallVec;
use vfs::Inode;

impl Node {
    /// The overlay inode under `name` of this directory.
    pub fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let found = self.find_layers(name)?;
        let upper = found.upper.clone().filter(|upper| !upper.is_dir() && upper.base().nlink() > 1);
        if let Some(node) = upper.as_ref().and_then(|upper| self.fs.shared(upper)) {
            return Ok(node);
        }
        let covers = if found.lowers.is_empty() { Covers::Unknown } else { Covers::Something };
        let place = if found.upper.is_none() { Some((self.to_arc()?, name.to_vec())) } else { None };
        let node = Node::new(&self.fs, found, place, covers)?;
        if let Some(upper) = &upper {
            self.fs.share(upper, &node);
        }
        Ok(node)
    }

    /// What each layer has under `name`; ENOENT when none has anything or a whiteout hides it.
    fn find_layers(&self, name: &[u8]) -> Result<Found, Errno> {
        let mut found = Found::default();
        if let Some(dir) = self.upper.get() {
            let upper = {
                let _guard = dir.base().lock.lock();
                dir.lookup(name)
            };
            match upper {
                Ok(upper) if is_whiteout(&upper) => return Err(Errno::ENOENT),
                Ok(upper) => {
                    let merges = upper.is_dir() && !self.lowers.is_empty() && !self.fs.is_opaque(&upper);
                    found.upper = Some(upper);
                    if !merges {
                        return Ok(found);
                    }
                }
                Err(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        found.lowers = self.find_lowers(name, found.upper.is_some())?;
        if found.upper.is_none() && found.lowers.is_empty() { Err(Errno::ENOENT) } else { Ok(found) }
    }

    /// The lower objects under `name` that are visible: a file and nothing below it, or the directories to be merged (only
    /// those, with `only_dirs`).
    fn find_lowers(&self, name: &[u8], only_dirs: bool) -> Result<SmallVec<[Lower; 1]>, Errno> {
        let mut lowers: SmallVec<[Lower; 1]> = SmallVec::new();
        for (i, dir) in self.lowers.iter().enumerate() {
            let inode = match dir.inode.lookup(name) {
                Ok(inode) => inode,
                Err(Errno::ENOENT | Errno::ENAMETOOLONG) => continue,
                Err(e) => return Err(e),
            };
            let is_dir = inode.is_dir();
            if is_whiteout(&inode) || !is_dir && (only_dirs || !lowers.is_empty()) {
                break;
            }
            let last = i + 1 == self.lowers.len();
            let ends = !is_dir || !last && self.fs.is_opaque(&inode);
            lowers.push(Lower { layer: dir.layer, inode });
            if ends {
                break;
            }
        }
        Ok(lowers)
    }

    /// A lower layer shows something under `name` when the upper one does not hide it.
    pub fn lower_has(&self, name: &[u8]) -> Result<bool, Errno> {
        Ok(!self.lowers.is_empty() && !self.find_lowers(name, false)?.is_empty())
    }

    fn to_arc(&self) -> Result<Arc<Node>, Errno> {
        self.me.upgrade().ok_or(Errno::EIO)
    }
}

/// `.` or `..`, which listings of layers contain and merged ones do not.
pub fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// What an upper directory has under a name.
pub enum UpperEntry {
    /// Nothing.
    None,
    /// A whiteout.
    Whiteout(Arc<dyn Inode>),
    /// An object.
    Object(Arc<dyn Inode>),
}

/// Looks `name` up in an upper directory whose lock is held.
pub fn upper_entry(dir: &Arc<dyn Inode>, name: &[u8]) -> Result<UpperEntry, Errno> {
    match dir.lookup(name) {
        Ok(inode) if is_whiteout(&inode) => Ok(UpperEntry::Whiteout(inode)),
        Ok(inode) => Ok(UpperEntry::Object(inode)),
        Err(Errno::ENOENT) => Ok(UpperEntry::None),
        Err(e) => Err(e),
    }
}
