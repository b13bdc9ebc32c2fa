//! sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2).

use super::control::{self, Writer};
use super::transfer::{call_flags, raise_sigpipe};
use super::{net_cx, socket_file};
use abi::Errno;
use abi::socket::{MmsgHdr, MsgFlags, MsgHdr, SOCKADDR_STORAGE};
use abi::time::Timespec;
use abi::uio::UIO_MAXIOV;
use machine::VirtAddr;
use mm::UserPtr;
use mm::io::{Dst, IovVec, Src, import_iov};
use net::{Control, RecvMsg, SendMsg, SockAddr, Socket};
use task::Cx;
use vfs::File;

/// Most control data the length field of a message may claim.
const CONTROL_LEN_MAX: u64 = i32::MAX as u64;
const SECOND: u64 = 1_000_000_000;

/// A message header and its buffers, checked as Linux does on copying it in.
///
/// `named` takes the address in, which a receiver only gives room for.
fn read_header(
    cx: &Cx,
    at: UserPtr<MsgHdr>,
    named: impl FnOnce(&MsgHdr) -> Result<(), Errno>,
) -> Result<(MsgHdr, IovVec), Errno> {
    let mut head = at.read(cx.mm())?;
    if head.name == 0 {
        head.namelen = 0;
    }
    if head.namelen < 0 {
        return Err(Errno::EINVAL);
    }
    head.namelen = head.namelen.min(SOCKADDR_STORAGE as i32);
    named(&head)?;
    if head.iovlen > UIO_MAXIOV as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let iov = import_iov(cx.mm(), VirtAddr(head.iov), head.iovlen as usize)?;
    Ok((head, iov))
}

fn send_one(cx: &Cx, file: &File, at: UserPtr<MsgHdr>, flags: u32) -> Result<usize, Errno> {
    let socket = Socket::of(file)?;
    let mut to = None;
    let (head, iov) = read_header(cx, at, |head| {
        if head.namelen > 0 {
            to = Some(SockAddr::read(cx.mm(), VirtAddr(head.name), head.namelen)?);
        }
        Ok(())
    })?;
    let mut control = Control::default();
    if head.controllen > CONTROL_LEN_MAX {
        return Err(Errno::ENOBUFS);
    }
    if head.controllen > 0 {
        control::read(cx, VirtAddr(head.control), head.controllen as usize, &mut control)?;
    }
    let flags = call_flags(flags, file);
    let net = net_cx(cx);
    let mut msg = SendMsg {
        src: &mut Src::user_iov(cx.mm(), &iov),
        addr: to.as_ref(),
        control,
        flags,
        cred: cx.cred(),
        cx: Some(&net),
    };
    socket.send(&mut msg).inspect_err(|e| raise_sigpipe(cx, &**socket, flags, *e))
}

fn recv_one(cx: &Cx, file: &File, at: UserPtr<MsgHdr>, flags: u32) -> Result<usize, Errno> {
    let (head, iov) = read_header(cx, at, |_| Ok(()))?;
    let flags = call_flags(flags, file);
    let mut dst = Dst::user_iov(cx.mm(), &iov);
    let mut msg = RecvMsg::plain(&mut dst, flags);
    msg.wants_addr = head.name != 0;
    let n = Socket::of(file)?.recv(&mut msg)?;
    let RecvMsg { addr, control, out_flags, .. } = msg;
    let mut back = MsgHdr { pad0: 0, pad1: 0, ..head };
    if head.name != 0 {
        let addr = addr.unwrap_or_default();
        addr.write(cx.mm(), VirtAddr(head.name), head.namelen as usize)?;
        back.namelen = addr.len() as i32;
    }
    let mut writer = Writer::new(cx, VirtAddr(head.control), head.controllen.min(CONTROL_LEN_MAX) as usize);
    writer.put(control, flags)?;
    let mut told = out_flags | flags & MsgFlags::CMSG_CLOEXEC;
    told.set(MsgFlags::CTRUNC, writer.truncated);
    back.flags = told.bits();
    back.controllen = writer.used() as u64;
    at.write(cx.mm(), &back)?;
    Ok(n)
}

/// `MSG_CMSG_COMPAT`: the layout of 32-bit programs, which the kernel asks of itself for them; nobody else may.
const COMPAT: u32 = 0x8000_0000;

fn native(flags: u32) -> Result<u32, Errno> {
    if flags & COMPAT != 0 { Err(Errno::EINVAL) } else { Ok(flags) }
}

/// sendmsg(2).
pub fn sendmsg(cx: &mut Cx, fd: i32, msg: UserPtr<MsgHdr>, flags: u32) -> Result<usize, Errno> {
    let flags = native(flags)?;
    let file = socket_file(cx, fd)?;
    send_one(cx, &file, msg, flags)
}

/// recvmsg(2).
pub fn recvmsg(cx: &mut Cx, fd: i32, msg: UserPtr<MsgHdr>, flags: u32) -> Result<usize, Errno> {
    let flags = native(flags)?;
    let file = socket_file(cx, fd)?;
    recv_one(cx, &file, msg, flags)
}

/// The count field of element `i`.
fn count_of(vec: UserPtr<MmsgHdr>, i: usize) -> UserPtr<u32> {
    vec.at(i).byte_add(core::mem::offset_of!(MmsgHdr, len))
}

/// sendmmsg(2): how many were sent; an error only when none was.
pub fn sendmmsg(cx: &mut Cx, fd: i32, vec: UserPtr<MmsgHdr>, len: u32, flags: u32) -> Result<usize, Errno> {
    let flags = native(flags)?;
    let file = socket_file(cx, fd)?;
    for i in 0..(len as usize).min(UIO_MAXIOV) {
        let sent = send_one(cx, &file, vec.at(i).cast(), flags);
        let told = sent.and_then(|n| count_of(vec, i).write(cx.mm(), &(n as u32)));
        if let Err(e) = told {
            return if i > 0 { Ok(i) } else { Err(e) };
        }
        sched::cond_resched();
    }
    Ok((len as usize).min(UIO_MAXIOV))
}

/// recvmmsg(2): how many were received. As on Linux the time limit is looked at only between messages.
pub fn recvmmsg(
    cx: &mut Cx,
    fd: i32,
    vec: UserPtr<MmsgHdr>,
    len: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let flags = native(flags)?;
    let deadline = match timeout.non_null() {
        None => None,
        Some(at) => Some(deadline(at.read(cx.mm())?)?),
    };
    let file = socket_file(cx, fd)?;
    let wait_for_one = flags & MsgFlags::WAITFORONE.bits() != 0;
    let mut flags = flags & !MsgFlags::WAITFORONE.bits();
    let mut done = 0;
    while done < len as usize {
        let got = recv_one(cx, &file, vec.at(done).cast(), flags);
        if let Err(e) = got.and_then(|n| count_of(vec, done).write(cx.mm(), &(n as u32))) {
            if done == 0 {
                return Err(e);
            }
            break;
        }
        done += 1;
        if wait_for_one {
            flags |= MsgFlags::DONTWAIT.bits();
        }
        if deadline.is_some_and(|d| sched::now() >= d) {
            break;
        }
        sched::cond_resched();
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(sched::now());
        let left = Timespec { sec: (left / SECOND) as i64, nsec: (left % SECOND) as i64 };
        timeout.write(cx.mm(), &left)?;
    }
    Ok(done)
}

fn deadline(t: Timespec) -> Result<u64, Errno> {
    let sec = u64::try_from(t.sec).map_err(|_| Errno::EINVAL)?;
    let nsec = u64::try_from(t.nsec).ok().filter(|&n| n < SECOND).ok_or(Errno::EINVAL)?;
    Ok(sched::now().saturating_add(sec.saturating_mul(SECOND)).saturating_add(nsec))
}
