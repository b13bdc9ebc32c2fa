//! One mounted devpts: its options and its ptys.

use crate::limits;
use crate::options::{Asked, Options};
use crate::root::Root;
use abi::Errno;
use abi::stat::{S_IFCHR, magic};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use machine::sync::SpinLock;
use tty::pty::Master;
use vfs::ns::{Namespace, NsKind};
use vfs::{Configure, Cred, FsType, Inode, InodeBase, Mounting, SbFlags, StatFs, SuperBlock, SuperOps};

/// The type mount(2) knows as `devpts`.
pub struct DevPts;

impl FsType for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Asked::default()))
    }
}

/// The state behind one superblock.
pub struct Instance {
    options: SpinLock<Options>,
    may_use_reserve: bool,
    ptys: SpinLock<BTreeMap<u32, Slot>>,
}

/// An index in use.
enum Slot {
    /// Its pty is being made, or its master is gone and its slave still open.
    Reserved,
    /// The node of a slave.
    Node(Arc<dyn Inode>),
}

/// The first inode numbers: root, ptmx, then the slaves in order (as on Linux).
pub const FIRST_INO: u64 = 3;

impl Instance {
    /// A new one; gives its root.
    pub fn create(options: Options, flags: SbFlags, by: &Mounting<'_>) -> Arc<dyn Inode> {
        let instance = Arc::new(Instance {
            options: SpinLock::new(options),
            may_use_reserve: by.dirs.ns.id() == NsKind::Mnt.first().id,
            ptys: SpinLock::new(BTreeMap::new()),
        });
        let flags = flags | SbFlags::REVALIDATE;
        let sb = SuperBlock::owned("devpts", flags, Box::new(Super(instance.clone())), by.user_ns.clone());
        // Its devices are harmless wherever they are.
        sb.set_flags(SbFlags::NODEV, SbFlags::empty());
        Root::new(&sb, instance, by.cred())
    }
    /// As mounted or changed.
    pub fn options(&self) -> Options {
        *self.options.lock()
    }
    /// Changes them; nodes that exist stay as they are.
    pub fn set_options(&self, options: Options) {
        *self.options.lock() = options;
    }
    /// Takes the lowest free index; ENOSPC when all are in use.
    pub fn reserve(self: &Arc<Instance>) -> Result<Index, Errno> {
        let max = self.options().max;
        let share = limits::take(self.may_use_reserve)?;
        let mut ptys = self.ptys.lock();
        let free = ptys.keys().zip(0u32..).find(|(used, i)| *used != i).map_or(ptys.len() as u32, |(_, i)| i);
        if free >= max {
            return Err(Errno::ENOSPC);
        }
        ptys.insert(free, Slot::Reserved);
        Ok(Index { instance: self.clone(), number: free, _share: share })
    }
    /// Puts the node of a new pty at its index.
    pub fn install(&self, sb: &Arc<SuperBlock>, index: u32, master: &Master, cred: &Cred) {
        let o = self.options();
        let (uid, gid) = (o.uid.unwrap_or(cred.fsuid), o.gid.unwrap_or(cred.fsgid));
        let ino = FIRST_INO + u64::from(index);
        let base = InodeBase::new(sb, ino, S_IFCHR | o.mode, uid, gid, master.tty().dev());
        let node = crate::root::Slave::new(base, master.tty());
        self.ptys.lock().insert(index, Slot::Node(node));
    }
    /// Removes the node of a slave; its index stays in use.
    pub fn remove_node(&self, index: u32) {
        let gone = self.ptys.lock().insert(index, Slot::Reserved);
        drop(gone);
    }
    /// The node of a slave.
    pub fn find(&self, index: u32) -> Option<Arc<dyn Inode>> {
        match self.ptys.lock().get(&index)? {
            Slot::Node(node) => Some(node.clone()),
            Slot::Reserved => None,
        }
    }
    /// The first slave with an index of at least `from`.
    pub fn next(&self, from: u32) -> Option<u32> {
        self.ptys.lock().range(from..).find(|(_, s)| matches!(s, Slot::Node(_))).map(|(i, _)| *i)
    }
}

/// An index in use; given back when dropped.
pub struct Index {
    instance: Arc<Instance>,
    number: u32,
    _share: limits::Share,
}

impl Index {
    /// The index.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let gone = self.instance.ptys.lock().remove(&self.number);
        drop(gone);
    }
}

struct Super(Arc<Instance>);

impl SuperOps for Super {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: magic::DEVPTS, bsize: 1024, namelen: 255, ..StatFs::default() })
    }
    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let o = self.0.options();
        if let Some(uid) = o.uid {
            write!(out, ",uid={uid}")?;
        }
        if let Some(gid) = o.gid {
            write!(out, ",gid={gid}")?;
        }
        write!(out, ",mode={:03o},ptmxmode={:03o}", o.mode, o.ptmxmode)?;
        if o.max < crate::options::MAX {
            write!(out, ",max={}", o.max)?;
        }
        Ok(())
    }
    fn configure(&self) -> Box<dyn Configure> {
        Box::new(Asked::change(self.0.clone()))
    }
}

/// The instance a root or a node of it belongs to.
pub fn instance_of(inode: &dyn Any) -> Option<&Arc<Instance>> {
    inode.downcast_ref::<Root>().map(Root::instance)
}
