//! Mount propagation: peer groups, masters and slaves (mount_namespaces(7), "Shared subtrees").
//!
//! A mount is in at most one peer group and has at most one master group. A mount event under a member of a group is repeated under
//! its peers and, one way only, under the mounts that have the group as master. All of it runs under the tree lock of
//! [`crate::namespace`]; the register of mounts is only a list to search.

use crate::mount::{Home, Mount};
use crate::namespace::attach::tuck;
use crate::namespace::copy::{Along, copy_tree};
use crate::namespace::unmount::dissolve;
use crate::namespace::{MountNamespace, home_of, reachable, visible};
use crate::path::Path;
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;

/// How mount events reach a mount and leave it. Group number 0 is "none".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Propagation {
    /// Peer group (`shared:N` in mountinfo).
    pub group: u32,
    /// Group it receives from (`master:N`).
    pub master: u32,
    /// Cannot be bound elsewhere.
    pub unbindable: bool,
}

impl Propagation {
    /// Sends and receives nothing.
    pub const PRIVATE: Propagation = Propagation { group: 0, master: 0, unbindable: false };
}

/// A propagation type as mount(2) names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PropagationType {
    Private,
    Shared,
    Slave,
    Unbindable,
}

static NEXT_GROUP: AtomicU32 = AtomicU32::new(1);
/// Every mount that was ever in a group or had a master, by its unique number.
static REGISTER: SpinLock<BTreeMap<u64, Weak<Mount>>> = SpinLock::new(BTreeMap::new());

fn register(mnt: &Arc<Mount>) {
    REGISTER.lock().insert(mnt.unique_id(), Arc::downgrade(mnt));
}

/// A mount has ended.
pub(crate) fn forget(mnt: &Mount) {
    REGISTER.lock().remove(&mnt.unique_id());
}

/// All of them. May give up the CPU: changes of many mounts look through all for each.
fn registered() -> Vec<Arc<Mount>> {
    sched::cond_resched();
    REGISTER.lock().values().filter_map(Weak::upgrade).collect()
}

/// How `mnt` takes part in propagation.
pub fn of(mnt: &Mount) -> Propagation {
    *mnt.propagation.lock()
}

/// Changes the propagation type of one mount.
pub(crate) fn change(mnt: &Arc<Mount>, to: PropagationType) {
    let old = of(mnt);
    let new = match to {
        PropagationType::Private => Propagation::PRIVATE,
        PropagationType::Unbindable => Propagation { unbindable: true, ..Propagation::PRIVATE },
        PropagationType::Shared => {
            let group = if old.group != 0 { old.group } else { NEXT_GROUP.fetch_add(1, Ordering::Relaxed) };
            Propagation { group, master: old.master, unbindable: false }
        }
        // A shared mount becomes a slave of its old peers, if there are any; what is no shared mount stays as it is.
        PropagationType::Slave if old.group != 0 => {
            let has_peers = registered().iter().any(|m| !Arc::ptr_eq(m, mnt) && of(m).group == old.group);
            Propagation { group: 0, master: if has_peers { old.group } else { old.master }, unbindable: false }
        }
        PropagationType::Slave => old,
    };
    *mnt.propagation.lock() = new;
    // A group that lost its last member hands its slaves to nobody: they become private.
    if old.group != 0 && new.group != old.group && new.master != old.group {
        let all = registered();
        if !all.iter().any(|m| of(m).group == old.group) {
            for slave in all.iter().filter(|m| of(m).master == old.group) {
                slave.propagation.lock().master = old.master;
            }
        }
    }
    if new.group != 0 || new.master != 0 {
        register(mnt);
    }
}

/// Makes `copy` a peer of `original` if that is shared, and a slave of the same master (bind mounts, new namespaces).
pub(crate) fn inherit(copy: &Arc<Mount>, original: &Mount) {
    let p = of(original);
    *copy.propagation.lock() = Propagation { unbindable: false, ..p };
    if p.group != 0 || p.master != 0 {
        register(copy);
    }
}

/// The other mounts under which an event at `at` must be repeated, each with whether it gets it as a slave.
fn receivers(at: &Path) -> Vec<(Arc<Mount>, bool)> {
    let group = of(&at.mnt).group;
    if group == 0 {
        return Vec::new();
    }
    let all = registered();
    // Each mount under its group and its master.
    let mut members = BTreeSet::new();
    for (m, number) in all.iter().zip(0usize..) {
        let p = of(m);
        members.extend([(p.group, number, false), (p.master, number, true)].into_iter().filter(|(key, ..)| *key != 0));
    }
    let mut seen = alloc::vec![false; all.len()];
    let mut known = BTreeSet::from([group]);
    let mut groups = alloc::vec![(group, false)];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(&(group, slave)) = groups.get(next) {
        next += 1;
        for &(_, number, by_master) in members.range((group, 0, false)..=(group, usize::MAX, true)) {
            let (Some(m), Some(seen)) = (all.get(number), seen.get_mut(number)) else { continue };
            if Arc::ptr_eq(m, &at.mnt) || core::mem::replace(seen, true) {
                continue;
            }
            sched::cond_resched();
            let as_slave = by_master || slave;
            let own = of(m).group;
            if as_slave && own != 0 && known.insert(own) {
                groups.push((own, true));
            }
            // Trees of descriptors are left alone, and so is what is just being attached.
            if at.dentry.is_below(m.root()) && matches!(home_of(m), Home::Namespace(_)) {
                found.push((m.clone(), as_slave));
            }
        }
    }
    found
}

/// `tree` is being attached at `at`: its mounts become shared if the parent is, and copies go to every receiver, under what is mounted there; locked
/// where `foreign` says that another user namespace is in charge. Gives the copies.
pub(crate) fn attach(
    tree: &Arc<Mount>,
    at: &Path,
    foreign: impl Fn(&Arc<Mount>) -> bool,
) -> Result<Vec<Arc<Mount>>, Errno> {
    if of(&at.mnt).group != 0 {
        for mnt in tree.tree() {
            if of(&mnt).group == 0 {
                change(&mnt, PropagationType::Shared);
            }
        }
    }
    let mut copies = Vec::new();
    for (receiver, as_slave) in receivers(at) {
        let made = copy_to(tree, &receiver, at, as_slave, &foreign);
        match made {
            Ok(copy) => copies.push(copy),
            Err(e) => {
                copies.iter().for_each(dissolve);
                return Err(e);
            }
        }
    }
    Ok(copies)
}

fn copy_to(
    tree: &Arc<Mount>,
    receiver: &Arc<Mount>,
    at: &Path,
    as_slave: bool,
    foreign: &impl Fn(&Arc<Mount>) -> bool,
) -> Result<Arc<Mount>, Errno> {
    let copy = copy_tree(tree, tree.root(), Along { unbindable: true, ns_files: true })?;
    if as_slave {
        for mnt in copy.tree() {
            demote(&mnt);
            if of(receiver).group != 0 {
                change(&mnt, PropagationType::Shared);
            }
        }
    }
    if foreign(receiver) {
        visible::lock_all(&copy);
    }
    let place = Path { mnt: receiver.clone(), dentry: at.dentry.clone() };
    tuck(&copy, &place, false).inspect_err(|_| dissolve(&copy))?;
    Ok(copy)
}

/// The nearest group up the chain of masters of which `ns` has a mount that can be reached from `root`; 0 for none.
pub fn dominating(mnt: &Mount, root: &Path, ns: &MountNamespace) -> u32 {
    let mut master = of(mnt).master;
    if master == 0 {
        return 0;
    }
    let all = registered();
    // Each step leads to another group: no more of them than mounts.
    for _ in 0..all.len() {
        let members = || all.iter().filter(|m| of(m).group == master);
        if members().any(|m| ns.contains(m) && reachable(&Path::root_of(m), root)) {
            return master;
        }
        master = members().map(|m| of(m).master).find(|group| *group != 0).unwrap_or(0);
        if master == 0 {
            break;
        }
    }
    0
}

/// An event at `at` would be repeated under `mnt`.
pub(crate) fn reaches(at: &Path, mnt: &Arc<Mount>) -> bool {
    receivers(at).iter().any(|(receiver, _)| Arc::ptr_eq(receiver, mnt))
}

/// Puts a private mount into the group and under the master of another. EINVAL if it is not private or the other is.
pub(crate) fn join(mnt: &Arc<Mount>, other: &Mount) -> Result<(), Errno> {
    let new = of(other);
    if of(mnt) != Propagation::PRIVATE || new.group == 0 && new.master == 0 {
        return Err(Errno::EINVAL);
    }
    *mnt.propagation.lock() = new;
    register(mnt);
    Ok(())
}

/// A shared mount becomes a receiver of its group.
pub(crate) fn demote(mnt: &Mount) {
    let p = of(mnt);
    if p.group != 0 {
        *mnt.propagation.lock() = Propagation { group: 0, master: p.group, unbindable: false };
    }
}

/// What an unmount at `at` takes away under the receivers.
pub(crate) fn victims(at: &Path) -> Vec<Arc<Mount>> {
    receivers(at).into_iter().filter_map(|(m, _)| m.child_at(&at.dentry)).collect()
}
