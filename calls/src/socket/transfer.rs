//! sendto(2) and recvfrom(2) (send(2) and recv(2) are these without an address), and what all sends share.

use super::{net_cx, socket_file, write_addr};
use abi::Errno;
use abi::signal::{SigInfo, Signal};
use abi::socket::{MsgFlags, kind};
use machine::VirtAddr;
use mm::UserPtr;
use mm::io::{Dst, Src, access_ok};
use net::{Control, RecvMsg, SendMsg, SockAddr, Socket, SocketOps};
use task::Cx;
use vfs::File;

/// The flags of a call with the file's O_NONBLOCK.
pub fn call_flags(flags: u32, file: &File) -> MsgFlags {
    let mut flags = MsgFlags::from_bits_retain(flags);
    if file.is_nonblocking() {
        flags |= MsgFlags::DONTWAIT;
    }
    flags
}

/// A stream whose other end is gone raises SIGPIPE unless told not to.
pub fn raise_sigpipe(cx: &Cx, socket: &dyn SocketOps, flags: MsgFlags, error: Errno) {
    if error == Errno::EPIPE && !flags.contains(MsgFlags::NOSIGNAL) && socket.kind() == kind::SOCK_STREAM {
        let info = SigInfo::user(Signal::PIPE, 0, cx.process().nr() as u32, cx.cred().uid);
        // A signal that cannot be queued is still pending as a bit.
        let _ = task::signal::send_task(&cx.task, Signal::PIPE, &info);
    }
}

/// sendto(2).
pub fn sendto(
    cx: &mut Cx,
    fd: i32,
    buf: VirtAddr,
    len: usize,
    flags: u32,
    addr: VirtAddr,
    addrlen: i32,
) -> Result<usize, Errno> {
    if !access_ok(buf, len) {
        return Err(Errno::EFAULT);
    }
    let file = socket_file(cx, fd)?;
    let socket = Socket::of(&file)?;
    let to = if addr.0 == 0 { None } else { Some(SockAddr::read(cx.mm(), addr, addrlen)?) };
    let flags = call_flags(flags, &file);
    let net = net_cx(cx);
    let mut msg = SendMsg {
        src: &mut Src::user(cx.mm(), buf, len),
        addr: to.as_ref().filter(|a| !a.is_empty()),
        control: Control::default(),
        flags,
        cred: cx.cred(),
        cx: Some(&net),
    };
    socket.send(&mut msg).inspect_err(|e| raise_sigpipe(cx, &**socket, flags, *e))
}

/// recvfrom(2).
pub fn recvfrom(
    cx: &mut Cx,
    fd: i32,
    buf: VirtAddr,
    len: usize,
    flags: u32,
    addr: VirtAddr,
    addrlen: UserPtr<i32>,
) -> Result<usize, Errno> {
    if !access_ok(buf, len) {
        return Err(Errno::EFAULT);
    }
    let file = socket_file(cx, fd)?;
    let mut dst = Dst::user(cx.mm(), buf, len);
    let mut msg = RecvMsg::plain(&mut dst, call_flags(flags, &file));
    msg.wants_addr = addr.0 != 0;
    let n = Socket::of(&file)?.recv(&mut msg)?;
    if addr.0 != 0 {
        write_addr(cx, &msg.addr.unwrap_or_default(), addr, addrlen)?;
    }
    Ok(n)
}
