//! Sockets, whatever their family: what the socket calls and a family's implementation agree on.
//!
//! A family implements [`SocketOps`]; [`Socket`] wraps one as the operations of an open file, so that read, write, poll and ioctl
//! work on it as on any other. [`Common`] holds the `SOL_SOCKET` options every family has, and [`options`] reads
//! and sets them. [`register_family`] makes a family known to socket(2) and socketpair(2).
//! Sources: socket(2), socket(7), send(2), recv(2), cmsg(3), POSIX.1-2017 `sys/socket.h`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod addr;
mod common;
mod family;
mod message;
pub mod ns;
pub mod options;
mod socket;

pub use addr::SockAddr;
pub use common::{Common, Flag};
pub use family::{Family, create, create_pair, register_family};
pub use message::{Control, RecvMsg, SendMsg};
pub use ns::NetNamespace;
pub use socket::{NetCx, Shutdown, Socket, SocketOps};
