//! Taking mounts off: umount2(2), the end of a namespace, pivot_root(2).

use super::{MountNamespace, lock_tree};
use crate::mount::{Home, MntFlags, Mount};
use crate::path::Path;
use crate::propagate::{self, Propagation};
use abi::Errno;
use abi::mount::UmountFlags;
use alloc::sync::Arc;

/// Detaches every mount of the tree below `top`, and `top` itself.
pub(crate) fn dissolve(top: &Arc<Mount>) {
    for mnt in top.tree().iter().rev() {
        mnt.detach();
        mnt.set_home(Home::None);
        *mnt.propagation.lock() = Propagation::PRIVATE;
    }
}

/// umount2(2) of the mount whose root `at` is. `at` must be the caller's only reference to the mount.
pub fn umount(at: Path, flags: UmountFlags, ns: &MountNamespace, process_root: &Path) -> Result<(), Errno> {
    let _tree = lock_tree();
    if !Arc::ptr_eq(&at.dentry, at.mnt.root()) || !ns.contains(&at.mnt) {
        return Err(Errno::EINVAL);
    }
    let Path { mnt, dentry } = at;
    drop(dentry);
    // The root of a process and of the namespace can only be replaced, by pivot_root.
    if mnt.parent().is_none() || mnt.flags().contains(MntFlags::LOCKED) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(UmountFlags::DETACH) {
        take_away(&mnt, true);
        return Ok(());
    }
    if Arc::ptr_eq(&mnt, &process_root.mnt) || mnt.has_children() {
        return Err(Errno::EBUSY);
    }
    // The parent's list and `mnt` itself.
    if Arc::strong_count(&mnt) > 2 {
        return Err(Errno::EBUSY);
    }
    let _ = mnt.sb().ops().sync();
    take_away(&mnt, false);
    Ok(())
}

/// Detaches `mnt` (with what is on it) and its copies under the receivers of its parent.
fn take_away(mnt: &Arc<Mount>, lazily: bool) {
    if let Some(at) = mnt.parent() {
        for copy in propagate::victims(&at) {
            // What was mounted at the copy's place before lies on it, and stays.
            let over = copy.child_at(copy.root()).filter(|_| mnt.child_at(mnt.root()).is_none());
            if let Some(over) = &over {
                over.detach();
            }
            let place = copy.parent();
            if lazily || !copy.has_children() && Arc::strong_count(&copy) <= 2 {
                dissolve(&copy);
            }
            if let Some(over) = over {
                let place = if copy.parent().is_some() { Some(Path::root_of(&copy)) } else { place };
                // The list it came from, or the one the copy left, has room for it.
                let _ = place.map(|place| over.attach(place));
            }
        }
    }
    dissolve(mnt);
}

/// pivot_root(2): makes `new_root` the root of the namespace and puts the old root at `put_old`. `dirs` are the caller's; the processes
/// that had the old root as theirs are moved by the caller.
pub fn pivot_root(new_root: &Path, put_old: &Path, root: &Path, ns: &MountNamespace) -> Result<(), Errno> {
    let _tree = lock_tree();
    let is_shared = |p: &Option<Path>| p.as_ref().is_some_and(|p| propagate::of(&p.mnt).group != 0);
    if is_shared(&new_root.mnt.parent()) || is_shared(&root.mnt.parent()) || propagate::of(&put_old.mnt).group != 0 {
        return Err(Errno::EINVAL);
    }
    if !ns.contains(&root.mnt) || !ns.contains(&new_root.mnt) {
        return Err(Errno::EINVAL);
    }
    if new_root.mnt.flags().contains(MntFlags::LOCKED) {
        return Err(Errno::EINVAL);
    }
    if new_root.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    if Arc::ptr_eq(&new_root.mnt, &root.mnt) || Arc::ptr_eq(&put_old.mnt, &root.mnt) {
        return Err(Errno::EBUSY);
    }
    // Both roots must be mount points, and attached.
    if !Arc::ptr_eq(&root.dentry, root.mnt.root()) || !Arc::ptr_eq(&new_root.dentry, new_root.mnt.root()) {
        return Err(Errno::EINVAL);
    }
    let root_at = root.mnt.parent().ok_or(Errno::EINVAL)?;
    new_root.mnt.parent().ok_or(Errno::EINVAL)?;
    if !reachable(put_old, new_root) || !reachable(new_root, root) {
        return Err(Errno::EINVAL);
    }
    new_root.mnt.detach();
    root.mnt.detach();
    new_root.mnt.attach(root_at)?;
    // What the old root covered, the new one covers now.
    new_root.mnt.set_flags(MntFlags::LOCKED, root.mnt.flags());
    root.mnt.set_flags(MntFlags::LOCKED, MntFlags::empty());
    root.mnt.attach(put_old.clone())
}

/// Whether `place` lies at or below `top`, across mounts.
pub fn reachable(place: &Path, top: &Path) -> bool {
    let mut at = place.clone();
    while !Arc::ptr_eq(&at.mnt, &top.mnt) {
        match at.mnt.parent() {
            Some(up) => at = up,
            None => return false,
        }
    }
    at.dentry.is_below(&top.dentry)
}
