//! The tree of device nodes, made when it is first mounted and kept up to date from then on.

use abi::Errno;
use abi::stat::{S_IFCHR, S_IFDIR};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::kwarn;
use sched::Mutex;
use vfs::{Configure, Cred, FsType, Inode, Mounting, Param, SbFlags, Value};

struct Node {
    path: String,
    mode: u32,
    dev: u32,
}

struct Tree {
    /// Nodes that wait for the tree to be made.
    early: Vec<Node>,
    root: Option<Arc<dyn Inode>>,
}

static TREE: Mutex<Tree> = Mutex::new(Tree { early: Vec::new(), root: None });

/// Adds the node of a character device; `path` is relative to /dev, directories on the way are made.
pub fn add_node(path: &str, mode: u32, dev: u32) {
    let mut tree = TREE.lock();
    let node = Node { path: path.into(), mode, dev };
    match &tree.root {
        Some(root) => node.make_or_warn(root),
        None => tree.early.push(node),
    }
}

impl Node {
    fn make_or_warn(&self, root: &Arc<dyn Inode>) {
        if let Err(e) = self.make(root) {
            kwarn!("devtmpfs: no node {}: {}", self.path, e);
        }
    }

    fn make(&self, root: &Arc<dyn Inode>) -> Result<(), Errno> {
        let cred = Cred::root();
        let mut dir = root.clone();
        let mut parts = self.path.split('/').peekable();
        while let Some(name) = parts.next() {
            let guard = dir.base().lock.lock();
            let last = parts.peek().is_none();
            let mode = if last { S_IFCHR | self.mode } else { S_IFDIR | 0o755 };
            let dev = if last { self.dev } else { 0 };
            let next = match dir.lookup(name.as_bytes()) {
                Ok(_) if last => return Err(Errno::EEXIST),
                Ok(found) => found,
                Err(Errno::ENOENT) => dir.create(name.as_bytes(), mode, dev, &cred)?,
                Err(e) => return Err(e),
            };
            drop(guard);
            dir = next;
        }
        Ok(())
    }
}

/// The file system type.
pub struct DevTmpFs;

impl FsType for DevTmpFs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Asked::default()))
    }
}

/// It is one tmpfs, whose parameters a mount can name; there is nothing left to set.
#[derive(Default)]
struct Asked(tmpfs::Asked);

impl Configure for Asked {
    fn params(&self) -> &'static [Param] {
        self.0.params()
    }
    fn set(&mut self, name: &'static str, value: Value<'_>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        self.0.set(name, value, by)
    }
    fn create(&mut self, _: Option<&[u8]>, _: SbFlags, _: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let mut tree = TREE.lock();
        if let Some(root) = &tree.root {
            return Ok(root.clone());
        }
        let root = tmpfs::new_instance("devtmpfs", 0o755, SbFlags::empty());
        for node in core::mem::take(&mut tree.early) {
            node.make_or_warn(&root);
        }
        tree.root = Some(root.clone());
        Ok(root)
    }
}
