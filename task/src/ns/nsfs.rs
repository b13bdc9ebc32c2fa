//! nsfs: namespaces as files (namespaces(7), ioctl_nsfs(2)). `/proc/PID/ns/*` lead here.
//!
//! An open file, a bind mount or a path that leads here keeps the namespace alive. The inode number says which namespace it is.

use super::PidNamespace;
use crate::Cx;
use crate::task::Task;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::stat::magic;
use alloc::sync::Arc;
use core::any::Any;
use machine::VirtAddr;
use machine::sync::Once;
use vfs::ns::{self, Namespace, NsKind};
use vfs::superblock::{Export, Handle};
use vfs::user_ns::UserNamespace;
use vfs::{Attr, Caller, Cap, Cred, File, FileOps, Inode, InodeBase, MountNamespace, Path, PseudoFs, SetAttr};
use zerocopy::IntoBytes;

/// Commands of ioctl_nsfs(2), from `linux/nsfs.h`.
mod cmd {
    pub const GET_USERNS: u32 = 0xb701;
    pub const GET_PARENT: u32 = 0xb702;
    pub const GET_NSTYPE: u32 = 0xb703;
    pub const GET_OWNER_UID: u32 = 0xb704;
    pub const GET_MNTNS_ID: u32 = 0x8008_b705;
    pub const GET_PID_FROM_PIDNS: u32 = 0x8004_b706;
    pub const GET_TGID_FROM_PIDNS: u32 = 0x8004_b707;
    pub const GET_PID_IN_PIDNS: u32 = 0x8004_b708;
    pub const GET_TGID_IN_PIDNS: u32 = 0x8004_b709;
    pub const GET_ID: u32 = 0x8008_b70d;
    /// The commands whose size says which version of `struct mnt_ns_info` is meant, without the size.
    pub const MNT_GET_INFO: u32 = 0x8000_b70a;
    pub const MNT_GET_NEXT: u32 = 0x8000_b70b;
    pub const MNT_GET_PREV: u32 = 0x8000_b70c;
    pub const WITHOUT_SIZE: u32 = 0xc000_ffff;
}

/// Bytes of `struct mnt_ns_info`.
const INFO_SIZE: usize = 16;

fn fs() -> &'static PseudoFs {
    static FS: Once<PseudoFs> = Once::new();
    FS.get_or_init(|| PseudoFs::exported("nsfs", magic::NSFS, &Handles))
}

/// The root, where `FD_NSFS_ROOT` leads.
pub fn root_place() -> Path {
    fs().root()
}

/// `handle_type` of `struct nsfs_file_handle`: identity, kind, inode number.
const FILEID_NSFS: i32 = 0xf1;

/// File handles: who is in a namespace may open its handle, and who sees all.
struct Handles;

impl Export for Handles {
    fn encode(&self, inode: &Arc<dyn Inode>) -> Option<Handle> {
        let ns = inode.namespace()?;
        let [id, rest] = [ns.id(), ns.kind().clone_flag() | u64::from(ns.inum()) << 32];
        Some(Handle::new(FILEID_NSFS, [id, rest].as_bytes()))
    }
    fn permission(&self, _flags: OpenFlags) -> Option<Result<(), Errno>> {
        Some(Ok(()))
    }
    fn decode(&self, handle: &Handle) -> Option<Path> {
        let (id, rest) = handle.bytes().split_first_chunk::<8>()?;
        let (rest, more) = rest.split_first_chunk::<8>()?;
        let (id, rest) = (u64::from_ne_bytes(*id), u64::from_ne_bytes(*rest));
        let (kind, inum) = (rest & u64::from(u32::MAX), rest >> 32);
        // Kind and number are left out together or not at all.
        if handle.kind() != FILEID_NSFS || more.iter().any(|b| *b != 0) || (kind == 0) != (inum == 0) {
            return None;
        }
        let ns = ns::find(id)?;
        if kind != 0 && kind != ns.kind().clone_flag() || inum != 0 && inum != u64::from(ns.inum()) {
            return None;
        }
        let me = crate::current()?;
        (is_current(&me, &*ns) || sees_all(&me, &me.cred())).then(|| path_of(ns))
    }
}

/// The inode of a namespace.
struct NsInode {
    base: InodeBase,
    ns: Arc<dyn Namespace>,
}

impl Inode for NsInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn namespace(&self) -> Option<&Arc<dyn Namespace>> {
        Some(&self.ns)
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.base.attr_with(0, 0))
    }
    fn set_attr(&self, _set: &SetAttr) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    fn open(self: Arc<Self>, _: &Path, flags: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        if flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR) {
            return Err(Errno::EPERM);
        }
        Ok(Arc::new(NsFile(self.ns.clone())))
    }
}

/// The file of a namespace.
pub fn path_of(ns: Arc<dyn Namespace>) -> Path {
    let name = ns.kind().name().as_bytes();
    let base = InodeBase::new(fs().sb(), ns.inum().into(), 0o100444, 0, 0, 0);
    fs().place(Arc::new(NsInode { base, ns }), name, true)
}

/// An open file of a namespace.
pub struct NsFile(Arc<dyn Namespace>);

impl NsFile {
    /// Which namespace.
    pub fn namespace(&self) -> &Arc<dyn Namespace> {
        &self.0
    }
}

/// An open file of a namespace.
pub fn file_of(ns: Arc<dyn Namespace>, cred: &Arc<Cred>) -> Arc<File> {
    File::new(path_of(ns.clone()), Arc::new(NsFile(ns)), OpenFlags::empty(), cred.clone())
}

/// Opens the file of a namespace for the running thread; closed on exec.
pub fn open(me: &Task, ns: Arc<dyn Namespace>, cred: &Arc<Cred>) -> Result<i32, Errno> {
    let file = file_of(ns, cred);
    let limit = me.process().limits.nofile();
    me.files().ok_or(Errno::EBADF)?.install(file, true, limit)
}

/// The caller is in the first pid namespace and in charge there: it may know of every namespace.
pub fn sees_all(me: &Task, cred: &Cred) -> bool {
    me.pid_ns().level() == 0 && cred.capable(Cap::SysAdmin)
}

/// The running thread is in `ns`, which it then may see.
pub fn is_current(me: &Task, ns: &dyn Namespace) -> bool {
    super::of_task(me, super::Which::Own(ns.kind())).is_some_and(|own| own.id() == ns.id())
}

impl FileOps for NsFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn can_read(&self) -> bool {
        false
    }
    fn can_write(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        Some(Err(Errno::ESPIPE))
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, command: u32, arg: u64) -> Result<i64, Errno> {
        let me = crate::current().ok_or(Errno::ENOTTY)?;
        let ns = &self.0;
        let at = VirtAddr(arg);
        match command {
            cmd::GET_USERNS => return open(&me, owner(ns, caller.cred)?, caller.cred).map(i64::from),
            cmd::GET_PARENT => return open(&me, parent(&me, ns, caller.cred)?, caller.cred).map(i64::from),
            cmd::GET_NSTYPE => return Ok(ns.kind().clone_flag() as i64),
            cmd::GET_OWNER_UID => {
                let user = ns.downcast_ref::<UserNamespace>().ok_or(Errno::EINVAL)?;
                let uid = caller.cred.user_ns.show_uid(user.owner_uid());
                return caller.mm.write_bytes(at, uid.as_bytes()).map(|()| 0);
            }
            cmd::GET_PID_FROM_PIDNS | cmd::GET_TGID_FROM_PIDNS | cmd::GET_PID_IN_PIDNS | cmd::GET_TGID_IN_PIDNS => {
                let pid_ns = ns.downcast_ref::<PidNamespace>().ok_or(Errno::EINVAL)?;
                return translate(&me, pid_ns, command, arg as i32).map(i64::from);
            }
            cmd::GET_MNTNS_ID if ns.kind() != NsKind::Mnt => return Err(Errno::EINVAL),
            cmd::GET_MNTNS_ID | cmd::GET_ID => return caller.mm.write_bytes(at, ns.id().as_bytes()).map(|()| 0),
            _ => {}
        }
        let size = (command >> 16 & 0x3fff) as usize;
        let extensible = command & cmd::WITHOUT_SIZE;
        let next = extensible == cmd::MNT_GET_NEXT;
        if !next && extensible != cmd::MNT_GET_PREV && extensible != cmd::MNT_GET_INFO || size < INFO_SIZE {
            return Err(Errno::ENOTTY);
        }
        if extensible != cmd::MNT_GET_INFO && !sees_all(&me, caller.cred) {
            return Err(Errno::EPERM);
        }
        let mnt = ns.downcast_ref::<MountNamespace>().ok_or(Errno::EINVAL)?;
        if extensible == cmd::MNT_GET_INFO {
            if arg == 0 {
                return Err(Errno::EINVAL);
            }
            return caller.mm.write_bytes(at, &info(mnt)).map(|()| 0);
        }
        let is_mnt = |n: &Arc<dyn Namespace>| n.kind() == NsKind::Mnt;
        let other = if next { ns::next_after(ns.id(), is_mnt) } else { ns::last_before(ns.id(), is_mnt) };
        let other = other.ok_or(Errno::ENOENT)?;
        if let Some(mnt) = other.downcast_ref::<MountNamespace>().filter(|_| arg != 0) {
            caller.mm.write_bytes(at, &info(mnt))?;
        }
        open(&me, other, caller.cred).map(i64::from)
    }
}

/// `struct mnt_ns_info`: size, number of mounts without the bottom one, identity.
fn info(ns: &MountNamespace) -> [u8; INFO_SIZE] {
    let mounts = (ns.mounts().len() as u64).saturating_sub(1);
    let words = [INFO_SIZE as u64 | mounts << 32, ns.id()];
    let mut out = [0; INFO_SIZE];
    out.copy_from_slice(words.as_bytes());
    out
}

/// The owner of a namespace, if there is one in the caller's user namespace.
fn owner(ns: &Arc<dyn Namespace>, cred: &Cred) -> Result<Arc<UserNamespace>, Errno> {
    ns.head().named_owner().filter(|owner| owner.is_in(&cred.user_ns)).cloned().ok_or(Errno::EPERM)
}

/// `NS_GET_PARENT`.
fn parent(me: &Task, ns: &Arc<dyn Namespace>, cred: &Cred) -> Result<Arc<dyn Namespace>, Errno> {
    if let Some(pid) = ns.downcast_ref::<PidNamespace>() {
        let up = pid.parent().filter(|up| up.is_in(me.pid_ns())).ok_or(Errno::EPERM)?;
        return Ok(up.clone());
    }
    let user = ns.downcast_ref::<UserNamespace>().ok_or(Errno::EINVAL)?;
    let up = user.parent().filter(|up| up.is_in(&cred.user_ns)).ok_or(Errno::EPERM)?;
    Ok(up.clone())
}

/// A number of one namespace as the other has it; ESRCH when it names no thread, or one that is not visible there.
fn translate(me: &Task, ns: &PidNamespace, command: u32, nr: i32) -> Result<i32, Errno> {
    let mine = me.pid_ns();
    let inwards = matches!(command, cmd::GET_PID_IN_PIDNS | cmd::GET_TGID_IN_PIDNS);
    let (from, to): (&PidNamespace, &PidNamespace) = if inwards { (mine, ns) } else { (ns, mine) };
    let task = from.find_task(nr).ok_or(Errno::ESRCH)?;
    let whole = matches!(command, cmd::GET_TGID_FROM_PIDNS | cmd::GET_TGID_IN_PIDNS);
    let nr = if whole { task.process().number().nr_in(to) } else { to.nr_of(task.tid()) };
    if nr == 0 { Err(Errno::ESRCH) } else { Ok(nr) }
}

/// The namespace of an open file of nsfs.
pub fn of_fd(cx: &Cx, fd: i32) -> Result<Arc<dyn Namespace>, Errno> {
    let file = cx.files().get(fd)?;
    file.ops_as::<NsFile>().map(|f| f.0.clone()).ok_or(Errno::EINVAL)
}
