//! Moving processes and threads between groups, and who may do so (cgroups(7), "Cgroups v2 delegation").

use super::member::transfer;
use super::notice::Changes;
use super::tree::{Cgroup, lock};
use crate::task::Task;
use crate::tree;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use vfs::Cred;

/// The `nsdelegate` mount option: the roots of cgroup namespaces bound what their members may do.
pub static NSDELEGATE: AtomicBool = AtomicBool::new(false);

/// Whether a task may go from `from` to `to`: whoever asks must be allowed to move tasks into the nearest common ancestor, and
/// must see both from the root of his cgroup namespace if namespaces delegate.
pub fn permit(
    from: &Arc<Cgroup>,
    to: &Arc<Cgroup>,
    whole: bool,
    cred: &Cred,
    seen_from: &Arc<Cgroup>,
) -> Result<(), Errno> {
    let common = from.ancestry().find(|g| to.is_within(g)).ok_or(Errno::ENOENT)?;
    may_move(common, cred)?;
    if NSDELEGATE.load(Relaxed) && !(from.is_within(seen_from) && to.is_within(seen_from)) {
        return Err(Errno::ENOENT);
    }
    to.vet_as_destination()?;
    if !whole && from.domain().id() != to.domain().id() {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// Whether these credentials may write the group's `cgroup.procs`.
pub fn may_move(group: &Arc<Cgroup>, cred: &Cred) -> Result<(), Errno> {
    group.directory().map_or(Ok(()), |d| d.may_move(cred))
}

/// Moves a task, or its whole process, into `to`.
pub fn attach(
    task: &Arc<Task>,
    to: &Arc<Cgroup>,
    whole: bool,
    cred: &Cred,
    seen_from: &Arc<Cgroup>,
) -> Result<(), Errno> {
    // The kernel's own threads stay in the root.
    if task.process().is_kernel() {
        return Err(Errno::EINVAL);
    }
    if to.is_dead() {
        return Err(Errno::ENODEV);
    }
    permit(&task.cgroup(), to, whole, cred, seen_from)?;
    let mut changes = Changes::new();
    let moved = {
        let _shape = tree::lock();
        let held = lock();
        if to.is_dead() {
            return Err(Errno::ENODEV);
        }
        to.vet_as_destination()?;
        if whole {
            let mut any = false;
            for t in task.process().threads() {
                any |= transfer(&held, &t, to, &mut changes);
            }
            any
        } else {
            transfer(&held, task, to, &mut changes)
        }
    };
    changes.announce();
    // Nothing is left to be moved of a process that ends, which is no error for whoever asked.
    if moved || whole { Ok(()) } else { Err(Errno::ESRCH) }
}
