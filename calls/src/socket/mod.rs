//! Sockets: making, naming, connecting (socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), getsockname(2),
//! getpeername(2), shutdown(2)). Data: [`transfer`] and [`message`]; options: [`option`].

mod control;
mod message;
mod option;
mod transfer;

pub use message::{recvmmsg, recvmsg, sendmmsg, sendmsg};
pub use option::{getsockopt, setsockopt};
pub use transfer::{recvfrom, sendto};

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::socket::{SOMAXCONN, kind, shut};
use abi::stat::S_IFSOCK;
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::UserPtr;
use net::{NetCx, Shutdown, SockAddr, Socket, SocketOps};
use task::Cx;
use task::ns::nsfs;
use vfs::ns::Namespace;
use vfs::{AnonInode, Cap, File, Inode, SetAttr};

/// The open file behind a descriptor, which must be a socket.
fn socket_file(cx: &Cx, fd: i32) -> Result<Arc<File>, Errno> {
    let file = cx.files().get(fd)?;
    Socket::of(&file)?;
    Ok(file)
}

/// The caller as a socket sees it.
fn net_cx(cx: &Cx) -> NetCx<'_> {
    NetCx { caller: cx.caller(), fs: cx.fs(), kernel: false }
}

/// The flag bits of a type argument; EINVAL for unknown ones.
fn type_flags(flags: u32) -> Result<OpenFlags, Errno> {
    if flags & !(kind::SOCK_CLOEXEC | kind::SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    // SOCK_CLOEXEC and SOCK_NONBLOCK are O_CLOEXEC and O_NONBLOCK.
    Ok(OpenFlags::from_bits_retain(flags))
}

/// An open file for a socket.
fn new_file(cx: &Cx, ops: Arc<dyn SocketOps>, flags: OpenFlags) -> Arc<File> {
    let fs = vfs::anon::sockfs();
    let inode = AnonInode::new(fs.sb(), S_IFSOCK | 0o777);
    let cred = cx.cred();
    inode.base().apply(&SetAttr { uid: Some(cred.fsuid), gid: Some(cred.fsgid), ..SetAttr::default() });
    ops.common().set_ino(inode.base().ino());
    let place = fs.place(Arc::new(inode), b"socket", true);
    let keep = flags & OpenFlags::NONBLOCK;
    File::new(place, Socket::new(ops), keep | OpenFlags::RDWR, cred.clone())
}

/// socket(2).
pub fn socket(cx: &mut Cx, family: i32, kind: u32, protocol: i32) -> Result<i32, Errno> {
    let flags = type_flags(kind & !kind::TYPE_MASK)?;
    let ops = net::create(family, kind & kind::TYPE_MASK, protocol)?;
    cx.install(new_file(cx, ops, flags), flags.contains(OpenFlags::CLOEXEC))
}

/// socketpair(2).
pub fn socketpair(cx: &mut Cx, family: i32, kind: u32, protocol: i32, fds: UserPtr<[i32; 2]>) -> Result<(), Errno> {
    let flags = type_flags(kind & !kind::TYPE_MASK)?;
    // The place for the result is looked at before the sockets are.
    fds.write(cx.mm(), &[-1; 2])?;
    let (a, b) = net::create_pair(family, kind & kind::TYPE_MASK, protocol, &net_cx(cx))?;
    let (a, b) = (new_file(cx, a, flags), new_file(cx, b, flags));
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let first = cx.install(a, cloexec)?;
    let result = cx.install(b, cloexec).and_then(|second| {
        let told = fds.write(cx.mm(), &[first, second]);
        if told.is_err() {
            let _ = cx.files().close(second);
        }
        told
    });
    if result.is_err() {
        // The program never learned of the descriptors.
        let _ = cx.files().close(first);
    }
    result
}

/// bind(2).
pub fn bind(cx: &mut Cx, fd: i32, addr: VirtAddr, len: i32) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    let addr = SockAddr::read(cx.mm(), addr, len)?;
    Socket::of(&file)?.bind(&addr, &net_cx(cx))
}

/// listen(2). The backlog is read as an unsigned number and cut at `somaxconn`.
pub fn listen(cx: &mut Cx, fd: i32, backlog: i32) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    Socket::of(&file)?.listen((backlog as u32).min(SOMAXCONN as u32), &net_cx(cx))
}

/// accept(2).
pub fn accept(cx: &mut Cx, fd: i32, addr: VirtAddr, len: UserPtr<i32>) -> Result<i32, Errno> {
    accept4(cx, fd, addr, len, 0)
}

/// accept4(2).
pub fn accept4(cx: &mut Cx, fd: i32, addr: VirtAddr, len: UserPtr<i32>, flags: u32) -> Result<i32, Errno> {
    let file = cx.files().get(fd)?;
    let flags = type_flags(flags)?;
    let ops = Socket::of(&file)?.accept(file.is_nonblocking())?;
    let end = new_file(cx, ops, flags);
    if addr.0 != 0 {
        let peer = Socket::of(&end)?.peer_addr().map_err(|_| Errno::ECONNABORTED)?;
        write_addr(cx, &peer, addr, len)?;
    }
    cx.install(end, flags.contains(OpenFlags::CLOEXEC))
}

/// connect(2).
pub fn connect(cx: &mut Cx, fd: i32, addr: VirtAddr, len: i32) -> Result<(), Errno> {
    let file = cx.files().get(fd)?;
    let addr = SockAddr::read(cx.mm(), addr, len)?;
    Socket::of(&file)?.connect(&addr, file.is_nonblocking(), &net_cx(cx))
}

/// getsockname(2).
pub fn getsockname(cx: &mut Cx, fd: i32, addr: VirtAddr, len: UserPtr<i32>) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    let name = Socket::of(&file)?.local_addr()?;
    write_addr(cx, &name, addr, len)
}

/// getpeername(2).
pub fn getpeername(cx: &mut Cx, fd: i32, addr: VirtAddr, len: UserPtr<i32>) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    let name = Socket::of(&file)?.peer_addr()?;
    write_addr(cx, &name, addr, len)
}

/// shutdown(2).
pub fn shutdown(cx: &mut Cx, fd: i32, how: i32) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    let how = match how {
        shut::SHUT_RD => Shutdown { read: true, write: false },
        shut::SHUT_WR => Shutdown { read: false, write: true },
        shut::SHUT_RDWR => Shutdown { read: true, write: true },
        _ => return Err(Errno::EINVAL),
    };
    Socket::of(&file)?.shutdown(how)
}

/// Copies an address out, cut at the room that `len` says there is; `len` gets its full length.
fn write_addr(cx: &Cx, name: &SockAddr, addr: VirtAddr, len: UserPtr<i32>) -> Result<(), Errno> {
    let room = usize::try_from(len.read(cx.mm())?).map_err(|_| Errno::EINVAL)?;
    name.write(cx.mm(), addr, room)?;
    len.write(cx.mm(), &(name.len() as i32))
}

/// SIOCGSKNS: a descriptor of the socket's network namespace, for who is in charge of that.
pub(crate) fn open_namespace(cx: &Cx, file: &File) -> Result<i32, Errno> {
    let net = Socket::of(file)?.net().clone();
    if !cx.cred().capable_in(&net.owner(), Cap::NetAdmin) {
        return Err(Errno::EPERM);
    }
    nsfs::open(&cx.task, net, cx.cred())
}
