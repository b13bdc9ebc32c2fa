//! User and group ids, groups, capabilities.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::{UserPtr, UserSlice};
use task::{Cx, ids};
use vfs::{Cap, CapSet, Cred};

/// Most supplementary groups.
const NGROUPS_MAX: i32 = 65_536;

/// Installs new credentials if anything has changed.
fn install(cx: &mut Cx, new: Cred) {
    if **cx.cred() != new {
        cx.set_cred(Arc::new(new));
    }
}

/// The kernel's id of a user the caller names.
fn user(cx: &Cx, uid: u32) -> Result<u32, Errno> {
    cx.cred().user_ns.kuid(uid).ok_or(Errno::EINVAL)
}

/// The same of a group.
fn group(cx: &Cx, gid: u32) -> Result<u32, Errno> {
    cx.cred().user_ns.kgid(gid).ok_or(Errno::EINVAL)
}

/// -1 stays: it means "leave alone".
fn user_or_keep(cx: &Cx, uid: u32) -> Result<u32, Errno> {
    if uid == u32::MAX { Ok(uid) } else { user(cx, uid) }
}

/// The same of a group.
fn group_or_keep(cx: &Cx, gid: u32) -> Result<u32, Errno> {
    if gid == u32::MAX { Ok(gid) } else { group(cx, gid) }
}

/// getuid(2)
pub fn getuid(cx: &mut Cx) -> Result<u32, Errno> {
    let c = cx.cred();
    Ok(c.user_ns.show_uid(c.uid))
}

/// geteuid(2)
pub fn geteuid(cx: &mut Cx) -> Result<u32, Errno> {
    let c = cx.cred();
    Ok(c.user_ns.show_uid(c.euid))
}

/// getgid(2)
pub fn getgid(cx: &mut Cx) -> Result<u32, Errno> {
    let c = cx.cred();
    Ok(c.user_ns.show_gid(c.gid))
}

/// getegid(2)
pub fn getegid(cx: &mut Cx) -> Result<u32, Errno> {
    let c = cx.cred();
    Ok(c.user_ns.show_gid(c.egid))
}

/// getresuid(2)
pub fn getresuid(cx: &mut Cx, r: UserPtr<u32>, e: UserPtr<u32>, s: UserPtr<u32>) -> Result<(), Errno> {
    let c = cx.cred();
    r.write(cx.mm(), &c.user_ns.show_uid(c.uid))?;
    e.write(cx.mm(), &c.user_ns.show_uid(c.euid))?;
    s.write(cx.mm(), &c.user_ns.show_uid(c.suid))
}

/// getresgid(2)
pub fn getresgid(cx: &mut Cx, r: UserPtr<u32>, e: UserPtr<u32>, s: UserPtr<u32>) -> Result<(), Errno> {
    let c = cx.cred();
    r.write(cx.mm(), &c.user_ns.show_gid(c.gid))?;
    e.write(cx.mm(), &c.user_ns.show_gid(c.egid))?;
    s.write(cx.mm(), &c.user_ns.show_gid(c.sgid))
}

/// setuid(2)
pub fn setuid(cx: &mut Cx, uid: u32) -> Result<(), Errno> {
    let new = ids::setuid(cx.cred(), user(cx, uid)?)?;
    install(cx, new);
    Ok(())
}

/// setgid(2)
pub fn setgid(cx: &mut Cx, gid: u32) -> Result<(), Errno> {
    let new = ids::setgid(cx.cred(), group(cx, gid)?)?;
    install(cx, new);
    Ok(())
}

/// setreuid(2)
pub fn setreuid(cx: &mut Cx, ruid: u32, euid: u32) -> Result<(), Errno> {
    let new = ids::setreuid(cx.cred(), user_or_keep(cx, ruid)?, user_or_keep(cx, euid)?)?;
    install(cx, new);
    Ok(())
}

/// setregid(2)
pub fn setregid(cx: &mut Cx, rgid: u32, egid: u32) -> Result<(), Errno> {
    let new = ids::setregid(cx.cred(), group_or_keep(cx, rgid)?, group_or_keep(cx, egid)?)?;
    install(cx, new);
    Ok(())
}

/// setresuid(2)
pub fn setresuid(cx: &mut Cx, ruid: u32, euid: u32, suid: u32) -> Result<(), Errno> {
    let [ruid, euid, suid] = [user_or_keep(cx, ruid)?, user_or_keep(cx, euid)?, user_or_keep(cx, suid)?];
    let new = ids::setresuid(cx.cred(), ruid, euid, suid)?;
    install(cx, new);
    Ok(())
}

/// setresgid(2)
pub fn setresgid(cx: &mut Cx, rgid: u32, egid: u32, sgid: u32) -> Result<(), Errno> {
    let [rgid, egid, sgid] = [group_or_keep(cx, rgid)?, group_or_keep(cx, egid)?, group_or_keep(cx, sgid)?];
    let new = ids::setresgid(cx.cred(), rgid, egid, sgid)?;
    install(cx, new);
    Ok(())
}

/// setfsuid(2): always gives the old id
pub fn setfsuid(cx: &mut Cx, uid: u32) -> Result<u32, Errno> {
    let c = cx.cred();
    let old = c.user_ns.show_uid(c.fsuid);
    if let Some(new) = c.user_ns.kuid(uid).and_then(|uid| ids::setfsuid(c, uid)) {
        install(cx, new);
    }
    Ok(old)
}

/// setfsgid(2): always gives the old id
pub fn setfsgid(cx: &mut Cx, gid: u32) -> Result<u32, Errno> {
    let c = cx.cred();
    let old = c.user_ns.show_gid(c.fsgid);
    if let Some(new) = c.user_ns.kgid(gid).and_then(|gid| ids::setfsgid(c, gid)) {
        install(cx, new);
    }
    Ok(old)
}

/// getgroups(2)
pub fn getgroups(cx: &mut Cx, size: i32, list: VirtAddr) -> Result<i32, Errno> {
    let cred = cx.cred();
    let groups = &cred.groups;
    let n = groups.len() as i32;
    if size < 0 {
        return Err(Errno::EINVAL);
    }
    if size > 0 {
        if size < n {
            return Err(Errno::EINVAL);
        }
        let list = UserSlice::new(list, groups.len());
        if cred.user_ns.is_first() {
            list.write_from(cx.mm(), groups)?;
        } else {
            let shown: Vec<u32> = groups.iter().map(|g| cred.user_ns.show_gid(*g)).collect();
            list.write_from(cx.mm(), &shown)?;
        }
    }
    Ok(n)
}

/// setgroups(2)
pub fn setgroups(cx: &mut Cx, size: i32, list: VirtAddr) -> Result<(), Errno> {
    let cred = cx.cred();
    if !cred.capable_here(Cap::Setgid) || !cred.user_ns.may_setgroups() {
        return Err(Errno::EPERM);
    }
    if !(0..=NGROUPS_MAX).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let mut groups: Vec<u32> = UserSlice::new(list, size as usize).read_vec(cx.mm())?;
    for g in &mut groups {
        *g = group(cx, *g)?;
    }
    groups.sort_unstable();
    let new = Cred { groups, ..Cred::clone(cx.cred()) };
    install(cx, new);
    Ok(())
}

/// Versions of the capability structures and how many words each set has in them.
const CAP_V1: u32 = 0x1998_0330;
const CAP_V2: u32 = 0x2007_1026;
const CAP_V3: u32 = 0x2008_0522;

/// Reads `{version, pid}`; for an unknown version writes the preferred one back and gives `None`.
fn cap_header(cx: &Cx, header: UserPtr<[u32; 2]>) -> Result<Option<(usize, i32)>, Errno> {
    let [version, pid] = header.read(cx.mm())?;
    let words = match version {
        CAP_V1 => 1,
        CAP_V2 | CAP_V3 => 2,
        _ => {
            header.cast::<u32>().write(cx.mm(), &CAP_V3)?;
            return Ok(None);
        }
    };
    Ok(Some((words, pid as i32)))
}

/// capget(2)
pub fn capget(cx: &mut Cx, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<(), Errno> {
    let Some((words, pid)) = cap_header(cx, header)? else {
        return if data.is_null() { Ok(()) } else { Err(Errno::EINVAL) };
    };
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    let cred = match pid {
        0 => cx.cred().clone(),
        _ => cx.find_task(pid).ok_or(Errno::ESRCH)?.cred(),
    };
    if data.is_null() {
        return Ok(());
    }
    let sets = [cred.cap_effective, cred.cap_permitted, cred.cap_inheritable];
    for i in 0..words {
        data.at(i).write(cx.mm(), &sets.map(|s| (s.0 >> (32 * i)) as u32))?;
    }
    Ok(())
}

/// capset(2)
pub fn capset(cx: &mut Cx, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<(), Errno> {
    let (words, pid) = cap_header(cx, header)?.ok_or(Errno::EINVAL)?;
    if pid != 0 && pid != cx.task.nr() {
        return Err(Errno::EPERM);
    }
    let mut sets = [CapSet::EMPTY; 3];
    for i in 0..words {
        let part = data.at(i).read(cx.mm())?;
        for (set, bits) in sets.iter_mut().zip(part) {
            set.0 |= u64::from(bits) << (32 * i);
        }
    }
    let [effective, permitted, inheritable] = sets.map(|s| CapSet(s.0 & CapSet::FULL.0));
    let new = ids::capset(cx.cred(), effective, permitted, inheritable)?;
    install(cx, new);
    Ok(())
}
