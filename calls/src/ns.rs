//! Namespaces: unshare(2), setns(2), listns(2).

use abi::Errno;
use abi::sched::CloneFlags;
use machine::{PAGE_SIZE, VirtAddr};
use mm::UserPtr;
use task::Cx;
use task::ns::{change, nsfs};
use vfs::ns::{self, Namespace, NsKind};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// unshare(2)
pub fn unshare(cx: &mut Cx, flags: u64) -> Result<(), Errno> {
    use CloneFlags as F;
    /// The one flag that unshare(2) and clone(2) have with different values.
    const EMPTY_MNTNS: u64 = 0x10_0000;
    let empty = flags & EMPTY_MNTNS != 0;
    let known = F::THREAD | F::FS | F::NEWNS | F::SIGHAND | F::VM | F::FILES | F::SYSVSEM | F::NAMESPACES;
    let known = known - F::EMPTY_MNTNS;
    let mut f = F::from_bits(flags & !EMPTY_MNTNS).filter(|f| known.contains(*f)).ok_or(Errno::EINVAL)?;
    if empty {
        f |= F::EMPTY_MNTNS;
    }
    if f.contains(F::NEWIPC) {
        f |= F::SYSVSEM;
    }
    // What each kind cannot do without.
    if f.contains(F::NEWUSER) {
        f |= F::THREAD | F::FS;
    }
    if f.intersects(F::NEWNS | F::EMPTY_MNTNS) {
        f |= F::FS;
    }
    if f.intersects(F::THREAD | F::SIGHAND | F::VM) && cx.process().threads().len() > 1 {
        return Err(Errno::EINVAL);
    }
    let fs = if f.contains(F::FS) { cx.fs().fork() } else { cx.fs().clone() };
    let files = if f.contains(F::FILES) { Some(cx.files().fork()?) } else { None };
    let cred = if f.contains(F::NEWUSER) { cx.child_user_ns()? } else { cx.cred().clone() };
    let ns = change::unshare(cx, f, &cred, &fs)?;
    if let Some(files) = files {
        cx.set_files(files);
    }
    if f.contains(F::FS) {
        cx.set_fs(fs);
    }
    if f.contains(F::SYSVSEM) {
        cx.sysv.leave_undo();
        cx.show_undo();
    }
    if let Some(ns) = ns {
        cx.set_ns(ns);
    }
    if f.contains(F::NEWUSER) {
        cx.set_cred(cred);
    }
    Ok(())
}

/// setns(2)
pub fn setns(cx: &mut Cx, fd: i32, flags: i32) -> Result<(), Errno> {
    change::setns(cx, fd, flags)
}

/// `struct ns_id_req`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    /// Only namespaces with higher numbers.
    ns_id: u64,
    /// Kinds, as a mask of `CLONE_NEW*`; 0 for all.
    ns_type: u32,
    spare2: u32,
    /// Only what this user namespace owns.
    user_ns_id: u64,
}

/// Most numbers that are given at once.
const MOST: usize = 1_000_000;
/// The caller's own user namespace.
const CURRENT_USER: u64 = u64::MAX;

/// listns(2)
pub fn listns(cx: &mut Cx, req: VirtAddr, ids: UserPtr<u64>, count: usize, flags: u32) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if count > MOST {
        return Err(Errno::EOVERFLOW);
    }
    if !mm::io::access_ok(ids.addr(), count * size_of::<u64>()) {
        return Err(Errno::EFAULT);
    }
    let size = UserPtr::<u32>::new(req).read(cx.mm())? as usize;
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < size_of::<Request>() {
        return Err(Errno::EINVAL);
    }
    let mut want = Request::new_zeroed();
    crate::support::read_extensible(cx, req, size, want.as_mut_bytes())?;
    if want.spare != 0 {
        return Err(Errno::EINVAL);
    }
    let all = NsKind::ALL.iter().fold(0, |mask, kind| mask | kind.clone_flag());
    let kinds = u64::from(want.ns_type);
    if kinds & !all != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let owner = match want.user_ns_id {
        0 => None,
        CURRENT_USER => Some(cx.cred().user_ns.id()),
        id => Some(ns::find(id).filter(|n| n.kind() == NsKind::User).ok_or(Errno::EINVAL)?.id()),
    };
    let owned = |n: &dyn Namespace| owner.is_none_or(|owner| ns::owner_id(n) == Some(owner));
    let asked = |n: &dyn Namespace| kinds == 0 || kinds & n.kind().clone_flag() != 0;
    let single = if kinds.is_power_of_two() && owner.is_none() { kinds } else { 0 };
    // A place to go on from must have something behind it.
    if want.ns_id != 0 {
        let in_list = |n: &dyn Namespace| owned(n) && (single == 0 || n.kind().clone_flag() == single);
        ns::next_after(want.ns_id, |n| in_list(&**n)).ok_or(Errno::ENOENT)?;
    }
    let sees_all = nsfs::sees_all(&cx.task, cx.cred());
    let mut at = want.ns_id;
    let mut given = 0;
    while given < count {
        let visible = |n: &dyn Namespace| owned(n) && asked(n) && (sees_all || nsfs::is_current(&cx.task, n));
        let Some(next) = ns::next_after(at, |n| visible(&**n)) else { break };
        at = next.id();
        drop(next);
        ids.at(given).write(cx.mm(), &at)?;
        given += 1;
    }
    Ok(given)
}
