//! debugfs: files by which an administrator looks into the kernel and upsets it. Nobody else gets below its root.

use crate::tree::{Node, Store};
use abi::Errno;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::{Once, SpinLock};
use vfs::config::Plain;
use vfs::{Configure, FsType, Inode, SbFlags, StatFs, SuperBlock, SuperOps};

/// `statfs` type of debugfs.
const DEBUGFS_MAGIC: u64 = 0x6462_6720;

/// A file, and the directory it is in.
pub struct DebugFile {
    /// The directory below the root.
    pub dir: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Makes its text.
    pub show: fn() -> String,
    /// Takes what is written to it.
    pub store: Store,
}

static FILES: SpinLock<Vec<DebugFile>> = SpinLock::new(Vec::new());

/// Adds files; before the first mount.
pub fn add_files(files: impl IntoIterator<Item = DebugFile>) {
    FILES.lock().extend(files);
}

fn tree(sb: &Arc<SuperBlock>) -> Arc<Node> {
    let files = FILES.lock();
    let mut entries: Vec<(String, Arc<Node>)> = Vec::new();
    for file in files.iter() {
        if !entries.iter().any(|(name, _)| name == file.dir) {
            let inside = files.iter().filter(|f| f.dir == file.dir);
            entries.push((file.dir.into(), Node::dir(sb, inside.map(|f| (f.name.into(), node(sb, f))).collect())));
        }
    }
    Node::private_dir(sb, entries)
}

/// Unlike sysfs, debugfs gives its files no size.
fn node(sb: &Arc<SuperBlock>, file: &DebugFile) -> Arc<Node> {
    let node = Node::knob(sb, 0o644, file.show, file.store);
    node.base().set_size(0);
    node
}

pub(crate) struct DebugfsType;

impl FsType for DebugfsType {
    fn name(&self) -> &'static str {
        "debugfs"
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Plain(|_| Ok(DebugfsType::root()))))
    }
}

impl DebugfsType {
    fn root() -> Arc<Node> {
        static ROOT: Once<Arc<Node>> = Once::new();
        let root = ROOT.get_or_init(|| tree(&SuperBlock::new("debugfs", SbFlags::CACHE_NEGATIVE, Box::new(Debugfs))));
        root.clone()
    }
}

struct Debugfs;

impl SuperOps for Debugfs {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: DEBUGFS_MAGIC, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
}
