//! Cores for a server that listens on a socket: `kernel.core_pattern` `@PATH`, and with `@@PATH` the server says first what it wants.
//!
//! ```text
//! kernel                      server
//!   connect  ───────────────>  accept, SO_PEERPIDFD, PIDFD_GET_INFO
//!   Request  ───────────────>  (only @@)
//!            <───────────────  Answer
//!   mark     ───────────────>
//!   core     ───────────────>  until the end of file
//!            <───────────────  close, if it is to be waited for
//! ```
//!
//! Source: `linux/coredump.h`.

use super::helper;
use crate::Cx;
use abi::Errno;
use abi::socket::MsgFlags;
use abi::socket::family::AF_UNIX;
use abi::socket::kind::SOCK_STREAM;
use alloc::sync::Arc;
use mm::{Dst, Src};
use net::{Control, NetCx, RecvMsg, SendMsg, Shutdown, SockAddr, Socket};
use vfs::Cred;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of `sun_path`.
const UNIX_PATH_MAX: usize = 108;

/// What is done with a core: the kernel writes it, the server does, nobody does; the process ends only when the server has closed the connection.
pub(super) mod want {
    pub const KERNEL: u64 = 1;
    pub const USERSPACE: u64 = 1 << 1;
    pub const REJECT: u64 = 1 << 2;
    pub const WAIT: u64 = 1 << 3;
    /// One of these it has to be.
    pub const WHO: u64 = KERNEL | USERSPACE | REJECT;
}

/// What the kernel makes of the answer (`enum coredump_mark`).
mod mark {
    pub const REQACK: u32 = 0;
    pub const MINSIZE: u32 = 1;
    pub const MAXSIZE: u32 = 2;
    pub const UNSUPPORTED: u32 = 3;
    pub const CONFLICTING: u32 = 4;
}

/// `struct coredump_req`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Request {
    size: u32,
    size_ack: u32,
    mask: u64,
}

/// `struct coredump_ack`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Answer {
    size: u32,
    spare: u32,
    mask: u64,
}

/// A path has a component that leads upwards.
fn leads_up(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|part| part == b"..")
}

/// Whether a pattern that starts with `@` may be set: an absolute path after it or after a second one.
pub(super) fn is_valid(pattern: &[u8]) -> bool {
    let Some(path) = pattern.strip_prefix(b"@") else { return false };
    let path = path.strip_prefix(b"@").unwrap_or(path);
    path.first() == Some(&b'/') && path.len() < UNIX_PATH_MAX && !leads_up(pattern)
}

/// A connection to the server.
pub(crate) struct Connection {
    /// Closed with the last reference.
    socket: Arc<Socket>,
    cred: Arc<Cred>,
}

impl Connection {
    /// Connects to the socket file at `path` as the first process sees it. Spaces are kept for parameters to come.
    pub(super) fn open(cx: &Cx, path: &[u8]) -> Result<Arc<Connection>, Errno> {
        if path.first() != Some(&b'/') || path.contains(&b' ') || leads_up(path) || path.len() >= UNIX_PATH_MAX {
            return Err(Errno::EINVAL);
        }
        let socket = Socket::new(net::create(i32::from(AF_UNIX), SOCK_STREAM, 0)?);
        let fs = helper::first_fs()?;
        let by = NetCx { caller: cx.caller(), fs: &fs, kernel: true };
        socket.ops().connect(&SockAddr::of(AF_UNIX, path), true, &by)?;
        Ok(Arc::new(Connection { socket, cred: cx.cred().clone() }))
    }
    /// Sends some of `src`.
    pub(super) fn send(&self, src: &mut Src<'_>) -> Result<usize, Errno> {
        let (control, flags) = (Control::default(), MsgFlags::NOSIGNAL);
        self.socket.ops().send(&mut SendMsg { src, addr: None, control, flags, cred: &self.cred, cx: None })
    }
    fn send_all(&self, bytes: &[u8]) -> Result<(), Errno> {
        let mut src = Src::kernel(bytes);
        while src.remaining() > 0 {
            self.send(&mut src)?;
        }
        Ok(())
    }
    /// Receives exactly so many bytes.
    fn receive(&self, out: &mut [u8], flags: MsgFlags) -> Result<(), Errno> {
        let len = out.len();
        let mut dst = Dst::kernel(out);
        let got = self.socket.ops().recv(&mut RecvMsg::plain(&mut dst, flags | MsgFlags::WAITALL))?;
        if got == len { Ok(()) } else { Err(Errno::EIO) }
    }
    fn refuse(&self, mark: u32) -> Errno {
        // A server that does not listen any more need not be told.
        let _ = self.send_all(mark.as_bytes());
        Errno::EINVAL
    }
    /// Asks the server what it wants (`want`).
    pub(super) fn ask(&self) -> Result<u64, Errno> {
        let known = want::WHO | want::WAIT;
        let size_ack = size_of::<Answer>() as u32;
        self.send_all(Request { size: size_of::<Request>() as u32, size_ack, mask: known }.as_bytes())?;
        let mut size = [0; 4];
        self.receive(&mut size, MsgFlags::PEEK)?;
        let size = u32::from_ne_bytes(size);
        if size < size_ack {
            return Err(self.refuse(mark::MINSIZE));
        }
        if size > size_ack {
            return Err(self.refuse(mark::MAXSIZE));
        }
        let mut answer = Answer::new_zeroed();
        self.receive(answer.as_mut_bytes(), MsgFlags::empty())?;
        if answer.size != size {
            return Err(Errno::EINVAL);
        }
        if answer.mask & !known != 0 {
            return Err(self.refuse(mark::UNSUPPORTED));
        }
        if (answer.mask & want::WHO).count_ones() != 1 {
            return Err(self.refuse(mark::CONFLICTING));
        }
        if answer.spare != 0 {
            return Err(self.refuse(mark::UNSUPPORTED));
        }
        self.send_all(mark::REQACK.as_bytes())?;
        Ok(answer.mask)
    }
    /// Nothing more comes from here.
    pub(super) fn finish(&self) {
        // It fails only if the other end is gone, which is the same to this one.
        let _ = self.socket.ops().shutdown(Shutdown { read: false, write: true });
    }
    /// Waits until the server closes the connection or sends what it should not.
    pub(super) fn wait(&self) {
        let mut byte = [0];
        let _ = self.socket.ops().recv(&mut RecvMsg::plain(&mut Dst::kernel(&mut byte), MsgFlags::empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_an_absolute_path() {
        let long = [b"@/".as_slice(), &[b'x'; 107]].concat();
        for bad in [&b"@"[..], b"@x", b"@@", b"@@x", b"@@@/x", b"@/../x", b"@/x/..", b"@@/a/../b", &long[..]] {
            assert!(!is_valid(bad), "{}", bad.escape_ascii());
        }
        for good in [&b"@/run/s"[..], b"@@/run/s", b"@/a..b", &long[..long.len() - 1]] {
            assert!(is_valid(good), "{}", good.escape_ascii());
        }
    }
}
