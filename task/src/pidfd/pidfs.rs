//! The file system of pidfds. User space cannot mount it, but bind and reopen what it sees of it, give it `trusted.*` attributes, and
//! turn it into file handles, which are inode numbers.

use super::{Identity, PidFd, THREAD};
use crate::jobs;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::pidfd::FILEID_KERNFS;
use abi::stat::{S_IFMT, magic};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::Once;
use vfs::superblock::{Export, Handle};
use vfs::{Attr, Caller, Cred, File, FileOps, Inode, InodeBase, Path, PseudoFs, SetAttr};

fn pidfs() -> &'static PseudoFs {
    static FS: Once<PseudoFs> = Once::new();
    FS.get_or_init(|| PseudoFs::exported("pidfs", magic::PIDFS, &Handles))
}

/// The root, where `FD_PIDFS_ROOT` leads.
pub fn root_place() -> Path {
    pidfs().root()
}

/// The inode of an identity.
pub struct PidInode {
    base: InodeBase,
    identity: Arc<Identity>,
}

impl PidInode {
    fn of(identity: &Arc<Identity>) -> Arc<PidInode> {
        let mut slot = identity.inode.lock();
        if let Some(inode) = slot.upgrade() {
            return inode;
        }
        let base = InodeBase::new(pidfs().sb(), identity.ino(), 0o100_700, 0, 0, 0);
        let inode = Arc::new(PidInode { base, identity: identity.clone() });
        *slot = Arc::downgrade(&inode);
        inode
    }
}

impl Inode for PidInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        let mut attr = self.base.attr_with(0, 0);
        // User space sees no type, as of all anonymous inodes.
        attr.mode &= !S_IFMT;
        Ok(attr)
    }
    fn set_attr(&self, _set: &SetAttr) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    fn open(self: Arc<Self>, _path: &Path, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(Arc::new(PidFd { identity: self.identity.clone(), autokill: false }))
    }
    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        trusted(name)?;
        self.identity.xattrs.get(name)
    }
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        trusted(name)?;
        self.identity.xattrs.set(name, value, flags)
    }
    fn list_xattr(&self) -> Result<Vec<u8>, Errno> {
        self.identity.xattrs.list()
    }
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        trusted(name)?;
        self.identity.xattrs.remove(name)
    }
}

fn trusted(name: &[u8]) -> Result<(), Errno> {
    if name.starts_with(b"trusted.") { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

fn place(identity: &Arc<Identity>) -> Path {
    // What shows descriptors knows pidfds by this name from the time when they were anonymous inodes.
    pidfs().place(PidInode::of(identity), b"anon_inode:[pidfd]", false)
}

/// A new open file for an identity.
pub(super) fn open(identity: &Arc<Identity>, flags: OpenFlags, cred: &Arc<Cred>, autokill: bool) -> Arc<File> {
    let ops = Arc::new(PidFd { identity: identity.clone(), autokill });
    let file = File::new(place(identity), ops, flags, cred.clone());
    if flags.contains(THREAD) {
        // Of other files this is a flag of open(2) alone; of a pidfd it says what it names. Its operations refuse no flag.
        let _ = file.set_flag(THREAD, true);
    }
    file
}

/// A pidfd of a process for whoever receives it over a socket.
pub fn new_file(identity: &Arc<Identity>, cred: &Arc<Cred>) -> Arc<File> {
    open(identity, OpenFlags::RDWR, cred, false)
}

/// File handles of pidfds.
struct Handles;

impl Export for Handles {
    fn encode(&self, inode: &Arc<dyn Inode>) -> Option<Handle> {
        let inode = inode.as_any().downcast_ref::<PidInode>()?;
        Some(Handle::new(FILEID_KERNFS, &inode.identity.ino().to_ne_bytes()))
    }
    /// Whoever sees the process may open it.
    fn permission(&self, flags: OpenFlags) -> Option<Result<(), Errno>> {
        let known = OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::NONBLOCK | OpenFlags::CLOEXEC | THREAD;
        let known = known | OpenFlags::LARGEFILE;
        Some(if known.contains(flags) { Ok(()) } else { Err(Errno::EINVAL) })
    }
    fn decode(&self, handle: &Handle) -> Option<Path> {
        if handle.kind() != FILEID_KERNFS {
            return None;
        }
        let ino = u64::from_ne_bytes(*handle.bytes().first_chunk()?);
        let identity = Identity::find(ino).filter(|i| i.end().is_none())?;
        let me = jobs::current()?;
        (identity.seen_by(&me) != 0).then(|| place(&identity))
    }
    fn open(&self, path: &Path, flags: OpenFlags, cred: &Arc<Cred>) -> Option<Arc<File>> {
        let inode = path.inode().as_any().downcast_ref::<PidInode>()?;
        Some(open(&inode.identity, (flags - OpenFlags::LARGEFILE - OpenFlags::WRONLY) | OpenFlags::RDWR, cred, false))
    }
}
