//! Opening files and file-descriptor commands (`asm-generic/fcntl.h`, `linux/fcntl.h`, `linux/openat2.h`,
//! `linux/close_range.h`; open(2), openat2(2), fcntl(2)).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// `O_*`: how a file is opened. The two access-mode bits are read with [`OpenFlags::access`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const WRONLY = 0o1;
        /// Read and write.
        const RDWR = 0o2;
        /// Make the file if it is missing.
        const CREAT = 0o100;
        /// With `CREAT`: it must be missing.
        const EXCL = 0o200;
        /// Do not make a terminal the controlling one.
        const NOCTTY = 0o400;
        /// Cut the file to length 0.
        const TRUNC = 0o1000;
        /// Writes go to the end.
        const APPEND = 0o2000;
        /// Do not wait.
        const NONBLOCK = 0o4000;
        /// Data integrity on each write.
        const DSYNC = 0o10000;
        /// Signal-driven I/O.
        const ASYNC = 0o20000;
        /// No caching by the kernel.
        const DIRECT = 0o40000;
        /// Offsets beyond 2 GiB; always on for 64-bit programs.
        const LARGEFILE = 0o100000;
        /// Must be a directory.
        const DIRECTORY = 0o200000;
        /// A final symbolic link is not followed.
        const NOFOLLOW = 0o400000;
        /// Reads leave the access time alone.
        const NOATIME = 0o1000000;
        /// The descriptor is closed by exec.
        const CLOEXEC = 0o2000000;
        /// The part of `O_SYNC` beyond `O_DSYNC`.
        const SYNC_BIT = 0o4000000;
        /// Only a place in the tree, no I/O.
        const PATH = 0o10000000;
        /// The part of `O_TMPFILE` beyond `O_DIRECTORY`.
        const TMPFILE_BIT = 0o20000000;
        /// The empty path is the descriptor itself (since Linux 7.1).
        const EMPTY_PATH = 1 << 26;
    }
}

impl OpenFlags {
    /// `O_SYNC`.
    pub const SYNC: OpenFlags = OpenFlags::DSYNC.union(OpenFlags::SYNC_BIT);
    /// `O_TMPFILE`: an unnamed file in the given directory.
    pub const TMPFILE: OpenFlags = OpenFlags::TMPFILE_BIT.union(OpenFlags::DIRECTORY);
    /// Mask of the access mode.
    pub const ACCMODE: u32 = 3;
    /// The flags `F_SETFL` may change.
    pub const SETTABLE: OpenFlags = OpenFlags::APPEND
        .union(OpenFlags::NONBLOCK)
        .union(OpenFlags::DIRECT)
        .union(OpenFlags::ASYNC)
        .union(OpenFlags::NOATIME);

    /// The access mode: 0 read, 1 write, 2 both, 3 neither (only ioctl and stat).
    pub const fn access(self) -> u32 {
        self.bits() & Self::ACCMODE
    }
    /// The descriptor may be read.
    pub const fn wants_read(self) -> bool {
        matches!(self.access(), 0 | 2)
    }
    /// The descriptor may be written.
    pub const fn wants_write(self) -> bool {
        matches!(self.access(), 1 | 2)
    }
}

bitflags! {
    /// `RESOLVE_*` of openat2(2): limits on path resolution.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ResolveFlags: u64 {
        /// Stay on one mount.
        const NO_XDEV = 0x01;
        /// No `/proc/PID/fd`-like links.
        const NO_MAGICLINKS = 0x02;
        /// No symbolic links at all.
        const NO_SYMLINKS = 0x04;
        /// Never leave the starting directory's tree.
        const BENEATH = 0x08;
        /// Treat the starting directory as the root.
        const IN_ROOT = 0x10;
        /// Only what is cached already.
        const CACHED = 0x20;
    }
}

/// A flag of openat2(2) alone: a regular file or nothing (EFTYPE).
pub const OPENAT2_REGULAR: u64 = 1 << 32;

/// `struct open_how`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OpenHow {
    /// `O_*`.
    pub flags: u64,
    /// Permission bits of a new file.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}

/// Relative paths start at the working directory.
pub const AT_FDCWD: i32 = -100;
/// Do not follow a final symbolic link.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// faccessat2: use effective ids.
pub const AT_EACCESS: u32 = 0x200;
/// unlinkat: remove a directory.
pub const AT_REMOVEDIR: u32 = 0x200;
/// Follow a final symbolic link (linkat).
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// Do not trigger an automount.
pub const AT_NO_AUTOMOUNT: u32 = 0x800;
/// An empty path names the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// statx: how fresh network attributes must be.
pub const AT_STATX_SYNC_TYPE: u32 = 0x6000;
/// open_tree, mount_setattr: the whole tree.
pub const AT_RECURSIVE: u32 = 0x8000;

/// renameat2: fail if the target exists.
pub const RENAME_NOREPLACE: u32 = 1;
/// renameat2: swap the two.
pub const RENAME_EXCHANGE: u32 = 2;
/// renameat2: leave a whiteout behind.
pub const RENAME_WHITEOUT: u32 = 4;

/// The only bit of descriptor flags.
pub const FD_CLOEXEC: u32 = 1;

/// Commands of fcntl(2).
#[allow(missing_docs)]
pub mod cmd {
    pub const F_DUPFD: u32 = 0;
    pub const F_GETFD: u32 = 1;
    pub const F_SETFD: u32 = 2;
    pub const F_GETFL: u32 = 3;
    pub const F_SETFL: u32 = 4;
    pub const F_GETLK: u32 = 5;
    pub const F_SETLK: u32 = 6;
    pub const F_SETLKW: u32 = 7;
    pub const F_SETOWN: u32 = 8;
    pub const F_GETOWN: u32 = 9;
    pub const F_SETSIG: u32 = 10;
    pub const F_GETSIG: u32 = 11;
    pub const F_SETOWN_EX: u32 = 15;
    pub const F_GETOWN_EX: u32 = 16;
    pub const F_GETOWNER_UIDS: u32 = 17;
    pub const F_OFD_GETLK: u32 = 36;
    pub const F_OFD_SETLK: u32 = 37;
    pub const F_OFD_SETLKW: u32 = 38;
    pub const F_NOTIFY: u32 = 1026;
    pub const F_DUPFD_QUERY: u32 = 1027;
    pub const F_CREATED_QUERY: u32 = 1028;
    pub const F_DUPFD_CLOEXEC: u32 = 1030;
    pub const F_SETPIPE_SZ: u32 = 1031;
    pub const F_GETPIPE_SZ: u32 = 1032;
    pub const F_ADD_SEALS: u32 = 1033;
    pub const F_GET_SEALS: u32 = 1034;
}

/// What `F_NOTIFY` asks for.
#[allow(missing_docs)]
pub mod dn {
    pub const ACCESS: u32 = 1;
    pub const MODIFY: u32 = 2;
    pub const CREATE: u32 = 4;
    pub const DELETE: u32 = 8;
    pub const RENAME: u32 = 0x10;
    pub const ATTRIB: u32 = 0x20;
    /// Not only once.
    pub const MULTISHOT: u32 = 0x8000_0000;
}

/// `struct flock` (64-bit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flock {
    /// [`F_RDLCK`], [`F_WRLCK`] or [`F_UNLCK`].
    pub l_type: i16,
    /// What `l_start` counts from: `SEEK_SET`, `SEEK_CUR`, `SEEK_END`.
    pub l_whence: i16,
    /// Explicit padding.
    pub pad0: u32,
    /// First byte.
    pub l_start: i64,
    /// Bytes; 0 is "to the end", negative counts backwards.
    pub l_len: i64,
    /// Owner, filled by `F_GETLK`; must be 0 for OFD locks.
    pub l_pid: i32,
    /// Explicit padding.
    pub pad1: u32,
}

/// Shared lock.
pub const F_RDLCK: i16 = 0;
/// Exclusive lock.
pub const F_WRLCK: i16 = 1;
/// No lock.
pub const F_UNLCK: i16 = 2;

/// `struct f_owner_ex`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FOwnerEx {
    /// 0 a thread, 1 a process, 2 a process group.
    pub kind: i32,
    /// Its id.
    pub pid: i32,
}

/// Seals of a memfd.
pub mod seal {
    /// No more seals.
    pub const SEAL: u32 = 1;
    /// The file cannot shrink.
    pub const SHRINK: u32 = 2;
    /// The file cannot grow.
    pub const GROW: u32 = 4;
    /// No writes.
    pub const WRITE: u32 = 8;
    /// No new writable mappings or writes.
    pub const FUTURE_WRITE: u32 = 16;
    /// The execute bits cannot change.
    pub const EXEC: u32 = 32;
    /// All of them.
    pub const ALL: u32 = 63;
}

/// flock(2): shared.
pub const LOCK_SH: u32 = 1;
/// flock(2): exclusive.
pub const LOCK_EX: u32 = 2;
/// flock(2): do not wait.
pub const LOCK_NB: u32 = 4;
/// flock(2): unlock.
pub const LOCK_UN: u32 = 8;
/// flock(2): a mandatory lock, which no kernel keeps any more.
pub const LOCK_MAND: u32 = 32;

/// lseek(2): from the start.
pub const SEEK_SET: u32 = 0;
/// lseek(2): from the current position.
pub const SEEK_CUR: u32 = 1;
/// lseek(2): from the end.
pub const SEEK_END: u32 = 2;
/// lseek(2): the next data.
pub const SEEK_DATA: u32 = 3;
/// lseek(2): the next hole.
pub const SEEK_HOLE: u32 = 4;

bitflags! {
    /// `FALLOC_FL_*` of fallocate(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct FallocFlags: u32 {
        /// The size stays.
        const KEEP_SIZE = 1;
        /// Make a hole.
        const PUNCH_HOLE = 2;
        /// Remove a range.
        const COLLAPSE_RANGE = 8;
        /// Zero a range.
        const ZERO_RANGE = 16;
        /// Insert a range.
        const INSERT_RANGE = 32;
        /// Unshare extents.
        const UNSHARE_RANGE = 64;
        /// Write zeroes to the medium.
        const WRITE_ZEROES = 128;
    }
}

/// close_range(2): unshare the table first.
pub const CLOSE_RANGE_UNSHARE: u32 = 2;
/// close_range(2): only mark close-on-exec.
pub const CLOSE_RANGE_CLOEXEC: u32 = 4;
