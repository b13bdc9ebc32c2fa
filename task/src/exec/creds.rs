//! What exec does to credentials: set-id bits and the capability rules of capabilities(7). Pure but for the file's owner and mode.

use alloc::sync::Arc;
use vfs::{CapSet, Cred, File};

/// `SECBIT_NOROOT`: user 0 is nothing special.
pub const SECBIT_NOROOT: u32 = 1;
/// `SECBIT_NO_SETUID_FIXUP`.
pub const SECBIT_NO_SETUID_FIXUP: u32 = 4;
/// `SECBIT_KEEP_CAPS`.
pub const SECBIT_KEEP_CAPS: u32 = 16;
/// `SECBIT_NO_CAP_AMBIENT_RAISE`.
pub const SECBIT_NO_CAP_AMBIENT_RAISE: u32 = 64;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// Credentials that exec changes.
pub struct Raised {
    /// The new ones.
    pub cred: Arc<Cred>,
    /// The program runs with more rights than its caller gave it (AT_SECURE).
    pub secure: bool,
}

/// The effect of a file's set-id bits; `None` when they have none.
pub fn for_exec(old: &Arc<Cred>, file: &File) -> Option<Raised> {
    let base = file.inode().base();
    let mode = base.mode();
    if mode & (S_ISUID | S_ISGID) == 0 || file.path().mnt.is_nosuid() || old.no_new_privs {
        return None;
    }
    raise(old, mode, base.uid(), base.gid())
}

fn raise(old: &Cred, mode: u32, uid: u32, gid: u32) -> Option<Raised> {
    let mut new = old.clone();
    if mode & S_ISUID != 0 {
        new.euid = uid;
    }
    // Without group execute the bit means mandatory locking.
    if mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
        new.egid = gid;
    }
    if new.euid == old.euid && new.egid == old.egid {
        return None;
    }
    (new.suid, new.fsuid) = (new.euid, new.euid);
    (new.sgid, new.fsgid) = (new.egid, new.egid);
    Some(Raised { secure: true, cred: Arc::new(new) })
}

/// Capabilities after exec: P'(ambient) = file is privileged ? 0 : P(ambient); P'(permitted) = (P(inheritable) & F(inheritable)) |
/// (F(permitted) & bounding) | P'(ambient), where the file sets are full for root and empty for others.
pub fn after_exec(cred: &Cred) -> Cred {
    let mut new = cred.clone();
    let special_root = cred.securebits & SECBIT_NOROOT == 0;
    let set_id = cred.suid != cred.uid || cred.euid != cred.uid || cred.egid != cred.gid;
    if set_id {
        new.cap_ambient = CapSet::EMPTY;
    }
    if special_root && (cred.euid == 0 || cred.uid == 0) {
        let full = CapSet(cred.cap_bounding.0 | cred.cap_inheritable.0);
        new.cap_permitted = CapSet(full.0 | new.cap_ambient.0);
        new.cap_effective = if cred.euid == 0 { new.cap_permitted } else { new.cap_ambient };
    } else {
        new.cap_permitted = new.cap_ambient;
        new.cap_effective = new.cap_ambient;
    }
    (new.suid, new.sgid) = (new.euid, new.egid);
    (new.fsuid, new.fsgid) = (new.euid, new.egid);
    new.securebits &= !SECBIT_KEEP_CAPS;
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_id_bits_change_the_effective_ids_only() {
        let user = Cred::user(1000, 1000);
        let raised = raise(&user, 0o4755, 0, 0).unwrap();
        let c = &raised.cred;
        assert_eq!((c.uid, c.euid, c.suid, c.fsuid, c.egid), (1000, 0, 0, 0, 1000));
        assert!(raised.secure);
        assert!(raise(&user, 0o2745, 0, 5).is_none());
        assert_eq!(raise(&user, 0o2755, 0, 5).unwrap().cred.egid, 5);
        assert!(raise(&user, 0o4755, 1000, 0).is_none());
        let after = after_exec(c);
        assert_eq!(after.cap_effective, CapSet::FULL);
    }

    #[test]
    fn ordinary_users_end_with_their_ambient_set() {
        let mut user = Cred { cap_permitted: CapSet(0xff), cap_effective: CapSet(0xff), ..Cred::user(5, 5) };
        assert_eq!(after_exec(&user).cap_permitted, CapSet::EMPTY);
        user.cap_ambient = CapSet(2);
        assert_eq!(after_exec(&user).cap_effective, CapSet(2));
        let root = Cred::root();
        assert_eq!(after_exec(&root), *root);
        let noroot = Cred { securebits: SECBIT_NOROOT, ..(*root).clone() };
        assert_eq!(after_exec(&noroot).cap_permitted, CapSet::EMPTY);
    }
}
