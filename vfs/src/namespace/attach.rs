//! Putting trees of mounts into others: new mounts, bind mounts, moves (mount(2), move_mount(2)).

use super::copy::{Along, loopback, may_use, mount_ns_of, would_loop};
use super::unmount::dissolve;
use super::{MountNamespace, home_of, is_detached_top, is_mounted, is_root, lock_tree, owner_of};
use crate::attr::FileType;
use crate::mount::{Home, MntFlags, Mount};
use crate::path::Path;
use crate::propagate;
use crate::superblock::SbFlags;
use abi::Errno;
use alloc::sync::Arc;

/// The place a new mount over `at` really goes: on top of what is mounted there; with `beneath` under the topmost of that.
fn place_for(at: &Path, beneath: bool) -> Result<Path, Errno> {
    if beneath && !is_root(at) {
        return Err(Errno::EINVAL);
    }
    let top = topmost(at);
    let place = if beneath { top.mnt.parent().ok_or(Errno::EINVAL)? } else { top };
    if place.dentry.is_deleted() || !is_mounted(&at.mnt) {
        return Err(Errno::ENOENT);
    }
    Ok(place)
}

/// The root of the topmost mount over `at`, or `at` itself.
pub fn topmost(at: &Path) -> Path {
    let mut at = at.clone();
    while let Some(over) = at.mnt.child_at(&at.dentry) {
        at = Path::root_of(&over);
    }
    at
}

fn same_type(a: &Path, b: &Path) -> bool {
    (a.dentry.kind() == FileType::Directory) == (b.dentry.kind() == FileType::Directory)
}

/// Attaches `tree` exactly at `at`; what was mounted there lies on it afterwards. Takes the duty of covering what is below from a locked mount if it
/// was `placed` by the caller.
pub(crate) fn tuck(tree: &Arc<Mount>, at: &Path, placed: bool) -> Result<(), Errno> {
    let over = at.mnt.child_at(&at.dentry);
    if let Some(over) = &over {
        over.detach();
    }
    let attached = tree.attach(at.clone()).and_then(|()| match &over {
        Some(over) => over.attach(topmost(&Path::root_of(tree))).inspect_err(|_| drop(tree.detach())),
        None => Ok(()),
    });
    let Some(over) = over else { return attached };
    if attached.is_err() {
        // The list it came from has room for it.
        return over.attach(at.clone()).and(attached);
    }
    if over.flags().contains(MntFlags::LOCKED) {
        tree.set_flags(MntFlags::LOCKED, MntFlags::LOCKED);
        if placed {
            over.set_flags(MntFlags::LOCKED, MntFlags::empty());
        }
    }
    Ok(())
}

/// Attaches `tree` at `place` (from [`place_for`]) and wherever that propagates. The tree lock is held.
fn graft(tree: &Arc<Mount>, place: &Path, ns: &MountNamespace) -> Result<(), Errno> {
    if tree.sb().flags().contains(SbFlags::INTERNAL) {
        return Err(Errno::EINVAL);
    }
    if !same_type(place, &Path::root_of(tree)) {
        return Err(Errno::ENOTDIR);
    }
    // Of a detached tree the one who attaches to it is in charge.
    let owner = match home_of(&place.mnt) {
        Home::Namespace(_) => owner_of(&place.mnt).unwrap_or_else(|| ns.head.owner().clone()),
        _ => ns.head.owner().clone(),
    };
    let copies = propagate::attach(tree, place, |mnt| owner_of(mnt).is_some_and(|other| other != owner))?;
    let attached = tuck(tree, place, true);
    if attached.is_err() {
        copies.iter().for_each(dissolve);
    }
    attached
}

/// Attaches a new mount, for a caller in `ns`.
pub fn attach(mnt: &Arc<Mount>, at: &Path, ns: &MountNamespace) -> Result<(), Errno> {
    let _tree = lock_tree();
    let place = place_for(at, false)?;
    if !ns.contains(&place.mnt) {
        return Err(Errno::EINVAL);
    }
    // The same thing twice at one place.
    if Arc::ptr_eq(place.mnt.sb(), mnt.sb()) && Arc::ptr_eq(place.mnt.root(), &place.dentry) {
        return Err(Errno::EBUSY);
    }
    if mnt.root().kind() == FileType::Symlink {
        return Err(Errno::EINVAL);
    }
    graft(mnt, &place, ns)
}

/// mount(2) with `MS_BIND`: shows the tree at `from` also at `at`, for a caller in `ns`.
pub fn bind(from: &Path, at: &Path, recursive: bool, ns: &MountNamespace) -> Result<(), Errno> {
    if would_loop(&from.dentry, ns) {
        return Err(Errno::EINVAL);
    }
    let _tree = lock_tree();
    let place = place_for(at, false)?;
    if !ns.contains(&place.mnt) {
        return Err(Errno::EINVAL);
    }
    let tree = loopback(from, recursive, ns, Along { unbindable: false, ns_files: true })?;
    let looped = tree.tree().iter().any(|m| would_loop(m.root(), ns));
    let attached = if looped { Err(Errno::EINVAL) } else { graft(&tree, &place, ns) };
    attached.inspect_err(|_| dissolve(&tree))
}

/// mount(2) with `MS_MOVE` and move_mount(2): takes the mount at `from` to `to`, with `beneath` under what is mounted there.
pub fn move_mount(from: &Path, to: &Path, beneath: bool, ns: &MountNamespace) -> Result<(), Errno> {
    if !is_root(from) || !same_type(from, to) {
        return Err(Errno::EINVAL);
    }
    let _tree = lock_tree();
    let place = place_for(to, beneath)?;
    let (old, parent) = (&from.mnt, from.mnt.parent());
    if ns.contains(old) {
        let up = parent.as_ref().filter(|_| !old.flags().contains(MntFlags::LOCKED)).ok_or(Errno::EINVAL)?;
        // Out of a shared parent nothing can be moved: its peers would keep their copies.
        if propagate::of(&up.mnt).group != 0 || !ns.contains(&place.mnt) {
            return Err(Errno::EINVAL);
        }
    } else if !is_detached_top(old) || reaches(&place.mnt, old) || !may_use(&place.mnt, ns) {
        return Err(Errno::EINVAL);
    }
    if beneath {
        check_beneath(old, &topmost(to).mnt, &place, ns)?;
    }
    let tree = old.tree();
    if propagate::of(&place.mnt).group != 0 && tree.iter().any(|m| propagate::of(m).unbindable) {
        return Err(Errno::EINVAL);
    }
    if tree.iter().any(|m| would_loop(m.root(), ns)) || reaches(&place.mnt, old) {
        return Err(Errno::ELOOP);
    }
    let home = old.home();
    old.set_home(Home::None);
    old.detach();
    graft(old, &place, ns).inspect_err(|_| {
        old.set_home(home);
        // The list it came from has room for it.
        let _ = parent.map(|parent| old.attach(parent));
    })
}

/// `top` is `mnt` or above it.
fn reaches(mnt: &Arc<Mount>, top: &Arc<Mount>) -> bool {
    let mut at = mnt.clone();
    while !Arc::ptr_eq(&at, top) {
        match at.parent() {
            Some(up) => at = up.mnt,
            None => return false,
        }
    }
    true
}

/// What speaks against putting `mnt` under `over`, which lies at `place`.
fn check_beneath(mnt: &Arc<Mount>, over: &Arc<Mount>, place: &Path, ns: &MountNamespace) -> Result<(), Errno> {
    // A file of a mount namespace is left out of copies and so cannot cover anything for good.
    let cannot_cover = over.flags().contains(MntFlags::LOCKED) && mount_ns_of(mnt.root()).is_some();
    if cannot_cover || mnt.child_at(mnt.root()).is_some() || reaches(mnt, over) {
        return Err(Errno::EINVAL);
    }
    // What propagates from the place would come to lie on top again.
    let would_cover = |m: &Arc<Mount>| Arc::ptr_eq(m.root(), &place.dentry) && propagate::reaches(place, m);
    if would_cover(over) || ns.contains(mnt) && would_cover(mnt) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}
