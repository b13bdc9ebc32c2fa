//! Directories of groups.

use crate::control::{CONTROLS, Control};
use crate::file::ControlFile;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::SpinLock;
use task::cgroup::{Cgroup, Directory, Notice};
use vfs::xattrs::Xattrs;
use vfs::{
    Attr, Caller, Cred, DirSink, File, FileOps, FileType, Inode, InodeBase, Path, SuperBlock, emit_dots, may, next_ino,
};

/// The directory of a group.
pub struct Dir {
    base: InodeBase,
    group: Arc<Cgroup>,
    me: Weak<Dir>,
    /// Subdirectories in the order they were made, with the positions their listings have.
    children: SpinLock<Vec<(u64, Arc<Dir>)>>,
    /// Control files that were looked up: owners, modes and watches stay with them.
    files: SpinLock<Vec<Arc<ControlFile>>>,
    xattrs: Xattrs,
}

/// Positions of subdirectories in a listing start here.
const FIRST_DIR: u64 = 0x1000;

impl Dir {
    fn new(sb: &Arc<SuperBlock>, ino: u64, mode: u32, owner: (u32, u32), group: &Arc<Cgroup>) -> Arc<Dir> {
        let dir = Arc::new_cyclic(|me| Dir {
            base: InodeBase::new(sb, ino, FileType::Directory.mode() | mode, owner.0, owner.1, 0),
            group: group.clone(),
            me: me.clone(),
            children: SpinLock::new(Vec::new()),
            files: SpinLock::new(Vec::new()),
            xattrs: Xattrs::new(),
        });
        let weak: Weak<dyn Directory> = Arc::downgrade(&dir) as Weak<dyn Directory>;
        group.set_directory(weak);
        dir
    }
    /// The directory of the root group.
    pub fn root(sb: &Arc<SuperBlock>, group: &Arc<Cgroup>) -> Arc<Dir> {
        Dir::new(sb, 1, 0o755, (0, 0), group)
    }
    /// The group.
    pub fn group(&self) -> &Arc<Cgroup> {
        &self.group
    }
    /// The children have other controllers: files of those they have lost are forgotten, with their owners and modes.
    pub fn controls_changed(&self) {
        let children: Vec<_> = self.children.lock().iter().map(|(_, d)| d.clone()).collect();
        for child in children {
            let mut files = child.files.lock();
            let (kept, gone): (Vec<_>, Vec<_>) = files.drain(..).partition(|f| f.control.is_in(&child.group));
            *files = kept;
            drop(files);
            drop(gone);
        }
    }
    fn control_file(&self, control: &'static Control) -> Result<Arc<ControlFile>, Errno> {
        let find = |files: &Vec<Arc<ControlFile>>| files.iter().find(|f| f.control.name == control.name).cloned();
        if let Some(file) = find(&self.files.lock()) {
            return Ok(file);
        }
        let owner = (self.base.uid(), self.base.gid());
        let new = Arc::new(ControlFile::new(self.base.sb(), control, &self.me, owner));
        let mut files = self.files.lock();
        if let Some(file) = find(&files) {
            return Ok(file);
        }
        files.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        files.push(new.clone());
        Ok(new)
    }
    fn controls(&self) -> impl Iterator<Item = &'static Control> {
        CONTROLS.iter().filter(|c| c.is_in(&self.group))
    }
}

impl Directory for Dir {
    fn may_move(&self, cred: &Cred) -> Result<(), Errno> {
        let procs = self.controls().find(|c| c.name == "cgroup.procs").ok_or(Errno::ENOENT)?;
        self.control_file(procs)?.permission(cred, may::WRITE)
    }
    fn changed(&self, what: Notice) {
        // Who watches or polls a file has looked it up.
        let file = self.files.lock().iter().find(|f| f.control.notice == Some(what)).cloned();
        if let Some(file) = file {
            file.changed();
        }
    }
}

impl Inode for Dir {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.base.attr_with(0, 0))
    }
    fn revalidate(&self) -> bool {
        !self.group.is_dead()
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if self.group.is_dead() {
            return Err(Errno::ENOENT);
        }
        if let Some(control) = self.controls().find(|c| c.name.as_bytes() == name) {
            return Ok(self.control_file(control)?);
        }
        let children = self.children.lock();
        let (_, child) = children.iter().find(|(_, d)| d.group.name() == name).ok_or(Errno::ENOENT)?;
        Ok(child.clone())
    }
    fn create(&self, name: &[u8], mode: u32, _: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        if FileType::from_mode(mode) != FileType::Directory {
            return Err(Errno::EPERM);
        }
        let mut made = None;
        self.group.make_child(name, |group| {
            made = Some(Dir::new(self.base.sb(), next_ino(), mode & 0o7777, (cred.fsuid, cred.fsgid), group));
        })?;
        let dir = made.ok_or(Errno::EIO)?;
        {
            let mut children = self.children.lock();
            let at = children.last().map_or(FIRST_DIR, |(at, _)| at + 1);
            children.push((at, dir.clone()));
        }
        self.base.inc_nlink();
        self.base.touch_mtime();
        Ok(dir)
    }
    fn rmdir(&self, _: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        let dir = victim.as_any().downcast_ref::<Dir>().ok_or(Errno::EPERM)?;
        dir.group.remove()?;
        let gone = {
            let mut children = self.children.lock();
            let at = children.iter().position(|(_, d)| d.group.id() == dir.group.id());
            at.map(|at| children.remove(at))
        };
        drop(gone);
        self.base.dec_nlink();
        self.base.touch_mtime();
        dir.base.set_nlink(0);
        Ok(())
    }
    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.xattrs.get(name)
    }
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.xattrs.set(name, value, flags)
    }
    fn list_xattr(&self) -> Result<Vec<u8>, Errno> {
        self.xattrs.list()
    }
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.xattrs.remove(name)
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self)
    }
}

impl FileOps for Dir {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(pos) = emit_dots(f, pos, sink) else { return Ok(pos.min(1)) };
        let mut pos = pos;
        if pos < FIRST_DIR {
            let first = usize::try_from(pos - 2).unwrap_or(usize::MAX);
            for (at, control) in CONTROLS.iter().enumerate().skip(first) {
                let after = at as u64 + 3;
                if control.is_in(&self.group) {
                    let ino = self.control_file(control)?.base().ino();
                    if !sink.entry(after, ino, FileType::Regular, control.name.as_bytes()) {
                        return Ok(pos);
                    }
                }
                pos = after;
            }
            pos = FIRST_DIR;
        }
        let children: Vec<_> = self.children.lock().iter().filter(|(at, _)| *at >= pos).cloned().collect();
        for (at, child) in children {
            if !sink.entry(at + 1, child.base.ino(), FileType::Directory, child.group.name()) {
                return Ok(pos);
            }
            pos = at + 1;
        }
        Ok(pos)
    }
}
