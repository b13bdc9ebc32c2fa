//! Inodes: what each kind of object in /proc is, how its names are found and listed.
//!
//! Inodes are made by lookup and live as long as their dentries. Those below a process's directory hold it weakly and stop being
//! valid ([`Inode::revalidate`]) when the process is gone.

use crate::dir::OpenDir;
use crate::file::TextFile;
use crate::options::{Options, hide};
use crate::pid::{self, Link, PidDir, PidEntry, Subject};
use crate::root::{self, Entry};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use core::any::Any;
use vfs::inode::generic_permission;
use vfs::{Attr, Caller, Cred, FileOps, FileType, Inode, InodeBase, Path, SetAttr, SuperBlock};

/// The size of a read that programs are told to prefer.
const BLOCK: u32 = 1024;

/// What an inode stands for.
pub enum What {
    /// The root directory.
    Root,
    /// A directory with a fixed table of entries.
    Dir(&'static [Entry]),
    /// A system-wide file.
    Text(&'static root::TextEntry),
    /// A system-wide file that is no text.
    Opened(root::Open),
    /// A symbolic link whose target depends on who reads it.
    SelfLink(root::LinkText),
    /// A directory of a process or thread.
    PidDir(Arc<Subject>, PidDir),
    /// A file of a process or thread.
    PidText(Arc<Subject>, &'static PidEntry),
    /// A magic link of a process or thread.
    PidLink(Arc<Subject>, Link),
}

/// An inode of /proc.
pub struct Node {
    base: InodeBase,
    /// What it stands for.
    pub what: What,
}

impl Node {
    /// A new inode.
    pub fn new(sb: &Arc<SuperBlock>, mode: u32, what: What) -> Arc<Node> {
        let (uid, gid) = match &what {
            What::PidDir(subject, _) | What::PidText(subject, _) | What::PidLink(subject, _) => subject.owner(),
            _ => (0, 0),
        };
        let ino = if matches!(what, What::Root) { 1 } else { vfs::next_ino() };
        Arc::new(Node { base: InodeBase::new(sb, ino, mode, uid, gid, 0), what })
    }
    /// The files of a process belong to whom it runs as now.
    fn follow_owner(&self) {
        if let Some((uid, gid)) = self.subject().map(|subject| subject.owner()) {
            self.base.apply(&SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() });
        }
    }
    fn options(&self) -> Option<&Options> {
        crate::options_of(self.base.sb())
    }
    fn subject(&self) -> Option<&Arc<Subject>> {
        match &self.what {
            What::PidDir(subject, _) | What::PidText(subject, _) | What::PidLink(subject, _) => Some(subject),
            _ => None,
        }
    }
}

/// The inode of an entry of a fixed table.
pub fn from_entry(sb: &Arc<SuperBlock>, entry: &'static Entry) -> Arc<dyn Inode> {
    match entry {
        Entry::Text(text) => Node::new(sb, FileType::Regular.mode() | text.mode, What::Text(text)),
        Entry::Opened(_, mode, open) => Node::new(sb, FileType::Regular.mode() | mode, What::Opened(*open)),
        Entry::Dir(_, entries) => Node::new(sb, FileType::Directory.mode() | 0o555, What::Dir(entries)),
        Entry::Link(_, target) => Node::new(sb, FileType::Symlink.mode() | 0o777, What::SelfLink(*target)),
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
        // Opening with O_TRUNC (`echo 1 > file`) is how shells write here.
        if set.mode.is_some() || set.uid.is_some() || set.gid.is_some() { Err(Errno::EPERM) } else { Ok(()) }
    }
    fn attr(&self) -> Result<Attr, Errno> {
        if let (What::PidDir(subject, _) | What::PidText(subject, _), Some(options)) = (&self.what, self.options())
            && !options.shows(subject, hide::INVISIBLE)
        {
            return Err(Errno::ENOENT);
        }
        self.follow_owner();
        Ok(Attr { blksize: BLOCK, ..self.base.attr_with(0, 0) })
    }
    fn permission(&self, cred: &Cred, mask: u32) -> Result<(), Errno> {
        if let (What::PidDir(subject, PidDir::Process), Some(options)) = (&self.what, self.options())
            && !options.shows(subject, hide::NO_ACCESS)
        {
            return Err(options.refusal());
        }
        if let What::Text(root::TextEntry { judge: Some(judge), mode, .. }) = &self.what {
            return if mask & !judge(cred, *mode) & 7 == 0 { Ok(()) } else { Err(Errno::EACCES) };
        }
        // What everybody may do needs no look at the process.
        if mask & !(self.base.mode() & 7) == 0 {
            return Ok(());
        }
        self.follow_owner();
        generic_permission(&self.base, cred, mask)
    }
    fn revalidate(&self) -> bool {
        match (&self.what, self.subject()) {
            (_, None) => true,
            (What::PidLink(_, Link::Fd(fd)), Some(subject)) => subject.has_fd(*fd),
            (What::PidLink(_, Link::Mapped(start, end)), Some(subject)) => subject.maps_file(*start, *end),
            (_, Some(subject)) => subject.is_alive(),
        }
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        match &self.what {
            What::Root => root::lookup(self.base.sb(), name),
            What::Dir(entries) => {
                let entry = entries.iter().find(|entry| entry.name().as_bytes() == name).ok_or(Errno::ENOENT)?;
                Ok(from_entry(self.base.sb(), entry))
            }
            What::PidDir(subject, dir) => pid::lookup(self.base.sb(), subject, *dir, name),
            _ => Err(Errno::ENOTDIR),
        }
    }
    fn readlink(&self) -> Result<Arc<[u8]>, Errno> {
        match &self.what {
            What::SelfLink(target) => target(crate::ns_of(self.base.sb())),
            What::PidLink(subject, link) => link.text(subject),
            _ => Err(Errno::EINVAL),
        }
    }
    fn magic_link(&self, cred: &Cred) -> Option<Result<Path, Errno>> {
        match &self.what {
            What::PidLink(subject, link) => Some(link.place(subject, cred)),
            _ => None,
        }
    }
    fn open(self: Arc<Self>, path: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        match &self.what {
            What::Root | What::Dir(_) | What::PidDir(..) => Ok(OpenDir::open(self)),
            What::Text(_) => Ok(TextFile::open(self)),
            What::Opened(open) => open(caller),
            What::PidText(subject, entry) => {
                subject.may_open(entry, caller.cred)?;
                if let Some(open) = entry.open {
                    return open(subject, flags);
                }
                Ok(TextFile::open(self))
            }
            _ => vfs::devices::open_special(&self.base, path, flags, caller),
        }
    }
}
