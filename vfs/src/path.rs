//! A place in the mount tree, and its text.

use crate::dentry::Dentry;
use crate::inode::Inode;
use crate::mount::Mount;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Texts longer than this are cut at their front: no call passes on more than PATH_MAX bytes.
const LONGEST: usize = 2 * mm::user::PATH_MAX;

/// A dentry as seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mnt: Arc<Mount>,
    /// The dentry, inside the mount's tree.
    pub dentry: Arc<Dentry>,
}

impl PartialEq for Path {
    fn eq(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.mnt, &other.mnt) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Eq for Path {}

impl Path {
    /// The inode it leads to.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }
    /// It has no place in a tree: a pipe, a socket, an anonymous inode.
    pub fn is_pseudo(&self) -> bool {
        self.dentry.is_pseudo()
    }
    /// The root of a mount.
    pub fn root_of(mnt: &Arc<Mount>) -> Path {
        Path { mnt: mnt.clone(), dentry: mnt.root().clone() }
    }
    /// The text of the path as seen from `root`, and whether `root` was met on the way up (if not, the path lies outside it). A
    /// deleted file gets no ` (deleted)`: see [`Path::display`].
    pub fn text(&self, root: &Path) -> (Vec<u8>, bool) {
        // A bind mount of such an object has a path as any other.
        if self.dentry.is_pseudo() && !Arc::ptr_eq(&self.dentry, self.mnt.root()) {
            let mut out = self.dentry.with_name(|n| n.to_vec());
            out.extend_from_slice(alloc::format!(":[{}]", self.inode().base().ino()).as_bytes());
            return (out, true);
        }
        // Built backwards: each component reversed, the whole reversed at the end.
        let mut out: Vec<u8> = Vec::new();
        let mut at = self.clone();
        let reached = loop {
            if at == *root {
                break true;
            }
            if Arc::ptr_eq(&at.dentry, at.mnt.root()) {
                match at.mnt.parent() {
                    Some(up) => {
                        at = up;
                        continue;
                    }
                    None => break false,
                }
            }
            if out.len() > LONGEST {
                break true;
            }
            let (parent, name) = at.dentry.parent_and_name();
            out.extend(name.iter().rev());
            match parent {
                Some(parent) => {
                    out.push(b'/');
                    at.dentry = parent;
                }
                None => {
                    // Detached: a memfd shows its name after a slash.
                    if !name.starts_with(b"/") && !name.starts_with(b"anon_inode") {
                        out.push(b'/');
                    }
                    break true;
                }
            }
        };
        if out.is_empty() {
            out.push(b'/');
        }
        out.reverse();
        (out, reached)
    }
    /// The text readlink(2) gives for `/proc/PID/fd/N`: with ` (deleted)` where that holds.
    pub fn display(&self, root: &Path) -> Vec<u8> {
        let (mut out, _) = self.text(root);
        if self.dentry.is_deleted() {
            out.extend_from_slice(b" (deleted)");
        }
        out
    }
}
