//! The first root directory: a tmpfs that the initial RAM file system is unpacked into.

use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use initramfs::{Kind, Meta, Tree};
use mm::Mm;
use mm::io::Src;
use vfs::ops::{self, Make};
use vfs::{Caller, Cred, FileType, FsContext, MountNamespace, NoJobs, Path, SetAttr, Start, Timespec, makedev};

/// The kernel acting for itself while the machine boots.
pub struct Booter {
    mm: Arc<Mm>,
    cred: Arc<Cred>,
    fs: Arc<FsContext>,
}

impl Booter {
    /// Makes the mount namespace of the first process: nullfs at the bottom (so that pivot_root(2) works on the real root), a tmpfs on it.
    pub fn new() -> Result<Booter, Errno> {
        let ns = MountNamespace::new(nullfs::mount());
        vfs::namespace::attach(&tmpfs::rootfs(), &ns.root_path())?;
        let (mm, cred) = (Mm::new()?, Cred::root());
        let fs = FsContext::new(ns);
        Ok(Booter { mm, cred, fs })
    }
    /// Root, working directory and umask for the first process.
    pub fn fs(&self) -> &Arc<FsContext> {
        &self.fs
    }
    /// Unpacks the boot loader's image into the root.
    pub fn unpack(&self, image: &[u8]) {
        match initramfs::unpack(image, &mut Unpacker(self)) {
            Ok(done) if done.refused == 0 => {}
            Ok(done) => {
                machine::kwarn!("initramfs: {} of {} entries refused", done.refused, done.entries + done.refused)
            }
            Err(e) => machine::kwarn!("initramfs: {e}"),
        }
    }
    fn at<R>(&self, f: impl FnOnce(&Start<'_>) -> R) -> R {
        let dirs = self.fs.dirs();
        f(&Start::new(&dirs.root, &dirs.root, &self.cred))
    }
}

struct Unpacker<'a>(&'a Booter);

impl Unpacker<'_> {
    fn lookup(&self, name: &[u8]) -> Option<Path> {
        self.0.at(|start| vfs::walk::lookup(start, name, false)).ok()
    }
    /// Removes what is in the way, unless it is a directory that stays.
    fn clear(&self, name: &[u8], keep_dir: bool) -> Result<bool, Errno> {
        let Some(old) = self.lookup(name) else { return Ok(false) };
        match old.inode().kind() == FileType::Directory {
            true if keep_dir => return Ok(true),
            true => self.0.at(|s| ops::rmdir(s, name))?,
            false => self.0.at(|s| ops::unlink(s, name))?,
        }
        Ok(false)
    }
    fn write(&self, path: Path, body: &[u8]) -> Result<(), Errno> {
        if body.is_empty() {
            return Ok(());
        }
        let caller = Caller { mm: &self.0.mm, cred: &self.0.cred, jobs: &NoJobs };
        let how = vfs::open::How::from_open((OpenFlags::WRONLY | OpenFlags::TRUNC).bits(), 0, 0)?;
        let file = vfs::open::open_found(path, &how, &caller, true)?;
        let mut src = Src::kernel(body);
        while src.remaining() > 0 {
            file.write(&mut src, u64::MAX)?;
        }
        Ok(())
    }
    fn set(&self, path: &Path, meta: &Meta) -> Result<(), Errno> {
        let time = Some(Timespec { sec: meta.mtime.into(), nsec: 0 });
        let mode = (meta.mode & abi::stat::S_IFMT != abi::stat::S_IFLNK).then_some(meta.mode & 0o7777);
        let set =
            SetAttr { mode, uid: Some(meta.uid), gid: Some(meta.gid), atime: time, mtime: time, ..SetAttr::default() };
        path.inode().set_attr(&set)
    }
}

impl Tree for Unpacker<'_> {
    fn make(&mut self, name: &[u8], meta: &Meta, kind: Kind<'_>) -> Result<(), Errno> {
        let perm = meta.mode & 0o7777;
        if self.clear(name, matches!(kind, Kind::Dir))? {
            return self.lookup(name).map_or(Ok(()), |old| self.set(&old, meta));
        }
        let what = match kind {
            Kind::Dir => Make::Directory(perm),
            Kind::File(_) => Make::Node(abi::stat::S_IFREG | perm, 0),
            Kind::Symlink(target) => Make::Symlink(target),
            Kind::Node(major, minor) => Make::Node(meta.mode, makedev(major, minor)),
        };
        let path = self.0.at(|s| ops::make(s, name, what, 0))?;
        if let Kind::File(body) = kind {
            self.write(path.clone(), body)?;
        }
        self.set(&path, meta)
    }
    fn link(&mut self, old: &[u8], name: &[u8], body: Option<&[u8]>) -> Result<(), Errno> {
        self.clear(name, false)?;
        let target = self.lookup(old).ok_or(Errno::ENOENT)?;
        self.0.at(|s| ops::link(&target, s, name))?;
        body.map_or(Ok(()), |b| self.write(target, b))
    }
    fn set_dir_time(&mut self, name: &[u8], mtime: u32) {
        if let Some(path) = self.lookup(name) {
            let time = Some(Timespec { sec: mtime.into(), nsec: 0 });
            // A time that cannot be set is no reason to give up the boot.
            let _ = path.inode().set_attr(&SetAttr { atime: time, mtime: time, ..SetAttr::default() });
        }
    }
}
