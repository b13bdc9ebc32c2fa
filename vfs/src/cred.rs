//! Credentials: ids, groups and capabilities of whoever asks for something (credentials(7), capabilities(7)).
//!
//! A [`Cred`] never changes once shared; a task that changes its identity installs a new one. Open files keep the credentials they
//! were opened with.

use crate::inode::InodeBase;
use crate::user_ns::UserNamespace;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CapSet(pub u64);

/// A capability (capabilities(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Cap {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    LinuxImmutable = 9,
    NetBindService = 10,
    NetBroadcast = 11,
    NetAdmin = 12,
    NetRaw = 13,
    IpcLock = 14,
    IpcOwner = 15,
    SysModule = 16,
    SysRawio = 17,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    Lease = 28,
    AuditWrite = 29,
    AuditControl = 30,
    Setfcap = 31,
    MacOverride = 32,
    MacAdmin = 33,
    Syslog = 34,
    WakeAlarm = 35,
    BlockSuspend = 36,
    AuditRead = 37,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

impl Cap {
    /// All of them, by number.
    const ALL: [Cap; CAP_LAST as usize + 1] = [
        Cap::Chown,
        Cap::DacOverride,
        Cap::DacReadSearch,
        Cap::Fowner,
        Cap::Fsetid,
        Cap::Kill,
        Cap::Setgid,
        Cap::Setuid,
        Cap::Setpcap,
        Cap::LinuxImmutable,
        Cap::NetBindService,
        Cap::NetBroadcast,
        Cap::NetAdmin,
        Cap::NetRaw,
        Cap::IpcLock,
        Cap::IpcOwner,
        Cap::SysModule,
        Cap::SysRawio,
        Cap::SysChroot,
        Cap::SysPtrace,
        Cap::SysPacct,
        Cap::SysAdmin,
        Cap::SysBoot,
        Cap::SysNice,
        Cap::SysResource,
        Cap::SysTime,
        Cap::SysTtyConfig,
        Cap::Mknod,
        Cap::Lease,
        Cap::AuditWrite,
        Cap::AuditControl,
        Cap::Setfcap,
        Cap::MacOverride,
        Cap::MacAdmin,
        Cap::Syslog,
        Cap::WakeAlarm,
        Cap::BlockSuspend,
        Cap::AuditRead,
        Cap::Perfmon,
        Cap::Bpf,
        Cap::CheckpointRestore,
    ];
    /// The capability with this number.
    pub fn from_raw(number: u8) -> Option<Cap> {
        Cap::ALL.get(usize::from(number)).copied()
    }
}

/// The highest capability number.
pub const CAP_LAST: u8 = Cap::CheckpointRestore as u8;

impl CapSet {
    /// No capability.
    pub const EMPTY: CapSet = CapSet(0);
    /// Every capability.
    pub const FULL: CapSet = CapSet((1 << (CAP_LAST as u64 + 1)) - 1);

    /// Whether `cap` is in the set.
    #[inline]
    pub const fn has(self, cap: Cap) -> bool {
        self.0 >> (cap as u8) & 1 != 0
    }
    /// The set without `cap`.
    pub const fn without(self, cap: Cap) -> CapSet {
        CapSet(self.0 & !(1 << (cap as u8)))
    }
}

/// Who asks: user and group ids (the kernel's), supplementary groups, capability sets, and where those count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cred {
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// User id for file access.
    pub fsuid: u32,
    /// Group id for file access.
    pub fsgid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// `SECBIT_*`.
    pub securebits: u32,
    /// Exec cannot raise privileges (prctl(PR_SET_NO_NEW_PRIVS)).
    pub no_new_privs: bool,
    /// Kept over exec by files that allow it.
    pub cap_inheritable: CapSet,
    /// May be made effective.
    pub cap_permitted: CapSet,
    /// In force.
    pub cap_effective: CapSet,
    /// Limits what exec can give.
    pub cap_bounding: CapSet,
    /// Kept over exec of ordinary files.
    pub cap_ambient: CapSet,
    /// The namespace the capabilities count in, and whose names for ids the caller uses.
    pub user_ns: Arc<UserNamespace>,
}

impl Default for Cred {
    fn default() -> Cred {
        Cred {
            uid: 0,
            gid: 0,
            suid: 0,
            sgid: 0,
            euid: 0,
            egid: 0,
            fsuid: 0,
            fsgid: 0,
            groups: Vec::new(),
            securebits: 0,
            no_new_privs: false,
            cap_inheritable: CapSet::EMPTY,
            cap_permitted: CapSet::EMPTY,
            cap_effective: CapSet::EMPTY,
            cap_bounding: CapSet::EMPTY,
            cap_ambient: CapSet::EMPTY,
            user_ns: UserNamespace::first().clone(),
        }
    }
}

impl Cred {
    /// The superuser with every capability.
    pub fn root() -> Arc<Cred> {
        Arc::new(Cred {
            cap_permitted: CapSet::FULL,
            cap_effective: CapSet::FULL,
            cap_bounding: CapSet::FULL,
            ..Cred::default()
        })
    }
    /// An ordinary user without capabilities.
    pub fn user(uid: u32, gid: u32) -> Cred {
        Cred {
            uid,
            suid: uid,
            euid: uid,
            fsuid: uid,
            gid,
            sgid: gid,
            egid: gid,
            fsgid: gid,
            cap_bounding: CapSet::FULL,
            ..Cred::default()
        }
    }
    /// Whether `cap` is in force everywhere: in the first user namespace.
    #[inline]
    pub fn capable(&self, cap: Cap) -> bool {
        self.cap_effective.has(cap) && self.user_ns.is_first()
    }
    /// Whether `cap` is in force in the caller's own user namespace.
    #[inline]
    pub fn capable_here(&self, cap: Cap) -> bool {
        self.cap_effective.has(cap)
    }
    /// Whether `cap` is in force in `ns`: held in it or in an ancestor of it; the owner of a namespace holds all in it while it acts in
    /// the parent (user_namespaces(7), "Capabilities").
    pub fn capable_in(&self, ns: &UserNamespace, cap: Cap) -> bool {
        let mut at = ns;
        loop {
            if *at == *self.user_ns {
                return self.cap_effective.has(cap);
            }
            if at.level() <= self.user_ns.level() {
                return false;
            }
            let Some(up) = at.parent() else { return false };
            if **up == *self.user_ns && at.owner_uid() == self.euid {
                return true;
            }
            at = up;
        }
    }
    /// Whether whoever has `self` could do what `other` may: its capabilities are among ours, or count in a namespace that is ours to rule.
    pub fn covers(&self, other: &Cred) -> bool {
        if self.user_ns == other.user_ns && other.cap_permitted.0 & !self.cap_permitted.0 == 0 {
            return true;
        }
        let mut at = &other.user_ns;
        while let Some(up) = at.parent() {
            if *up == self.user_ns && at.owner_uid() == self.euid {
                return true;
            }
            at = up;
        }
        false
    }
    /// Whether `cap` is in force over an inode: its owner and group must have names in the caller's namespace.
    #[inline]
    pub fn capable_over(&self, base: &InodeBase, cap: Cap) -> bool {
        self.cap_effective.has(cap) && self.user_ns.maps_both(base.uid(), base.gid())
    }
    /// Whether `gid` is the file-access group or a supplementary one.
    #[inline]
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.binary_search(&gid).is_ok()
    }
    /// Whether `gid` is the effective group or a supplementary one (setgid and friends).
    pub fn in_egroup(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.binary_search(&gid).is_ok()
    }
}
