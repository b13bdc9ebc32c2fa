//! The wire format of 9P2000.L: numbers, requests to bytes ([`request`]), bytes to replies ([`reply`]).
//!
//! Pure functions over byte slices. Replies come from the host and are not trusted: a malformed one is [`Malformed`], which
//! becomes EIO, never a panic. All integers are little-endian; strings carry a 16-bit length.
//!
//! Sources: the 9P2000.L protocol description (diod `protocol.md`), QEMU's and Linux's documents on 9p.

pub mod reply;
pub mod request;

use abi::Errno;

/// Message types: requests are even, each reply is its request plus one.
pub mod kind {
    #![allow(missing_docs, reason = "the protocol's own names")]
    pub const RLERROR: u8 = 7;
    pub const TSTATFS: u8 = 8;
    pub const TLOPEN: u8 = 12;
    pub const TLCREATE: u8 = 14;
    pub const TSYMLINK: u8 = 16;
    pub const TMKNOD: u8 = 18;
    pub const TREADLINK: u8 = 22;
    pub const TGETATTR: u8 = 24;
    pub const TSETATTR: u8 = 26;
    pub const TXATTRWALK: u8 = 30;
    pub const TXATTRCREATE: u8 = 32;
    pub const TREADDIR: u8 = 40;
    pub const TFSYNC: u8 = 50;
    pub const TLOCK: u8 = 52;
    pub const TGETLOCK: u8 = 54;
    pub const TLINK: u8 = 70;
    pub const TMKDIR: u8 = 72;
    pub const TRENAMEAT: u8 = 74;
    pub const TUNLINKAT: u8 = 76;
    pub const TVERSION: u8 = 100;
    pub const TATTACH: u8 = 104;
    pub const TFLUSH: u8 = 108;
    pub const TWALK: u8 = 110;
    pub const TREAD: u8 = 116;
    pub const TWRITE: u8 = 118;
    pub const TCLUNK: u8 = 120;
}

/// Bytes of size, type and tag before each message's body.
pub const HEADER: usize = 7;
/// Bytes before the data of a read or readdir reply; an error reply has the same length.
pub const DATA_HEADER: usize = HEADER + 4;
/// Bytes before the data of a write request.
pub const WRITE_HEADER: usize = HEADER + 16;
/// The tag of a version request.
pub const NOTAG: u16 = 0xffff;
/// "No fid": attach without authentication.
pub const NOFID: u32 = 0xffff_ffff;
/// "No uid": attach by name only.
pub const NONUNAME: u32 = 0xffff_ffff;
/// Names in one walk at most.
pub const MAX_WALK: usize = 16;
/// The protocol version spoken.
pub const VERSION: &[u8] = b"9P2000.L";

/// A reply that breaks the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl From<Malformed> for Errno {
    fn from(_: Malformed) -> Errno {
        Errno::EIO
    }
}

/// The server's identity of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Qid {
    /// Type bits, see [`Qid::is_dir`] and [`Qid::is_symlink`].
    pub kind: u8,
    /// Changes when the file does.
    pub version: u32,
    /// Unique among the files that exist.
    pub path: u64,
}

impl Qid {
    /// The file is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind & 0x80 != 0
    }
    /// The file is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind & 0x02 != 0
    }
    /// Both name the same file (the version aside).
    pub fn same_file(&self, other: &Qid) -> bool {
        (self.kind, self.path) == (other.kind, other.path)
    }
}

/// Seconds and nanoseconds, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub sec: u64,
    /// Nanoseconds.
    pub nsec: u64,
}

/// Attributes asked for by getattr: all that `stat` needs.
pub const GETATTR_BASIC: u64 = 0x7ff;
/// Attributes asked for by getattr: those and birth time, generation and data version.
pub const GETATTR_ALL: u64 = 0x3fff;

/// What a getattr reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attr {
    /// Which fields are filled ([`GETATTR_BASIC`]...).
    pub valid: u64,
    /// Identity.
    pub qid: Qid,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links.
    pub nlink: u64,
    /// Device number of a node, in the encoding of `stat`.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Preferred I/O size.
    pub blksize: u64,
    /// 512-byte blocks used.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of contents.
    pub mtime: Time,
    /// Last change of attributes.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// Inode generation.
    pub generation: u64,
}

/// Bits of [`SetAttr::valid`].
pub mod set {
    #![allow(missing_docs, reason = "one bit a field of SetAttr")]
    pub const MODE: u32 = 1;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const CTIME: u32 = 1 << 6;
    pub const ATIME_SET: u32 = 1 << 7;
    pub const MTIME_SET: u32 = 1 << 8;
}

/// What a setattr request changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttr {
    /// Which fields count ([`set`]).
    pub valid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last access.
    pub atime: Time,
    /// Last change.
    pub mtime: Time,
}

/// What a statfs reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatFs {
    /// Magic number of the server's file system.
    pub kind: u32,
    /// Block size.
    pub bsize: u32,
    /// Blocks in total.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Blocks free to users.
    pub bavail: u64,
    /// Inodes in total.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// Identity of the file system.
    pub fsid: u64,
    /// Longest name.
    pub namelen: u32,
}

/// A POSIX record lock, asked for or reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lock {
    /// [`lock::READ`], [`lock::WRITE`] or [`lock::UNLOCK`].
    pub kind: u8,
    /// First byte.
    pub start: u64,
    /// Bytes; 0 is to the end of the file.
    pub length: u64,
    /// Process that holds it.
    pub proc_id: u32,
}

/// Numbers of lock requests and replies.
pub mod lock {
    #![allow(missing_docs, reason = "the protocol's own names")]
    pub const READ: u8 = 0;
    pub const WRITE: u8 = 1;
    pub const UNLOCK: u8 = 2;
    pub const SUCCESS: u8 = 0;
    pub const BLOCKED: u8 = 1;
    pub const ERROR: u8 = 2;
    pub const GRACE: u8 = 3;
}
