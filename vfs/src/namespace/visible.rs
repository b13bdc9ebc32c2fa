//! What owners of other user namespaces must not get to see (mount_namespaces(7), "Restrictions on mount namespaces").

use super::MountNamespace;
use crate::mount::{MntFlags, Mount};
use crate::superblock::{SbFlags, SuperBlock, find_fs};
use alloc::sync::Arc;

/// Locks a tree that came from a namespace of another owner: mounts keep their flags and go on covering what they cover.
pub(crate) fn lock_all(top: &Arc<Mount>) {
    for mnt in top.tree() {
        mnt.set_flags(MntFlags::LOCKS, mnt.flags().locked());
        if !Arc::ptr_eq(&mnt, top) {
            mnt.set_flags(MntFlags::LOCKED, MntFlags::LOCKED);
        }
    }
}

/// A mount of `sb` in `ns` with these flags would show more than what can be seen there of the same file system. If not, the flags get the locks of the
/// mount that shows it.
pub(crate) fn too_revealing(sb: &Arc<SuperBlock>, ns: &MountNamespace, flags: &mut MntFlags) -> bool {
    if ns.head.owner().is_first() || !find_fs(sb.fs_name().as_bytes()).is_some_and(|fs| fs.reveals()) {
        return false;
    }
    if sb.flags().contains(SbFlags::RESTRICTED) {
        return false;
    }
    let locks = MntFlags::LOCK_RDONLY | MntFlags::LOCK_ATIME;
    for mnt in ns.mounts() {
        if mnt.sb().fs_name() != sb.fs_name()
            || mnt.sb().flags().contains(SbFlags::RESTRICTED)
            || mnt.root().parent().is_some()
        {
            continue;
        }
        let mut seen = mnt.flags();
        seen.set(MntFlags::LOCK_RDONLY, seen.contains(MntFlags::LOCK_RDONLY) || mnt.sb().is_readonly());
        let asked = if seen.contains(MntFlags::LOCK_RDONLY) { seen | MntFlags::RDONLY } else { seen };
        let covered = || mnt.children().iter().any(|child| child.flags().contains(MntFlags::LOCKED));
        if (asked & (locks | MntFlags::ATIME | MntFlags::RDONLY)).may_become(*flags) && !covered() {
            *flags |= seen & locks;
            return false;
        }
    }
    true
}
