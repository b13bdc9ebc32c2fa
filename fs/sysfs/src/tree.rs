//! Directories and files of a fixed tree.

use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use vfs::{
    Caller, DirSink, Dst, File, FileOps, FileType, Inode, InodeBase, Path, SetAttr, Src, SuperBlock, emit_dots,
    next_ino,
};

/// Size that Linux shows for every file of sysfs.
const FILE_SIZE: u64 = 4096;

enum What {
    Dir(Vec<(String, Arc<Node>)>),
    Text(String),
    /// Made at each read.
    Live(fn() -> String),
    /// Likewise, and what is written is acted on.
    Knob(fn() -> String, Store),
}

/// Acts on what was written to a file.
pub type Store = fn(&[u8]) -> Result<(), Errno>;

/// A directory or file.
pub struct Node {
    base: InodeBase,
    what: What,
}

impl Node {
    fn new(sb: &Arc<SuperBlock>, mode: u32, what: What) -> Arc<Node> {
        let node = Node { base: InodeBase::new(sb, next_ino(), mode, 0, 0, 0), what };
        if !matches!(node.what, What::Dir(_)) {
            node.base.set_size(FILE_SIZE);
        }
        Arc::new(node)
    }
    /// A directory with these entries.
    pub fn dir(sb: &Arc<SuperBlock>, entries: Vec<(String, Arc<Node>)>) -> Arc<Node> {
        Node::dir_of_mode(sb, 0o755, entries)
    }
    /// A directory that only its owner may enter.
    pub fn private_dir(sb: &Arc<SuperBlock>, entries: Vec<(String, Arc<Node>)>) -> Arc<Node> {
        Node::dir_of_mode(sb, 0o700, entries)
    }
    fn dir_of_mode(sb: &Arc<SuperBlock>, mode: u32, entries: Vec<(String, Arc<Node>)>) -> Arc<Node> {
        let dirs = entries.iter().filter(|(_, node)| matches!(node.what, What::Dir(_))).count();
        let node = Node::new(sb, FileType::Directory.mode() | mode, What::Dir(entries));
        node.base.set_nlink(2 + dirs as u32);
        node
    }
    /// A file with this text.
    pub fn text(sb: &Arc<SuperBlock>, text: String) -> Arc<Node> {
        Node::new(sb, FileType::Regular.mode() | 0o444, What::Text(text))
    }
}

impl Node {
    /// A file whose text is made at each read.
    pub fn live(sb: &Arc<SuperBlock>, show: fn() -> String) -> Arc<Node> {
        Node::new(sb, FileType::Regular.mode() | 0o444, What::Live(show))
    }
    /// A file with these permissions that can be written.
    pub fn knob(sb: &Arc<SuperBlock>, permissions: u32, show: fn() -> String, store: Store) -> Arc<Node> {
        Node::new(sb, FileType::Regular.mode() | permissions, What::Knob(show, store))
    }
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn set_attr(&self, set: &SetAttr) -> Result<(), Errno> {
        // Shells open with O_TRUNC to write.
        let truncates = set.mode.is_none() && set.uid.is_none() && set.gid.is_none();
        if truncates && matches!(self.what, What::Knob(..)) { Ok(()) } else { Err(Errno::EPERM) }
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let What::Dir(entries) = &self.what else { return Err(Errno::ENOTDIR) };
        let (_, node) = entries.iter().find(|(entry, _)| entry.as_bytes() == name).ok_or(Errno::ENOENT)?;
        Ok(node.clone())
    }
    fn open(self: Arc<Self>, _: &Path, flags: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        let only_written = flags.contains(OpenFlags::WRONLY);
        if only_written && matches!(self.what, What::Knob(..)) { Ok(Arc::new(Commands(self))) } else { Ok(self) }
    }
}

/// A file that takes commands, open for nothing else: a stream, so that they are carried out without the inode's lock, which
/// orders writes to what has contents.
struct Commands(Arc<Node>);

impl FileOps for Commands {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, off: u64) -> Result<usize, Errno> {
        self.0.write_at(f, src, off)
    }
    fn seekable(&self) -> bool {
        false
    }
}

impl FileOps for Node {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let made;
        let text = match &self.what {
            What::Text(text) => text,
            What::Live(show) | What::Knob(show, _) => {
                made = show();
                &made
            }
            What::Dir(_) => return Err(Errno::EISDIR),
        };
        match usize::try_from(off).ok().and_then(|off| text.as_bytes().get(off..)) {
            Some(rest) if !rest.is_empty() => dst.put(rest),
            _ => Ok(0),
        }
    }
    fn write_at(&self, _: &File, src: &mut Src<'_>, _: u64) -> Result<usize, Errno> {
        let What::Knob(_, store) = &self.what else { return Err(Errno::EIO) };
        let mut text = alloc::vec![0; src.remaining().min(FILE_SIZE as usize)];
        let n = src.get(&mut text)?;
        store(text.get(..n).unwrap_or_default())?;
        Ok(n)
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let What::Dir(entries) = &self.what else { return Err(Errno::ENOTDIR) };
        let Some(mut at) = emit_dots(f, pos, sink) else { return Ok(pos.min(1)) };
        let first = usize::try_from(at - 2).unwrap_or(usize::MAX);
        for (name, node) in entries.iter().skip(first) {
            if !sink.entry(at + 1, node.base.ino(), node.base.kind(), name.as_bytes()) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }
}
