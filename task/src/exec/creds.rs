//! What exec does to credentials: set-id bits, file capabilities and the transformation rules of capabilities(7), no_new_privs, and what is taken back when
//! somebody could meddle with the program. What a file says is gathered in [`Marks`]; the rules on them are pure.

use super::filecaps::FileCaps;
use abi::Errno;
use alloc::sync::Arc;
use vfs::user_ns::IdKind;
use vfs::{Cap, CapSet, Cred, File, MountNamespace, may};

/// `SECBIT_NOROOT`: user 0 is nothing special.
pub const SECBIT_NOROOT: u32 = 1;
/// `SECBIT_NO_SETUID_FIXUP`.
pub const SECBIT_NO_SETUID_FIXUP: u32 = 4;
/// `SECBIT_KEEP_CAPS`.
pub const SECBIT_KEEP_CAPS: u32 = 16;
/// `SECBIT_NO_CAP_AMBIENT_RAISE`.
pub const SECBIT_NO_CAP_AMBIENT_RAISE: u32 = 64;
/// `SECBIT_EXEC_RESTRICT_FILE` and `SECBIT_EXEC_DENY_INTERACTIVE`: hints for interpreters, for everybody to set.
pub const SECBITS_UNPRIVILEGED: u32 = 1 << 8 | 1 << 10;
/// Every bit; each has its lock bit right above it.
pub const SECBITS: u32 =
    SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS | SECBIT_NO_CAP_AMBIENT_RAISE | SECBITS_UNPRIVILEGED;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// Credentials after exec.
pub struct After {
    /// The new ones.
    pub cred: Arc<Cred>,
    /// The program runs with more rights than its caller gave it (AT_SECURE).
    pub secure: bool,
    /// Dangerous personality flags go.
    pub clear_personality: bool,
}

/// Who could meddle with a program that gains rights.
#[derive(Clone, Copy, Default, Debug)]
pub struct Unsafe {
    /// Another process uses the same root and working directory.
    pub shared_fs: bool,
    /// A tracer that does not hold CAP_SYS_PTRACE over the program's namespace.
    pub traced: bool,
}

/// What a file says about its runners.
#[derive(Clone, Copy, Default, Debug)]
struct Marks {
    /// Owner, if the file is set-user-id.
    uid: Option<u32>,
    /// Group, if the file is set-group-id.
    gid: Option<u32>,
    /// Its capabilities.
    caps: Option<FileCaps>,
}

/// Looks at a file; marks that do not count for `cred` are left out.
fn marks(cred: &Cred, file: &File, ns: &MountNamespace) -> Result<Marks, Errno> {
    let mut found = Marks::default();
    let inode = file.inode();
    let sb = inode.sb();
    let base = inode.base();
    let mode = base.mode();
    let set_id = mode & (S_ISUID | S_ISGID) != 0;
    let caps = inode.file_caps()?;
    if !set_id && caps.is_none() {
        return Ok(found);
    }
    let mnt = &file.path().mnt;
    if mnt.is_nosuid() || !cred.user_ns.is_in(sb.user_ns()) || !ns.contains(mnt) {
        return Ok(found);
    }
    if let Some(bytes) = caps {
        let caps = FileCaps::parse(&bytes)?;
        found.caps = caps.count_in(&cred.user_ns, sb.user_ns()).then_some(caps);
    }
    let has_names =
        cred.user_ns.up(IdKind::Uid, base.uid()).is_some() && cred.user_ns.up(IdKind::Gid, base.gid()).is_some();
    if set_id && !cred.no_new_privs && has_names && inode.check(cred, may::EXEC).is_ok() {
        found.uid = (mode & S_ISUID != 0).then(|| base.uid());
        // Without group execute the bit means mandatory locking.
        found.gid = (mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP).then(|| base.gid());
    }
    Ok(found)
}

/// The effect of running `file`, which lies in a mount of `ns` or of another namespace. `danger` is asked only when rights are gained.
pub fn for_exec(
    old: &Arc<Cred>,
    file: &File,
    ns: &MountNamespace,
    danger: impl FnOnce() -> Unsafe,
) -> Result<After, Errno> {
    transform(old, &marks(old, file, ns)?, danger)
}

fn transform(old: &Arc<Cred>, marks: &Marks, danger: impl FnOnce() -> Unsafe) -> Result<After, Errno> {
    let mut new = Cred::clone(old);
    new.euid = marks.uid.unwrap_or(old.euid);
    new.egid = marks.gid.unwrap_or(old.egid);
    let root = old.user_ns.root_uid();
    let is_root = |uid: u32| root == Some(uid);

    let mut effective = false;
    new.cap_permitted = CapSet::EMPTY;
    if let Some(f) = &marks.caps {
        effective = f.effective;
        new.cap_permitted = CapSet(f.permitted.0 & old.cap_bounding.0 | f.inheritable.0 & old.cap_inheritable.0);
        // A program that knows nothing of capabilities would miss those it does not get.
        if effective && f.permitted.0 & !new.cap_permitted.0 != 0 {
            return Err(Errno::EPERM);
        }
    }
    let became_root = !is_root(new.uid) && is_root(new.euid);
    if old.securebits & SECBIT_NOROOT == 0 && !(marks.caps.is_some() && became_root) {
        if is_root(new.euid) || is_root(new.uid) {
            new.cap_permitted = CapSet(old.cap_bounding.0 | old.cap_inheritable.0);
        }
        effective |= is_root(new.euid);
    }
    let gained = new.cap_permitted.0 & !old.cap_permitted.0 != 0;
    let clear_personality = gained || marks.uid.is_some() || marks.gid.is_some();
    let id_changed = new.euid != old.euid || !old.in_group(new.egid);
    if id_changed || gained {
        let danger = danger();
        if danger.shared_fs || danger.traced || old.no_new_privs {
            if !old.capable_here(Cap::Setuid) || old.no_new_privs {
                (new.euid, new.egid) = (new.uid, new.gid);
            }
            new.cap_permitted.0 &= old.cap_permitted.0;
        }
    }
    (new.suid, new.fsuid) = (new.euid, new.euid);
    (new.sgid, new.fsgid) = (new.egid, new.egid);
    if marks.caps.is_some() || id_changed {
        new.cap_ambient = CapSet::EMPTY;
    }
    new.cap_permitted.0 |= new.cap_ambient.0;
    new.cap_effective = if effective { new.cap_permitted } else { new.cap_ambient };
    new.securebits &= !SECBIT_KEEP_CAPS;
    let secure = id_changed
        || new.euid != old.uid
        || new.egid != old.gid
        || !is_root(new.uid) && (effective || new.cap_permitted.0 & !new.cap_ambient.0 != 0);
    let cred = if new == **old { old.clone() } else { Arc::new(new) };
    Ok(After { cred, secure, clear_personality })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(cred: &Cred, marks: Marks) -> After {
        transform(&Arc::new(cred.clone()), &marks, Unsafe::default).unwrap()
    }

    #[test]
    fn set_id_bits_change_the_effective_ids_only() {
        let user = Cred::user(1000, 1000);
        let raised = exec(&user, Marks { uid: Some(0), ..Marks::default() });
        let c = &raised.cred;
        assert_eq!((c.uid, c.euid, c.suid, c.fsuid, c.egid), (1000, 0, 0, 0, 1000));
        assert!(raised.secure && raised.clear_personality);
        assert_eq!(c.cap_effective, CapSet::FULL);
        assert_eq!(exec(&user, Marks { gid: Some(5), ..Marks::default() }).cred.egid, 5);
        let same = exec(&user, Marks { uid: Some(1000), ..Marks::default() });
        assert!(!same.secure && *same.cred == user);
    }

    #[test]
    fn ordinary_users_end_with_their_ambient_set() {
        let mut user = Cred { cap_permitted: CapSet(0xff), cap_effective: CapSet(0xff), ..Cred::user(5, 5) };
        assert_eq!(exec(&user, Marks::default()).cred.cap_permitted, CapSet::EMPTY);
        user.cap_ambient = CapSet(2);
        let after = exec(&user, Marks::default());
        assert_eq!((after.cred.cap_effective, after.secure), (CapSet(2), false));
        let root = Cred::root();
        assert!(Arc::ptr_eq(&transform(&root, &Marks::default(), Unsafe::default).unwrap().cred, &root));
        let noroot = Cred { securebits: SECBIT_NOROOT, ..(*root).clone() };
        assert_eq!(exec(&noroot, Marks::default()).cred.cap_permitted, CapSet::EMPTY);
    }

    #[test]
    fn file_capabilities_are_bounded_and_all_or_nothing_when_effective() {
        let caps = |effective| FileCaps { permitted: CapSet(6), inheritable: CapSet(8), effective, root_id: 0 };
        let with = |effective| Marks { caps: Some(caps(effective)), ..Marks::default() };
        let user = Cred { cap_inheritable: CapSet(24), cap_ambient: CapSet(16), ..Cred::user(5, 5) };
        let after = exec(&user, with(true));
        assert_eq!((after.cred.cap_permitted, after.cred.cap_effective), (CapSet(14), CapSet(14)));
        assert_eq!((after.cred.cap_ambient, after.secure), (CapSet::EMPTY, true));
        assert_eq!(exec(&user, with(false)).cred.cap_effective, CapSet::EMPTY);
        let bounded = Arc::new(Cred { cap_bounding: CapSet(2), ..user.clone() });
        assert!(transform(&bounded, &with(true), Unsafe::default).is_err());
        assert_eq!(exec(&bounded, with(false)).cred.cap_permitted, CapSet(10));
        let no_new = exec(&Cred { no_new_privs: true, ..user }, with(true));
        assert_eq!(no_new.cred.cap_permitted, CapSet::EMPTY);
    }

    #[test]
    fn who_could_meddle_gets_no_more_than_he_had() {
        let user = Arc::new(Cred::user(1000, 1000));
        let marks = Marks { uid: Some(0), ..Marks::default() };
        let after = transform(&user, &marks, || Unsafe { shared_fs: true, traced: false }).unwrap();
        assert_eq!((after.cred.euid, after.cred.cap_permitted), (1000, CapSet::EMPTY));
    }
}
