//! The root directory of an instance, and its nodes.

use crate::instance::Instance;
use crate::ptmx;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::stat::{S_IFCHR, S_IFDIR};
use alloc::sync::{Arc, Weak};
use core::any::Any;
use tty::{Tty, TtyFile};
use vfs::{
    Caller, Cred, DirSink, File, FileOps, FileType, Inode, InodeBase, Path, SetAttr, SuperBlock, emit_dots, makedev,
};

const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;

/// The directory: `ptmx` and the slaves.
pub struct Root {
    base: InodeBase,
    instance: Arc<Instance>,
    ptmx: Arc<dyn Inode>,
}

impl Root {
    /// The root of an instance; its `ptmx` belongs to who mounts it.
    pub fn new(sb: &Arc<SuperBlock>, instance: Arc<Instance>, cred: &Cred) -> Arc<Root> {
        let dev = makedev(ptmx::MAJOR, ptmx::MINOR);
        let mode = S_IFCHR | instance.options().ptmxmode;
        let ptmx = Node { base: InodeBase::new(sb, PTMX_INO, mode, cred.fsuid, cred.fsgid, dev) };
        let base = InodeBase::new(sb, ROOT_INO, S_IFDIR | 0o755, 0, 0, 0);
        Arc::new(Root { base, instance, ptmx: Arc::new(ptmx) })
    }
    /// Changes the permission bits of the `ptmx` node.
    pub fn set_ptmx_mode(&self, mode: u32) -> Result<(), Errno> {
        self.ptmx.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })
    }
    /// What it shows.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

/// The index a name stands for: decimal without leading zeroes.
fn index_of(name: &[u8]) -> Option<u32> {
    if name.len() > 1 && name.first() == Some(&b'0') || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

impl Inode for Root {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if name == b"ptmx" {
            return Ok(self.ptmx.clone());
        }
        index_of(name).and_then(|i| self.instance.find(i)).ok_or(Errno::ENOENT)
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(Arc::new(Listing { root: self }))
    }
}

/// The open directory.
struct Listing {
    root: Arc<Root>,
}

impl FileOps for Listing {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(mut pos) = emit_dots(f, pos, sink) else { return Ok(pos.min(1)) };
        // Position 2 is ptmx, 3 + N is slave N.
        if pos == PTMX_INO {
            if !sink.entry(pos + 1, PTMX_INO, FileType::CharDevice, b"ptmx") {
                return Ok(pos);
            }
            pos += 1;
        }
        while let Some(index) = u32::try_from(pos - 3).ok().and_then(|from| self.root.instance.next(from)) {
            let ino = crate::instance::FIRST_INO + u64::from(index);
            let name = alloc::format!("{index}");
            let next = u64::from(index) + 4;
            if !sink.entry(next, ino, FileType::CharDevice, name.as_bytes()) {
                return Ok(u64::from(index) + 3);
            }
            pos = next;
        }
        Ok(pos)
    }
}

/// A node opened by its number: ptmx.
struct Node {
    base: InodeBase,
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The node of a slave. It does not keep the terminal: a cached name must not keep the index in use.
pub struct Slave {
    base: InodeBase,
    tty: Weak<Tty>,
}

impl Slave {
    /// The node of `tty`.
    pub fn new(base: InodeBase, tty: &Arc<Tty>) -> Arc<Slave> {
        Arc::new(Slave { base, tty: Arc::downgrade(tty) })
    }
}

impl Inode for Slave {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn revalidate(&self) -> bool {
        self.tty.upgrade().is_some_and(|tty| !tty.is_orphan())
    }
    fn open(self: Arc<Self>, _: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(TtyFile::open(&self.tty.upgrade().ok_or(Errno::EIO)?, flags, caller, true)?)
    }
}
