//! A small world for unit tests: a namespace with a tmpfs root and a caller, driven by paths.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::config::Given;
use vfs::open::{How, open};
use vfs::ops::{self, Make};
use vfs::{
    Attr, Caller, Cred, Dirs, Dst, File, FsContext, MountContext, MountNamespace, NoJobs, Path, SbFlags, Src, Start,
    rename, walk,
};

/// The namespace, the directories and the credentials of an imagined process.
pub struct World {
    /// Root and working directory.
    pub fs: Arc<FsContext>,
    /// Who acts.
    pub cred: Arc<Cred>,
    mm: Arc<mm::Mm>,
}

impl World {
    /// An empty root, acted on by the superuser.
    pub fn new() -> World {
        let ns = MountNamespace::first(crate::rootfs());
        World { fs: FsContext::new(ns), cred: Cred::root(), mm: mm::Mm::new().expect("memory for a test") }
    }
    /// The same place seen by another user.
    pub fn as_user(&self, uid: u32) -> World {
        World { fs: self.fs.clone(), cred: Arc::new(Cred::user(uid, uid)), mm: self.mm.clone() }
    }
    /// Runs `f` as a caller.
    pub fn with_caller<R>(&self, f: impl FnOnce(&Caller<'_>) -> R) -> R {
        f(&Caller { mm: &self.mm, cred: &self.cred, jobs: &NoJobs })
    }
    fn with<R>(&self, f: impl FnOnce(&Start<'_>, &Dirs) -> R) -> R {
        let dirs = self.fs.dirs();
        f(&Start::new(&dirs.root, &dirs.cwd, &self.cred), &dirs)
    }
    /// Looks a path up, following links.
    pub fn lookup(&self, path: &str) -> Result<Path, Errno> {
        self.with(|s, _| walk::lookup(s, path.as_bytes(), true))
    }
    /// Looks a path up, not following a link at the end.
    pub fn lstat(&self, path: &str) -> Result<Attr, Errno> {
        self.with(|s, _| walk::lookup(s, path.as_bytes(), false))?.inode().attr()
    }
    /// Makes a directory.
    pub fn mkdir(&self, path: &str) -> Result<Path, Errno> {
        self.with(|s, _| ops::make(s, path.as_bytes(), Make::Directory(0o777), 0o022))
    }
    /// Makes a symbolic link.
    pub fn symlink(&self, target: &str, path: &str) -> Result<Path, Errno> {
        self.with(|s, _| ops::make(s, path.as_bytes(), Make::Symlink(target.as_bytes()), 0))
    }
    /// Removes a file.
    pub fn unlink(&self, path: &str) -> Result<(), Errno> {
        self.with(|s, _| ops::unlink(s, path.as_bytes()))
    }
    /// Removes a directory.
    pub fn rmdir(&self, path: &str) -> Result<(), Errno> {
        self.with(|s, _| ops::rmdir(s, path.as_bytes()))
    }
    /// Adds a name.
    pub fn link(&self, old: &str, new: &str) -> Result<(), Errno> {
        let old = self.with(|s, _| walk::lookup(s, old.as_bytes(), false))?;
        self.with(|s, _| ops::link(&old, s, new.as_bytes()))
    }
    /// renameat2.
    pub fn rename(&self, old: &str, new: &str, flags: u32) -> Result<(), Errno> {
        self.with(|s, _| {
            rename::rename(walk::lookup_parent(s, old.as_bytes())?, s, new.as_bytes(), rename::check_flags(flags)?)
        })
    }
    /// open with raw flags.
    pub fn open(&self, path: &str, flags: u32, mode: u32) -> Result<Arc<File>, Errno> {
        let how = How::from_open(flags, mode, 0o022)?;
        self.with(|s, _| self.with_caller(|c| open(s, path.as_bytes(), &how, c)))
    }
    /// Makes a file with this content.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), Errno> {
        let file = self.open(path, 0o1101, 0o644)?;
        let mut rest = content;
        while !rest.is_empty() {
            let n = file.write(&mut Src::kernel(rest), u64::MAX)?;
            rest = rest.get(n..).unwrap_or_default();
        }
        Ok(())
    }
    /// The content of a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let file = self.open(path, 0, 0)?;
        let mut out = Vec::new();
        let mut buf = [0; 512];
        loop {
            let n = file.read(&mut Dst::kernel(&mut buf))?;
            if n == 0 {
                return Ok(out);
            }
            out.extend_from_slice(buf.get(..n).unwrap_or_default());
        }
    }
    /// Mounts a registered type.
    pub fn mount(&self, fs_type: &str, at: &str, options: &str) -> Result<(), Errno> {
        let at = self.lookup(at)?;
        let dirs = self.fs.dirs();
        let mnt = self.with_caller(|caller| {
            let fs = vfs::find_fs(fs_type.as_bytes()).ok_or(Errno::ENODEV)?;
            let mut context = MountContext::for_mount(fs, caller.cred)?.legacy(SbFlags::empty(), SbFlags::empty());
            context.set(b"source", Given::Text(fs_type.as_bytes()), caller, &dirs)?;
            context.set_all(options.as_bytes(), caller, &dirs)?;
            context.create(false, caller, &dirs)?;
            context.mount(vfs::MntFlags::RELATIME, &dirs.ns)
        })?;
        vfs::namespace::attach(&mnt, &at, &dirs.ns)
    }
    /// A remount with these options.
    pub fn remount(&self, at: &str, options: &str) -> Result<(), Errno> {
        let at = self.lookup(at)?;
        let dirs = self.fs.dirs();
        self.with_caller(|caller| {
            let none = SbFlags::empty();
            let mut context = MountContext::for_reconfigure(&at.dentry)?.legacy(none, SbFlags::REMOUNTABLE);
            context.set_all(options.as_bytes(), caller, &dirs)?;
            context.reconfigure(caller, &dirs)
        })
    }
    /// The text of a path from the root.
    pub fn text(&self, path: &Path) -> alloc::string::String {
        alloc::string::String::from_utf8_lossy(&path.text(&self.fs.dirs().root).0).into_owned()
    }
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}
