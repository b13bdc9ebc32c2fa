//! Open file descriptions (open(2), "Open file descriptions").
//!
//! A [`File`] joins a place in the tree, the operations of what was opened there, a position and status flags. Descriptors of any
//! number of tables refer to it; the last one to go releases it.
//!
//! Lock order: `File::pos_lock` (sleeping) before the inode's lock.

use crate::attr::{Attr, FileType};
use crate::caller::Caller;
use crate::cred::Cred;
use crate::fileops::{DirSink, FileOps};
use crate::inode::Inode;
use crate::notify::{self, Event};
use crate::path::Path;
use crate::poll::PollTable;
use abi::Errno;
use abi::fcntl::*;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use machine::sync::SpinLock;
use mm::io::{Dst, Src};

/// Largest offset of a file.
pub const MAX_OFFSET: u64 = i64::MAX as u64;

/// Who gets SIGIO (F_SETOWN).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Process id, or the negated process-group id.
    pub pid: i32,
    /// The id is that of a single thread.
    pub thread: bool,
    /// Signal instead of SIGIO (F_SETSIG), 0 for the default.
    pub signal: i32,
    /// Real user of who set it: the signal is sent with his rights.
    pub uid: u32,
    /// His effective user.
    pub euid: u32,
}

/// An open file.
pub struct File {
    ops: Arc<dyn FileOps>,
    path: Path,
    flags: AtomicU32,
    /// Counted as a writer of inode and mount.
    counted_writer: bool,
    /// A program runs from it: nobody may open the inode for writing.
    denies_writers: AtomicBool,
    /// Opening it made the inode.
    created: AtomicBool,
    /// What the operations say of it, asked once.
    seekable: bool,
    pos: AtomicU64,
    /// See [`File::set_shared`].
    shared: AtomicBool,
    pos_lock: sched::Mutex<()>,
    cred: Arc<Cred>,
    owner: SpinLock<Owner>,
    /// See [`File::set_watch`].
    watch: SpinLock<Option<Box<PollTable>>>,
    /// Locks of the description were ever asked for (flock, OFD).
    pub(crate) has_locks: AtomicU32,
    /// Descriptors that refer to it from tables now; telling apart "closed" from "still in use by a call".
    opens: AtomicI32,
}

impl File {
    /// A description of what is at `path`, read and written through `ops`. `flags` without the ones that only matter to open.
    pub fn new(path: Path, ops: Arc<dyn FileOps>, flags: OpenFlags, cred: Arc<Cred>) -> Arc<File> {
        Arc::new(File::build(path, ops, flags, cred, false))
    }
    pub(crate) fn new_counted(path: Path, ops: Arc<dyn FileOps>, flags: OpenFlags, cred: Arc<Cred>) -> Arc<File> {
        Arc::new(File::build(path, ops, flags, cred, true))
    }
    fn build(path: Path, ops: Arc<dyn FileOps>, flags: OpenFlags, cred: Arc<Cred>, counted_writer: bool) -> File {
        let drop_flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC | OpenFlags::CLOEXEC;
        let seekable = ops.seekable();
        File {
            ops,
            seekable,
            path,
            flags: AtomicU32::new((flags - drop_flags).bits()),
            counted_writer,
            denies_writers: AtomicBool::new(false),
            created: AtomicBool::new(false),
            pos: AtomicU64::new(0),
            shared: AtomicBool::new(false),
            pos_lock: sched::Mutex::new(()),
            cred,
            owner: SpinLock::new(Owner::default()),
            watch: SpinLock::new(None),
            has_locks: AtomicU32::new(0),
            opens: AtomicI32::new(0),
        }
    }
    /// The operations.
    #[inline]
    pub fn ops(&self) -> &Arc<dyn FileOps> {
        &self.ops
    }
    /// It has positions.
    #[inline]
    pub fn is_seekable(&self) -> bool {
        self.seekable
    }
    /// The operations as the type that made them.
    pub fn ops_as<T: 'static>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref()
    }
    /// Where it was opened.
    #[inline]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// What was opened.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.path.inode()
    }
    /// The credentials it was opened with.
    pub fn cred(&self) -> &Arc<Cred> {
        &self.cred
    }
    /// Status flags and access mode.
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    /// Operations must not wait.
    #[inline]
    pub fn is_nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }
    /// `O_PATH`.
    #[inline]
    pub fn is_path_only(&self) -> bool {
        self.flags().contains(OpenFlags::PATH)
    }
    /// It holds no data of its own: an eventfd or its like, or a name for a process or a namespace.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.inode().sb().fs_name(), "anon_inodefs" | "pidfs" | "nsfs")
    }
    /// May be read.
    #[inline]
    pub fn is_readable(&self) -> bool {
        let f = self.flags();
        f.wants_read() && !f.contains(OpenFlags::PATH)
    }
    /// May be written.
    #[inline]
    pub fn is_writable(&self) -> bool {
        let f = self.flags();
        f.wants_write() && !f.contains(OpenFlags::PATH)
    }
    /// Opening it made the inode (F_CREATED_QUERY).
    pub fn was_created(&self) -> bool {
        self.created.load(Ordering::Relaxed)
    }
    pub(crate) fn note_created(&self) {
        self.created.store(true, Ordering::Relaxed);
    }
    /// Denies writers of the inode until the file is closed or [`File::allow_writers`] is called; ETXTBSY if there are any.
    pub fn deny_writers(&self) -> Result<(), Errno> {
        self.inode().base().deny_write_access()?;
        self.denies_writers.store(true, Ordering::Relaxed);
        Ok(())
    }
    /// Ends [`File::deny_writers`].
    pub fn allow_writers(&self) {
        if self.denies_writers.load(Ordering::Relaxed) && self.denies_writers.swap(false, Ordering::Relaxed) {
            self.inode().base().allow_write_access();
        }
    }
    /// `F_SETFL`: changes the flags that can change.
    pub fn set_flags(&self, new: OpenFlags) -> Result<(), Errno> {
        let old = self.flags();
        if new.contains(OpenFlags::NOATIME)
            && !old.contains(OpenFlags::NOATIME)
            && !self.inode().owner_or_capable(&self.cred)
        {
            return Err(Errno::EPERM);
        }
        // Of a pipe the flag asks for packets.
        if new.contains(OpenFlags::DIRECT)
            && self.path.dentry.kind() != FileType::Fifo
            && !crate::open::takes_direct(&self.path)
        {
            return Err(Errno::EINVAL);
        }
        let next = (old - OpenFlags::SETTABLE) | (new & OpenFlags::SETTABLE);
        self.ops.set_flags(self, next)?;
        self.flags.store(next.bits(), Ordering::Relaxed);
        Ok(())
    }
    /// Sets or clears one status flag (FIONBIO, FIOASYNC).
    pub fn set_flag(&self, flag: OpenFlags, on: bool) -> Result<(), Errno> {
        let mut next = self.flags();
        next.set(flag, on);
        self.ops.set_flags(self, next)?;
        self.flags.store(next.bits(), Ordering::Relaxed);
        Ok(())
    }
    /// Who gets SIGIO.
    pub fn owner(&self) -> Owner {
        *self.owner.lock()
    }
    /// Sets who gets SIGIO.
    pub fn set_owner(&self, owner: Owner) {
        *self.owner.lock() = owner;
    }
    /// Keeps the subscriptions of signal-driven I/O as long as the description is open, in place of those before.
    pub fn set_watch(&self, table: Option<Box<PollTable>>) {
        let before = core::mem::replace(&mut *self.watch.lock(), table);
        drop(before); // waits for notifications under way: not under the lock
    }
    /// The position.
    #[inline]
    pub fn pos(&self) -> u64 {
        self.pos.load(Ordering::Relaxed)
    }
    /// Sets the position (directory streams, procfs).
    pub fn set_pos(&self, pos: u64) {
        self.pos.store(pos, Ordering::Relaxed);
    }
    /// Attributes of what is open.
    pub fn attr(&self) -> Result<Attr, Errno> {
        self.inode().attr()
    }
    /// Records a read in the access time, by the rules of the mount.
    #[inline]
    pub fn accessed(&self) {
        if self.flags().contains(OpenFlags::NOATIME) {
            return;
        }
        let is_dir = self.path.dentry.kind() == FileType::Directory;
        if let Some(strict) = self.path.mnt.keeps_atime(is_dir) {
            self.inode().base().touch_atime(strict);
        }
    }

    /// Threads share a table that holds it: from now on the position is always locked.
    #[inline]
    pub(crate) fn set_shared(&self) {
        if !self.shared.load(Ordering::Relaxed) {
            self.shared.store(true, Ordering::Relaxed);
        }
    }

    /// Serialises calls that use the position. Nothing is locked while only the caller and one descriptor of an unshared table refer
    /// to the description: then nobody else can move it.
    #[inline]
    fn hold_pos(self: &Arc<File>) -> Option<sched::MutexGuard<'_, ()>> {
        let alone = Arc::strong_count(self) <= 2 && !self.shared.load(Ordering::Relaxed);
        if alone { None } else { Some(self.pos_lock.lock()) }
    }

    /// read(2): at the position, which moves.
    #[inline]
    pub fn read(self: &Arc<File>, dst: &mut Dst<'_>) -> Result<usize, Errno> {
        if !self.is_readable() {
            return Err(Errno::EBADF);
        }
        let _pos = if self.seekable { self.hold_pos() } else { None };
        let pos = self.pos();
        let n = self.ops.read_at(self, dst, pos)?;
        if self.seekable {
            self.set_pos(pos + n as u64);
        }
        Ok(self.did_read(n))
    }
    /// pread(2): at `off`; the position stays.
    #[inline]
    pub fn pread(&self, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        if off > MAX_OFFSET {
            return Err(Errno::EINVAL);
        }
        if !self.seekable {
            return Err(Errno::ESPIPE);
        }
        if !self.is_readable() {
            return Err(Errno::EBADF);
        }
        let n = self.ops.read_at(self, dst, off)?;
        Ok(self.did_read(n))
    }
    #[inline]
    fn did_read(&self, n: usize) -> usize {
        if n > 0 {
            notify::on_file(self, Event::ACCESS);
        }
        n
    }
    /// write(2): at the position (or the end), which moves. `limit` is RLIMIT_FSIZE.
    #[inline]
    pub fn write(self: &Arc<File>, src: &mut Src<'_>, limit: u64) -> Result<usize, Errno> {
        if !self.is_writable() {
            return Err(Errno::EBADF);
        }
        if !self.seekable {
            let n = self.ops.write_at(self, src, 0)?;
            return Ok(self.did_write(n));
        }
        let _pos = self.hold_pos();
        let (n, end) = self.write_range(src, self.pos(), limit, self.flags().contains(OpenFlags::APPEND))?;
        self.set_pos(end);
        Ok(n)
    }
    /// pwrite(2): at `off`; the position stays. On Linux an `O_APPEND` file appends even so (pwrite(2), BUGS).
    #[inline]
    pub fn pwrite(&self, src: &mut Src<'_>, off: u64, limit: u64) -> Result<usize, Errno> {
        self.pwrite_opts(src, off, limit, self.flags().contains(OpenFlags::APPEND))
    }
    /// pwritev2(2) with `RWF_APPEND` or `RWF_NOAPPEND` decided by the caller.
    pub fn pwrite_opts(&self, src: &mut Src<'_>, off: u64, limit: u64, append: bool) -> Result<usize, Errno> {
        if off > MAX_OFFSET {
            return Err(Errno::EINVAL);
        }
        if !self.seekable {
            return Err(Errno::ESPIPE);
        }
        if !self.is_writable() {
            return Err(Errno::EBADF);
        }
        self.write_range(src, off, limit, append).map(|(n, _)| n)
    }
    /// Writes with the position rules of write(2) but the append rule given (pwritev2 with offset -1).
    pub fn write_opts(self: &Arc<File>, src: &mut Src<'_>, limit: u64, append: bool) -> Result<usize, Errno> {
        if !self.is_writable() {
            return Err(Errno::EBADF);
        }
        if !self.seekable {
            return self.ops.write_at(self, src, 0).map(|n| self.did_write(n));
        }
        let _pos = self.hold_pos();
        let (n, end) = self.write_range(src, self.pos(), limit, append)?;
        self.set_pos(end);
        Ok(n)
    }
    /// Writes to something with positions; returns the bytes written and the offset after them.
    fn write_range(&self, src: &mut Src<'_>, off: u64, limit: u64, append: bool) -> Result<(usize, u64), Errno> {
        if self.path.dentry.kind() != FileType::Regular {
            let n = self.ops.write_at(self, src, off)?;
            return Ok((self.did_write(n), off + n as u64));
        }
        let inode = self.inode();
        let base = inode.base();
        let (n, end) = {
            let _guard = base.lock.lock();
            let off = if append { inode.size() } else { off };
            if src.remaining() == 0 {
                return Ok((0, off));
            }
            if off >= limit.min(MAX_OFFSET) {
                return Err(Errno::EFBIG);
            }
            src.limit(usize::try_from(limit.min(MAX_OFFSET) - off).unwrap_or(usize::MAX));
            inode.drop_privileges(&self.cred)?;
            let n = self.ops.write_at(self, src, off)?;
            (n, off + n as u64)
        };
        if self.flags().intersects(OpenFlags::SYNC) && n > 0 {
            self.ops.fsync(self, !self.flags().contains(OpenFlags::SYNC_BIT))?;
        }
        Ok((self.did_write(n), end))
    }
    #[inline]
    fn did_write(&self, n: usize) -> usize {
        if n > 0 {
            notify::on_file(self, Event::MODIFY);
        }
        n
    }
    /// lseek(2).
    #[inline]
    pub fn seek(self: &Arc<File>, off: i64, whence: u32) -> Result<u64, Errno> {
        if whence > SEEK_HOLE {
            return Err(Errno::EINVAL);
        }
        if !self.seekable {
            return self.ops.seek(self, off, whence).unwrap_or(Err(Errno::ESPIPE));
        }
        let _pos = self.hold_pos();
        let pos = match self.ops.seek(self, off, whence) {
            Some(answer) => answer?,
            None => self.target(off, whence)?,
        };
        self.set_pos(pos);
        Ok(pos)
    }
    /// Where the usual rules of lseek(2) lead.
    #[inline]
    fn target(&self, off: i64, whence: u32) -> Result<u64, Errno> {
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => self.pos() as i64,
            SEEK_END => self.inode().size() as i64,
            _ => {
                let from = u64::try_from(off).map_err(|_| Errno::ENXIO)?;
                return self.inode().seek_data(from, whence == SEEK_HOLE);
            }
        };
        let pos = base.checked_add(off).ok_or(Errno::EOVERFLOW)?;
        u64::try_from(pos).map_err(|_| Errno::EINVAL)
    }
    /// getdents64(2): entries from the position on.
    pub fn readdir(self: &Arc<File>, sink: &mut dyn DirSink) -> Result<(), Errno> {
        if self.path.dentry.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let _pos = self.hold_pos();
        let _guard = self.inode().base().lock.lock();
        if self.path.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        let mut sink = Progress { sink, next: None };
        let pos = match (self.ops.readdir(self, self.pos(), &mut sink), sink.next) {
            (Ok(pos), _) => pos,
            // Entries went out before the error: it shows in the next call, if it is still there.
            (Err(_), Some(next)) => next,
            (Err(e), None) => return Err(e),
        };
        self.set_pos(pos);
        self.accessed();
        Ok(())
    }
    /// ioctl(2) of the object itself.
    pub fn ioctl(&self, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        self.ops.ioctl(self, caller, cmd, arg)
    }
    /// fallocate(2), arguments checked.
    pub fn fallocate(&self, mode: FallocFlags, off: u64, len: u64) -> Result<(), Errno> {
        let _guard = self.inode().base().lock.lock();
        self.ops.fallocate(self, mode, off, len)
    }
    pub(crate) fn opened(&self) {
        self.opens.fetch_add(1, Ordering::Relaxed);
    }
    /// A descriptor of the table that belongs to `owner` was closed.
    pub(crate) fn closed(self: &Arc<File>, owner: u64) -> Result<(), Errno> {
        self.opens.fetch_sub(1, Ordering::Relaxed);
        if self.is_path_only() {
            return Ok(());
        }
        if let Some(rare) = self.inode().base().rare_if_any() {
            crate::dnotify::descriptor_closed(rare, self, owner);
            crate::locks::descriptor_closed(rare, owner);
        }
        self.ops.flush(self)
    }
}

/// Remembers how far a listing got.
struct Progress<'a> {
    sink: &'a mut dyn DirSink,
    next: Option<u64>,
}

impl DirSink for Progress<'_> {
    fn entry(&mut self, next: u64, ino: u64, kind: FileType, name: &[u8]) -> bool {
        let taken = self.sink.entry(next, ino, kind, name);
        if taken {
            self.next = Some(next);
        }
        taken
    }
}

/// Emits `.` and `..` for positions 0 and 1; returns the position that follows, `None` if the sink is full.
pub fn emit_dots(f: &File, pos: u64, sink: &mut dyn DirSink) -> Option<u64> {
    let mut pos = pos;
    if pos == 0 {
        if !sink.entry(1, f.inode().base().ino(), FileType::Directory, b".") {
            return None;
        }
        pos = 1;
    }
    if pos == 1 {
        let parent = f.path().dentry.parent();
        let ino = parent.map_or_else(|| f.inode().base().ino(), |p| p.inode().base().ino());
        if !sink.entry(2, ino, FileType::Directory, b"..") {
            return None;
        }
        pos = 2;
    }
    Some(pos)
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.is_path_only() {
            if self.has_locks.load(Ordering::Relaxed) != 0 {
                crate::locks::description_closed(self);
            }
            notify::on_file(self, if self.is_writable() { Event::CLOSE_WRITE } else { Event::CLOSE_NOWRITE });
        }
        self.ops.release(self);
        if self.counted_writer {
            self.inode().base().put_write_access();
            self.path.mnt.remove_writer();
        }
        self.allow_writers();
    }
}
