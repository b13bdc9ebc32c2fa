//! User namespaces: who is called what, and where capabilities count (user_namespaces(7)).
//!
//! Ids in credentials, inodes and messages are the kernel's own ("kernel ids"): those of the first user namespace. A namespace translates only where user
//! space gives or gets an id. Maps are written once, so translating takes no lock; the first namespace does not even look.
//!
//! ```text
//! UserNamespace::writer (sleeping): writers of maps and of the setgroups rule
//! UserNamespace::made (spin, one at a time): how many namespaces each user has made
//! ```

use crate::cred::{Cap, CapSet, Cred};
use crate::idmap::IdMap;
use crate::ns::{Namespace, NsHead, NsKind};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use machine::sync::{Once, SpinLock};

/// What is shown for ids without a name here (`kernel.overflowuid`).
pub const OVERFLOW_ID: u32 = 65534;
/// Namespaces below this many ancestors cannot be made.
pub const MAX_LEVEL: u32 = 32;

/// The three kinds of ids that are mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdKind {
    /// Users.
    Uid,
    /// Groups.
    Gid,
    /// Projects (quotas).
    Projid,
}

/// A user namespace.
pub struct UserNamespace {
    /// Its owner is the namespace it was made in.
    head: NsHead,
    level: u32,
    owner: u32,
    group: u32,
    maps: [Once<IdMap>; 3],
    setgroups: AtomicBool,
    /// Its maker held CAP_SETFCAP: it may map user 0 of the parent.
    maker_had_setfcap: bool,
    /// Its maker's RLIMIT_NPROC: all threads in it together count against that.
    max_tasks: u64,
    /// Serialises writers of maps and of the setgroups rule.
    pub(crate) writer: sched::Mutex<()>,
    /// User namespaces that exist by each user's doing, here and below.
    made: SpinLock<BTreeMap<u32, u32>>,
    /// How many that may be for one user (`user.max_user_namespaces`).
    max_made: AtomicU32,
}

/// Bound of `user.max_user_namespaces`, and its value in new namespaces.
const MAX_MADE: u32 = i32::MAX as u32;

/// A second namespace was ever made: until then nothing needs translating.
static ANY_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether there ever was more than the first namespace.
#[inline]
pub fn any_child() -> bool {
    ANY_CHILD.load(Ordering::Relaxed)
}

static FIRST: Once<Arc<UserNamespace>> = Once::new();

fn written(map: IdMap) -> Once<IdMap> {
    let once = Once::new();
    let _ = once.set(map);
    once
}

impl UserNamespace {
    /// The namespace every process starts in: its ids are the kernel's.
    pub fn first() -> &'static Arc<UserNamespace> {
        FIRST.get_or_init(|| {
            crate::ns::enlist(Arc::new(UserNamespace {
                head: NsHead::first(NsKind::User),
                level: 0,
                owner: 0,
                group: 0,
                maps: core::array::from_fn(|_| written(IdMap::identity())),
                setgroups: AtomicBool::new(true),
                maker_had_setfcap: true,
                max_tasks: u64::MAX,
                writer: sched::Mutex::new(()),
                made: SpinLock::new(BTreeMap::new()),
                max_made: AtomicU32::new(MAX_MADE),
            }))
        })
    }
    /// A child of `cred`'s namespace, owned by its effective ids, with no map yet.
    pub(crate) fn child_of(cred: &Cred, max_tasks: u64) -> Arc<UserNamespace> {
        let parent = &cred.user_ns;
        ANY_CHILD.store(true, Ordering::Relaxed);
        crate::ns::enlist(Arc::new(UserNamespace {
            head: NsHead::next(NsKind::User, parent),
            level: parent.level.saturating_add(1),
            owner: cred.euid,
            group: cred.egid,
            maps: Default::default(),
            setgroups: AtomicBool::new(parent.setgroups_allowed()),
            maker_had_setfcap: cred.cap_effective.has(Cap::Setfcap),
            max_tasks,
            writer: sched::Mutex::new(()),
            made: SpinLock::new(BTreeMap::new()),
            max_made: AtomicU32::new(MAX_MADE),
        }))
    }
    /// Whether it is the first one.
    #[inline]
    pub fn is_first(&self) -> bool {
        self.level == 0
    }
    /// The namespace it was made in; `None` for the first.
    pub fn parent(&self) -> Option<&Arc<UserNamespace>> {
        self.head.named_owner()
    }
    /// How many ancestors it has.
    pub fn level(&self) -> u32 {
        self.level
    }
    /// Kernel id of the user that made it.
    pub fn owner_uid(&self) -> u32 {
        self.owner
    }
    /// Kernel id of the group of its maker.
    pub fn owner_gid(&self) -> u32 {
        self.group
    }
    /// Whether this is `other` or lies below it.
    pub fn is_in(&self, other: &UserNamespace) -> bool {
        let mut at = self;
        while at.level > other.level {
            let Some(up) = at.parent() else { return false };
            at = up;
        }
        at == other
    }
    /// setgroups(2) is not switched off.
    pub fn setgroups_allowed(&self) -> bool {
        self.setgroups.load(Ordering::Acquire)
    }
    /// Groups can be set: not switched off, and there is a map.
    pub fn may_setgroups(&self) -> bool {
        self.map(IdKind::Gid).is_some() && self.setgroups_allowed()
    }
    pub(crate) fn deny_setgroups(&self) {
        self.setgroups.store(false, Ordering::Release);
    }
    pub(crate) fn maker_had_setfcap(&self) -> bool {
        self.maker_had_setfcap
    }
    pub(crate) fn slot(&self, kind: IdKind) -> &Once<IdMap> {
        let [uid, gid, projid] = &self.maps;
        match kind {
            IdKind::Uid => uid,
            IdKind::Gid => gid,
            IdKind::Projid => projid,
        }
    }
    /// The map of this kind, once it was written.
    pub fn map(&self, kind: IdKind) -> Option<&IdMap> {
        self.slot(kind).get()
    }
    /// The kernel id of an id of this namespace. The id that means "none" never has one.
    #[inline]
    pub fn down(&self, kind: IdKind, id: u32) -> Option<u32> {
        if self.is_first() {
            return (id != u32::MAX).then_some(id);
        }
        self.map(kind)?.down(id)
    }
    /// The id this namespace has for a kernel id.
    #[inline]
    pub fn up(&self, kind: IdKind, id: u32) -> Option<u32> {
        if self.is_first() {
            return (id != u32::MAX).then_some(id);
        }
        self.map(kind)?.up(id)
    }
    /// The kernel id of a user of this namespace.
    #[inline]
    pub fn kuid(&self, uid: u32) -> Option<u32> {
        self.down(IdKind::Uid, uid)
    }
    /// The kernel id of a group of this namespace.
    #[inline]
    pub fn kgid(&self, gid: u32) -> Option<u32> {
        self.down(IdKind::Gid, gid)
    }
    /// What a user is called here; the overflow id when it has no name.
    #[inline]
    pub fn show_uid(&self, kuid: u32) -> u32 {
        self.up(IdKind::Uid, kuid).unwrap_or(OVERFLOW_ID)
    }
    /// What a group is called here; the overflow id when it has no name.
    #[inline]
    pub fn show_gid(&self, kgid: u32) -> u32 {
        self.up(IdKind::Gid, kgid).unwrap_or(OVERFLOW_ID)
    }
    /// Whether both ids have names here.
    #[inline]
    pub fn maps_both(&self, kuid: u32, kgid: u32) -> bool {
        self.is_first() || self.up(IdKind::Uid, kuid).is_some() && self.up(IdKind::Gid, kgid).is_some()
    }
    /// How many threads it may have in all.
    pub fn max_tasks(&self) -> u64 {
        self.max_tasks
    }
    /// How many user namespaces one user may have made here and below.
    pub fn max_made(&self) -> u32 {
        self.max_made.load(Ordering::Relaxed)
    }
    /// Changes that; EINVAL beyond what a counter holds.
    pub fn set_max_made(&self, most: u32) -> Result<(), Errno> {
        if most > MAX_MADE {
            return Err(Errno::EINVAL);
        }
        self.max_made.store(most, Ordering::Relaxed);
        Ok(())
    }
    /// Counts one more user namespace made by `uid`, here and by the makers of this one all the way up; ENOSPC where there are too many.
    fn count_made(&self, uid: u32) -> Result<(), Errno> {
        let (mut at, mut by) = (self, uid);
        loop {
            let room = {
                let mut made = at.made.lock();
                let n = made.entry(by).or_insert(0);
                let room = *n < at.max_made();
                *n += u32::from(room);
                room
            };
            if !room {
                self.uncount_made(uid, Some(at));
                return Err(Errno::ENOSPC);
            }
            let Some(up) = at.parent() else { return Ok(()) };
            (at, by) = (up, at.owner);
        }
    }
    /// Takes that back, up to but without `end`.
    fn uncount_made(&self, uid: u32, end: Option<&UserNamespace>) {
        let (mut at, mut by) = (self, uid);
        while end.is_none_or(|end| *end != *at) {
            {
                let mut made = at.made.lock();
                if let Some(n) = made.get_mut(&by) {
                    *n = n.saturating_sub(1);
                    if *n == 0 {
                        made.remove(&by);
                    }
                }
            }
            let Some(up) = at.parent() else { return };
            (at, by) = (up, at.owner);
        }
    }
    /// The kernel id of user 0 here.
    pub fn root_uid(&self) -> Option<u32> {
        self.kuid(0)
    }
}

impl UserNamespace {
    /// Lets go of the parent, in which it no longer counts.
    fn leave(&mut self) -> Option<Arc<UserNamespace>> {
        let parent = self.head.take_owner()?;
        parent.uncount_made(self.owner, None);
        Some(parent)
    }
}

impl Drop for UserNamespace {
    /// Lets go of a chain of ancestors without nesting as deep as the chain.
    fn drop(&mut self) {
        let mut next = self.leave();
        while let Some(mut ns) = next.and_then(Arc::into_inner) {
            next = ns.leave();
        }
    }
}

impl PartialEq for UserNamespace {
    fn eq(&self, other: &UserNamespace) -> bool {
        self.id() == other.id()
    }
}

impl Eq for UserNamespace {}

impl fmt::Debug for UserNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user:[{}]", self.inum())
    }
}

impl Namespace for UserNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

/// Credentials in a new child of `cred`'s namespace (clone(2) and unshare(2) with CLONE_NEWUSER). `chrooted`: the caller's root directory is not its mount
/// namespace's, and it would get out of it. `max_tasks`: the caller's RLIMIT_NPROC.
pub fn create(cred: &Cred, chrooted: bool, max_tasks: u64) -> Result<Cred, Errno> {
    if cred.user_ns.level > MAX_LEVEL {
        return Err(Errno::ENOSPC);
    }
    cred.user_ns.count_made(cred.euid)?;
    if chrooted || !cred.user_ns.maps_both(cred.euid, cred.egid) {
        cred.user_ns.uncount_made(cred.euid, None);
        return Err(Errno::EPERM);
    }
    Ok(cred_inside(cred, &UserNamespace::child_of(cred, max_tasks)))
}

/// What a process that enters `ns` gets: every capability there, and no trace of what it had (user_namespaces(7), "Capabilities").
pub fn cred_inside(old: &Cred, ns: &Arc<UserNamespace>) -> Cred {
    Cred {
        user_ns: ns.clone(),
        securebits: 0,
        cap_inheritable: CapSet::EMPTY,
        cap_permitted: CapSet::FULL,
        cap_effective: CapSet::FULL,
        cap_bounding: CapSet::FULL,
        cap_ambient: CapSet::EMPTY,
        ..old.clone()
    }
}
