//! Mount namespaces and changes of the mount tree (mount(2), umount2(2), pivot_root(2), mount_namespaces(7)).
//!
//! Every change runs under [`TREE`], a sleeping lock; path walks only take the spin locks of single mounts and so always see a tree.

use crate::attr::FileType;
use crate::cred::Cap;
use crate::dentry::Dentry;
use crate::mount::{self, MntFlags, Mount};
use crate::ns::{self, Namespace, NsId, NsKind};
use crate::path::Path;
use crate::propagate::{self, Propagation, PropagationType};
use crate::superblock::{MountRequest, SbFlags, find_fs};
use crate::user_ns::UserNamespace;
use crate::walk::{self, Start};
use abi::Errno;
use abi::mount::UmountFlags;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::SpinLock;

/// Serialises changes of all mount trees.
static TREE: sched::Mutex<()> = sched::Mutex::new(());
/// Roots of namespaces that are gone, to be taken apart. A namespace may end while the tree lock is held: its last reference can be a mount of
/// its nsfs file.
static DYING: SpinLock<Vec<Arc<Mount>>> = SpinLock::new(Vec::new());

/// The tree lock; letting it go takes apart what has ended meanwhile.
struct TreeGuard(#[allow(dead_code)] sched::MutexGuard<'static, ()>);

fn lock_tree() -> TreeGuard {
    TreeGuard(TREE.lock())
}

impl Drop for TreeGuard {
    fn drop(&mut self) {
        loop {
            let dying = core::mem::take(&mut *DYING.lock());
            if dying.is_empty() {
                return;
            }
            dying.iter().for_each(dissolve);
        }
    }
}

/// More mounts than this there never are (Linux bounds each namespace by `fs.mount-max`).
const MAX_MOUNTS: usize = 100_000;

/// A tree of mounts that processes see as a whole.
pub struct MountNamespace {
    root: SpinLock<Arc<Mount>>,
    ns_id: NsId,
    owner: Arc<UserNamespace>,
}

impl MountNamespace {
    /// The first namespace, with `root` at its top.
    pub fn first(root: Arc<Mount>) -> Arc<MountNamespace> {
        MountNamespace::new(NsKind::Mnt.first(), UserNamespace::first(), root)
    }
    fn new(ns_id: NsId, owner: &Arc<UserNamespace>, root: Arc<Mount>) -> Arc<MountNamespace> {
        root.set_flags(MntFlags::DETACHED, MntFlags::empty());
        ns::enlist(Arc::new(MountNamespace { root: SpinLock::new(root), ns_id, owner: owner.clone() }))
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
    /// All mounts, parents before children, in the order /proc/PID/mountinfo wants.
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
        let pairs = copy_pairs(&old, old.root(), true, false)?;
        let (_, root) = pairs.first().ok_or(Errno::EINVAL)?;
        for (from, to) in &pairs {
            if *owner != self.owner {
                propagate::demote(to);
                to.set_flags(MntFlags::LOCKS, to.flags().locked());
                to.set_flags(
                    MntFlags::LOCKED,
                    if Arc::ptr_eq(to, root) { MntFlags::empty() } else { MntFlags::LOCKED },
                );
            }
            moved(from, to);
        }
        Ok(MountNamespace::new(NsId::next(), owner, root.clone()))
    }
    /// A namespace with nothing but the bottom of this one.
    pub fn empty_copy(&self, owner: &Arc<UserNamespace>) -> Arc<MountNamespace> {
        let _tree = lock_tree();
        let bottom = self.root();
        MountNamespace::new(NsId::next(), owner, copy_one(&bottom, bottom.root().clone()))
    }
    /// `mnt` lies in its tree.
    pub fn contains(&self, mnt: &Arc<Mount>) -> bool {
        Arc::ptr_eq(&top_of(mnt), &self.root())
    }
}

impl Namespace for MountNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Mnt
    }
    fn ns_id(&self) -> NsId {
        self.ns_id
    }
    fn owner(&self) -> Arc<UserNamespace> {
        self.owner.clone()
    }
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        ns::delist(self.ns_id.id);
        DYING.lock().push(self.root.get_mut().clone());
        // Whoever holds the tree lock sees to it.
        drop(TREE.try_lock().map(TreeGuard));
    }
}

/// The topmost mount above `mnt`.
fn top_of(mnt: &Arc<Mount>) -> Arc<Mount> {
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

/// Detaches every mount of the tree below `top`, and `top` itself.
fn dissolve(top: &Arc<Mount>) {
    for mnt in top.tree().iter().rev() {
        mnt.detach();
        *mnt.propagation.lock() = Propagation::PRIVATE;
    }
}

/// A copy of the tree of mounts at `from`, showing it from `root` down (bind mounts, new namespaces). Mounts whose mount point is not
/// below `root`, and unbindable ones unless `all`, are left out.
pub(crate) fn copy_tree(from: &Arc<Mount>, root: &Arc<Dentry>, all: bool) -> Result<Arc<Mount>, Errno> {
    let pairs = copy_pairs(from, root, all, true)?;
    pairs.into_iter().next().map(|(_, top)| top).ok_or(Errno::EINVAL)
}

/// Mounts with their copies.
type Pairs = Vec<(Arc<Mount>, Arc<Mount>)>;

/// The same; gives each mount with its copy, the top first. Files of mount namespaces are copied only with `ns_files`: a new namespace that held
/// those would keep others alive for ever.
fn copy_pairs(from: &Arc<Mount>, root: &Arc<Dentry>, all: bool, ns_files: bool) -> Result<Pairs, Errno> {
    let top = copy_one(from, root.clone());
    let mut pairs = alloc::vec![(from.clone(), top.clone())];
    let mut next = 0;
    while let Some((old, new)) = pairs.get(next).cloned() {
        next += 1;
        for child in old.children() {
            let Some(at) = child.parent() else { continue };
            if !at.dentry.is_below(new.root())
                || !all && propagate::of(&child).unbindable
                || !ns_files && mount_ns_of(child.root()).is_some()
            {
                continue;
            }
            if mount::live() >= MAX_MOUNTS {
                dissolve(&top);
                return Err(Errno::ENOSPC);
            }
            let copy = copy_one(&child, child.root().clone());
            copy.set_flags(MntFlags::LOCKED, child.flags());
            copy.attach(Path { mnt: new.clone(), dentry: at.dentry })?;
            pairs.push((child, copy));
        }
    }
    Ok(pairs)
}

/// The mount namespace whose nsfs file this is.
fn mount_ns_of(dentry: &Dentry) -> Option<&Arc<dyn Namespace>> {
    dentry.inode().namespace().filter(|ns| ns.kind() == NsKind::Mnt)
}

fn copy_one(from: &Arc<Mount>, root: Arc<Dentry>) -> Arc<Mount> {
    let copy = Mount::new(root, from.source(), from.flags() & (MntFlags::SETTABLE | MntFlags::LOCKS));
    propagate::inherit(&copy, from);
    copy
}

/// Attaches `tree` at `at` and wherever that propagates. The tree lock is held.
fn graft(tree: &Arc<Mount>, at: &Path) -> Result<(), Errno> {
    if (at.dentry.kind() == FileType::Directory) != (tree.root().kind() == FileType::Directory) {
        return Err(Errno::ENOTDIR);
    }
    if at.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    propagate::attach(tree, at)?;
    tree.attach(topmost(at))
}

/// The place a new mount over `at` really goes: on top of what is mounted there.
fn topmost(at: &Path) -> Path {
    let mut at = at.clone();
    while let Some(over) = at.mnt.child_at(&at.dentry) {
        at = Path::root_of(&over);
    }
    at
}

/// Makes an instance of the file system `fs_type` and a mount of it that is not attached.
pub fn new_mount(fs_type: &[u8], request: &MountRequest<'_>, flags: MntFlags) -> Result<Arc<Mount>, Errno> {
    if mount::live() >= MAX_MOUNTS {
        return Err(Errno::ENOSPC);
    }
    // "fuse.sshfs"-like subtypes name the part before the dot.
    let name = fs_type.split(|&b| b == b'.').next().unwrap_or_default();
    let fs = find_fs(name).ok_or(Errno::ENODEV)?;
    if !fs.in_user_ns() && !request.caller.cred.capable(Cap::SysAdmin) {
        return Err(Errno::EPERM);
    }
    let root = fs.mount(request)?;
    let sb = root.sb().clone();
    let source = request.source.unwrap_or(b"none");
    let whole = Mount::new(sb.root_dentry(&root), source, flags);
    let Some(inside) = fs.shown_root() else { return Ok(whole) };
    let top = Path::root_of(&whole);
    let place = walk::lookup(&Start::new(&top, &top, request.caller.cred), &inside, true)?;
    Ok(Mount::new(place.dentry, source, flags))
}

/// Attaches a mount that is not attached anywhere.
pub fn attach(mnt: &Arc<Mount>, at: &Path) -> Result<(), Errno> {
    let _tree = lock_tree();
    graft(mnt, at)
}

/// mount(2) with `MS_BIND`: shows the tree at `from` also at `at`, for a caller in `ns`.
pub fn bind(from: &Path, at: &Path, recursive: bool, ns: &MountNamespace) -> Result<(), Errno> {
    let _tree = lock_tree();
    // A namespace that held itself, or one that holds it, would never end: only younger ones may be held.
    if mount_ns_of(&from.dentry).is_some_and(|held| held.id() <= ns.id()) {
        return Err(Errno::EINVAL);
    }
    if propagate::of(&from.mnt).unbindable {
        return Err(Errno::EINVAL);
    }
    if mount::live() >= MAX_MOUNTS {
        return Err(Errno::ENOSPC);
    }
    // Bound alone, it would show what a locked mount covers.
    let covers = |m: &Arc<Mount>| {
        m.flags().contains(MntFlags::LOCKED) && m.parent().is_some_and(|at| at.dentry.is_below(&from.dentry))
    };
    if !recursive && from.mnt.children().iter().any(covers) {
        return Err(Errno::EINVAL);
    }
    let tree =
        if recursive { copy_tree(&from.mnt, &from.dentry, false)? } else { copy_one(&from.mnt, from.dentry.clone()) };
    graft(&tree, at).inspect_err(|_| dissolve(&tree))
}

/// mount(2) with `MS_MOVE`.
pub fn move_mount(from: &Path, to: &Path) -> Result<(), Errno> {
    let _tree = lock_tree();
    if !Arc::ptr_eq(&from.dentry, from.mnt.root()) {
        return Err(Errno::EINVAL);
    }
    let parent = from.mnt.parent().filter(|_| !from.mnt.flags().contains(MntFlags::LOCKED)).ok_or(Errno::EINVAL)?;
    // Out of a shared parent nothing can be moved: its peers would keep their copies.
    if propagate::of(&parent.mnt).group != 0 {
        return Err(Errno::EINVAL);
    }
    let mut up = to.mnt.clone();
    loop {
        if Arc::ptr_eq(&up, &from.mnt) {
            return Err(Errno::ELOOP);
        }
        match up.parent() {
            Some(p) => up = p.mnt,
            None => break,
        }
    }
    if (to.dentry.kind() == FileType::Directory) != (from.dentry.kind() == FileType::Directory) {
        return Err(Errno::ENOTDIR);
    }
    from.mnt.detach();
    if let Err(e) = graft(&from.mnt, to) {
        from.mnt.attach(parent)?;
        return Err(e);
    }
    Ok(())
}

/// mount(2) with `MS_REMOUNT`: `only_mount` changes the flags of the mount, else those and the options of the instance.
pub fn remount(at: &Path, only_mount: bool, sb_flags: SbFlags, flags: MntFlags, data: &[u8]) -> Result<(), Errno> {
    let _tree = lock_tree();
    if !Arc::ptr_eq(&at.dentry, at.mnt.root()) {
        return Err(Errno::EINVAL);
    }
    if !at.mnt.flags().may_become(flags) {
        return Err(Errno::EPERM);
    }
    if flags.contains(MntFlags::RDONLY) && !at.mnt.flags().contains(MntFlags::RDONLY) && at.mnt.has_writers() {
        return Err(Errno::EBUSY);
    }
    if !only_mount {
        at.mnt.sb().ops().remount(sb_flags, data)?;
        let mask = SbFlags::RDONLY | SbFlags::SYNCHRONOUS | SbFlags::DIRSYNC | SbFlags::LAZYTIME;
        at.mnt.sb().set_flags(mask, sb_flags);
    }
    at.mnt.set_flags(MntFlags::SETTABLE, flags);
    Ok(())
}

/// mount(2) with a propagation type.
pub fn change_propagation(at: &Path, to: PropagationType, recursive: bool) -> Result<(), Errno> {
    let _tree = lock_tree();
    if !Arc::ptr_eq(&at.dentry, at.mnt.root()) {
        return Err(Errno::EINVAL);
    }
    if recursive {
        at.mnt.tree().iter().for_each(|m| propagate::change(m, to));
    } else {
        propagate::change(&at.mnt, to);
    }
    Ok(())
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
            if lazily || !copy.has_children() && Arc::strong_count(&copy) <= 2 {
                dissolve(&copy);
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
