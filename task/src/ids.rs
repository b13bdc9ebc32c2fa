//! The rules of setuid(2), setreuid(2), setresuid(2), setfsuid(2), their group counterparts, and capset(2). Pure: old
//! credentials in, new ones out. All ids are kernel ids. `u32::MAX` stands for "leave alone" where the manual says -1.

use crate::exec::creds::{SECBIT_KEEP_CAPS, SECBIT_NO_SETUID_FIXUP};
use abi::Errno;
use vfs::{Cap, CapSet, Cred};

/// "Leave this id alone."
const KEEP: u32 = u32::MAX;
/// Capabilities that follow the file-system user id.
const FS_CAPS: u64 = 1 << Cap::Chown as u8
    | 1 << Cap::DacOverride as u8
    | 1 << Cap::DacReadSearch as u8
    | 1 << Cap::Fowner as u8
    | 1 << Cap::Fsetid as u8
    | 1 << Cap::LinuxImmutable as u8
    | 1 << Cap::Mknod as u8
    | 1 << Cap::MacOverride as u8;

fn either(wanted: u32, now: u32) -> u32 {
    if wanted == KEEP { now } else { wanted }
}

/// What a change of user ids does to the capability sets (capabilities(7), "Effect of user ID changes on capabilities").
fn fix_caps(old: &Cred, new: &mut Cred) {
    if old.securebits & SECBIT_NO_SETUID_FIXUP != 0 {
        return;
    }
    let root = old.user_ns.root_uid().unwrap_or(KEEP);
    let had_root = old.uid == root || old.euid == root || old.suid == root;
    let has_root = new.uid == root || new.euid == root || new.suid == root;
    if had_root && !has_root {
        if old.securebits & SECBIT_KEEP_CAPS == 0 {
            new.cap_permitted = CapSet::EMPTY;
            new.cap_effective = CapSet::EMPTY;
        }
        new.cap_ambient = CapSet::EMPTY;
    }
    if old.euid == root && new.euid != root {
        new.cap_effective = CapSet::EMPTY;
    }
    if old.euid != root && new.euid == root {
        new.cap_effective = new.cap_permitted;
    }
}

/// setuid(2).
pub fn setuid(old: &Cred, uid: u32) -> Result<Cred, Errno> {
    if uid == KEEP {
        return Err(Errno::EINVAL);
    }
    let mut new = old.clone();
    if old.capable_here(Cap::Setuid) {
        (new.uid, new.suid) = (uid, uid);
    } else if uid != old.uid && uid != old.suid {
        return Err(Errno::EPERM);
    }
    (new.euid, new.fsuid) = (uid, uid);
    fix_caps(old, &mut new);
    Ok(new)
}

/// setreuid(2).
pub fn setreuid(old: &Cred, ruid: u32, euid: u32) -> Result<Cred, Errno> {
    let privileged = old.capable_here(Cap::Setuid);
    if ruid != KEEP && !privileged && ruid != old.uid && ruid != old.euid {
        return Err(Errno::EPERM);
    }
    if euid != KEEP && !privileged && ![old.uid, old.euid, old.suid].contains(&euid) {
        return Err(Errno::EPERM);
    }
    let mut new = old.clone();
    (new.uid, new.euid) = (either(ruid, old.uid), either(euid, old.euid));
    if ruid != KEEP || (euid != KEEP && euid != old.uid) {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    fix_caps(old, &mut new);
    Ok(new)
}

/// setresuid(2).
pub fn setresuid(old: &Cred, ruid: u32, euid: u32, suid: u32) -> Result<Cred, Errno> {
    let mine = [old.uid, old.euid, old.suid, KEEP];
    if !old.capable_here(Cap::Setuid) && [ruid, euid, suid].iter().any(|id| !mine.contains(id)) {
        return Err(Errno::EPERM);
    }
    let mut new = old.clone();
    (new.uid, new.euid, new.suid) = (either(ruid, old.uid), either(euid, old.euid), either(suid, old.suid));
    new.fsuid = new.euid;
    fix_caps(old, &mut new);
    Ok(new)
}

/// setfsuid(2): the new credentials, if the change is allowed.
pub fn setfsuid(old: &Cred, uid: u32) -> Option<Cred> {
    if uid == KEEP || (![old.uid, old.euid, old.suid, old.fsuid].contains(&uid) && !old.capable_here(Cap::Setuid)) {
        return None;
    }
    let mut new = old.clone();
    new.fsuid = uid;
    if old.securebits & SECBIT_NO_SETUID_FIXUP == 0 {
        let root = old.user_ns.root_uid().unwrap_or(KEEP);
        if old.fsuid == root && uid != root {
            new.cap_effective = CapSet(new.cap_effective.0 & !FS_CAPS);
        }
        if old.fsuid != root && uid == root {
            new.cap_effective = CapSet(new.cap_effective.0 | new.cap_permitted.0 & FS_CAPS);
        }
    }
    Some(new)
}

/// setgid(2).
pub fn setgid(old: &Cred, gid: u32) -> Result<Cred, Errno> {
    if gid == KEEP {
        return Err(Errno::EINVAL);
    }
    let mut new = old.clone();
    if old.capable_here(Cap::Setgid) {
        (new.gid, new.sgid) = (gid, gid);
    } else if gid != old.gid && gid != old.sgid {
        return Err(Errno::EPERM);
    }
    (new.egid, new.fsgid) = (gid, gid);
    Ok(new)
}

/// setregid(2).
pub fn setregid(old: &Cred, rgid: u32, egid: u32) -> Result<Cred, Errno> {
    let privileged = old.capable_here(Cap::Setgid);
    if rgid != KEEP && !privileged && rgid != old.gid && rgid != old.egid {
        return Err(Errno::EPERM);
    }
    if egid != KEEP && !privileged && ![old.gid, old.egid, old.sgid].contains(&egid) {
        return Err(Errno::EPERM);
    }
    let mut new = old.clone();
    (new.gid, new.egid) = (either(rgid, old.gid), either(egid, old.egid));
    if rgid != KEEP || (egid != KEEP && egid != old.gid) {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    Ok(new)
}

/// setresgid(2).
pub fn setresgid(old: &Cred, rgid: u32, egid: u32, sgid: u32) -> Result<Cred, Errno> {
    let mine = [old.gid, old.egid, old.sgid, KEEP];
    if !old.capable_here(Cap::Setgid) && [rgid, egid, sgid].iter().any(|id| !mine.contains(id)) {
        return Err(Errno::EPERM);
    }
    let mut new = old.clone();
    (new.gid, new.egid, new.sgid) = (either(rgid, old.gid), either(egid, old.egid), either(sgid, old.sgid));
    new.fsgid = new.egid;
    Ok(new)
}

/// setfsgid(2): the new credentials, if the change is allowed.
pub fn setfsgid(old: &Cred, gid: u32) -> Option<Cred> {
    if gid == KEEP || (![old.gid, old.egid, old.sgid, old.fsgid].contains(&gid) && !old.capable_here(Cap::Setgid)) {
        return None;
    }
    Some(Cred { fsgid: gid, ..old.clone() })
}

/// capset(2).
pub fn capset(old: &Cred, effective: CapSet, permitted: CapSet, inheritable: CapSet) -> Result<Cred, Errno> {
    let within = |a: CapSet, b: u64| a.0 & !b == 0;
    let free = old.capable_here(Cap::Setpcap);
    if !free && !within(inheritable, old.cap_inheritable.0 | old.cap_permitted.0) {
        return Err(Errno::EPERM);
    }
    if !within(inheritable, old.cap_inheritable.0 | old.cap_bounding.0)
        || !within(permitted, old.cap_permitted.0)
        || !within(effective, permitted.0)
    {
        return Err(Errno::EPERM);
    }
    let ambient = CapSet(old.cap_ambient.0 & permitted.0 & inheritable.0);
    Ok(Cred {
        cap_effective: effective,
        cap_permitted: permitted,
        cap_inheritable: inheritable,
        cap_ambient: ambient,
        ..old.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(c: &Cred) -> (u32, u32, u32, u32) {
        (c.uid, c.euid, c.suid, c.fsuid)
    }

    #[test]
    fn root_gives_up_everything_by_setuid() {
        let root = Cred::root();
        let user = setuid(&root, 7).unwrap();
        assert_eq!(ids(&user), (7, 7, 7, 7));
        assert_eq!((user.cap_permitted, user.cap_effective), (CapSet::EMPTY, CapSet::EMPTY));
        assert_eq!(setuid(&user, 0), Err(Errno::EPERM));
        assert_eq!(setuid(&root, KEEP), Err(Errno::EINVAL));
        let kept = setuid(&Cred { securebits: SECBIT_KEEP_CAPS, ..(*root).clone() }, 7).unwrap();
        assert_eq!((kept.cap_permitted, kept.cap_effective), (CapSet::FULL, CapSet::EMPTY));
    }

    #[test]
    fn set_id_programs_swap_between_their_two_users() {
        let mut c = Cred::user(10, 10);
        (c.euid, c.suid, c.fsuid) = (20, 20, 20);
        let back = setresuid(&c, KEEP, 10, KEEP).unwrap();
        assert_eq!(ids(&back), (10, 10, 20, 10));
        assert_eq!(ids(&setresuid(&back, KEEP, 20, KEEP).unwrap()), (10, 20, 20, 20));
        assert_eq!(setresuid(&c, 30, KEEP, KEEP), Err(Errno::EPERM));
        assert_eq!(ids(&setreuid(&c, 20, 10).unwrap()), (20, 10, 10, 10));
        assert_eq!(ids(&setreuid(&c, KEEP, 10).unwrap()), (10, 10, 20, 10));
        assert_eq!(setreuid(&c, 30, KEEP), Err(Errno::EPERM));
    }

    #[test]
    fn effective_root_comes_and_goes_with_its_capabilities() {
        let root = Cred::root();
        let asleep = setresuid(&root, KEEP, 5, KEEP).unwrap();
        assert_eq!((asleep.cap_effective, asleep.cap_permitted), (CapSet::EMPTY, CapSet::FULL));
        assert_eq!(setresuid(&asleep, KEEP, 0, KEEP).unwrap().cap_effective, CapSet::FULL);
        let fs = setfsuid(&root, 5).unwrap();
        assert!(!fs.cap_effective.has(Cap::Chown) && fs.cap_effective.has(Cap::Kill));
        assert!(setfsuid(&Cred::user(1, 1), 5).is_none());
    }

    #[test]
    fn capabilities_can_only_shrink() {
        let root = Cred::root();
        let some = CapSet(7);
        let less = capset(&root, some, some, CapSet::EMPTY).unwrap();
        assert_eq!(capset(&less, CapSet(8), CapSet(15), CapSet::EMPTY), Err(Errno::EPERM));
        assert_eq!(capset(&less, CapSet(3), CapSet(1), CapSet::EMPTY), Err(Errno::EPERM));
        assert!(capset(&less, CapSet(1), CapSet(3), CapSet(4)).is_ok());
        assert_eq!(capset(&less, CapSet(1), CapSet(3), CapSet(8)), Err(Errno::EPERM));
    }

    #[test]
    fn groups_follow_the_same_rules() {
        let mut c = Cred::user(10, 10);
        c.sgid = 20;
        assert_eq!(setgid(&c, 20).unwrap().egid, 20);
        assert_eq!(setgid(&c, 30), Err(Errno::EPERM));
        assert_eq!(setregid(&Cred::root(), 1, 2).unwrap().sgid, 2);
        assert_eq!(setresgid(&c, 20, 20, 10).unwrap().fsgid, 20);
        assert!(setfsgid(&c, 30).is_none());
    }
}
