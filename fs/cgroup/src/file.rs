//! Control files: their inodes, and open ones.
//!
//! The text is made at the first read and at every read from offset 0. What is written is judged by the rights of whoever opened
//! the file, not of whoever writes, so that a descriptor handed to a privileged program gives nothing away.

use crate::control::Control;
use crate::dir::Dir;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use machine::sync::Once;
use sched::{Scope, Timeout, WaitQueue};
use task::cgroup::attach::NSDELEGATE;
use task::cgroup::{self, Cgroup};
use vfs::notify::{self, Event};
use vfs::{
    Attr, Caller, Cred, Dst, File, FileOps, FileType, Inode, InodeBase, Path, PollEvents, PollTable, SetAttr, Src,
    SuperBlock,
};

/// Longest text a file takes in one write.
const MAX_WRITE: usize = 4096;

/// The inode of a control file.
pub struct ControlFile {
    base: InodeBase,
    /// What it is.
    pub control: &'static Control,
    dir: Weak<Dir>,
    /// Counts the times its text changed, for poll.
    changes: AtomicU32,
    wait: WaitQueue,
    /// When its readers were told last; tells them later if that was just now.
    told_ns: AtomicU64,
    later: Once<Arc<Timeout>>,
}

/// Readers are told no more often than this.
const GAP_NS: u64 = 10_000_000;

impl ControlFile {
    /// The file `control` of `dir`.
    pub fn new(sb: &Arc<SuperBlock>, control: &'static Control, dir: &Weak<Dir>, owner: (u32, u32)) -> ControlFile {
        let mode = FileType::Regular.mode() | control.mode();
        let base = InodeBase::new(sb, vfs::next_ino(), mode, owner.0, owner.1, 0);
        ControlFile {
            base,
            control,
            dir: dir.clone(),
            changes: AtomicU32::new(0),
            wait: WaitQueue::new(),
            told_ns: AtomicU64::new(0),
            later: Once::new(),
        }
    }
    /// Its text has changed: pollers and watchers are told, now or a little later.
    pub fn changed(self: &Arc<ControlFile>) {
        let now = sched::now();
        let last = self.told_ns.load(Relaxed);
        if last == 0 || now >= last.saturating_add(GAP_NS) {
            return self.tell();
        }
        let timer = self.later.get_or_init(|| {
            let file = Arc::downgrade(self);
            Timeout::new(Box::new(move || {
                if let Some(file) = file.upgrade() {
                    file.tell();
                }
            }))
        });
        timer.arm(last.saturating_add(GAP_NS), Scope::Global);
    }
    fn tell(self: &Arc<ControlFile>) {
        self.told_ns.store(sched::now(), Relaxed);
        self.changes.fetch_add(1, AcqRel);
        self.wait.wake_key(usize::MAX, false, (PollEvents::PRI | PollEvents::ERR).key());
        notify::on_inode(&(self.clone() as Arc<dyn Inode>), Event::MODIFY);
        if let Some(dir) = self.dir.upgrade() {
            notify::on_entry(&(dir as Arc<dyn Inode>), self.control.name.as_bytes(), Event::MODIFY);
        }
    }
    fn live_dir(&self) -> Result<Arc<Dir>, Errno> {
        self.dir.upgrade().filter(|d| !d.group().is_dead()).ok_or(Errno::ENODEV)
    }
}

impl Inode for ControlFile {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.base.attr_with(0, 0))
    }
    fn set_attr(&self, set: &SetAttr) -> Result<(), Errno> {
        // Opening with O_TRUNC (`echo 1 > file`) is how shells write here.
        self.base.apply(set);
        Ok(())
    }
    fn revalidate(&self) -> bool {
        self.live_dir().is_ok_and(|dir| self.control.is_in(dir.group()))
    }
    fn open(self: Arc<Self>, _: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        // Whatever its mode was changed to, a file without a text is not read, and the other way round.
        if flags.wants_write() && (self.control.store.is_none() || self.base.mode() & 0o222 == 0)
            || flags.wants_read() && (self.control.show.is_none() || self.base.mode() & 0o444 == 0)
        {
            return Err(Errno::EACCES);
        }
        let dir = self.live_dir()?;
        let seen = AtomicU32::new(self.changes.load(Acquire));
        Ok(Arc::new(Opened {
            dir,
            cred: caller.cred.clone(),
            seen_from: cgroup::seen_from(),
            text: sched::Mutex::new(None),
            file: self,
            seen,
        }))
    }
}

/// An open control file.
pub struct Opened {
    file: Arc<ControlFile>,
    dir: Arc<Dir>,
    cred: Arc<Cred>,
    seen_from: Arc<Cgroup>,
    text: sched::Mutex<Option<String>>,
    /// The changes its reader knows of.
    seen: AtomicU32,
}

impl Opened {
    /// The group the file is about.
    pub fn group(&self) -> &Arc<Cgroup> {
        self.dir.group()
    }
    /// The directory it is in.
    pub fn dir(&self) -> &Arc<Dir> {
        &self.dir
    }
    /// The rights it was opened with.
    pub fn cred(&self) -> &Arc<Cred> {
        &self.cred
    }
    /// The root of the cgroup namespace it was opened in.
    pub fn seen_from(&self) -> &Arc<Cgroup> {
        &self.seen_from
    }
}

impl FileOps for Opened {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let mut slot = self.text.lock();
        if off == 0 || slot.is_none() {
            self.file.live_dir()?;
            self.seen.store(self.file.changes.load(Acquire), Release);
            let mut text = String::new();
            (self.file.control.show.ok_or(Errno::EINVAL)?)(self.group(), &mut text)?;
            *slot = Some(text);
        }
        let text = slot.as_deref().unwrap_or_default();
        match usize::try_from(off).ok().and_then(|off| text.as_bytes().get(off..)) {
            Some(rest) if !rest.is_empty() => dst.put(rest),
            _ => Ok(0),
        }
    }
    fn write_at(&self, _: &File, src: &mut Src<'_>, _: u64) -> Result<usize, Errno> {
        let len = src.remaining();
        if len > MAX_WRITE {
            return Err(Errno::E2BIG);
        }
        let mut input = Vec::new();
        input.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        input.resize(len, 0);
        let got = src.get(&mut input)?;
        self.file.live_dir()?;
        // The root of a namespace is its owner's to fill, not to configure.
        let delegated =
            NSDELEGATE.load(Relaxed) && !self.seen_from.is_root() && self.seen_from.id() == self.group().id();
        if delegated && !self.file.control.delegatable {
            return Err(Errno::EPERM);
        }
        (self.file.control.store.ok_or(Errno::EINVAL)?)(self, input.get(..got).unwrap_or_default())?;
        Ok(got)
    }
    fn poll(&self, _: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.file.wait);
        let ready = PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM;
        match self.file.changes.load(Acquire) == self.seen.load(Acquire) {
            true => ready,
            false => ready | PollEvents::PRI | PollEvents::ERR,
        }
    }
    fn pollable(&self) -> bool {
        true
    }
}
