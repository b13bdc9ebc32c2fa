//! The family as the socket layer sees it.

use crate::name::Name;
use crate::socket::{Kind, Phase, UnixSocket, peer_of};
use abi::Errno;
use abi::socket::family::AF_UNIX;
use abi::socket::{SOL_SOCKET, Ucred, so};
use alloc::sync::Arc;
use core::any::Any;
use net::options::{self, OptValue, value};
use net::{Common, Family, NetCx, NetNamespace, RecvMsg, SendMsg, Shutdown, SockAddr, SocketOps};
use vfs::{Cred, PollEvents, PollTable, ProcessId};

/// AF_UNIX.
pub struct Unix;

fn check_protocol(protocol: i32) -> Result<(), Errno> {
    // PF_UNIX itself is taken for "default", as on Linux.
    if protocol == 0 || protocol == i32::from(AF_UNIX) { Ok(()) } else { Err(Errno::EPROTONOSUPPORT) }
}

impl Family for Unix {
    fn number(&self) -> u16 {
        AF_UNIX
    }
    fn create(&self, kind: u32, protocol: i32) -> Result<Arc<dyn SocketOps>, Errno> {
        check_protocol(protocol)?;
        Ok(UnixSocket::new(Kind::from_raw(kind)?))
    }
    fn create_pair(
        &self,
        kind: u32,
        protocol: i32,
        cx: &NetCx<'_>,
    ) -> Result<(Arc<dyn SocketOps>, Arc<dyn SocketOps>), Errno> {
        check_protocol(protocol)?;
        let (a, b) = UnixSocket::pair(Kind::from_raw(kind)?, peer_of(cx));
        Ok((a, b))
    }
}

impl SocketOps for UnixSocket {
    fn net(&self) -> &Arc<NetNamespace> {
        UnixSocket::net(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn family(&self) -> u16 {
        AF_UNIX
    }
    fn kind(&self) -> u32 {
        self.kind.raw()
    }
    fn common(&self) -> &Common {
        &self.common
    }
    fn bind(&self, addr: &SockAddr, cx: &NetCx<'_>) -> Result<(), Errno> {
        self.do_bind(addr, cx)
    }
    fn listen(&self, backlog: u32, cx: &NetCx<'_>) -> Result<(), Errno> {
        self.do_listen(backlog, cx)
    }
    fn accept(&self, nonblock: bool) -> Result<Arc<dyn SocketOps>, Errno> {
        Ok(self.do_accept(nonblock)?)
    }
    fn connect(&self, addr: &SockAddr, nonblock: bool, cx: &NetCx<'_>) -> Result<(), Errno> {
        self.do_connect(addr, nonblock, cx)
    }
    fn local_addr(&self) -> Result<SockAddr, Errno> {
        Ok(Name::addr_of(self.name().as_deref()))
    }
    fn peer_addr(&self) -> Result<SockAddr, Errno> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        Ok(Name::addr_of(peer.name().as_deref()))
    }
    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.shut(how);
        if self.kind != Kind::Dgram
            && let Some(peer) = self.peer()
        {
            peer.shut(Shutdown { read: how.write, write: how.read });
        }
        Ok(())
    }
    #[inline]
    fn send(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize, Errno> {
        match self.kind {
            Kind::Stream => self.send_stream(msg),
            _ => self.send_message(msg),
        }
    }
    #[inline]
    fn recv(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize, Errno> {
        match self.kind {
            Kind::Stream => self.recv_stream(msg),
            _ => self.recv_message(msg),
        }
    }
    fn get_option(&self, level: i32, name: i32) -> Result<OptValue, Errno> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        match name {
            so::ACCEPTCONN => Ok(value(&i32::from(self.phase() == Phase::Listening))),
            so::PEERCRED => {
                let unknown = Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
                Ok(value(&self.with_link(|l| l.peer_cred.as_ref().map(|p| p.ucred)).unwrap_or(unknown)))
            }
            so::PEEK_OFF => Ok(value(&self.common().peek_off())),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
    fn set_option(&self, level: i32, name: i32, value: &[u8], _cx: &NetCx<'_>) -> Result<(), Errno> {
        if (level, name) == (SOL_SOCKET, so::PEEK_OFF) {
            self.common().set_peek_off(options::read(value)?);
            return Ok(());
        }
        Err(if level == SOL_SOCKET { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP })
    }
    fn poll(&self, table: &mut PollTable) -> PollEvents {
        self.readiness(table)
    }
    fn readable_bytes(&self) -> Result<usize, Errno> {
        if self.phase() == Phase::Listening {
            return Err(Errno::EINVAL);
        }
        let inbox = self.inbox();
        Ok(if self.kind == Kind::Stream { inbox.bytes() } else { inbox.first_len() })
    }
    fn at_mark(&self) -> Result<bool, Errno> {
        if self.kind != Kind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(self.inbox().at_mark())
    }
    fn unsent_bytes(&self) -> Result<usize, Errno> {
        // What waits at a connected peer came from here.
        Ok(self.peer().filter(|_| self.kind != Kind::Dgram).map_or(0, |p| p.charge()))
    }
    fn peer_process(&self) -> Option<ProcessId> {
        self.with_link(|l| l.peer_cred.as_ref()?.process.clone())
    }
    fn peer_cred(&self) -> Option<Arc<Cred>> {
        self.with_link(|l| Some(l.peer_cred.as_ref()?.cred.clone()))
    }
    fn close(&self) {
        self.release();
    }
}
