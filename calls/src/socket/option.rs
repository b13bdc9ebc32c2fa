//! getsockopt(2) and setsockopt(2).

use super::{net_cx, socket_file};
use abi::Errno;
use abi::socket::{SOL_SOCKET, Ucred, so};
use machine::VirtAddr;
use mm::UserPtr;
use net::{Socket, options};
use task::Cx;
use task::pidfd::{self, Identity};
use vfs::File;
use zerocopy::{FromBytes, IntoBytes};

/// The longest value any option takes.
const VALUE_MAX: usize = 128;

/// getsockopt(2): the value is cut at the length the caller gave.
pub fn getsockopt(
    cx: &mut Cx,
    fd: i32,
    level: i32,
    name: i32,
    value: VirtAddr,
    len: UserPtr<i32>,
) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    let room = usize::try_from(len.read(cx.mm())?).map_err(|_| Errno::EINVAL)?;
    if (level, name) == (SOL_SOCKET, so::PEERPIDFD) {
        return peer_pidfd(cx, &file, value, len, room);
    }
    if (level, name) == (SOL_SOCKET, so::PEERGROUPS) {
        return peer_groups(cx, &file, value, len, room);
    }
    let mut bytes = options::get(&**Socket::of(&file)?, level, name)?;
    if (level, name) == (SOL_SOCKET, so::PEERCRED)
        && let Ok(peer) = Ucred::read_from_bytes(&bytes)
    {
        let ns = &cx.cred().user_ns;
        let seen = Ucred { pid: cx.nr_of(peer.pid), uid: ns.show_uid(peer.uid), gid: ns.show_gid(peer.gid) };
        bytes.copy_from_slice(seen.as_bytes());
    }
    let n = bytes.len().min(room);
    cx.mm().write_bytes(value, bytes.get(..n).unwrap_or_default())?;
    len.write(cx.mm(), &(n as i32))
}

/// SO_PEERPIDFD: a pidfd of the process at the other end, reaped or not.
fn peer_pidfd(cx: &Cx, file: &File, value: VirtAddr, len: UserPtr<i32>, room: usize) -> Result<(), Errno> {
    let peer = Socket::of(file)?.peer_process().and_then(|p| p.downcast::<Identity>().ok());
    let fd = cx.install(pidfd::new_file(&peer.ok_or(Errno::ENODATA)?, cx.cred()), true)?;
    let n = room.min(size_of::<i32>());
    let told = cx.mm().write_bytes(value, fd.as_bytes().get(..n).unwrap_or_default());
    let told = told.and_then(|()| len.write(cx.mm(), &(n as i32)));
    if told.is_err() {
        // The program never learns of it.
        let _ = cx.files().close(fd);
    }
    told
}

/// SO_PEERGROUPS: the supplementary groups of the other end; ERANGE, with the length there is, when they do not fit.
fn peer_groups(cx: &Cx, file: &File, value: VirtAddr, len: UserPtr<i32>, room: usize) -> Result<(), Errno> {
    let peer = Socket::of(file)?.peer_cred().ok_or(Errno::ENODATA)?;
    let size = size_of_val(peer.groups.as_slice());
    if room >= size {
        let to = UserPtr::<u32>::new(value);
        for (i, gid) in peer.groups.iter().enumerate() {
            to.at(i).write(cx.mm(), &cx.cred().user_ns.show_gid(*gid))?;
        }
    }
    len.write(cx.mm(), &(size as i32))?;
    if room >= size { Ok(()) } else { Err(Errno::ERANGE) }
}

/// setsockopt(2).
pub fn setsockopt(cx: &mut Cx, fd: i32, level: i32, name: i32, value: VirtAddr, len: i32) -> Result<(), Errno> {
    let file = socket_file(cx, fd)?;
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    let mut bytes = [0; VALUE_MAX];
    let bytes = bytes.get_mut(..len.min(VALUE_MAX)).unwrap_or_default();
    cx.mm().read_bytes(value, bytes)?;
    options::set(&**Socket::of(&file)?, level, name, bytes, &net_cx(cx))
}
