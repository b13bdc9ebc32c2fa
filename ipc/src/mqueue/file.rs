//! Queue files, and the file system as mount(2) knows it.

use super::limits::Charge;
use super::queue::{Message, Notice, Queue};
use crate::IpcNamespace;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::ipc::MqAttr;
use abi::stat::magic;
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use mm::Dst;
use sched::Instant;
use vfs::{
    Attr, Caller, Configure, Cred, File, FileOps, FsType, Inode, InodeBase, Mounting, Namespace, Path, PollEvents,
    PollTable, SbFlags, StatFs, SuperBlock, SuperOps, UserNamespace, next_ino,
};

/// Bytes of the text of a queue file, its NUL included: what stat(2) shows as its size.
const TEXT_SIZE: u64 = 80;
/// `sigev_notify` of the ways there are.
const SIGEV_NONE: i32 = 1;

/// The type mount(2) knows as `mqueue`.
pub struct MqueueFs;

impl FsType for MqueueFs {
    fn name(&self) -> &'static str {
        "mqueue"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Queues(super::namespace())))
    }
}

/// The queues of a namespace, about to be mounted.
struct Queues(Arc<IpcNamespace>);

impl Configure for Queues {
    fn user_ns(&self) -> Option<Arc<UserNamespace>> {
        Some(self.0.owner())
    }
    fn create(&mut self, _: Option<&[u8]>, _: SbFlags, _: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.0.mqueue.root(&self.0).clone())
    }
}

pub(super) struct Super;

impl SuperOps for Super {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: magic::MQUEUE, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
}

/// A queue file, open or not.
pub struct MqFile {
    base: InodeBase,
    queue: Queue,
    ns: Weak<IpcNamespace>,
    _charge: Charge,
}

impl MqFile {
    /// A new one; it counts among the queues of the namespace until it is dropped.
    pub(super) fn new(
        sb: &Arc<SuperBlock>,
        ns: &Arc<IpcNamespace>,
        mode: u32,
        cred: &Cred,
        attr: Option<&MqAttr>,
    ) -> Result<Arc<MqFile>, Errno> {
        ns.mqueue.limits.take_queue(cred)?;
        let made = || {
            let (max, size) = ns.mqueue.limits.shape(cred, attr)?;
            let charge = Charge::new(cred.uid, max, size, super::byte_limit())?;
            let base = InodeBase::new(sb, next_ino(), mode, cred.fsuid, cred.fsgid, 0);
            Ok(Arc::new(MqFile { base, queue: Queue::new(max, size), ns: Arc::downgrade(ns), _charge: charge }))
        };
        made().inspect_err(|_| ns.mqueue.limits.give_queue())
    }
    /// The queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
    /// Its attributes as mq_getattr(3) gives them.
    pub fn attr_for(&self, f: &File) -> MqAttr {
        MqAttr {
            flags: i64::from((f.flags() & OpenFlags::NONBLOCK).bits()),
            maxmsg: self.queue.max.into(),
            msgsize: self.queue.size.into(),
            curmsgs: self.queue.show().count.into(),
            ..MqAttr::default()
        }
    }
    /// mq_timedsend(2); the text is no longer than the queue takes.
    pub fn send(&self, f: &File, message: Message, deadline: Option<Instant>) -> Result<(), Errno> {
        self.queue.send(message, f.is_nonblocking(), deadline)?;
        self.base.touch_mtime();
        Ok(())
    }
    /// mq_timedreceive(2).
    pub fn receive(&self, f: &File, deadline: Option<Instant>) -> Result<Message, Errno> {
        let message = self.queue.receive(f.is_nonblocking(), deadline)?;
        self.base.touch_mtime();
        Ok(message)
    }
}

impl Drop for MqFile {
    fn drop(&mut self) {
        if let Some(ns) = self.ns.upgrade() {
            ns.mqueue.limits.give_queue();
        }
    }
}

impl Inode for MqFile {
    fn base(&self) -> &InodeBase {
        &self.base
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.base.attr_with(TEXT_SIZE, 0))
    }
    fn open(self: Arc<Self>, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self)
    }
}

impl FileOps for MqFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let shown = self.queue.show();
        let (notice, signal, pid) = match shown.notification {
            None => (0, 0, 0),
            Some((owner, Notice::Nothing)) => (SIGEV_NONE, 0, super::nr_of(owner)),
            Some((owner, Notice::Signal(signal))) => (0, signal, super::nr_of(owner)),
        };
        let text = format!("QSIZE:{:<10} NOTIFY:{notice:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", shown.bytes);
        let rest = usize::try_from(off).ok().and_then(|off| text.as_bytes().get(off..)).unwrap_or_default();
        if rest.is_empty() {
            return Ok(0);
        }
        let n = dst.put(rest)?;
        f.accessed();
        Ok(n)
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.queue.changed);
        self.queue.ready()
    }
    fn pollable(&self) -> bool {
        true
    }
    fn flush(&self, _f: &File) -> Result<(), Errno> {
        // A process that closes any descriptor of the queue is not told any more (mq_close(3)).
        self.queue.clear_notification(vfs::jobs().pid());
        Ok(())
    }
}
