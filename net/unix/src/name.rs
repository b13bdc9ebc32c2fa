//! Names of Unix sockets (unix(7), "Address format"): paths, abstract names, and the table of the latter.

use crate::socket::UnixSocket;
use abi::Errno;
use abi::socket::SOCKADDR_UN;
use abi::socket::family::AF_UNIX;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::sync::SpinLock;
use net::{NetNamespace, SockAddr};
use vfs::Path;
use vfs::ns::Namespace;

/// The name a socket is bound to.
pub enum Name {
    /// A socket file: the text it was bound with, and the file.
    File(Vec<u8>, Path),
    /// A name outside the file system, any bytes.
    Abstract(Vec<u8>),
}

/// An address as bind and connect get it.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// No name at all: bind chooses an abstract one.
    Unnamed,
    /// A path, without its NUL.
    Path(&'a [u8]),
    /// An abstract name.
    Abstract(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Understands an address; EINVAL for a wrong family or length.
    pub fn parse(addr: &'a SockAddr) -> Result<Target<'a>, Errno> {
        if addr.len() < 2 || addr.len() > SOCKADDR_UN || addr.family() != Some(AF_UNIX) {
            return Err(Errno::EINVAL);
        }
        Ok(match addr.rest() {
            [] => Target::Unnamed,
            [0, name @ ..] => Target::Abstract(name),
            path => Target::Path(path.split(|&b| b == 0).next().unwrap_or_default()),
        })
    }
}

impl Name {
    /// The address that getsockname(2) and the like give.
    pub fn addr(&self) -> SockAddr {
        let mut bytes = Vec::with_capacity(SOCKADDR_UN);
        match self {
            Name::File(path, _) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Name::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
        }
        SockAddr::of(AF_UNIX, &bytes)
    }
    /// Its address, or the bare family for `None`.
    pub fn addr_of(name: Option<&Name>) -> SockAddr {
        name.map_or_else(|| SockAddr::of(AF_UNIX, &[]), Name::addr)
    }
}

/// By network namespace and name.
type Table = BTreeMap<(u64, Vec<u8>), Weak<UnixSocket>>;
static ABSTRACT: SpinLock<Table> = SpinLock::new(BTreeMap::new());

/// Takes an abstract name for `socket`; EADDRINUSE.
pub fn bind_abstract(name: &[u8], socket: &Arc<UnixSocket>) -> Result<Name, Errno> {
    let key = (socket.net().id(), name.to_vec());
    let mut table = ABSTRACT.lock();
    if table.contains_key(&key) {
        return Err(Errno::EADDRINUSE);
    }
    table.insert(key, Arc::downgrade(socket));
    Ok(Name::Abstract(name.to_vec()))
}

/// Takes a free name of five hexadecimal digits; ENOSPC when all are taken.
pub fn autobind(socket: &Arc<UnixSocket>) -> Result<Name, Errno> {
    const NAMES: u64 = 1 << 20;
    let first = random::next_u64();
    for i in 0..NAMES {
        let name = alloc::format!("{:05x}", first.wrapping_add(i) % NAMES);
        match bind_abstract(name.as_bytes(), socket) {
            Err(Errno::EADDRINUSE) => sched::cond_resched(),
            other => return other,
        }
    }
    Err(Errno::ENOSPC)
}

/// Gives an abstract name of this network namespace back.
pub fn release(net: &NetNamespace, name: &Name) {
    if let Name::Abstract(name) = name {
        let gone = ABSTRACT.lock().remove(&(net.id(), name.clone()));
        drop(gone);
    }
}

/// The socket with an abstract name in this network namespace.
pub fn find_abstract(net: &NetNamespace, name: &[u8]) -> Option<Arc<UnixSocket>> {
    ABSTRACT.lock().get(&(net.id(), name.to_vec()))?.upgrade()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_as_unix_7_says() {
        let addr = |rest: &[u8]| SockAddr::of(AF_UNIX, rest);
        assert_eq!(Target::parse(&addr(b"")), Ok(Target::Unnamed));
        assert_eq!(Target::parse(&addr(b"/tmp/x\0")), Ok(Target::Path(b"/tmp/x")));
        assert_eq!(Target::parse(&addr(b"/tmp/x")), Ok(Target::Path(b"/tmp/x")));
        assert_eq!(Target::parse(&addr(b"\0a\0b")), Ok(Target::Abstract(b"a\0b")));
        assert_eq!(Target::parse(&addr(&[b'x'; 108])), Ok(Target::Path(&[b'x'; 108])));
        assert_eq!(Target::parse(&addr(&[b'x'; 109])), Err(Errno::EINVAL));
        assert_eq!(Target::parse(&SockAddr::of(2, b"/tmp/x")), Err(Errno::EINVAL));
        assert_eq!(Target::parse(&SockAddr::new(&[1])), Err(Errno::EINVAL));
    }
}
