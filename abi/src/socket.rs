//! Sockets: families, types, message headers, options (`linux/socket.h`, `asm-generic/socket.h`, `linux/net.h`;
//! socket(2), sendmsg(2), cmsg(3), socket(7), unix(7)).
#![allow(missing_docs)] // names are those of the headers above

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Address families.
pub mod family {
    pub const AF_UNSPEC: u16 = 0;
    pub const AF_UNIX: u16 = 1;
    pub const AF_INET: u16 = 2;
    pub const AF_INET6: u16 = 10;
    pub const AF_NETLINK: u16 = 16;
    pub const AF_PACKET: u16 = 17;
    /// One past the highest family number.
    pub const AF_MAX: u16 = 46;
}

/// Socket types (the low four bits of socket(2)'s second argument).
pub mod kind {
    pub const SOCK_STREAM: u32 = 1;
    pub const SOCK_DGRAM: u32 = 2;
    pub const SOCK_RAW: u32 = 3;
    pub const SOCK_RDM: u32 = 4;
    pub const SOCK_SEQPACKET: u32 = 5;
    /// One past the highest type number.
    pub const SOCK_MAX: u32 = 11;
    /// The bits that hold the type.
    pub const TYPE_MASK: u32 = 0xf;
    pub const SOCK_CLOEXEC: u32 = 0o2000000;
    pub const SOCK_NONBLOCK: u32 = 0o4000;
}

bitflags! {
    /// `MSG_*` of the send and receive calls and of `msg_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsgFlags: u32 {
        const OOB = 0x1;
        const PEEK = 0x2;
        const DONTROUTE = 0x4;
        const CTRUNC = 0x8;
        const TRUNC = 0x20;
        const DONTWAIT = 0x40;
        const EOR = 0x80;
        const WAITALL = 0x100;
        const CONFIRM = 0x800;
        const ERRQUEUE = 0x2000;
        const NOSIGNAL = 0x4000;
        const MORE = 0x8000;
        const WAITFORONE = 0x10000;
        const FASTOPEN = 0x2000_0000;
        const CMSG_CLOEXEC = 0x4000_0000;
        const CMSG_COMPAT = 0x8000_0000;
        const _ = !0;
    }
}

/// Asks whether the next receive begins at an out-of-band byte.
pub const SIOCATMARK: u32 = 0x8905;

/// `SOL_SOCKET`: the level of options and control messages of every family.
pub const SOL_SOCKET: i32 = 1;

/// Control message types of `SOL_SOCKET`.
pub mod scm {
    pub const SCM_RIGHTS: i32 = 1;
    pub const SCM_CREDENTIALS: i32 = 2;
    pub const SCM_PIDFD: i32 = 4;
    pub const SO_TIMESTAMP: i32 = 29;
}

/// Most descriptors in one `SCM_RIGHTS` message.
pub const SCM_MAX_FD: usize = 253;
/// The largest backlog listen(2) keeps (`/proc/sys/net/core/somaxconn`).
pub const SOMAXCONN: i32 = 4096;
/// Size of `struct sockaddr_storage`.
pub const SOCKADDR_STORAGE: usize = 128;
/// Size of `struct sockaddr_un`: family and 108 bytes of path.
pub const SOCKADDR_UN: usize = 110;

/// Options of `SOL_SOCKET`.
pub mod so {
    pub const DEBUG: i32 = 1;
    pub const REUSEADDR: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const DONTROUTE: i32 = 5;
    pub const BROADCAST: i32 = 6;
    pub const SNDBUF: i32 = 7;
    pub const RCVBUF: i32 = 8;
    pub const KEEPALIVE: i32 = 9;
    pub const OOBINLINE: i32 = 10;
    pub const PRIORITY: i32 = 12;
    pub const LINGER: i32 = 13;
    pub const REUSEPORT: i32 = 15;
    pub const PASSCRED: i32 = 16;
    pub const PEERCRED: i32 = 17;
    pub const RCVLOWAT: i32 = 18;
    pub const SNDLOWAT: i32 = 19;
    pub const RCVTIMEO: i32 = 20;
    pub const SNDTIMEO: i32 = 21;
    pub const TIMESTAMP: i32 = 29;
    pub const ACCEPTCONN: i32 = 30;
    pub const PEERSEC: i32 = 31;
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVBUFFORCE: i32 = 33;
    pub const PROTOCOL: i32 = 38;
    pub const DOMAIN: i32 = 39;
    pub const PEEK_OFF: i32 = 42;
    pub const PEERGROUPS: i32 = 59;
    pub const PASSPIDFD: i32 = 76;
    pub const PEERPIDFD: i32 = 77;
}

/// shutdown(2)'s second argument.
pub mod shut {
    pub const SHUT_RD: i32 = 0;
    pub const SHUT_WR: i32 = 1;
    pub const SHUT_RDWR: i32 = 2;
}

/// `struct msghdr` as the kernel sees it (`struct user_msghdr`).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MsgHdr {
    pub name: u64,
    pub namelen: i32,
    pub pad0: u32,
    pub iov: u64,
    pub iovlen: u64,
    pub control: u64,
    pub controllen: u64,
    pub flags: u32,
    pub pad1: u32,
}

/// `struct mmsghdr` of sendmmsg(2) and recvmmsg(2).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MmsgHdr {
    pub hdr: MsgHdr,
    pub len: u32,
    pub pad: u32,
}

/// `struct cmsghdr`: the head of one control message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CmsgHdr {
    pub len: u64,
    pub level: i32,
    pub kind: i32,
}

/// `struct ucred` of SO_PEERCRED and SCM_CREDENTIALS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ucred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// `struct linger` of SO_LINGER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Linger {
    pub onoff: i32,
    pub linger: i32,
}
