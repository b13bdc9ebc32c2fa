//! What a family implements, and its face as an open file.

use crate::addr::SockAddr;
use crate::common::Common;
use crate::message::{Control, RecvMsg, SendMsg};
use crate::ns::NetNamespace;
use crate::options::OptValue;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::socket::{MsgFlags, SIOCATMARK};
use abi::tty::ioctl::{FIONREAD, TIOCOUTQ};
use alloc::sync::Arc;
use core::any::Any;
use machine::VirtAddr;
use mm::{Dst, Src, UserPtr};
use vfs::{Caller, Cred, File, FileOps, FsContext, PollEvents, PollTable, ProcessId};

/// Who makes a socket call: credentials and memory, and the directories that path names start from.
pub struct NetCx<'a> {
    /// The process.
    pub caller: Caller<'a>,
    /// Its directories and umask.
    pub fs: &'a FsContext,
    /// Names are looked up for the kernel: with all rights, below the root, over no symbolic links (core dumps).
    pub kernel: bool,
}

/// Directions of shutdown(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shutdown {
    /// No more receiving.
    pub read: bool,
    /// No more sending.
    pub write: bool,
}

/// The operations of a socket. Each waits unless told not to; interrupted waits are ERESTARTSYS.
pub trait SocketOps: Send + Sync + Any {
    /// For downcasts inside the family (socket to socket operations).
    fn as_any(&self) -> &dyn Any;
    /// Address family.
    fn family(&self) -> u16;
    /// Socket type.
    fn kind(&self) -> u32;
    /// Protocol number.
    fn protocol(&self) -> i32 {
        0
    }
    /// The network namespace it was made in.
    fn net(&self) -> &Arc<NetNamespace>;
    /// Options and pending error.
    fn common(&self) -> &Common;
    /// bind(2).
    fn bind(&self, addr: &SockAddr, cx: &NetCx<'_>) -> Result<(), Errno>;
    /// listen(2).
    fn listen(&self, _backlog: u32, _cx: &NetCx<'_>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// accept(2): the new connection.
    fn accept(&self, _nonblock: bool) -> Result<Arc<dyn SocketOps>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// connect(2).
    fn connect(&self, addr: &SockAddr, nonblock: bool, cx: &NetCx<'_>) -> Result<(), Errno>;
    /// getsockname(2).
    fn local_addr(&self) -> Result<SockAddr, Errno>;
    /// getpeername(2).
    fn peer_addr(&self) -> Result<SockAddr, Errno>;
    /// shutdown(2).
    fn shutdown(&self, how: Shutdown) -> Result<(), Errno>;
    /// Sends one message; returns the bytes taken.
    fn send(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize, Errno>;
    /// Receives; returns the bytes given (with MSG_TRUNC the length of the message).
    fn recv(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize, Errno>;
    /// getsockopt(2) for what [`crate::options`] does not know.
    fn get_option(&self, _level: i32, _name: i32) -> Result<OptValue, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// setsockopt(2) for what [`crate::options`] does not know.
    fn set_option(&self, _level: i32, _name: i32, _value: &[u8], _cx: &NetCx<'_>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Readiness now.
    fn poll(&self, table: &mut PollTable) -> PollEvents;
    /// Bytes that can be received (FIONREAD).
    fn readable_bytes(&self) -> Result<usize, Errno>;
    /// Bytes sent and not yet received (TIOCOUTQ).
    fn unsent_bytes(&self) -> Result<usize, Errno>;
    /// The next receive begins at the out-of-band byte (SIOCATMARK).
    fn at_mark(&self) -> Result<bool, Errno> {
        Err(Errno::ENOTTY)
    }
    /// The credentials of the other end, as they were when the connection was made (SO_PEERGROUPS).
    fn peer_cred(&self) -> Option<Arc<Cred>> {
        None
    }
    /// The process at the other end, as it was when the connection was made (SO_PEERPIDFD).
    fn peer_process(&self) -> Option<ProcessId> {
        None
    }
    /// The file that held the socket is gone.
    fn close(&self);
}

/// A socket as an open file.
pub struct Socket {
    ops: Arc<dyn SocketOps>,
}

impl Socket {
    /// Wraps a socket.
    pub fn new(ops: Arc<dyn SocketOps>) -> Arc<Socket> {
        Arc::new(Socket { ops })
    }
    /// The socket behind an open file; ENOTSOCK for other files.
    #[inline]
    pub fn of(file: &File) -> Result<&Arc<dyn SocketOps>, Errno> {
        file.ops_as::<Socket>().map(|s| &s.ops).ok_or(Errno::ENOTSOCK)
    }
    /// The socket.
    pub fn ops(&self) -> &Arc<dyn SocketOps> {
        &self.ops
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.ops.close();
    }
}

/// The message flags that stand for a file's status flags.
#[inline]
fn wait_flags(f: &File) -> MsgFlags {
    if f.flags().contains(OpenFlags::NONBLOCK) { MsgFlags::DONTWAIT } else { MsgFlags::empty() }
}

impl FileOps for Socket {
    fn as_any(&self) -> &dyn Any {
        self
    }
    #[inline]
    fn seekable(&self) -> bool {
        false
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.ops.recv(&mut RecvMsg::plain(dst, wait_flags(f)))
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        let flags = wait_flags(f);
        let cred = f.cred();
        self.ops.send(&mut SendMsg { src, addr: None, control: Control::default(), flags, cred, cx: None })
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        let bytes = match cmd {
            FIONREAD => self.ops.readable_bytes()?,
            TIOCOUTQ => self.ops.unsent_bytes()?,
            SIOCATMARK => usize::from(self.ops.at_mark()?),
            _ => return Err(Errno::ENOTTY),
        };
        UserPtr::<i32>::new(VirtAddr(arg)).write(caller.mm, &(bytes as i32))?;
        Ok(0)
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        self.ops.poll(table)
    }
    fn signals(&self) -> vfs::fileops::Signals {
        vfs::fileops::Signals::ToOwner
    }
    fn owned(&self, f: &Arc<File>) {
        self.ops.common().set_owned_file(f);
    }
    fn pollable(&self) -> bool {
        true
    }
}
