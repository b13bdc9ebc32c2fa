//! POSIX message queues: mq_open(3), mq_send(3), mq_receive(3), mq_notify(3), mq_getattr(3), mq_unlink(3).

use super::namespace;
use ::ipc::mqueue::{self, Message, MqFile, Notice, Notification};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::ipc::{MQ_PRIO_MAX, MqAttr};
use abi::signal::{SigInfo, Signal, si};
use abi::stat::{S_IFMT, S_IFSOCK};
use abi::time::{Sigevent, Timespec, sigev};
use alloc::boxed::Box;
use alloc::sync::Arc;
use machine::VirtAddr;
use mm::user::{PathBuf, UserCStr, UserPtr};
use sched::Instant;
use sched::clock::Base;
use task::Cx;
use vfs::File;

/// Bytes of what mq_notify(3) has written to a netlink socket for SIGEV_THREAD.
const COOKIE: usize = 32;

/// mq_open(3).
pub fn mq_open(cx: &mut Cx, name: UserCStr, flags: u32, mode: u32, attr: UserPtr<MqAttr>) -> Result<i32, Errno> {
    let attr = match attr.non_null() {
        Some(at) => Some(at.read(cx.mm())?),
        None => None,
    };
    let mut text = PathBuf::new();
    name.read_path(cx.mm(), &mut text)?;
    let flags = OpenFlags::from_bits_truncate(flags);
    let mode = mode & !cx.fs().umask();
    let file = mqueue::open(namespace(cx), &text, flags, mode, attr.as_ref(), &cx.caller())?;
    cx.install(file, true)
}

/// mq_unlink(3).
pub fn mq_unlink(cx: &mut Cx, name: UserCStr) -> Result<(), Errno> {
    let mut text = PathBuf::new();
    name.read_path(cx.mm(), &mut text)?;
    mqueue::unlink(namespace(cx), &text, &cx.caller())
}

fn queue(file: &Arc<File>) -> Result<&MqFile, Errno> {
    file.ops_as::<MqFile>().ok_or(Errno::EBADF)
}

/// The moment a timeout names: one on the wall clock.
fn deadline(cx: &Cx, timeout: UserPtr<Timespec>) -> Result<Option<Instant>, Errno> {
    match timeout.non_null() {
        None => Ok(None),
        Some(at) => Ok(Some(Base::Realtime.to_monotonic(at.read(cx.mm())?.to_ns().ok_or(Errno::EINVAL)?))),
    }
}

/// mq_timedsend(2).
pub fn mq_timedsend(
    cx: &mut Cx,
    fd: i32,
    text: UserPtr<u8>,
    len: usize,
    priority: u32,
    timeout: UserPtr<Timespec>,
) -> Result<(), Errno> {
    let deadline = deadline(cx, timeout)?;
    if priority >= MQ_PRIO_MAX {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd)?;
    let mq = queue(&file)?;
    if !file.is_writable() {
        return Err(Errno::EBADF);
    }
    if len > mq.queue().size as usize {
        return Err(Errno::EMSGSIZE);
    }
    let text = text.slice(len).read_vec(cx.mm())?;
    mq.send(&file, Message { priority, text }, deadline)
}

/// mq_timedreceive(2).
pub fn mq_timedreceive(
    cx: &mut Cx,
    fd: i32,
    text: UserPtr<u8>,
    len: usize,
    priority: UserPtr<u32>,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let deadline = deadline(cx, timeout)?;
    let file = cx.files().get(fd)?;
    let mq = queue(&file)?;
    if !file.is_readable() {
        return Err(Errno::EBADF);
    }
    if len < mq.queue().size as usize {
        return Err(Errno::EMSGSIZE);
    }
    let message = mq.receive(&file, deadline)?;
    priority.write_opt(cx.mm(), &message.priority)?;
    text.slice(message.text.len()).write_from(cx.mm(), &message.text)?;
    Ok(message.text.len())
}

/// mq_notify(2).
pub fn mq_notify(cx: &mut Cx, fd: i32, event: UserPtr<Sigevent>) -> Result<(), Errno> {
    let event = match event.non_null() {
        Some(at) => Some(at.read(cx.mm())?),
        None => None,
    };
    let notice = match &event {
        None => None,
        Some(e) => Some(notice(cx, e)?),
    };
    let file = cx.files().get(fd)?;
    let mq = queue(&file)?;
    let owner = cx.process().pid();
    match (event, notice) {
        (Some(event), Some(notice)) => {
            let tell = tell(cx, notice, event.value);
            mq.queue().set_notification(Notification { owner, notice, tell })
        }
        _ => {
            // Not being the one who is told is no error.
            mq.queue().clear_notification(owner);
            Ok(())
        }
    }
}

fn notice(cx: &Cx, event: &Sigevent) -> Result<Notice, Errno> {
    match event.notify {
        sigev::NONE => Ok(Notice::Nothing),
        sigev::SIGNAL if (0..=64).contains(&event.signo) => Ok(Notice::Signal(event.signo)),
        sigev::THREAD => {
            // The C library passes a netlink socket, of which there are none.
            UserPtr::<[u8; COOKIE]>::new(VirtAddr(event.value)).read(cx.mm())?;
            let socket = cx.files().get(event.signo)?;
            let is_socket = socket.inode().base().mode() & S_IFMT == S_IFSOCK;
            Err(if is_socket { Errno::EINVAL } else { Errno::ENOTSOCK })
        }
        _ => Err(Errno::EINVAL),
    }
}

/// What the sender of the message does to tell the caller.
fn tell(cx: &Cx, notice: Notice, value: u64) -> Box<dyn FnOnce() + Send> {
    let Notice::Signal(number) = notice else { return Box::new(|| ()) };
    let (to, ns) = (Arc::downgrade(cx.process()), cx.cred().user_ns.clone());
    let listener = Arc::downgrade(&cx.task);
    Box::new(move || {
        let (Some(sig), Some(to)) = (Signal::from_raw(number), to.upgrade()) else { return };
        let Some(sender) = task::current() else { return };
        let pid = listener.upgrade().map_or(0, |l| l.nr_of(sender.pid()));
        let info = SigInfo::queued(sig, si::MESGQ, pid as u32, ns.show_uid(sender.cred().uid), value);
        // A full queue of signals loses it, and with it the only notice; so does Linux.
        let _ = task::signal::send_process(&to, sig, &info);
    })
}

/// mq_getattr(3) and mq_setattr(3) in one.
pub fn mq_getsetattr(cx: &mut Cx, fd: i32, new: UserPtr<MqAttr>, old: UserPtr<MqAttr>) -> Result<(), Errno> {
    let nonblock = i64::from(OpenFlags::NONBLOCK.bits());
    let new = match new.non_null() {
        Some(at) => Some(at.read(cx.mm())?),
        None => None,
    };
    if new.is_some_and(|n| n.flags & !nonblock != 0) {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd)?;
    let before = queue(&file)?.attr_for(&file);
    if let Some(new) = new {
        file.set_flag(OpenFlags::NONBLOCK, new.flags & nonblock != 0)?;
    }
    old.write_opt(cx.mm(), &before)
}
