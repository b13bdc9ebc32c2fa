//! Pidfds: open files that name a thread or a process for good.
//!
//! What a pidfd names is an [`Identity`]: one for each number that a thread or process holds, made when somebody first asks for it and
//! kept by its holder from then on, so that all pidfds of it show the same inode. It outlives the holder as long as somebody has it
//! open, with what is known of the end. [`pidfs`] is the file system its inodes live in, [`info`] the ioctls.
//!
//! A pidfd of a leader's number means the process: it becomes readable when the last thread has ended, whichever that is. With
//! `O_EXCL` (PIDFD_THREAD) signals go to the one thread.
//!
//! Lock order: `tree::TREE` before `Task::pidfs` and the locks of an [`Identity`], which are leaves.
//!
//! Sources: pidfd_open(2), clone(2) on CLONE_PIDFD, ioctl_pidfd(2).

mod identity;
mod info;
mod pidfs;

pub use identity::Identity;
pub(crate) use identity::{renamed, thread_gone};
pub use pidfs::{new_file, root_place};

use crate::process::Process;
use crate::task::Task;
use crate::{Cx, jobs, signal};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::signal::{SigInfo, Signal};
use alloc::sync::Arc;
use core::any::Any;
use core::fmt::{self, Write};
use machine::sync::Once;
use vfs::{Caller, File, FileOps, PollEvents, PollTable};

/// A pidfd marks single threads so (`PIDFD_THREAD`).
pub const THREAD: OpenFlags = OpenFlags::EXCL;

/// The open file.
pub struct PidFd {
    identity: Arc<Identity>,
    /// The process dies with this file (CLONE_PIDFD_AUTOKILL).
    autokill: bool,
}

impl PidFd {
    /// What it names.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}

impl FileOps for PidFd {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn can_read(&self) -> bool {
        false
    }
    fn can_write(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        Some(Err(Errno::ESPIPE))
    }
    fn pollable(&self) -> bool {
        true
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(self.identity.wait());
        let (ended, reaped) = self.identity.ended();
        let mut ready = PollEvents::empty();
        if ended {
            ready |= PollEvents::IN | PollEvents::RDNORM;
        }
        if reaped {
            ready |= PollEvents::HUP;
        }
        ready
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        info::ioctl(&self.identity, caller, cmd, arg)
    }
    fn release(&self, _f: &File) {
        if self.autokill
            && let Some(process) = self.identity.process()
        {
            // Whoever is dead already needs no killing.
            let _ = signal::send_process(&process, Signal::KILL, &SigInfo::kernel(Signal::KILL));
        }
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn Write) -> fmt::Result {
        if self.identity.task().is_none() {
            return out.write_str("Pid:\t-1\nNSpid:\t-1\n");
        }
        let number = self.identity.numbers();
        let seen = jobs::current().map(|me| number.nr_in(me.pid_ns())).unwrap_or(0);
        write!(out, "Pid:\t{seen}\nNSpid:\t{seen}")?;
        if let Some(me) = jobs::current().filter(|_| seen != 0) {
            for nr in number.numbers(me.pid_ns(), number.ns()).into_iter().skip(1) {
                write!(out, "\t{nr}")?;
            }
        }
        out.write_char('\n')
    }
}

/// Makes a pidfd and gives its descriptor, which is closed on exec. `flags`: NONBLOCK and [`THREAD`].
pub fn install(cx: &Cx, identity: &Arc<Identity>, flags: OpenFlags, autokill: bool) -> Result<i32, Errno> {
    let file = pidfs::open(identity, flags | OpenFlags::RDWR, cx.cred(), autokill);
    cx.install(file, true)
}

/// pidfd_open(2).
pub fn open(cx: &Cx, pid: i32, flags: OpenFlags) -> Result<i32, Errno> {
    let task = cx.find_task(pid).ok_or(Errno::ESRCH)?;
    if !flags.contains(THREAD) && !task.is_leader() {
        return Err(Errno::ENOENT);
    }
    install(cx, &Identity::of_task(&task)?, flags, false)
}

/// What a pidfd names, and the flags of its file; EBADF when the descriptor is none.
pub fn get(cx: &Cx, fd: i32) -> Result<(Arc<Identity>, OpenFlags), Errno> {
    let file = cx.files().get(fd)?;
    let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    Ok((pidfd.identity.clone(), file.flags()))
}

/// The first thread of the process behind a pidfd, or what a number that stands for the caller means. ESRCH once it is gone, and for the
/// pidfd of another thread.
pub fn task_of(cx: &Cx, fd: i32) -> Result<Arc<Task>, Errno> {
    match fd {
        abi::pidfd::PIDFD_SELF_THREAD => Ok(cx.task.clone()),
        abi::pidfd::PIDFD_SELF_THREAD_GROUP => cx.process().leader().ok_or(Errno::ESRCH),
        _ => get(cx, fd)?.0.task().filter(|task| task.is_leader()).ok_or(Errno::ESRCH),
    }
}

/// Finds the process that an open directory of /proc stands for: `None` when it stands for none, ESRCH when that is gone.
pub type OfDirectory = fn(&File) -> Option<Result<Arc<Process>, Errno>>;

static OF_DIRECTORY: Once<OfDirectory> = Once::new();

/// Installs /proc's part in pidfd_send_signal(2).
pub fn set_of_directory(f: OfDirectory) {
    let _ = OF_DIRECTORY.set(f);
}

/// What pidfd_send_signal(2) takes: a pidfd, a directory of /proc, or a number that stands for the caller.
pub fn signalled(cx: &Cx, fd: i32) -> Result<(Arc<Identity>, OpenFlags), Errno> {
    match fd {
        abi::pidfd::PIDFD_SELF_THREAD => Ok((Identity::of_task(&cx.task)?, THREAD)),
        abi::pidfd::PIDFD_SELF_THREAD_GROUP => Ok((Identity::of_process(cx.process())?, OpenFlags::empty())),
        _ => {
            let file = cx.files().get_any(fd)?;
            if let Some(pidfd) = file.ops_as::<PidFd>() {
                return Ok((pidfd.identity.clone(), file.flags()));
            }
            let process = OF_DIRECTORY.get().and_then(|of| of(&file)).ok_or(Errno::EBADF)?;
            Ok((Identity::of_process(&process?)?, OpenFlags::empty()))
        }
    }
}
