//! Pidfds: open files that name a thread or a thread group for good. Source: pidfd_open(2), clone(2) on CLONE_PIDFD.

use crate::process::{Life, Process};
use crate::task::Task;
use crate::{Cx, tree};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::resource::Resource;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt::{self, Write};
use vfs::{File, FileOps, PollEvents, PollTable, anon_file};

/// What a pidfd names.
pub struct PidFd {
    process: Arc<Process>,
    /// A single thread (PIDFD_THREAD).
    thread: Option<Arc<Task>>,
}

impl PidFd {
    /// The thread group.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
    /// The thread, if the pidfd names only one.
    pub fn thread(&self) -> Option<&Arc<Task>> {
        self.thread.as_ref()
    }
    /// The thread to act on: the named one, or the leader. ESRCH once it is gone.
    pub fn task(&self) -> Result<Arc<Task>, Errno> {
        let task = match &self.thread {
            Some(t) => tree::find_task(t.tid()).filter(|now| Arc::ptr_eq(now, t)),
            None => self.process.leader(),
        };
        task.ok_or(Errno::ESRCH)
    }
    fn has_exited(&self) -> bool {
        match &self.thread {
            Some(t) if !t.is_leader() => t.handles().is_none(),
            _ => self.process.life() != Life::Running,
        }
    }
}

impl FileOps for PidFd {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.process.exit_wait);
        let mut ready = PollEvents::empty();
        if self.has_exited() {
            ready |= PollEvents::IN | PollEvents::RDNORM;
        }
        if self.process.life() == Life::Gone {
            ready |= PollEvents::HUP;
        }
        ready
    }
    fn pollable(&self) -> bool {
        true
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn Write) -> fmt::Result {
        let pid = match self.process.life() {
            Life::Gone => -1,
            _ => self.thread.as_ref().map_or(self.process.pid(), |t| t.tid()),
        };
        write!(out, "Pid:\t{pid}\nNSpid:\t{pid}\n")
    }
}

/// Makes a pidfd for `task` (alone with `thread`, else for its group) and gives its descriptor, which is closed on exec.
pub fn install(cx: &Cx, task: &Arc<Task>, thread: bool, nonblock: bool) -> Result<i32, Errno> {
    let mut flags = OpenFlags::RDWR;
    if nonblock {
        flags |= OpenFlags::NONBLOCK;
    }
    if thread {
        flags |= OpenFlags::EXCL;
    }
    let named = PidFd { process: task.process().clone(), thread: thread.then(|| task.clone()) };
    let file = anon_file("[pidfd]", Arc::new(named), flags, cx.cred());
    let limit = cx.process().limits.soft(Resource::Nofile).min(u64::from(u32::MAX)) as u32;
    cx.files().install(file, true, limit)
}

/// pidfd_open(2).
pub fn open(cx: &Cx, pid: i32, thread: bool, nonblock: bool) -> Result<i32, Errno> {
    let task = {
        let tree = tree::lock();
        let task = tree.task(pid).cloned();
        match task {
            Some(t) if !thread && !t.is_leader() => return Err(Errno::ENOENT),
            Some(t) => t,
            None => return Err(Errno::ESRCH),
        }
    };
    install(cx, &task, thread, nonblock)
}

/// Calls `f` with what the descriptor names; EBADF when it is no pidfd.
pub fn with<R>(cx: &Cx, fd: i32, f: impl FnOnce(&PidFd, &File) -> Result<R, Errno>) -> Result<R, Errno> {
    let file = cx.files().get(fd)?;
    let named = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    f(named, &file)
}
