//! Mounts: which instance of a file system is seen where.
//!
//! A [`Mount`] shows the tree below its root dentry at a place of its parent mount. The tree is read under the mounts' own spin
//! locks (path walks) and changed with [`crate::namespace`]'s lock held. Sources: mount_namespaces(7), mount(2).
//!
//! ```text
//! namespace::TREE (sleeping, changes only)
//!   Mount::children of the parent (spin)
//!   Mount::place of the child (spin)
//! ```

use crate::dentry::Dentry;
use crate::namespace::MountNamespace;
use crate::path::Path;
use crate::propagate::{self, Propagation};
use crate::superblock::{SbFlags, SuperBlock};
use crate::user_ns::UserNamespace;
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use machine::sync::SpinLock;

bitflags! {
    /// Properties of a mount (as against those of the instance).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MntFlags: u32 {
        /// Nothing may be written through this mount.
        const RDONLY = 1;
        /// Set-id bits are ignored.
        const NOSUID = 2;
        /// Device files cannot be opened.
        const NODEV = 4;
        /// Programs cannot be run.
        const NOEXEC = 8;
        /// Access times are not kept.
        const NOATIME = 16;
        /// Access times of directories are not kept.
        const NODIRATIME = 32;
        /// Access times are kept only when older than the last change.
        const RELATIME = 64;
        /// Symbolic links are not followed.
        const NOSYMFOLLOW = 128;
        /// Made by the kernel for pipes, sockets and the like.
        const INTERNAL = 1 << 17;
        /// Came from a namespace with other owners: cannot be taken off alone, for it may cover something.
        const LOCKED = 1 << 18;
        /// RDONLY stays, for the same reason.
        const LOCK_RDONLY = 1 << 19;
        /// NOSUID stays.
        const LOCK_NOSUID = 1 << 20;
        /// NODEV stays.
        const LOCK_NODEV = 1 << 21;
        /// NOEXEC stays.
        const LOCK_NOEXEC = 1 << 22;
        /// The rules for access times stay.
        const LOCK_ATIME = 1 << 23;
    }
}

impl MntFlags {
    /// What keeps flags from being changed.
    pub const LOCKS: MntFlags = MntFlags::LOCK_RDONLY
        .union(MntFlags::LOCK_NOSUID)
        .union(MntFlags::LOCK_NODEV)
        .union(MntFlags::LOCK_NOEXEC)
        .union(MntFlags::LOCK_ATIME);
    /// The locks a mount with these flags gets in a namespace of another owner (mount_namespaces(7), "Restrictions on mount namespaces").
    pub(crate) fn locked(self) -> MntFlags {
        let mut locks = self | MntFlags::LOCK_ATIME;
        for (flag, lock) in MntFlags::FLAG_LOCKS {
            locks.set(lock, self.intersects(flag | lock));
        }
        locks & MntFlags::LOCKS
    }
    const FLAG_LOCKS: [(MntFlags, MntFlags); 4] = [
        (MntFlags::RDONLY, MntFlags::LOCK_RDONLY),
        (MntFlags::NOSUID, MntFlags::LOCK_NOSUID),
        (MntFlags::NODEV, MntFlags::LOCK_NODEV),
        (MntFlags::NOEXEC, MntFlags::LOCK_NOEXEC),
    ];
    /// A mount with these flags may get `new` ones.
    pub(crate) fn may_become(self, new: MntFlags) -> bool {
        let kept = |(flag, lock): (MntFlags, MntFlags)| !self.contains(lock) || new.contains(flag);
        MntFlags::FLAG_LOCKS.into_iter().all(kept)
            && (!self.contains(MntFlags::LOCK_ATIME) || self & MntFlags::ATIME == new & MntFlags::ATIME)
    }
    /// The rules for access times.
    pub(crate) const ATIME: MntFlags = MntFlags::NOATIME.union(MntFlags::NODIRATIME).union(MntFlags::RELATIME);
    /// What mount(2) with `MS_REMOUNT | MS_BIND` can change.
    pub const SETTABLE: MntFlags = MntFlags::RDONLY
        .union(MntFlags::NOSUID)
        .union(MntFlags::NODEV)
        .union(MntFlags::NOEXEC)
        .union(MntFlags::NOATIME)
        .union(MntFlags::NODIRATIME)
        .union(MntFlags::RELATIME)
        .union(MntFlags::NOSYMFOLLOW);
}

struct ChildMount {
    at: Arc<Dentry>,
    mnt: Arc<Mount>,
}

/// An instance, or a part of it, at a place in the tree.
pub struct Mount {
    id: u32,
    unique_id: u64,
    sb: Arc<SuperBlock>,
    root: Arc<Dentry>,
    source: Box<[u8]>,
    flags: AtomicU32,
    writers: AtomicI32,
    place: SpinLock<Option<Path>>,
    children: SpinLock<Vec<ChildMount>>,
    pub(crate) propagation: SpinLock<Propagation>,
    /// Of the top of a tree: whose it is.
    home: SpinLock<Home>,
}

/// What the mount at the top of a tree belongs to.
#[derive(Clone)]
pub enum Home {
    /// Nothing: it is unmounted, or the kernel's own.
    None,
    /// A mount namespace.
    Namespace(Weak<MountNamespace>),
    /// A descriptor, as open_tree(2) and fsmount(2) make them.
    Descriptor {
        /// The number that statmount(2) gives in place of a namespace's.
        id: u64,
        /// The mount namespace it was copied from; 0 for a new instance.
        origin: u64,
        /// The owner of its maker's mount namespace.
        owner: Arc<UserNamespace>,
    },
}

static NEXT_ID: AtomicU32 = AtomicU32::new(20);
static NEXT_UNIQUE_ID: AtomicU64 = AtomicU64::new(0x8000_0001);

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Mounts that exist now, attached or not.
pub fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

impl Mount {
    /// A mount of the tree below `root` that is not attached anywhere yet. `source` is what /proc/mounts shows as the device.
    pub fn new(root: Arc<Dentry>, source: &[u8], flags: MntFlags) -> Arc<Mount> {
        root.sb().mounted();
        LIVE.fetch_add(1, Ordering::Relaxed);
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            unique_id: NEXT_UNIQUE_ID.fetch_add(1, Ordering::Relaxed),
            sb: root.sb().clone(),
            root,
            source: source.into(),
            flags: AtomicU32::new(flags.bits()),
            writers: AtomicI32::new(0),
            place: SpinLock::new(None),
            children: SpinLock::new(Vec::new()),
            propagation: SpinLock::new(Propagation::PRIVATE),
            home: SpinLock::new(Home::None),
        })
    }
    /// Number shown in /proc/PID/mountinfo.
    pub fn id(&self) -> u32 {
        self.id
    }
    /// Number that is never used again (statx STATX_MNT_ID_UNIQUE).
    pub fn unique_id(&self) -> u64 {
        self.unique_id
    }
    /// The instance.
    #[inline]
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }
    /// Root of the part that is shown.
    #[inline]
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }
    /// The path of its root inside the instance.
    pub fn root_text(&self) -> Vec<u8> {
        let mut at = self.root.clone();
        if at.is_pseudo() {
            let mut text = at.with_name(|name| name.to_vec());
            text.extend_from_slice(alloc::format!(":[{}]", at.inode().base().ino()).as_bytes());
            return text;
        }
        let mut names: Vec<Vec<u8>> = Vec::new();
        while let Some(parent) = at.parent() {
            names.push(at.with_name(|name| name.to_vec()));
            at = parent;
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        names.iter().rev().flat_map(|name| core::iter::once(b'/').chain(name.iter().copied())).collect()
    }
    /// The "device" of /proc/mounts.
    pub fn source(&self) -> &[u8] {
        &self.source
    }
    /// Its flags now.
    #[inline]
    pub fn flags(&self) -> MntFlags {
        MntFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    /// Changes the flags in `mask`.
    pub fn set_flags(&self, mask: MntFlags, value: MntFlags) {
        let _ = self
            .flags
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |f| Some(f & !mask.bits() | value.bits() & mask.bits()));
    }
    /// EROFS if nothing may be written here.
    #[inline]
    pub fn want_write(&self) -> Result<(), Errno> {
        if self.flags().contains(MntFlags::RDONLY) || self.sb.is_readonly() {
            return Err(Errno::EROFS);
        }
        Ok(())
    }
    /// Device files do not work here.
    pub fn is_nodev(&self) -> bool {
        self.flags().contains(MntFlags::NODEV) || self.sb.flags().contains(SbFlags::NODEV)
    }
    /// Programs do not run from here.
    pub fn is_noexec(&self) -> bool {
        self.flags().contains(MntFlags::NOEXEC) || self.sb.flags().contains(SbFlags::NOEXEC)
    }
    /// Set-id bits do not count here.
    pub fn is_nosuid(&self) -> bool {
        self.flags().contains(MntFlags::NOSUID) || self.sb.flags().contains(SbFlags::NOSUID)
    }
    /// Whether access times are kept for this kind of object; `Some(strict)`: updated on every access.
    #[inline]
    pub fn keeps_atime(&self, is_dir: bool) -> Option<bool> {
        let f = self.flags();
        if f.contains(MntFlags::NOATIME) || is_dir && f.contains(MntFlags::NODIRATIME) || self.want_write().is_err() {
            return None;
        }
        Some(!f.contains(MntFlags::RELATIME))
    }
    pub(crate) fn add_writer(&self) -> Result<(), Errno> {
        self.writers.fetch_add(1, Ordering::AcqRel);
        self.sb.count_writer(1);
        self.want_write().inspect_err(|_| self.remove_writer())
    }
    pub(crate) fn remove_writer(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
        self.sb.count_writer(-1);
    }
    /// Whose tree it is at the top of.
    pub(crate) fn home(&self) -> Home {
        self.home.lock().clone()
    }
    /// The tree it is at the top of belongs to `home` from now on.
    pub(crate) fn set_home(&self, home: Home) {
        let old = core::mem::replace(&mut *self.home.lock(), home);
        drop(old);
    }
    /// Files are open for writing through this mount.
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// Where it is attached: the parent mount and the mount point; `None` at the root of a namespace or when detached.
    pub fn parent(&self) -> Option<Path> {
        self.place.lock().clone()
    }
    /// What is mounted at `at` of this mount, topmost of what was attached there directly.
    #[inline]
    pub(crate) fn child_at(&self, at: &Arc<Dentry>) -> Option<Arc<Mount>> {
        self.children.lock().iter().rev().find(|c| Arc::ptr_eq(&c.at, at)).map(|c| c.mnt.clone())
    }
    /// The mounts attached to this one, oldest first.
    pub fn children(&self) -> Vec<Arc<Mount>> {
        self.children.lock().iter().map(|c| c.mnt.clone()).collect()
    }
    /// Whether anything is mounted on this mount.
    pub(crate) fn has_children(&self) -> bool {
        !self.children.lock().is_empty()
    }
    /// Attaches this mount (detached so far). The tree lock is held.
    pub(crate) fn attach(self: &Arc<Mount>, at: Path) -> Result<(), Errno> {
        {
            let mut children = at.mnt.children.lock();
            children.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            children.push(ChildMount { at: at.dentry.clone(), mnt: self.clone() });
        }
        at.dentry.add_mount();
        *self.place.lock() = Some(at);
        Ok(())
    }
    /// Detaches it from its parent. The tree lock is held.
    pub(crate) fn detach(self: &Arc<Mount>) -> Option<Path> {
        let at = self.place.lock().take()?;
        let taken = {
            let mut children = at.mnt.children.lock();
            let i = children.iter().position(|c| Arc::ptr_eq(&c.mnt, self));
            i.map(|i| children.remove(i))
        };
        drop(taken);
        at.dentry.remove_mount();
        Some(at)
    }
    /// This mount and everything mounted below it, parents before children.
    pub fn tree(self: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let mut all = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(mnt) = all.get(next).cloned() {
            all.extend(mnt.children());
            next += 1;
        }
        all
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        propagate::forget(self);
        self.sb.unmounted();
    }
}
