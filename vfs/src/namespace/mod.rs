//! Mount namespaces and changes of the mount tree (mount(2), umount2(2), pivot_root(2), mount_namespaces(7)).
//!
//! Every change runs under [`TREE`], a sleeping lock; path walks only take the spin locks of single mounts and so always see a tree. The mount at the top of
//! a tree knows whose it is ([`Home`]): a namespace's, or a descriptor's as long as open_tree(2) or fsmount(2) keep it out of sight.
//!
//! - [`copy`] makes copies of trees, [`attach`] puts trees into others, [`unmount`] takes them off;
//! - [`change`] changes what mounts are; [`detached`] are the trees of descriptors;
//! - [`visible`] keeps from owners of other user namespaces what mounts cover.

pub(crate) mod attach;
mod change;
pub(crate) mod copy;
mod detached;
pub(crate) mod unmount;
pub(crate) mod visible;

pub use attach::{attach, bind, move_mount, topmost};
pub use change::{Attributes, change_flags, change_propagation, may_change_flags, set_attributes, set_group};
pub use detached::{Source, namespace_of, open_copy, open_mount, private_copy};
pub use unmount::{pivot_root, reachable, umount};

use crate::mount::{Home, Mount};
use crate::ns::{self, Namespace, NsHead, NsKind};
use crate::path::Path;
use crate::propagate;
use crate::user_ns::UserNamespace;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use copy::{Along, copy_one, copy_pairs};
use machine::sync::SpinLock;
use unmount::dissolve;

/// Serialises changes of all mount trees.
static TREE: sched::Mutex<()> = sched::Mutex::new(());
/// Tops of trees whose namespace or descriptor is gone, to be taken apart. Either may end while the tree lock is held: the last reference to a
/// namespace can be a mount of its nsfs file.
static DYING: SpinLock<Vec<Arc<Mount>>> = SpinLock::new(Vec::new());

/// The tree lock; letting it go takes apart what has ended meanwhile.
struct TreeGuard(Option<sched::MutexGuard<'static, ()>>);

fn lock_tree() -> TreeGuard {
    TreeGuard(Some(TREE.lock()))
}

/// Takes apart the tree under `top`, if that is attached nowhere: now, or when whoever holds the tree lock lets it go.
fn end_tree(top: Arc<Mount>) {
    DYING.lock().push(top);
    drop(TREE.try_lock().map(|turn| TreeGuard(Some(turn))));
}

impl Drop for TreeGuard {
    fn drop(&mut self) {
        while self.0.is_some() {
            let dying = core::mem::take(&mut *DYING.lock());
            if dying.is_empty() {
                self.0 = None;
                // Who found the lock taken until just now has left it to us.
                if !DYING.lock().is_empty() {
                    self.0 = TREE.try_lock();
                }
            }
            dying.iter().filter(|top| top.parent().is_none()).for_each(dissolve);
        }
    }
}

/// More mounts than this there never are (Linux bounds each namespace by `fs.mount-max`).
pub(crate) const MAX_MOUNTS: usize = 100_000;

/// A tree of mounts that processes see as a whole.
pub struct MountNamespace {
    root: SpinLock<Arc<Mount>>,
    head: NsHead,
}

impl MountNamespace {
    /// The first namespace, with `root` at its top.
    pub fn first(root: Arc<Mount>) -> Arc<MountNamespace> {
        MountNamespace::new(NsHead::first(NsKind::Mnt), root)
    }
    fn new(head: NsHead, root: Arc<Mount>) -> Arc<MountNamespace> {
        let ns = Arc::new(MountNamespace { root: SpinLock::new(root.clone()), head });
        root.set_home(Home::Namespace(Arc::downgrade(&ns)));
        ns::enlist(ns)
    }
    /// The mount at its top.
    pub fn root(&self) -> Arc<Mount> {
        self.root.lock().clone()
    }
    /// The root directory a first process gets: the top mount's root, under whatever is mounted over it.
    pub fn root_path(&self) -> Path {
        let mut at = Path::root_of(&self.root());
        while let Some(over) = at.mnt.child_at(&at.dentry) {
            at = Path::root_of(&over);
        }
        at
    }
    /// All mounts, parents before children.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.root().tree()
    }
    /// A copy for unshare(CLONE_NEWNS) and clone: the same tree of new mounts, peers of the old ones where those are shared (receivers only, when
    /// the copy has another owner). Calls `moved(old, new)` for each mount, so that root and working directory can follow.
    pub fn copy(
        &self,
        owner: &Arc<UserNamespace>,
        mut moved: impl FnMut(&Arc<Mount>, &Arc<Mount>),
    ) -> Result<Arc<MountNamespace>, Errno> {
        let _tree = lock_tree();
        let old = self.root();
        let pairs = copy_pairs(&old, old.root(), Along { unbindable: true, ns_files: false })?;
        let (_, root) = pairs.first().ok_or(Errno::EINVAL)?;
        for (from, to) in &pairs {
            if owner != self.head.owner() {
                propagate::demote(to);
            }
            moved(from, to);
        }
        if owner != self.head.owner() {
            visible::lock_all(root);
        }
        Ok(MountNamespace::new(NsHead::next(NsKind::Mnt, owner), root.clone()))
    }
    /// A namespace with nothing but the bottom of this one.
    pub fn empty_copy(&self, owner: &Arc<UserNamespace>) -> Arc<MountNamespace> {
        let _tree = lock_tree();
        let bottom = self.root();
        MountNamespace::new(NsHead::next(NsKind::Mnt, owner), copy_one(&bottom, bottom.root().clone()))
    }
    /// `mnt` lies in its tree.
    pub fn contains(&self, mnt: &Arc<Mount>) -> bool {
        Arc::ptr_eq(&top_of(mnt), &self.root())
    }
}

impl Namespace for MountNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        end_tree(self.root.get_mut().clone());
    }
}

/// What `mnt` or the mount at the top of its tree belongs to.
pub fn home_of(mnt: &Arc<Mount>) -> Home {
    top_of(mnt).home()
}

/// The user namespace in charge of the tree `mnt` is in; `None` if it is in none.
fn owner_of(mnt: &Arc<Mount>) -> Option<Arc<UserNamespace>> {
    match home_of(mnt) {
        Home::None => None,
        Home::Namespace(ns) => ns.upgrade().map(|ns| ns.owner()),
        Home::Descriptor { owner, .. } => Some(owner),
    }
}

/// `mnt` is in the tree of a namespace or of a descriptor.
fn is_mounted(mnt: &Arc<Mount>) -> bool {
    !matches!(home_of(mnt), Home::None)
}

/// `mnt` is the top of a tree that a descriptor keeps.
fn is_detached_top(mnt: &Arc<Mount>) -> bool {
    mnt.parent().is_none() && matches!(mnt.home(), Home::Descriptor { .. })
}

/// `place` is the root of its mount.
fn is_root(place: &Path) -> bool {
    Arc::ptr_eq(&place.dentry, place.mnt.root())
}

/// The topmost mount above `mnt`.
pub fn top_of(mnt: &Arc<Mount>) -> Arc<Mount> {
    let mut at = mnt.clone();
    while let Some(up) = at.parent() {
        at = up.mnt;
    }
    at
}

/// The root of the tree `mnt` lies in: what absolute texts of kernel-made listings start from.
pub fn outermost(mnt: &Arc<Mount>) -> Path {
    let mut at = Path::root_of(&top_of(mnt));
    while let Some(over) = at.mnt.child_at(&at.dentry) {
        at = Path::root_of(&over);
    }
    at
}
