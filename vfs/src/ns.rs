//! What all kinds of namespaces share: a number, an owner, a kind (namespaces(7), ioctl_nsfs(2)).
//!
//! A namespace lives as long as somebody holds its `Arc`: a process in it, a descriptor of its nsfs file, a bind mount of that. Numbers are never used
//! twice. Source: `linux/nsfs.h` for the numbers of the first namespaces.

use crate::user_ns::UserNamespace;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use machine::sync::SpinLock;

/// The kinds of namespaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NsKind {
    /// Members of a cgroup hierarchy see their own root.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Mount trees.
    Mnt,
    /// Network devices, addresses, ports.
    Net,
    /// Process ids.
    Pid,
    /// Offsets of clocks.
    Time,
    /// User and group ids, capabilities.
    User,
    /// Host and domain name.
    Uts,
}

impl NsKind {
    /// All kinds, in the order /proc/PID/ns lists them.
    pub const ALL: [NsKind; 8] =
        [NsKind::Cgroup, NsKind::Ipc, NsKind::Mnt, NsKind::Net, NsKind::Pid, NsKind::Time, NsKind::User, NsKind::Uts];
    /// The name in `/proc/PID/ns` and in the text of its link.
    pub fn name(self) -> &'static str {
        match self {
            NsKind::Cgroup => "cgroup",
            NsKind::Ipc => "ipc",
            NsKind::Mnt => "mnt",
            NsKind::Net => "net",
            NsKind::Pid => "pid",
            NsKind::Time => "time",
            NsKind::User => "user",
            NsKind::Uts => "uts",
        }
    }
    /// The `CLONE_NEW*` flag.
    pub fn clone_flag(self) -> u64 {
        match self {
            NsKind::Cgroup => 0x0200_0000,
            NsKind::Ipc => 0x0800_0000,
            NsKind::Mnt => 0x0002_0000,
            NsKind::Net => 0x4000_0000,
            NsKind::Pid => 0x2000_0000,
            NsKind::Time => 0x80,
            NsKind::User => 0x1000_0000,
            NsKind::Uts => 0x0400_0000,
        }
    }
    /// The identity of the first namespace of this kind: the fixed numbers of `linux/nsfs.h`.
    pub fn first(self) -> NsId {
        let (id, inum) = match self {
            NsKind::Ipc => (1, 0xefff_ffff),
            NsKind::Uts => (2, 0xefff_fffe),
            NsKind::User => (3, 0xefff_fffd),
            NsKind::Pid => (4, 0xefff_fffc),
            NsKind::Cgroup => (5, 0xefff_fffb),
            NsKind::Time => (6, 0xefff_fffa),
            NsKind::Net => (7, 0xefff_fff9),
            NsKind::Mnt => (8, 0xefff_fff8),
        };
        NsId { id, inum }
    }
}

/// The two numbers of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NsId {
    /// `NS_GET_ID`: 64 bits.
    pub id: u64,
    /// The inode number of its nsfs file.
    pub inum: u32,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(9);
static NEXT_INUM: AtomicU32 = AtomicU32::new(0xf000_0000);

impl NsId {
    /// Numbers for one more namespace.
    pub fn next() -> NsId {
        NsId { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), inum: NEXT_INUM.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A namespace of any kind.
pub trait Namespace: Send + Sync + Any {
    /// What it separates.
    fn kind(&self) -> NsKind;
    /// Its numbers.
    fn ns_id(&self) -> NsId;
    /// The user namespace whose capabilities count for it. The first user namespace gives itself.
    fn owner(&self) -> Arc<UserNamespace>;
    /// For those who know the concrete type.
    fn as_any(&self) -> &(dyn Any + Send + Sync);
    /// 64-bit identity.
    fn id(&self) -> u64 {
        self.ns_id().id
    }
    /// Inode number of its nsfs file.
    fn inum(&self) -> u32 {
        self.ns_id().inum
    }
}

/// Every namespace by its 64-bit number. A leaf lock.
static ALL: SpinLock<BTreeMap<u64, Weak<dyn Namespace>>> = SpinLock::new(BTreeMap::new());

/// Makes a new namespace known to listns(2) and to file handles; it says [`delist`] when it is dropped.
pub fn enlist<T: Namespace>(ns: Arc<T>) -> Arc<T> {
    let weak: Weak<dyn Namespace> = Arc::downgrade(&(ns.clone() as Arc<dyn Namespace>));
    let _ = ALL.lock().insert(ns.id(), weak);
    ns
}

/// The number of the user namespace that owns this one; the first user namespace has no owner.
pub fn owner_id(ns: &dyn Namespace) -> Option<u64> {
    match ns.as_any().downcast_ref::<UserNamespace>() {
        Some(user) => user.parent().map(|up| up.id()),
        None => Some(ns.owner().id()),
    }
}

/// Undoes [`enlist`].
pub fn delist(id: u64) {
    let gone = ALL.lock().remove(&id);
    drop(gone);
}

/// The namespace with this 64-bit number.
pub fn find(id: u64) -> Option<Arc<dyn Namespace>> {
    ALL.lock().get(&id)?.upgrade()
}

/// The namespace with the lowest number above `after` that satisfies `test`, which looks at numbers that cannot change.
pub fn next_after(after: u64, mut test: impl FnMut(&Arc<dyn Namespace>) -> bool) -> Option<Arc<dyn Namespace>> {
    let mut at = after;
    loop {
        // The lock is let go before an `Arc` is: dropping the last one takes it.
        let ns = {
            let all = ALL.lock();
            let (id, ns) = all.range(at.checked_add(1)?..).next()?;
            at = *id;
            ns.upgrade()
        };
        if let Some(ns) = ns.filter(|ns| test(ns)) {
            return Some(ns);
        }
    }
}

/// The namespace with the highest number below `before` that satisfies `test`.
pub fn last_before(before: u64, mut test: impl FnMut(&Arc<dyn Namespace>) -> bool) -> Option<Arc<dyn Namespace>> {
    let mut at = before;
    loop {
        let ns = {
            let all = ALL.lock();
            let (id, ns) = all.range(..at).next_back()?;
            at = *id;
            ns.upgrade()
        };
        if let Some(ns) = ns.filter(|ns| test(ns)) {
            return Some(ns);
        }
    }
}
