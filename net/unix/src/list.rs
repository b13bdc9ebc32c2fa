//! All Unix sockets, for those who ask what there is (proc_net(5)). A socket has a place in the list from its making to its end;
//! both cost a few instructions.

use crate::name::Name;
use crate::socket::{Phase, UnixSocket};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::sync::SpinLock;
use net::NetNamespace;
use vfs::ns::Namespace;

/// No place: there was no memory for one, and the socket is not listed.
const NOWHERE: u32 = u32::MAX;

struct List {
    places: Vec<Option<Weak<UnixSocket>>>,
    free: Vec<u32>,
}

static LIST: SpinLock<List> = SpinLock::new(List { places: Vec::new(), free: Vec::new() });

/// A socket's place in the list.
pub(crate) struct Place(u32);

impl Place {
    /// A place for a socket that is being made.
    pub fn take(socket: &Weak<UnixSocket>) -> Place {
        let mut list = LIST.lock();
        let List { places, free } = &mut *list;
        if let Some(place) = free.pop() {
            if let Some(slot) = places.get_mut(place as usize) {
                *slot = Some(socket.clone());
            }
            return Place(place);
        }
        let place = places.len() as u32;
        // Room to note a place as free is made with the place, so that the end of a socket needs no memory.
        if places.try_reserve(1).is_err() || free.try_reserve(places.len() + 1).is_err() {
            return Place(NOWHERE);
        }
        places.push(Some(socket.clone()));
        Place(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut list = LIST.lock();
        let gone = list.places.get_mut(self.0 as usize).and_then(Option::take);
        if gone.is_some() {
            list.free.push(self.0);
        }
        drop(list);
        drop(gone);
    }
}

/// A socket as `/proc/net/unix` shows it.
pub struct Shown {
    /// References to it.
    pub refs: u32,
    /// It waits for connections.
    pub listening: bool,
    /// Its type.
    pub kind: u32,
    /// A program has it open; else it waits to be accepted.
    pub open: bool,
    /// It is connected.
    pub connected: bool,
    /// Inode number, 0 if no program has it open.
    pub ino: u64,
    /// What it is bound to.
    pub name: Option<Arc<Name>>,
}

/// Calls `f` with each socket of a network namespace.
pub fn each(net: &NetNamespace, mut f: impl FnMut(Shown)) {
    let mut at = 0;
    loop {
        let found = {
            let list = LIST.lock();
            let Some(rest) = list.places.get(at..).filter(|rest| !rest.is_empty()) else { return };
            let next = rest.iter().position(|slot| slot.as_ref().is_some_and(|s| s.strong_count() != 0));
            let Some(skip) = next else { return };
            at += skip + 1;
            rest.get(skip).and_then(Option::as_ref).and_then(Weak::upgrade)
        };
        let Some(socket) = found.filter(|socket| socket.net().id() == net.id()) else { continue };
        let ino = socket.common.ino();
        let (phase, name) = socket.with_link(|link| (link.phase, link.name.clone()));
        f(Shown {
            refs: (Arc::strong_count(&socket) - 1) as u32,
            listening: phase == Phase::Listening,
            kind: socket.kind.raw(),
            open: ino != 0,
            connected: phase == Phase::Connected,
            ino,
            name,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Kind;
    use vfs::user_ns::UserNamespace;

    #[test]
    fn a_namespace_lists_its_own_sockets_while_they_exist() {
        let (here, there) = (NetNamespace::new(UserNamespace::first()), NetNamespace::new(UserNamespace::first()));
        let kinds = |net: &NetNamespace| {
            let mut kinds = Vec::new();
            each(net, |socket| kinds.push((socket.kind, socket.refs, socket.open)));
            kinds
        };
        let a = UnixSocket::new_in(Kind::Stream, here.clone());
        let b = UnixSocket::new_in(Kind::Dgram, there.clone());
        a.common.set_ino(7);
        assert_eq!((kinds(&here), kinds(&there)), (alloc::vec![(1, 1, true)], alloc::vec![(2, 1, false)]));
        drop(a);
        let c = UnixSocket::new_in(Kind::SeqPacket, here.clone());
        assert_eq!(kinds(&here), [(5, 1, false)]);
        drop((b, c));
        assert!(kinds(&here).is_empty() && kinds(&there).is_empty());
    }
}
