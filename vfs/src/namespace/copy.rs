//! Copies of mounts: bind mounts, new namespaces, detached trees.

use super::unmount::dissolve;
use super::{MAX_MOUNTS, MountNamespace, home_of, is_mounted};
use crate::dentry::Dentry;
use crate::mount::{self, Home, MntFlags, Mount};
use crate::ns::{Namespace, NsKind};
use crate::path::Path;
use crate::propagate;
use crate::superblock::SbFlags;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What else a copy of a tree takes along.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Along {
    /// Unbindable mounts.
    pub unbindable: bool,
    /// Files of mount namespaces: a new namespace that held those would keep others alive for ever.
    pub ns_files: bool,
}

/// A copy of the tree of mounts at `from`, showing it from `root` down (bind mounts, propagation). Mounts whose mount point is not below `root`
/// are left out.
pub(crate) fn copy_tree(from: &Arc<Mount>, root: &Arc<Dentry>, along: Along) -> Result<Arc<Mount>, Errno> {
    let pairs = copy_pairs(from, root, along)?;
    pairs.into_iter().next().map(|(_, top)| top).ok_or(Errno::EINVAL)
}

/// Mounts with their copies.
type Pairs = Vec<(Arc<Mount>, Arc<Mount>)>;

/// The same; gives each mount with its copy, the top first.
pub(super) fn copy_pairs(from: &Arc<Mount>, root: &Arc<Dentry>, along: Along) -> Result<Pairs, Errno> {
    let top = copy_one(from, root.clone());
    let mut pairs = alloc::vec![(from.clone(), top.clone())];
    copy_children(&mut pairs, along).inspect_err(|_| dissolve(&top))?;
    Ok(pairs)
}

fn copy_children(pairs: &mut Pairs, along: Along) -> Result<(), Errno> {
    let mut next = 0;
    while let Some((old, new)) = pairs.get(next).cloned() {
        next += 1;
        for child in old.children() {
            let Some(at) = child.parent() else { continue };
            if !at.dentry.is_below(new.root()) || !along.ns_files && mount_ns_of(child.root()).is_some() {
                continue;
            }
            if !along.unbindable && propagate::of(&child).unbindable {
                // Left out, a locked mount would show what it covers.
                if child.flags().contains(MntFlags::LOCKED) {
                    return Err(Errno::EPERM);
                }
                continue;
            }
            if mount::live() >= MAX_MOUNTS {
                return Err(Errno::ENOSPC);
            }
            let copy = copy_one(&child, child.root().clone());
            copy.set_flags(MntFlags::LOCKED, child.flags());
            copy.attach(Path { mnt: new.clone(), dentry: at.dentry })?;
            pairs.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            pairs.push((child, copy));
        }
    }
    Ok(())
}

/// The mount namespace whose nsfs file this is.
pub(super) fn mount_ns_of(dentry: &Dentry) -> Option<&Arc<dyn Namespace>> {
    dentry.inode().namespace().filter(|ns| ns.kind() == NsKind::Mnt)
}

/// A mount of this file in `ns` would make a namespace hold itself, or one that holds it: only younger ones may be held.
pub(super) fn would_loop(dentry: &Dentry, ns: &MountNamespace) -> bool {
    mount_ns_of(dentry).is_some_and(|held| held.id() <= ns.id())
}

/// A copy of one mount, without what is mounted on it.
pub(super) fn copy_one(from: &Arc<Mount>, root: Arc<Dentry>) -> Arc<Mount> {
    let copy = Mount::new(root, from.source(), from.flags() & (MntFlags::SETTABLE | MntFlags::LOCKS));
    propagate::inherit(&copy, from);
    copy
}

/// A mount lies at or below `dentry` of `mnt` that must go on covering what it covers.
pub(super) fn has_locked_children(mnt: &Arc<Mount>, dentry: &Arc<Dentry>) -> bool {
    let covers = |m: &Arc<Mount>| {
        m.flags().contains(MntFlags::LOCKED) && m.parent().is_some_and(|at| at.dentry.is_below(dentry))
    };
    mnt.children().iter().any(covers)
}

/// Who is in `ns` may use the tree of `mnt`: it is there, or a descriptor keeps it that got it from there.
pub(super) fn may_use(mnt: &Arc<Mount>, ns: &MountNamespace) -> bool {
    match home_of(mnt) {
        Home::None => false,
        Home::Namespace(_) => ns.contains(mnt),
        Home::Descriptor { origin, .. } => origin == 0 || origin == ns.id(),
    }
}

/// What a bind mount of `from` shows, for a caller in `ns`.
pub(super) fn loopback(from: &Path, recursive: bool, ns: &MountNamespace, along: Along) -> Result<Arc<Mount>, Errno> {
    let mnt = &from.mnt;
    let is_bindable = mnt.sb().flags().contains(SbFlags::BINDABLE);
    if propagate::of(mnt).unbindable || !is_bindable && !may_use(mnt, ns) || recursive && !is_mounted(mnt) {
        return Err(Errno::EINVAL);
    }
    if mount::live() >= MAX_MOUNTS {
        return Err(Errno::ENOSPC);
    }
    if recursive {
        return copy_tree(mnt, &from.dentry, along);
    }
    // Bound alone, it would show what a locked mount covers.
    if has_locked_children(mnt, &from.dentry) {
        return Err(Errno::EINVAL);
    }
    Ok(copy_one(mnt, from.dentry.clone()))
}
