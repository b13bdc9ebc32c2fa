//! Owners and permission bits of System V objects (sysvipc(7), "Resource access permissions").

use abi::Errno;
use abi::ipc::IpcPerm;
use vfs::user_ns::UserNamespace;
use vfs::{Cap, Cred};

/// Who makes a call.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// Credentials.
    pub cred: &'a Cred,
    /// Process id, as the first pid namespace numbers it.
    pub pid: i32,
    /// Where capabilities must be in force: the owner of the IPC namespace.
    pub over: &'a UserNamespace,
}

impl Who<'_> {
    /// The capability is in force.
    pub fn capable(&self, cap: Cap) -> bool {
        self.cred.capable_in(self.over, cap)
    }
}

/// Read permission in all three classes.
pub const READ: u32 = 0o444;
/// Write permission in all three classes.
pub const WRITE: u32 = 0o222;
/// Execute permission in all three classes.
pub const EXEC: u32 = 0o111;

/// Owner, creator and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perm {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Creator.
    pub cuid: u32,
    /// The creator's group.
    pub cgid: u32,
    /// Permission bits, and the marks of shared memory.
    pub mode: u32,
}

impl Perm {
    /// Those of an object that `who` makes.
    pub fn new(who: Who<'_>, flags: u32) -> Perm {
        let (uid, gid) = (who.cred.euid, who.cred.egid);
        Perm { uid, gid, cuid: uid, cgid: gid, mode: flags & 0o777 }
    }
    /// EACCES unless one of the caller's class's bits stands for each wanted kind of access. `wanted` names the kinds in any class.
    pub fn check(&self, who: Who<'_>, wanted: u32) -> Result<(), Errno> {
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let cred = who.cred;
        let granted = if self.is_owner(cred) {
            self.mode >> 6
        } else if cred.in_group(self.cgid) || cred.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 7 != 0 && !who.capable(Cap::IpcOwner) { Err(Errno::EACCES) } else { Ok(()) }
    }
    /// The caller is owner or creator.
    pub fn is_owner(&self, cred: &Cred) -> bool {
        cred.euid == self.uid || cred.euid == self.cuid
    }
    /// EPERM unless the caller may change or remove the object.
    pub fn check_control(&self, who: Who<'_>) -> Result<(), Errno> {
        if self.is_owner(who.cred) || who.capable(Cap::SysAdmin) { Ok(()) } else { Err(Errno::EPERM) }
    }
    /// IPC_SET.
    pub fn set(&mut self, who: Who<'_>, new: &IpcPerm) -> Result<(), Errno> {
        let ns = &who.cred.user_ns;
        let (uid, gid) = (ns.kuid(new.uid).ok_or(Errno::EINVAL)?, ns.kgid(new.gid).ok_or(Errno::EINVAL)?);
        (self.uid, self.gid) = (uid, gid);
        self.mode = self.mode & !0o777 | new.mode & 0o777;
        Ok(())
    }
    /// As programs in the caller's user namespace see it.
    pub fn show(&self, ns: &UserNamespace, key: i32, seq: u16) -> IpcPerm {
        let (uid, cuid) = (ns.show_uid(self.uid), ns.show_uid(self.cuid));
        let (gid, cgid, mode) = (ns.show_gid(self.gid), ns.show_gid(self.cgid), self.mode);
        IpcPerm { key, uid, gid, cuid, cgid, mode, seq, ..IpcPerm::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_the_caller_decides() {
        let over = UserNamespace::first();
        let maker = Cred::user(10, 20);
        let perm = Perm::new(Who { cred: &maker, pid: 1, over }, 0o640);
        let check = |cred: &Cred, wanted| perm.check(Who { cred, pid: 1, over }, wanted);
        assert_eq!(check(&maker, READ | WRITE), Ok(()));
        assert_eq!(check(&Cred::user(11, 20), READ), Ok(()));
        assert_eq!(check(&Cred::user(11, 20), WRITE), Err(Errno::EACCES));
        assert_eq!(check(&Cred::user(11, 21), READ), Err(Errno::EACCES));
        assert_eq!(check(&Cred::user(11, 21), 0), Ok(()));
        assert_eq!(check(&Cred::root(), READ | WRITE | EXEC), Ok(()));
        assert_eq!(perm.check_control(Who { cred: &Cred::user(11, 20), pid: 1, over }), Err(Errno::EPERM));
    }
}
