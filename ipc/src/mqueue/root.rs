//! The directory of a namespace's queues.

use super::file::{MqFile, Super};
use super::limits::MqLimits;
use crate::IpcNamespace;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::ipc::MqAttr;
use abi::stat::{S_IFDIR, S_ISVTX};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::{Once, SpinLock};
use vfs::{
    Attr, Caller, Cred, DirSink, File, FileOps, FileType, Inode, InodeBase, MntFlags, Mount, Path, SbFlags, SuperBlock,
    emit_dots,
};

/// What stat(2) counts for each entry, `.` and `..` among them.
const ENTRY_SIZE: u64 = 20;
/// Longest name.
const NAME_MAX: usize = 255;

/// The queues of a namespace; nothing is made before the first use.
#[derive(Default)]
pub struct Home {
    /// Settings.
    pub limits: MqLimits,
    made: Once<Made>,
}

struct Made {
    root: Arc<dyn Inode>,
    mnt: Arc<Mount>,
}

impl Home {
    fn made(&self, ns: &Arc<IpcNamespace>) -> &Made {
        self.made.get_or_init(|| {
            let flags = SbFlags::NODEV | SbFlags::NOEXEC;
            let sb = SuperBlock::owned("mqueue", flags, Box::new(Super), ns.user_ns().clone());
            let (uid, gid) = (ns.user_ns().root_uid().unwrap_or(0), ns.user_ns().kgid(0).unwrap_or(0));
            let base = InodeBase::new(&sb, 1, S_IFDIR | S_ISVTX | 0o777, uid, gid, 0);
            let root = Root { base, ns: Arc::downgrade(ns), entries: SpinLock::new(Entries::default()) };
            let root: Arc<dyn Inode> = Arc::new(root);
            let mnt = Mount::new(sb.root_dentry(&root), b"mqueue", MntFlags::INTERNAL);
            Made { root, mnt }
        })
    }
    /// The directory.
    pub(super) fn root(&self, ns: &Arc<IpcNamespace>) -> &Arc<dyn Inode> {
        &self.made(ns).root
    }
    /// The directory, where mq_open(2) starts.
    pub(super) fn place(&self, ns: &Arc<IpcNamespace>) -> Path {
        let mnt = self.made(ns).mnt.clone();
        Path { dentry: mnt.root().clone(), mnt }
    }
}

#[derive(Default)]
struct Entries {
    by_name: BTreeMap<Vec<u8>, u64>,
    /// By the position of a directory stream, which is never used twice.
    by_pos: BTreeMap<u64, (Vec<u8>, Arc<dyn Inode>)>,
    next: u64,
}

/// The directory.
pub(super) struct Root {
    base: InodeBase,
    ns: Weak<IpcNamespace>,
    entries: SpinLock<Entries>,
}

impl Root {
    /// Makes a queue; the directory's lock is held and the name is free.
    pub fn make(&self, name: &[u8], mode: u32, cred: &Cred, attr: Option<&MqAttr>) -> Result<Arc<dyn Inode>, Errno> {
        let ns = self.ns.upgrade().ok_or(Errno::EACCES)?;
        let inode: Arc<dyn Inode> = MqFile::new(self.base.sb(), &ns, mode, cred, attr)?;
        let mut entries = self.entries.lock();
        let pos = entries.next;
        entries.next += 1;
        entries.by_name.insert(name.to_vec(), pos);
        entries.by_pos.insert(pos, (name.to_vec(), inode.clone()));
        drop(entries);
        self.base.touch_mtime();
        Ok(inode)
    }
}

impl Inode for Root {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        let entries = self.entries.lock().by_name.len() as u64;
        Ok(self.base.attr_with((entries + 2) * ENTRY_SIZE, 0))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let entries = self.entries.lock();
        let found = entries.by_name.get(name).and_then(|pos| entries.by_pos.get(pos));
        found.map(|(_, inode)| inode.clone()).ok_or(Errno::ENOENT)
    }
    fn create(&self, name: &[u8], mode: u32, _rdev: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        if FileType::from_mode(mode) != FileType::Regular {
            return Err(Errno::EPERM);
        }
        self.make(name, mode, cred, None)
    }
    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        let mut entries = self.entries.lock();
        let pos = entries.by_name.remove(name).ok_or(Errno::ENOENT)?;
        let gone = entries.by_pos.remove(&pos);
        drop(entries);
        drop(gone);
        victim.base().dec_nlink();
        victim.base().touch_ctime();
        self.base.touch_mtime();
        Ok(())
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self)
    }
}

impl FileOps for Root {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(mut pos) = emit_dots(f, pos, sink) else { return Ok(pos.min(1)) };
        let entries = self.entries.lock();
        for (at, (name, inode)) in entries.by_pos.range(pos.saturating_sub(2)..) {
            if !sink.entry(at + 3, inode.base().ino(), FileType::Regular, name) {
                return Ok(pos);
            }
            pos = at + 3;
        }
        Ok(pos)
    }
}
