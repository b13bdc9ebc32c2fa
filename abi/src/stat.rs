//! File attributes (`asm/stat.h`, `linux/stat.h`, `asm-generic/statfs.h`, `linux/xattr.h`; stat(2), statx(2), statfs(2)).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of `st_mode` that hold the file type.
pub const S_IFMT: u32 = 0o170000;
/// Socket.
pub const S_IFSOCK: u32 = 0o140000;
/// Symbolic link.
pub const S_IFLNK: u32 = 0o120000;
/// Regular file.
pub const S_IFREG: u32 = 0o100000;
/// Block device.
pub const S_IFBLK: u32 = 0o060000;
/// Directory.
pub const S_IFDIR: u32 = 0o040000;
/// Character device.
pub const S_IFCHR: u32 = 0o020000;
/// FIFO.
pub const S_IFIFO: u32 = 0o010000;
/// Set user id.
pub const S_ISUID: u32 = 0o4000;
/// Set group id.
pub const S_ISGID: u32 = 0o2000;
/// Sticky.
pub const S_ISVTX: u32 = 0o1000;
/// All permission bits with set-id and sticky.
pub const S_IALLUGO: u32 = 0o7777;

/// `struct stat` of x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Stat {
    pub st_dev: u64,
    pub st_ino: u64,
    pub st_nlink: u64,
    pub st_mode: u32,
    pub st_uid: u32,
    pub st_gid: u32,
    pub pad0: u32,
    pub st_rdev: u64,
    pub st_size: i64,
    pub st_blksize: i64,
    pub st_blocks: i64,
    pub st_atime: i64,
    pub st_atime_nsec: i64,
    pub st_mtime: i64,
    pub st_mtime_nsec: i64,
    pub st_ctime: i64,
    pub st_ctime_nsec: i64,
    pub unused: [i64; 3],
}

/// `struct statx_timestamp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct StatxTimestamp {
    pub tv_sec: i64,
    pub tv_nsec: u32,
    pub pad: i32,
}

/// `struct statx`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Statx {
    pub stx_mask: u32,
    pub stx_blksize: u32,
    pub stx_attributes: u64,
    pub stx_nlink: u32,
    pub stx_uid: u32,
    pub stx_gid: u32,
    pub stx_mode: u16,
    pub pad0: u16,
    pub stx_ino: u64,
    pub stx_size: u64,
    pub stx_blocks: u64,
    pub stx_attributes_mask: u64,
    pub stx_atime: StatxTimestamp,
    pub stx_btime: StatxTimestamp,
    pub stx_ctime: StatxTimestamp,
    pub stx_mtime: StatxTimestamp,
    pub stx_rdev_major: u32,
    pub stx_rdev_minor: u32,
    pub stx_dev_major: u32,
    pub stx_dev_minor: u32,
    pub stx_mnt_id: u64,
    pub stx_dio_mem_align: u32,
    pub stx_dio_offset_align: u32,
    pub stx_subvol: u64,
    pub stx_atomic_write_unit_min: u32,
    pub stx_atomic_write_unit_max: u32,
    pub stx_atomic_write_segments_max: u32,
    pub stx_dio_read_offset_align: u32,
    pub stx_atomic_write_unit_max_opt: u32,
    pub pad1: u32,
    pub spare: [u64; 8],
}

/// Type and mode through blocks: what stat(2) gives.
pub const STATX_BASIC_STATS: u32 = 0x7ff;
/// Birth time.
pub const STATX_BTIME: u32 = 0x800;
/// Old mount id.
pub const STATX_MNT_ID: u32 = 0x1000;
/// Direct-I/O alignment.
pub const STATX_DIOALIGN: u32 = 0x2000;
/// Unique mount id.
pub const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
/// Reserved, always refused.
pub const STATX_RESERVED: u32 = 0x8000_0000;
/// `stx_attributes`: the root of a mount.
pub const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
/// `stx_attributes`: immutable.
pub const STATX_ATTR_IMMUTABLE: u64 = 0x10;
/// `stx_attributes`: append only.
pub const STATX_ATTR_APPEND: u64 = 0x20;

/// `struct statfs` of x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Statfs {
    pub f_type: i64,
    pub f_bsize: i64,
    pub f_blocks: u64,
    pub f_bfree: u64,
    pub f_bavail: u64,
    pub f_files: u64,
    pub f_ffree: u64,
    pub f_fsid: [i32; 2],
    pub f_namelen: i64,
    pub f_frsize: i64,
    pub f_flags: i64,
    pub f_spare: [i64; 4],
}

/// setxattr(2): fail if the attribute exists.
pub const XATTR_CREATE: u32 = 1;
/// setxattr(2): fail if it does not.
pub const XATTR_REPLACE: u32 = 2;
/// Longest attribute name.
pub const XATTR_NAME_MAX: usize = 255;
/// Largest attribute value.
pub const XATTR_SIZE_MAX: usize = 65536;

/// utimensat(2): set to the present.
pub const UTIME_NOW: i64 = 0x3fff_ffff;
/// utimensat(2): leave alone.
pub const UTIME_OMIT: i64 = 0x3fff_fffe;

/// Magic numbers of file systems (`linux/magic.h`).
#[allow(missing_docs)]
pub mod magic {
    pub const TMPFS: u64 = 0x0102_1994;
    pub const RAMFS: u64 = 0x8584_58f6;
    pub const NULLFS: u64 = 0x4e55_4c4c;
    pub const PROC: u64 = 0x9fa0;
    pub const SYSFS: u64 = 0x6265_6572;
    pub const DEVPTS: u64 = 0x1cd1;
    pub const PIPEFS: u64 = 0x5049_5045;
    pub const NSFS: u64 = 0x6e73_6673;
    pub const SOCKFS: u64 = 0x534f_434b;
    pub const ANON_INODE: u64 = 0x0904_1934;
    pub const V9FS: u64 = 0x0102_1997;
    pub const MQUEUE: u64 = 0x1980_0202;
    pub const OVERLAYFS: u64 = 0x794c_7630;
    pub const PIDFS: u64 = 0x5049_4446;
}
