//! bind, listen, connect, accept (unix(7), bind(2), listen(2), connect(2), accept(2)).

use crate::name::{self, Name, Target};
use crate::socket::{Kind, Peer, Phase, UnixSocket, peer_of};
use abi::Errno;
use abi::fcntl::ResolveFlags;
use abi::socket::family::AF_UNSPEC;
use abi::stat::S_IFSOCK;
use alloc::sync::{Arc, Weak};
use net::{Flag, NetCx, NetNamespace, SockAddr};
use vfs::ops::{self, Make};
use vfs::{Cred, FileType, Start, may, walk};

/// What hangs at the inode of a bound socket file.
pub struct Bound(Weak<UnixSocket>);

impl UnixSocket {
    /// bind(2).
    pub fn do_bind(&self, addr: &SockAddr, cx: &NetCx<'_>) -> Result<(), Errno> {
        let me = self.arc().ok_or(Errno::EINVAL)?;
        let target = Target::parse(addr)?;
        if self.name().is_some() {
            // Binding to nothing twice is no error; to a name it is.
            return if target == Target::Unnamed { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let name = match target {
            Target::Unnamed => name::autobind(&me)?,
            Target::Abstract(text) => name::bind_abstract(text, &me)?,
            Target::Path(path) => bind_path(&me, path, cx)?,
        };
        self.take_name(name)
    }

    /// Sets the name; another thread's bind may have won.
    fn take_name(&self, name: Name) -> Result<(), Errno> {
        let name = Arc::new(name);
        let lost = self.with_link(|l| match l.name {
            Some(_) => true,
            None => {
                l.name = Some(name.clone());
                false
            }
        });
        if lost {
            name::release(self.net(), &name);
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Gives a name to a socket that sends credentials and has none.
    fn autobind_if_passcred(&self) -> Result<(), Errno> {
        if self.passes_sender() && self.name().is_none() {
            let me = self.arc().ok_or(Errno::EINVAL)?;
            self.take_name(name::autobind(&me)?)?;
        }
        Ok(())
    }

    /// listen(2).
    pub fn do_listen(&self, backlog: u32, cx: &NetCx<'_>) -> Result<(), Errno> {
        if self.kind == Kind::Dgram {
            return Err(Errno::EOPNOTSUPP);
        }
        let cred = peer_of(cx);
        self.with_link(|l| {
            if l.name.is_none() || l.phase == Phase::Connected {
                return Err(Errno::EINVAL);
            }
            l.phase = Phase::Listening;
            l.backlog_max = backlog as usize;
            l.listener_cred = Some(cred);
            Ok(())
        })?;
        // Room for more connections may have appeared.
        self.room.wake_all();
        Ok(())
    }

    /// connect(2).
    pub fn do_connect(&self, addr: &SockAddr, nonblock: bool, cx: &NetCx<'_>) -> Result<(), Errno> {
        if self.kind == Kind::Dgram {
            return self.set_destination(addr, cx);
        }
        let target = Target::parse(addr)?;
        if target == Target::Unnamed {
            return Err(Errno::EINVAL);
        }
        self.autobind_if_passcred()?;
        let me = self.arc().ok_or(Errno::EINVAL)?;
        let deadline = self.common.deadline(false);
        loop {
            let other = find(&target, self.kind, self.net(), cx)?;
            let cred = peer_of(cx);
            if self.try_connect(&me, &other, cred)? {
                other.readers.wake_all();
                return Ok(());
            }
            let ready = || {
                let full = other.with_link(|l| l.phase == Phase::Listening && l.backlog.len() > l.backlog_max);
                (!full || other.is_read_shut()).then_some(())
            };
            UnixSocket::wait(&other.room, nonblock, deadline, ready)?;
        }
    }

    /// Queues a new connection at `other`; false when its backlog is full.
    fn try_connect(&self, me: &Arc<UnixSocket>, other: &Arc<UnixSocket>, cred: Peer) -> Result<bool, Errno> {
        match self.phase() {
            Phase::Idle => {}
            Phase::Connected => return Err(Errno::EISCONN),
            Phase::Listening => return Err(Errno::EINVAL),
        }
        let end = UnixSocket::new_in(self.kind, self.net().clone());
        end.join(me, Some(cred));
        let (name, listener) = {
            // The new end is private until it is in the backlog.
            let (name, listener) = other.with_link(|l| {
                if l.phase != Phase::Listening || other.is_closed() || other.is_read_shut() {
                    return Err(Errno::ECONNREFUSED);
                }
                if l.backlog.len() > l.backlog_max {
                    return Ok((None, None));
                }
                Ok((Some(l.name.clone()), l.listener_cred.clone()))
            })?;
            let Some(name) = name else { return Ok(false) };
            (name, listener)
        };
        for flag in [Flag::PassCred, Flag::PassPidfd] {
            end.common.set(flag, other.common.is(flag));
        }
        end.with_link(|l| l.name = name);
        self.with_link(|l| match l.phase {
            Phase::Idle => {
                l.peer = Some(end.clone());
                l.peer_cred = listener;
                l.phase = Phase::Connected;
                Ok(())
            }
            _ => Err(Errno::EISCONN),
        })?;
        let queued = other.with_link(|l| {
            let open = l.phase == Phase::Listening && !other.is_closed();
            if open {
                l.backlog.push_back(end.clone());
            }
            open
        });
        if !queued {
            let undone = self.with_link(|l| {
                l.phase = Phase::Idle;
                l.peer.take()
            });
            drop(undone);
            end.with_link(|l| l.peer.take());
            return Err(Errno::ECONNREFUSED);
        }
        Ok(true)
    }

    /// connect(2) of a datagram socket: sets or (AF_UNSPEC) clears the default destination.
    fn set_destination(&self, addr: &SockAddr, cx: &NetCx<'_>) -> Result<(), Errno> {
        if addr.len() < 2 {
            return Err(Errno::EINVAL);
        }
        let peer = match addr.family() {
            Some(AF_UNSPEC) => None,
            _ => {
                let target = Target::parse(addr)?;
                self.autobind_if_passcred()?;
                let other = find(&target, self.kind, self.net(), cx)?;
                self.check_may_send(&other)?;
                Some(other)
            }
        };
        let old = self.with_link(|l| {
            l.phase = if peer.is_some() { Phase::Connected } else { Phase::Idle };
            core::mem::replace(&mut l.peer, peer)
        });
        drop(old);
        Ok(())
    }

    /// A connected datagram socket takes messages from its peer only.
    pub fn check_may_send(&self, other: &UnixSocket) -> Result<(), Errno> {
        match other.peer() {
            Some(peer) if !core::ptr::eq(&*peer, self) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    /// accept(2).
    pub fn do_accept(&self, nonblock: bool) -> Result<Arc<UnixSocket>, Errno> {
        if self.kind == Kind::Dgram {
            return Err(Errno::EOPNOTSUPP);
        }
        let ready = || {
            self.with_link(|l| match l.phase {
                Phase::Listening => match l.backlog.pop_front() {
                    Some(end) => Some(Ok(end)),
                    None => self.is_read_shut().then_some(Err(Errno::EINVAL)),
                },
                _ => Some(Err(Errno::EINVAL)),
            })
        };
        let end = UnixSocket::wait(&self.readers, nonblock, self.common.deadline(true), ready)??;
        self.room.wake_all();
        Ok(end)
    }
}

fn bind_path(me: &Arc<UnixSocket>, path: &[u8], cx: &NetCx<'_>) -> Result<Name, Errno> {
    let dirs = cx.fs.dirs();
    let start = Start::new(&dirs.root, &dirs.cwd, cx.caller.cred);
    let made = ops::make(&start, path, Make::Node(S_IFSOCK | 0o777, 0), cx.fs.umask());
    let place = made.map_err(|e| if e == Errno::EEXIST { Errno::EADDRINUSE } else { e })?;
    place.inode().base().rare().attach(Some(Arc::new(Bound(Arc::downgrade(me)))));
    Ok(Name::File(path.to_vec(), place))
}

/// The socket an address names; ECONNREFUSED when nobody has it open, EPROTOTYPE for another type.
pub fn find(target: &Target<'_>, kind: Kind, net: &NetNamespace, cx: &NetCx<'_>) -> Result<Arc<UnixSocket>, Errno> {
    let found = match target {
        Target::Unnamed => return Err(Errno::EINVAL),
        Target::Abstract(name) => name::find_abstract(net, name),
        Target::Path(path) => {
            let dirs = cx.fs.dirs();
            let place = match cx.kernel {
                false => walk::lookup(&Start::new(&dirs.root, &dirs.cwd, cx.caller.cred), path, true)?,
                true => {
                    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                    let start = Start { root: &dirs.root, base: &dirs.root, cred: &Cred::root(), resolve };
                    let below = path.iter().position(|b| *b != b'/').and_then(|at| path.get(at..));
                    walk::lookup(&start, below.ok_or(Errno::ECONNREFUSED)?, true)?
                }
            };
            let inode = place.inode();
            if !cx.kernel {
                inode.check(cx.caller.cred, may::WRITE)?;
            }
            if inode.kind() != FileType::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            let bound = inode.base().rare_if_any().and_then(|r| r.attachment());
            bound.and_then(|b| b.downcast_ref::<Bound>().and_then(|b| b.0.upgrade()))
        }
    };
    let other = found.filter(|s| !s.is_closed()).ok_or(Errno::ECONNREFUSED)?;
    if other.kind != kind {
        return Err(Errno::EPROTOTYPE);
    }
    Ok(other)
}
