//! Mounting (`linux/mount.h`; mount(2), umount(2), mount_setattr(2)).

use bitflags::bitflags;

bitflags! {
    /// `MS_*` of mount(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountFlags: u64 {
        /// Read-only.
        const RDONLY = 1;
        /// Ignore set-id bits.
        const NOSUID = 2;
        /// No device files.
        const NODEV = 4;
        /// No programs.
        const NOEXEC = 8;
        /// Writes are synchronous.
        const SYNCHRONOUS = 16;
        /// Change the flags of a mount.
        const REMOUNT = 32;
        /// Mandatory locks (ignored since Linux 5.15).
        const MANDLOCK = 64;
        /// Directory changes are synchronous.
        const DIRSYNC = 128;
        /// Symbolic links are not followed.
        const NOSYMFOLLOW = 256;
        /// No access times.
        const NOATIME = 1024;
        /// No access times of directories.
        const NODIRATIME = 2048;
        /// Show a subtree elsewhere.
        const BIND = 4096;
        /// Move a mount.
        const MOVE = 8192;
        /// With `BIND` or a propagation type: the whole tree.
        const REC = 16384;
        /// Fewer messages.
        const SILENT = 32768;
        /// ACLs (accepted, without effect).
        const POSIXACL = 1 << 16;
        /// Cannot be bound elsewhere.
        const UNBINDABLE = 1 << 17;
        /// No propagation.
        const PRIVATE = 1 << 18;
        /// Receives propagation.
        const SLAVE = 1 << 19;
        /// Sends and receives propagation.
        const SHARED = 1 << 20;
        /// Access times only when older than the modification.
        const RELATIME = 1 << 21;
        /// `i_version` is kept.
        const I_VERSION = 1 << 23;
        /// Every access updates the access time.
        const STRICTATIME = 1 << 24;
        /// Times are written lazily.
        const LAZYTIME = 1 << 25;
        /// The kernel's own: refused.
        const NOUSER = 1 << 31;
    }
}

/// The magic number in the upper half that old programs pass.
pub const MS_MGC_VAL: u64 = 0xc0ed_0000;
/// Mask of it.
pub const MS_MGC_MSK: u64 = 0xffff_0000;

bitflags! {
    /// Flags of umount2(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct UmountFlags: u32 {
        /// Abort pending requests.
        const FORCE = 1;
        /// Detach now, clean up when unused.
        const DETACH = 2;
        /// Only mark, or unmount if marked.
        const EXPIRE = 4;
        /// Do not follow a symbolic link.
        const NOFOLLOW = 8;
    }
}

/// `ST_*` bits of `statfs.f_flags` (statfs(2)).
#[allow(missing_docs)]
pub mod st {
    pub const RDONLY: u64 = 1;
    pub const NOSUID: u64 = 2;
    pub const NODEV: u64 = 4;
    pub const NOEXEC: u64 = 8;
    pub const SYNCHRONOUS: u64 = 16;
    pub const VALID: u64 = 32;
    pub const NOATIME: u64 = 1024;
    pub const NODIRATIME: u64 = 2048;
    pub const RELATIME: u64 = 4096;
    pub const NOSYMFOLLOW: u64 = 8192;
}

/// `MOUNT_ATTR_*` of fsmount(2) and mount_setattr(2).
#[allow(missing_docs)]
pub mod attr {
    pub const RDONLY: u64 = 1;
    pub const NOSUID: u64 = 2;
    pub const NODEV: u64 = 4;
    pub const NOEXEC: u64 = 8;
    /// The field with the rule for access times.
    pub const ATIME: u64 = 0x70;
    pub const RELATIME: u64 = 0;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x10_0000;
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
    /// What fsmount(2) takes.
    pub const FSMOUNT: u64 = RDONLY | NOSUID | NODEV | NOEXEC | ATIME | NODIRATIME | NOSYMFOLLOW;
    /// What mount_setattr(2) takes.
    pub const SETTABLE: u64 = FSMOUNT | IDMAP;
}

/// Flags of fsopen(2) and fsmount(2), and commands of fsconfig(2).
#[allow(missing_docs)]
pub mod fsconfig {
    pub const FSOPEN_CLOEXEC: u32 = 1;
    pub const FSMOUNT_CLOEXEC: u32 = 1;
    pub const FSMOUNT_NAMESPACE: u32 = 2;
    pub const SET_FLAG: u32 = 0;
    pub const SET_STRING: u32 = 1;
    pub const SET_BINARY: u32 = 2;
    pub const SET_PATH: u32 = 3;
    pub const SET_PATH_EMPTY: u32 = 4;
    pub const SET_FD: u32 = 5;
    pub const CREATE: u32 = 6;
    pub const RECONFIGURE: u32 = 7;
    pub const CREATE_EXCL: u32 = 8;
}

bitflags! {
    /// Flags of fspick(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FspickFlags: u32 {
        /// Close the descriptor on exec.
        const CLOEXEC = 1;
        /// Do not follow a symbolic link.
        const SYMLINK_NOFOLLOW = 2;
        /// Without effect: nothing is mounted on demand.
        const NO_AUTOMOUNT = 4;
        /// The empty path is the descriptor itself.
        const EMPTY_PATH = 8;
    }
    /// Flags of move_mount(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MoveFlags: u32 {
        /// Follow a symbolic link at the source.
        const F_SYMLINKS = 1;
        /// Without effect.
        const F_AUTOMOUNTS = 2;
        /// The empty source path is the descriptor itself.
        const F_EMPTY_PATH = 4;
        /// Follow a symbolic link at the target.
        const T_SYMLINKS = 0x10;
        /// Without effect.
        const T_AUTOMOUNTS = 0x20;
        /// The empty target path is the descriptor itself.
        const T_EMPTY_PATH = 0x40;
        /// Put the target into the peer group of the source.
        const SET_GROUP = 0x100;
        /// Put the source under what is mounted at the target.
        const BENEATH = 0x200;
    }
}

/// `OPEN_TREE_CLONE`: a copy.
pub const OPEN_TREE_CLONE: u32 = 1;
/// `OPEN_TREE_NAMESPACE`: a namespace with a copy.
pub const OPEN_TREE_NAMESPACE: u32 = 2;
