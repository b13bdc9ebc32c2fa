//! Control messages between user memory and [`net::Control`] (cmsg(3), unix(7) "Ancillary messages").
//!
//! A message is a 16-byte header and data, padded to 8 bytes. On the way in SCM_RIGHTS turns descriptors into open files and
//! SCM_CREDENTIALS is checked against the caller; on the way out files get descriptors, as many as there is room for.

use abi::Errno;
use abi::resource::Resource;
use abi::socket::{CmsgHdr, MsgFlags, SCM_MAX_FD, SOL_SOCKET, Ucred, scm};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::UserPtr;
use net::Control;
use task::pidfd::{self, Identity};
use task::{Cx, tree};
use vfs::{Cap, File, ProcessId};
use zerocopy::IntoBytes;

const HEAD: usize = size_of::<CmsgHdr>();
/// Most control data one send takes (`net.core.optmem_max`).
const CONTROL_MAX: usize = 131_072;

/// Length with padding.
fn align(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// Reads the control data of a send.
pub fn read(cx: &Cx, at: VirtAddr, len: usize, out: &mut Control) -> Result<(), Errno> {
    if len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let base = UserPtr::<u8>::new(at);
    let mut pos = 0;
    // The loop and the length check are those of CMSG_FIRSTHDR, CMSG_OK and CMSG_NXTHDR.
    while pos + HEAD <= len {
        let head: CmsgHdr = base.byte_add::<CmsgHdr>(pos).read(cx.mm())?;
        let size = usize::try_from(head.len).ok().filter(|&n| n >= HEAD && n <= len - pos).ok_or(Errno::EINVAL)?;
        let data = base.byte_add::<u8>(pos + HEAD);
        if head.level == SOL_SOCKET {
            match head.kind {
                scm::SCM_RIGHTS => read_rights(cx, data.cast(), (size - HEAD) / 4, out)?,
                scm::SCM_CREDENTIALS if size == HEAD + size_of::<Ucred>() => {
                    let creds = checked(cx, data.cast::<Ucred>().read(cx.mm())?)?;
                    out.process = named(creds.pid);
                    out.creds = Some(creds);
                }
                _ => return Err(Errno::EINVAL),
            }
        }
        pos += align(size);
    }
    Ok(())
}

fn read_rights(cx: &Cx, fds: UserPtr<i32>, count: usize, out: &mut Control) -> Result<(), Errno> {
    if out.files.len() + count > SCM_MAX_FD {
        return Err(Errno::EINVAL);
    }
    out.file_limit = cx.process().limits.soft(Resource::Nofile);
    out.files.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    for i in 0..count {
        out.files.push(cx.files().get_any(fds.at(i).read(cx.mm())?)?);
    }
    Ok(())
}

/// A process may name itself with any of its ids; CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID allow others.
fn checked(cx: &Cx, claim: Ucred) -> Result<Ucred, Errno> {
    let cred = cx.cred();
    let pid = claim.pid == cx.process().nr() || cred.capable(Cap::SysAdmin);
    let kuid = cred.user_ns.kuid(claim.uid).ok_or(Errno::EINVAL)?;
    let kgid = cred.user_ns.kgid(claim.gid).ok_or(Errno::EINVAL)?;
    let uid = [cred.uid, cred.euid, cred.suid].contains(&kuid) || cred.capable_here(Cap::Setuid);
    let gid = [cred.gid, cred.egid, cred.sgid].contains(&kgid) || cred.capable_here(Cap::Setgid);
    if !(pid && uid && gid) {
        return Err(Errno::EPERM);
    }
    // As the sender knows it; the receiver gets his own number for it.
    let pid = cx.global_of(claim.pid).ok_or(Errno::ESRCH)?;
    Ok(Ucred { pid, uid: kuid, gid: kgid })
}

/// What names for good the process that a sender claims to be.
fn named(pid: i32) -> Option<ProcessId> {
    let process = tree::find_process(pid)?;
    let identity = Identity::of_process(&process).ok()?;
    Some(identity)
}

/// The user buffer that control data of a receive goes to.
pub struct Writer<'a> {
    cx: &'a Cx,
    at: UserPtr<u8>,
    room: usize,
    used: usize,
    /// Something did not fit.
    pub truncated: bool,
}

impl<'a> Writer<'a> {
    /// A buffer; NULL or length 0 for none.
    pub fn new(cx: &'a Cx, at: VirtAddr, len: usize) -> Writer<'a> {
        let room = if at.0 == 0 { 0 } else { len };
        Writer { cx, at: UserPtr::new(at), room, used: 0, truncated: false }
    }
    /// Bytes written, padding included.
    pub fn used(&self) -> usize {
        self.used
    }
    fn left(&self) -> usize {
        self.room - self.used
    }
    /// Writes what came along with a receive.
    pub fn put(&mut self, control: Control, flags: MsgFlags) -> Result<(), Errno> {
        if let Some(mut creds) = control.creds {
            creds.pid = self.cx.nr_of(creds.pid);
            let ns = &self.cx.cred().user_ns;
            (creds.uid, creds.gid) = (ns.show_uid(creds.uid), ns.show_gid(creds.gid));
            self.put_bytes(scm::SCM_CREDENTIALS, creds.as_bytes())?;
        }
        if !control.files.is_empty() {
            self.put_rights(control.files, flags.contains(MsgFlags::CMSG_CLOEXEC))?;
        }
        if control.wants_pidfd { self.put_pidfd(control.process) } else { Ok(()) }
    }
    /// Writes one message, cut where the buffer ends.
    fn put_bytes(&mut self, kind: i32, data: &[u8]) -> Result<(), Errno> {
        if self.left() < HEAD {
            self.truncated = true;
            return Ok(());
        }
        let len = (HEAD + data.len()).min(self.left());
        self.truncated |= len < HEAD + data.len();
        let body = data.get(..len - HEAD).unwrap_or(data);
        self.cx.mm().write_bytes(self.at.byte_add::<u8>(self.used + HEAD).addr(), body)?;
        self.finish(kind, len)
    }
    fn finish(&mut self, kind: i32, len: usize) -> Result<(), Errno> {
        let head = CmsgHdr { len: len as u64, level: SOL_SOCKET, kind };
        self.at.byte_add::<CmsgHdr>(self.used).write(self.cx.mm(), &head)?;
        self.used += align(len).min(self.left());
        Ok(())
    }
    /// Makes a pidfd of the sender. A receiver without room for a descriptor is told so in its place.
    fn put_pidfd(&mut self, process: Option<ProcessId>) -> Result<(), Errno> {
        if self.left() < HEAD + size_of::<i32>() {
            self.truncated = true;
            return Ok(());
        }
        let Some(process) = process.and_then(|p| p.downcast::<Identity>().ok()) else { return Ok(()) };
        let file = pidfd::new_file(&process, self.cx.cred());
        let fd = self.cx.install(file, true);
        let shown = fd.unwrap_or_else(|e| e.to_ret() as i32);
        let written = self.put_bytes(scm::SCM_PIDFD, shown.as_bytes());
        if let (Err(_), Ok(fd)) = (written, fd) {
            // The program never learns of it.
            let _ = self.cx.files().close(fd);
        }
        Ok(())
    }
    /// Gives the files descriptors, as many as fit; the rest is closed.
    fn put_rights(&mut self, files: Vec<Arc<File>>, cloexec: bool) -> Result<(), Errno> {
        let fits = self.left().saturating_sub(HEAD) / 4;
        let all = files.len();
        let mut done = 0;
        for file in files.into_iter().take(fits) {
            let Ok(fd) = self.cx.install(file, cloexec) else { break };
            let slot = self.at.byte_add::<i32>(self.used + HEAD + 4 * done);
            if slot.write(self.cx.mm(), &fd).is_err() {
                // The program never learns of this one.
                let _ = self.cx.files().close(fd);
                break;
            }
            done += 1;
        }
        self.truncated |= done < all;
        if done > 0 { self.finish(scm::SCM_RIGHTS, HEAD + 4 * done) } else { Ok(()) }
    }
}
