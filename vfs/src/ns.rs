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

/// What every namespace has: a kind, numbers, an owner. Dropping it takes the namespace off the list that [`enlist`] put it on.
pub struct NsHead {
    kind: NsKind,
    ids: NsId,
    /// `None` for the first user namespace only, and for one on its way out.
    owner: Option<Arc<UserNamespace>>,
}

impl NsHead {
    /// Of the first namespace of this kind.
    pub fn first(kind: NsKind) -> NsHead {
        let owner = (kind != NsKind::User).then(|| UserNamespace::first().clone());
        NsHead { kind, ids: kind.first(), owner }
    }
    /// Of one more, whose owner is `owner`.
    pub fn next(kind: NsKind, owner: &Arc<UserNamespace>) -> NsHead {
        NsHead { kind, ids: NsId::next(), owner: Some(owner.clone()) }
    }
    /// The user namespace whose capabilities count. The first user namespace gives itself.
    pub fn owner(&self) -> &Arc<UserNamespace> {
        self.owner.as_ref().unwrap_or_else(|| UserNamespace::first())
    }
    /// The same, but the first user namespace has none.
    pub fn named_owner(&self) -> Option<&Arc<UserNamespace>> {
        self.owner.as_ref()
    }
    /// Gives the owner up, for a user namespace that lets go of its ancestors itself.
    pub(crate) fn take_owner(&mut self) -> Option<Arc<UserNamespace>> {
        self.owner.take()
    }
}

impl Drop for NsHead {
    fn drop(&mut self) {
        let gone = ALL.lock().remove(&self.ids.id);
        drop(gone);
    }
}

/// A namespace of any kind.
pub trait Namespace: Send + Sync + Any {
    /// What it shares with all others.
    fn head(&self) -> &NsHead;
    /// The user namespace whose capabilities count for it. The first user namespace gives itself.
    fn owner(&self) -> Arc<UserNamespace> {
        self.head().owner().clone()
    }
    /// What it separates.
    fn kind(&self) -> NsKind {
        self.head().kind
    }
    /// 64-bit identity.
    fn id(&self) -> u64 {
        self.head().ids.id
    }
    /// Inode number of its nsfs file.
    fn inum(&self) -> u32 {
        self.head().ids.inum
    }
}

impl dyn Namespace {
    /// The namespace as what it is, if it is a `T`.
    pub fn downcast_ref<T: Namespace>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Every namespace by its 64-bit number. A leaf lock.
static ALL: SpinLock<BTreeMap<u64, Weak<dyn Namespace>>> = SpinLock::new(BTreeMap::new());

/// Makes a new namespace known to listns(2) and to file handles; dropping its [`NsHead`] ends that.
pub fn enlist<T: Namespace>(ns: Arc<T>) -> Arc<T> {
    let weak: Weak<dyn Namespace> = Arc::downgrade(&(ns.clone() as Arc<dyn Namespace>));
    let _ = ALL.lock().insert(ns.id(), weak);
    ns
}

/// The number of the user namespace that owns this one; the first user namespace has no owner.
pub fn owner_id(ns: &dyn Namespace) -> Option<u64> {
    Some(ns.head().named_owner()?.id())
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
