//! Changing what mounts are: flags, propagation (mount(2), mount_setattr(2), move_mount(2) with `MOVE_MOUNT_SET_GROUP`).

use super::copy::has_locked_children;
use super::{MountNamespace, is_detached_top, is_root, lock_tree, owner_of};
use crate::cred::{Cap, Cred};
use crate::mount::{MntFlags, Mount};
use crate::path::Path;
use crate::propagate::{self, PropagationType};
use abi::Errno;
use alloc::sync::Arc;

/// What a remount checks first: a caller in `ns` may give the mount at `at` these flags.
pub fn may_change_flags(at: &Path, flags: MntFlags, ns: &MountNamespace) -> Result<(), Errno> {
    let _tree = lock_tree();
    check_flags(at, flags, ns)
}

/// The same with the tree lock held.
fn check_flags(at: &Path, flags: MntFlags, ns: &MountNamespace) -> Result<(), Errno> {
    if !ns.contains(&at.mnt) || !is_root(at) {
        return Err(Errno::EINVAL);
    }
    if at.mnt.flags().may_become(flags) { Ok(()) } else { Err(Errno::EPERM) }
}

/// mount(2) with `MS_REMOUNT | MS_BIND`: changes the flags of one mount.
pub fn change_flags(at: &Path, flags: MntFlags, ns: &MountNamespace) -> Result<(), Errno> {
    let _tree = lock_tree();
    check_flags(at, flags, ns)?;
    check_writers(&at.mnt, flags)?;
    at.mnt.set_flags(MntFlags::SETTABLE, flags);
    Ok(())
}

/// EBUSY if the mount would become read-only under files that are open for writing.
fn check_writers(mnt: &Mount, flags: MntFlags) -> Result<(), Errno> {
    let becomes = flags.contains(MntFlags::RDONLY) && !mnt.flags().contains(MntFlags::RDONLY);
    if becomes && mnt.has_writers() { Err(Errno::EBUSY) } else { Ok(()) }
}

/// `cred` is in charge of the tree that `mnt` is in.
fn may_change_propagation(mnt: &Arc<Mount>, cred: &Cred) -> Result<(), Errno> {
    let owner = owner_of(mnt).ok_or(Errno::EINVAL)?;
    if cred.capable_in(&owner, Cap::SysAdmin) { Ok(()) } else { Err(Errno::EPERM) }
}

/// mount(2) with a propagation type.
pub fn change_propagation(at: &Path, to: PropagationType, recursive: bool, cred: &Cred) -> Result<(), Errno> {
    if !is_root(at) {
        return Err(Errno::EINVAL);
    }
    let _tree = lock_tree();
    may_change_propagation(&at.mnt, cred)?;
    if recursive {
        at.mnt.tree().iter().for_each(|m| propagate::change(m, to));
    } else {
        propagate::change(&at.mnt, to);
    }
    Ok(())
}

/// move_mount(2) with `MOVE_MOUNT_SET_GROUP`: puts the mount at `to` into the peer group of the one at `from`.
pub fn set_group(from: &Path, to: &Path, cred: &Cred) -> Result<(), Errno> {
    let _tree = lock_tree();
    may_change_propagation(&from.mnt, cred)?;
    may_change_propagation(&to.mnt, cred)?;
    let (wide, narrow) = (from.mnt.root(), to.mnt.root());
    if !is_root(from)
        || !is_root(to)
        || !Arc::ptr_eq(from.mnt.sb(), to.mnt.sb())
        || !narrow.is_below(wide)
        || has_locked_children(&from.mnt, narrow)
    {
        return Err(Errno::EINVAL);
    }
    propagate::join(&to.mnt, &from.mnt)
}

/// Changes for mount_setattr(2).
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// Flags to set.
    pub set: MntFlags,
    /// Flags to clear first.
    pub clear: MntFlags,
    /// A propagation type.
    pub propagation: Option<PropagationType>,
}

/// mount_setattr(2) for a caller in `ns`: all mounts of the tree, or none.
pub fn set_attributes(at: &Path, change: Attributes, recursive: bool, ns: &MountNamespace) -> Result<(), Errno> {
    if !is_root(at) {
        return Err(Errno::EINVAL);
    }
    let _tree = lock_tree();
    if !is_detached_top(&at.mnt) && !ns.contains(&at.mnt) {
        return Err(Errno::EINVAL);
    }
    let all = if recursive { at.mnt.tree() } else { alloc::vec![at.mnt.clone()] };
    let changed = |m: &Mount| (m.flags() - change.clear) | change.set;
    for mnt in &all {
        if !mnt.flags().may_become(changed(mnt)) {
            return Err(Errno::EPERM);
        }
        check_writers(mnt, change.set)?;
    }
    for mnt in &all {
        mnt.set_flags(MntFlags::SETTABLE, changed(mnt));
        if let Some(to) = change.propagation {
            propagate::change(mnt, to);
        }
    }
    Ok(())
}
