//! Trees of mounts that no namespace shows: they live as long as the descriptor that open_tree(2) or fsmount(2) gave, unless they are attached
//! somewhere meanwhile. Or they become a namespace of their own.

use super::copy::{Along, copy_one, has_locked_children, loopback};
use super::unmount::dissolve;
use super::{MountNamespace, end_tree, home_of, is_detached_top, lock_tree, owner_of, visible};
use crate::attr::FileType;
use crate::cred::{Cap, Cred};
use crate::file::File;
use crate::fileops::FileOps;
use crate::mount::{Home, MntFlags, Mount};
use crate::ns::{Namespace, NsHead, NsId, NsKind};
use crate::path::Path;
use crate::propagate;
use crate::user_ns::UserNamespace;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use core::any::Any;

/// An `O_PATH` file at the top of a tree that goes with it.
struct TreeFile(Arc<Mount>);

impl FileOps for TreeFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn release(&self, _f: &File) {
        end_tree(self.0.clone());
    }
}

fn open(top: Arc<Mount>, origin: u64, ns: &MountNamespace, cred: &Arc<Cred>) -> Arc<File> {
    top.set_home(Home::Descriptor { id: NsId::next().id, origin, owner: ns.head.owner().clone() });
    File::new(Path::root_of(&top), Arc::new(TreeFile(top)), OpenFlags::PATH, cred.clone())
}

/// open_tree(2) with `OPEN_TREE_CLONE`: a copy of what is at `from`, for a caller in `ns`.
pub fn open_copy(from: &Path, recursive: bool, ns: &MountNamespace, cred: &Arc<Cred>) -> Result<Arc<File>, Errno> {
    let _tree = lock_tree();
    let origin = match home_of(&from.mnt) {
        Home::None => 0,
        Home::Namespace(ns) => ns.upgrade().map_or(0, |ns| ns.id()),
        Home::Descriptor { origin, .. } => origin,
    };
    let top = loopback(from, recursive, ns, Along { unbindable: false, ns_files: true })?;
    Ok(open(top, origin, ns, cred))
}

/// fsmount(2): a new mount.
pub fn open_mount(mnt: Arc<Mount>, ns: &MountNamespace, cred: &Arc<Cred>) -> Arc<File> {
    open(mnt, 0, ns, cred)
}

/// A mount of the kernel's own that shows what is at `from`, for a caller in `ns`: it stays when the original goes.
pub fn private_copy(from: &Path, ns: &MountNamespace, cred: &Cred) -> Result<Path, Errno> {
    let _tree = lock_tree();
    let mnt = &from.mnt;
    if propagate::of(mnt).unbindable || !ns.contains(mnt) && !is_detached_top(mnt) {
        return Err(Errno::EINVAL);
    }
    if !owner_of(mnt).is_some_and(|owner| cred.capable_in(&owner, Cap::SysAdmin)) {
        return Err(Errno::EPERM);
    }
    if has_locked_children(mnt, &from.dentry) {
        return Err(Errno::EINVAL);
    }
    let flags = mnt.flags() & (MntFlags::SETTABLE | MntFlags::LOCKS) | MntFlags::INTERNAL;
    Ok(Path { mnt: Mount::new(from.dentry.clone(), mnt.source(), flags), dentry: from.dentry.clone() })
}

/// What a namespace made by open_tree(2) or fsmount(2) shows on top of nullfs.
pub enum Source<'a> {
    /// A copy of what is at this place, with all that is mounted below if the flag says so.
    Copy(&'a Path, bool),
    /// A new mount.
    New(&'a Arc<Mount>),
}

/// A namespace that belongs to `owner`, for a caller in `ns`.
pub fn namespace_of(
    source: &Source<'_>,
    ns: &MountNamespace,
    owner: &Arc<UserNamespace>,
) -> Result<Arc<MountNamespace>, Errno> {
    let foreign = owner != ns.head.owner();
    let along = Along { unbindable: foreign, ns_files: false };
    let _tree = lock_tree();
    let kind = match source {
        Source::Copy(from, _) => from.dentry.kind(),
        Source::New(mnt) => mnt.root().kind(),
    };
    if kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let top = match *source {
        Source::New(mnt) => copy_one(mnt, mnt.root().clone()),
        // Who is not in charge of what it copies cannot leave anything out: that would show what is covered.
        Source::Copy(from, false) if foreign && covers_any(from) => return Err(Errno::EINVAL),
        Source::Copy(from, recursive) => loopback(from, recursive, ns, along)?,
    };
    let old_bottom = ns.root();
    let bottom = copy_one(&old_bottom, old_bottom.root().clone());
    top.attach(Path::root_of(&bottom)).inspect_err(|_| dissolve(&top))?;
    if root_is_locked(&old_bottom) {
        top.set_flags(MntFlags::LOCKED, MntFlags::LOCKED);
    }
    if foreign {
        bottom.tree().iter().for_each(|mnt| propagate::demote(mnt));
        visible::lock_all(&bottom);
    }
    Ok(MountNamespace::new(NsHead::next(NsKind::Mnt, owner), bottom))
}

/// Something is mounted at or below `place`.
fn covers_any(place: &Path) -> bool {
    place.mnt.children().iter().any(|m| m.parent().is_some_and(|at| at.dentry.is_below(&place.dentry)))
}

/// One of the mounts stacked on `bottom` is locked.
fn root_is_locked(bottom: &Arc<Mount>) -> bool {
    let mut at = bottom.clone();
    while let Some(over) = at.child_at(at.root()) {
        if over.flags().contains(MntFlags::LOCKED) {
            return true;
        }
        at = over;
    }
    false
}
