//! The families there are, and socket(2), socketpair(2) over them.

use crate::socket::{NetCx, SocketOps};
use abi::Errno;
use abi::socket::{family::AF_MAX, kind::SOCK_MAX};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::SpinLock;

/// A pair of connected sockets.
pub type Pair = (Arc<dyn SocketOps>, Arc<dyn SocketOps>);

/// An address family.
pub trait Family: Sync {
    /// Its number.
    fn number(&self) -> u16;
    /// Makes a socket: ESOCKTNOSUPPORT or EPROTONOSUPPORT for what it does not have.
    fn create(&self, kind: u32, protocol: i32) -> Result<Arc<dyn SocketOps>, Errno>;
    /// Makes two sockets connected to each other.
    fn create_pair(&self, _kind: u32, _protocol: i32, _cx: &NetCx<'_>) -> Result<Pair, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

static FAMILIES: SpinLock<Vec<&'static dyn Family>> = SpinLock::new(Vec::new());

/// Makes a family known.
pub fn register_family(family: &'static dyn Family) {
    FAMILIES.lock().push(family);
}

fn find(family: i32, kind: u32) -> Result<&'static dyn Family, Errno> {
    let number = u16::try_from(family).ok().filter(|&n| n < AF_MAX).ok_or(Errno::EAFNOSUPPORT)?;
    if kind >= SOCK_MAX {
        return Err(Errno::EINVAL);
    }
    FAMILIES.lock().iter().copied().find(|f| f.number() == number).ok_or(Errno::EAFNOSUPPORT)
}

/// socket(2): `kind` without the flag bits.
pub fn create(family: i32, kind: u32, protocol: i32) -> Result<Arc<dyn SocketOps>, Errno> {
    find(family, kind)?.create(kind, protocol)
}

/// socketpair(2).
pub fn create_pair(family: i32, kind: u32, protocol: i32, cx: &NetCx<'_>) -> Result<Pair, Errno> {
    find(family, kind)?.create_pair(kind, protocol, cx)
}
