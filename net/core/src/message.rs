//! One message on its way: bytes, address, control data.

use crate::addr::SockAddr;
use crate::socket::NetCx;
use abi::socket::{MsgFlags, Ucred};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mm::{Dst, Src};
use vfs::{Cred, File, ProcessId};

/// Control data beside the bytes.
#[derive(Default)]
pub struct Control {
    /// Open files (SCM_RIGHTS).
    pub files: Vec<Arc<File>>,
    /// RLIMIT_NOFILE of the sender, which limits the files it has in flight.
    pub file_limit: u64,
    /// Who sent it (SCM_CREDENTIALS).
    pub creds: Option<Ucred>,
    /// The process that sent it (SCM_PIDFD).
    pub process: Option<ProcessId>,
    /// The receiver wants a pidfd (SO_PASSPIDFD).
    pub wants_pidfd: bool,
}

impl Control {
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.creds.is_none() && !self.wants_pidfd
    }
}

/// What sendmsg(2) sends. Flags that no family knows were refused before.
pub struct SendMsg<'a, 's> {
    /// The bytes.
    pub src: &'a mut Src<'s>,
    /// Where to, if the caller said.
    pub addr: Option<&'a SockAddr>,
    /// Control data; taken by the socket.
    pub control: Control,
    /// `MSG_*`; `DONTWAIT` also stands for O_NONBLOCK.
    pub flags: MsgFlags,
    /// Whose credentials go along: the caller's, or for plain write(2) those the file was opened with.
    pub cred: &'a Cred,
    /// The caller, for path names; `None` for plain write(2).
    pub cx: Option<&'a NetCx<'a>>,
}

/// What recvmsg(2) receives.
pub struct RecvMsg<'a, 'd> {
    /// Where the bytes go.
    pub dst: &'a mut Dst<'d>,
    /// `MSG_*`; `DONTWAIT` also stands for O_NONBLOCK.
    pub flags: MsgFlags,
    /// The caller wants the sender's address.
    pub wants_addr: bool,
    /// Filled in: the sender's address.
    pub addr: Option<SockAddr>,
    /// Filled in: control data.
    pub control: Control,
    /// Filled in: `TRUNC`, `EOR` and the like.
    pub out_flags: MsgFlags,
}

impl<'a, 'd> RecvMsg<'a, 'd> {
    /// A receive that only wants bytes.
    pub fn plain(dst: &'a mut Dst<'d>, flags: MsgFlags) -> RecvMsg<'a, 'd> {
        RecvMsg { dst, flags, wants_addr: false, addr: None, control: Control::default(), out_flags: MsgFlags::empty() }
    }
}
