//! Inodes of a share: directory operations and attributes as requests to the server.
//!
//! With `cache=loose` what the server said once is believed and kept up to date with this client's own changes only; otherwise
//! attributes are asked for on every use, and a changed file drops the clean pages cached of it.

use crate::client::Patience;
use crate::content::{Content, RDWR};
use crate::dir::{self, Listing};
use crate::file;
use crate::wire::{self, Attr as WireAttr, request, set};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use machine::sync::{Once, SpinLock};
use mm::pagecache::PageCache;
use vfs::attr::dev_from_user;
use vfs::{Attr, Caller, Cred, FileOps, FileType, Inode, InodeBase, Path, Rename, SetAttr, SuperBlock, Timespec};

/// Open flags of the protocol (Linux's octal values).
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
/// Flag of unlinkat.
const AT_REMOVEDIR: u32 = 0x200;
/// setxattr(2): the attribute must exist.
const XATTR_REPLACE: u32 = 2;
/// Longest value of an extended attribute and of the list of their names (xattr(7)).
const XATTR_MAX: u64 = 65536;

/// A file on the server.
pub struct Node {
    base: InodeBase,
    content: Arc<Content>,
    pages: Option<Arc<PageCache>>,
    target: Once<Arc<[u8]>>,
    blocks: AtomicU64,
    blksize: AtomicU32,
    /// The server's version of the contents when the cached pages were read.
    version: AtomicU32,
    /// The listing of this directory while someone uses it (trusting sessions only).
    listing: SpinLock<Weak<Listing>>,
}

impl Node {
    /// The inode of `content` with the attributes the server gave.
    pub fn new(sb: &Arc<SuperBlock>, content: Arc<Content>, attr: &WireAttr) -> Node {
        let nodevmap = content.session().options().nodevmap;
        let local = local_attr(attr, nodevmap);
        let pages =
            (FileType::from_mode(local.mode) == FileType::Regular).then(|| PageCache::new(Some(content.clone())));
        let node = Node {
            base: InodeBase::from_attr(sb, &local),
            content,
            pages,
            target: Once::new(),
            blocks: AtomicU64::new(0),
            blksize: AtomicU32::new(4096),
            version: AtomicU32::new(attr.qid.version),
            listing: SpinLock::new(Weak::new()),
        };
        node.take_attr(attr);
        node
    }
    /// The handles and the data path.
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }
    /// These attributes can be of this file: same type, same device.
    pub fn accepts(&self, attr: &WireAttr) -> bool {
        let local = local_attr(attr, self.content.session().options().nodevmap);
        FileType::from_mode(local.mode) == self.base.kind() && local.rdev == self.base.rdev()
    }
    /// Takes over attributes from the server.
    pub fn take_attr(&self, attr: &WireAttr) {
        let local = local_attr(attr, self.content.session().options().nodevmap);
        self.base.update(&local);
        self.blocks.store(attr.blocks, Ordering::Relaxed);
        self.blksize.store(local.blksize, Ordering::Relaxed);
        let Some(pages) = &self.pages else { return };
        let old = self.version.swap(attr.qid.version, Ordering::Relaxed);
        if pages.size() != attr.size || old != attr.qid.version {
            if pages.nr_pages() > 0 && old != attr.qid.version {
                pages.invalidate(0, u64::MAX);
            }
            if attr.size < pages.size() {
                pages.truncate(attr.size);
            } else {
                pages.set_size(attr.size);
            }
        }
    }
    /// Asks the server for the attributes. A file that was removed keeps the last ones while it is open.
    pub fn refresh(&self) -> Result<(), Errno> {
        match self.content.session().getattr(&self.content.fid()) {
            Ok(attr) if attr.qid.same_file(self.content.qid()) && self.accepts(&attr) => {
                self.take_attr(&attr);
                Ok(())
            }
            Ok(_) => Err(Errno::ESTALE),
            Err(Errno::ENOENT) if self.base.nlink() == 0 => Ok(()),
            Err(e) => Err(e),
        }
    }
    /// This client changed the file: a trusted copy of the attributes must follow.
    pub fn changed(&self) {
        if self.content.session().trusting() {
            // A failure leaves the old attributes, which is what a trusting mount lives with.
            let _ = self.refresh();
        }
    }
    /// This client wrote up to `end`.
    pub fn wrote(&self, end: u64) {
        if let Some(pages) = &self.pages {
            pages.set_size(pages.size().max(end));
            self.base.set_size(pages.size());
        }
        self.base.touch_mtime();
    }
    /// Writes pages back that were changed through mappings.
    pub fn write_back(&self) -> Result<(), Errno> {
        self.pages.as_ref().map_or(Ok(()), |pages| pages.writeback())
    }

    /// The listing in use, where it can be trusted.
    pub fn listing(&self) -> Option<Arc<Listing>> {
        self.listing.lock().upgrade()
    }
    /// Lets others use a listing.
    pub fn share_listing(&self, listing: &Arc<Listing>) {
        if self.content.session().trusting() {
            *self.listing.lock() = Arc::downgrade(listing);
        }
    }

    /// Runs a request that changes this directory and refreshes it.
    fn change(&self, message: request::Message) -> Result<(), Errno> {
        self.content.client().call(message, Patience::Killable, |_| Ok(()))?;
        self.entries_changed();
        Ok(())
    }
    fn entries_changed(&self) {
        *self.listing.lock() = Weak::new();
        self.changed();
    }
    fn reach(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let (fid, _) = self.content.fid().walk(&[name])?;
        let node: Arc<dyn Inode> = self.content.session().node(fid)?;
        Ok(node)
    }
    fn xattrs_off(&self) -> Result<(), Errno> {
        if self.content.session().options().noxattr { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
    }
    fn read_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let (fid, size) = self.content.fid().xattr_walk(name)?;
        if size > XATTR_MAX {
            return Err(Errno::EIO);
        }
        file::read_bytes(&fid, size as usize)
    }
    fn write_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let (fid, _) = self.content.fid().walk(&[])?;
        let message = request::xattrcreate(fid.id(), name, value.len() as u64, flags);
        self.content.client().call(message, Patience::Killable, |_| Ok(()))?;
        file::write_bytes(&fid, value)?;
        fid.clunk()?;
        self.changed();
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.content.session().forget(self);
    }
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn cache(&self) -> Option<&Arc<PageCache>> {
        self.pages.as_ref()
    }
    fn attr(&self) -> Result<Attr, Errno> {
        if !self.content.session().trusting() {
            self.refresh()?;
        }
        let size = self.pages.as_ref().map_or(self.base.size(), |pages| pages.size());
        let mut attr = self.base.attr_with(size, self.blocks.load(Ordering::Relaxed));
        attr.blksize = self.blksize.load(Ordering::Relaxed);
        Ok(attr)
    }
    fn set_attr(&self, change: &SetAttr) -> Result<(), Errno> {
        if change.size.is_some() {
            self.write_back()?;
        }
        self.content.client().call(
            request::setattr(self.content.fid().id(), &wire_set_attr(change)),
            Patience::Killable,
            |_| Ok(()),
        )?;
        if let (Some(size), Some(pages)) = (change.size, &self.pages) {
            pages.truncate(size);
            self.base.set_size(size);
        }
        self.base.apply(change);
        self.changed();
        Ok(())
    }
    fn revalidate(&self) -> bool {
        self.content.session().trusting() || self.refresh().is_ok()
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        self.reach(name)
    }
    fn create(&self, name: &[u8], mode: u32, rdev: u32, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        let (client, dir) = (self.content.client(), self.content.fid());
        let perm = mode & 0o7777;
        match FileType::from_mode(mode) {
            FileType::Regular => {
                // The open fid that creation gives is kept: the file's own mode may forbid opening it again.
                let (fid, _) = dir.walk(&[])?;
                let message = request::lcreate(fid.id(), name, RDWR | O_CREAT | O_EXCL, perm, cred.fsgid);
                client.call(message, Patience::Killable, |_| Ok(()))?;
                let fid = Arc::new(fid);
                let node = self.content.session().node(dir.walk(&[name])?.0)?;
                node.content.remember(&fid, RDWR);
                self.content.session().keep(fid);
                self.entries_changed();
                return Ok(node);
            }
            FileType::Directory => self.change(request::mkdir(dir.id(), name, perm, cred.fsgid))?,
            _ => {
                let dev = (vfs::attr::major(rdev), vfs::attr::minor(rdev));
                self.change(request::mknod(dir.id(), name, mode, dev, cred.fsgid))?;
            }
        }
        self.reach(name)
    }
    fn symlink(&self, name: &[u8], target: &[u8], cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
        self.change(request::symlink(self.content.fid().id(), name, target, cred.fsgid))?;
        self.reach(name)
    }
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), Errno> {
        let target = target.as_any().downcast_ref::<Node>().ok_or(Errno::EXDEV)?;
        self.change(request::link(self.content.fid().id(), target.content.fid().id(), name))?;
        target.base.inc_nlink();
        target.changed();
        Ok(())
    }
    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.change(request::unlinkat(self.content.fid().id(), name, 0))?;
        victim.base().dec_nlink();
        Ok(())
    }
    fn rmdir(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.change(request::unlinkat(self.content.fid().id(), name, AT_REMOVEDIR))?;
        victim.base().set_nlink(0);
        Ok(())
    }
    fn rename(&self, how: &Rename<'_>) -> Result<(), Errno> {
        if how.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let to = how.new_dir.as_any().downcast_ref::<Node>().ok_or(Errno::EXDEV)?;
        let (from_fid, to_fid) = (self.content.fid(), to.content.fid());
        self.change(request::renameat(from_fid.id(), how.old_name, to_fid.id(), how.new_name))?;
        if let Some(victim) = how.victim {
            victim.base().dec_nlink();
        }
        to.entries_changed();
        Ok(())
    }

    fn readlink(&self) -> Result<Arc<[u8]>, Errno> {
        if self.base.kind() != FileType::Symlink {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = self.target.get() {
            return Ok(target.clone());
        }
        let target: Arc<[u8]> = self.content.client().call_text(request::readlink(self.content.fid().id()))?.into();
        if target.is_empty() || target.contains(&0) {
            return Err(Errno::EIO);
        }
        // A symbolic link's target never changes: another link would be another file.
        let _ = self.target.set(target.clone());
        Ok(target)
    }
    fn open(self: Arc<Self>, path: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        match self.base.kind() {
            FileType::Regular => file::open(self, flags),
            FileType::Directory => dir::open(self),
            _ => vfs::devices::open_special(&self.base, path, flags, caller),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.xattrs_off()?;
        self.read_xattr(name)
    }
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.xattrs_off()?;
        self.write_xattr(name, value, flags)
    }
    fn list_xattr(&self) -> Result<Vec<u8>, Errno> {
        self.xattrs_off()?;
        let list = self.read_xattr(b"")?;
        if list.last().is_some_and(|last| *last != 0) { Err(Errno::EIO) } else { Ok(list) }
    }
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.xattrs_off()?;
        // The protocol's way to say it: an empty value that must replace another.
        self.write_xattr(name, b"", XATTR_REPLACE)
    }
}

/// The server's attributes in our form.
fn local_attr(attr: &WireAttr, nodevmap: bool) -> Attr {
    let device = matches!(FileType::from_mode(attr.mode), FileType::CharDevice | FileType::BlockDevice);
    let mode = if device && nodevmap { FileType::Regular.mode() | attr.mode & 0o7777 } else { attr.mode };
    let time = |t: wire::Time| Timespec { sec: t.sec as i64, nsec: (t.nsec % 1_000_000_000) as u32 };
    Attr {
        dev: 0,
        ino: attr.qid.path,
        mode,
        nlink: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
        uid: attr.uid,
        gid: attr.gid,
        rdev: if device && !nodevmap { dev_from_user(attr.rdev as u32) } else { 0 },
        size: attr.size,
        blksize: u32::try_from(attr.blksize).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096),
        blocks: attr.blocks,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        btime: time(attr.btime),
    }
}

fn wire_set_attr(change: &SetAttr) -> wire::SetAttr {
    let time = |t: Timespec| wire::Time { sec: t.sec as u64, nsec: u64::from(t.nsec) };
    let mut out = wire::SetAttr::default();
    let mut take = |bits: u32| out.valid |= bits;
    if change.mode.is_some() {
        take(set::MODE);
    }
    if change.uid.is_some() {
        take(set::UID);
    }
    if change.gid.is_some() {
        take(set::GID);
    }
    if change.size.is_some() {
        take(set::SIZE);
    }
    if change.atime.is_some() {
        take(set::ATIME | set::ATIME_SET);
    }
    if change.mtime.is_some() {
        take(set::MTIME | set::MTIME_SET);
    }
    if change.ctime.is_some() {
        take(set::CTIME);
    }
    out.mode = change.mode.unwrap_or(0) & 0o7777;
    out.uid = change.uid.unwrap_or(0);
    out.gid = change.gid.unwrap_or(0);
    out.size = change.size.unwrap_or(0);
    out.atime = change.atime.map(time).unwrap_or_default();
    out.mtime = change.mtime.map(time).unwrap_or_default();
    out
}
