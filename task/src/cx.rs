//! What a system call gets: the calling thread's own view of itself.
//!
//! A thread is the only one that changes which address space, files, directories and credentials it uses, so its own copies of
//! those handles need no lock; [`Task`] keeps a second set under a lock for others to look at.

use crate::ns::NsProxy;
use crate::process::Process;
use crate::signal::SignalView;
use crate::task::{Handles, Task};
use crate::users::UserCounts;
use abi::Errno;
use abi::resource::Resource;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use machine::user::UserCtx;
use mm::Mm;
use vfs::{Caller, Cred, FdTable, File, FsContext};

/// How an interrupted call goes on when restart_syscall(2) runs.
pub type Restart = Box<dyn FnOnce(&mut Cx) -> Result<i64, Errno> + Send>;

/// The calling thread.
pub struct Cx {
    /// What others see of it.
    pub task: Arc<Task>,
    /// Its registers.
    pub user: UserCtx,
    handles: Handles,
    /// Its own part of the signal state.
    pub signal: SignalView,
    /// How to go on after ERESTART_RESTARTBLOCK.
    pub restart: Option<Restart>,
    /// Where to write 0 and wake a futex when the thread ends (set_tid_address(2)), 0 for nowhere.
    pub clear_child_tid: u64,
    /// The registered restartable-sequence area.
    pub rseq: crate::rseq::Rseq,
    /// Syscall user dispatch, while `entry::SUD` is set.
    pub sud: crate::sud::Sud,
    /// Its own copy of what seccomp lets it call.
    pub(crate) seccomp: crate::seccomp::Seen,
    /// A change of user left its new user with more threads than RLIMIT_NPROC: the next execve fails.
    pub(crate) too_many_tasks: bool,
    /// What System V IPC keeps for the thread; its end acts by being dropped.
    pub sysv: crate::sysv::Sysv,
    /// What prctl(2) tells of it and its children inherit.
    pub attributes: Attributes,
    /// The wait status this thread ends with, once it has asked to.
    pub(crate) ending: i32,
}

/// Wishes of a thread that change nothing here, but that it and its children can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// PR_SET_IO_FLUSHER: it carries out others' writes. Memory for its calls is never got by writing, as for all others.
    pub io_flusher: bool,
    /// PR_MCE_KILL, when it wants to hear of broken memory: no machine check is survived, so that nobody ever does.
    pub mce_kill: u8,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes { io_flusher: false, mce_kill: abi::prctl::PR_MCE_KILL_DEFAULT as u8 }
    }
}

impl Cx {
    /// The view of a thread about to start.
    pub fn new(task: Arc<Task>, user: UserCtx, handles: Handles) -> Cx {
        Cx {
            task,
            user,
            handles,
            signal: SignalView::default(),
            restart: None,
            clear_child_tid: 0,
            rseq: crate::rseq::Rseq::default(),
            sud: crate::sud::Sud::default(),
            seccomp: crate::seccomp::Seen::default(),
            too_many_tasks: false,
            sysv: crate::sysv::Sysv::default(),
            attributes: Attributes::default(),
            ending: 0,
        }
    }
    /// The address space.
    #[inline]
    pub fn mm(&self) -> &Arc<Mm> {
        &self.handles.mm
    }
    /// The descriptor table.
    #[inline]
    pub fn files(&self) -> &Arc<FdTable> {
        &self.handles.files
    }
    /// Gives a file the lowest free descriptor.
    #[inline]
    pub fn install(&self, file: Arc<File>, cloexec: bool) -> Result<i32, Errno> {
        self.files().install(file, cloexec, self.process().limits.nofile())
    }
    /// Root, working directory and umask.
    #[inline]
    pub fn fs(&self) -> &Arc<FsContext> {
        &self.handles.fs
    }
    /// Credentials.
    #[inline]
    pub fn cred(&self) -> &Arc<Cred> {
        &self.handles.cred
    }
    /// The thread group.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        self.task.process()
    }
    /// Lets others know of the list of semaphore operations, after it has come or gone.
    pub fn show_undo(&self) {
        self.task.undo_list.store(self.sysv.undo_address(), core::sync::atomic::Ordering::Relaxed);
    }
    /// Who asks, for path walk and devices.
    #[inline]
    pub fn caller(&self) -> Caller<'_> {
        Caller { mm: &self.handles.mm, cred: &self.handles.cred, jobs: &*self.task }
    }
    /// Makes the thread end, with this wait status if it is the last of its group, when it is about to return to user mode.
    pub fn end_thread(&mut self, status: i32) {
        self.ending = status;
        self.task.work.set(crate::work::EXIT);
    }
    /// Makes every thread of the group end.
    pub fn end_group(&mut self, status: i32) {
        let status = {
            let mut state = self.task.process().sig();
            crate::signal::send::begin_group_exit(&mut state, status, Some(&self.task));
            state.group_exit.unwrap_or(status)
        };
        self.end_thread(status);
    }
    /// The control and status words of the floating-point units.
    pub(crate) fn xstate_head(&mut self) -> Option<[u8; 32]> {
        let size = UserCtx::xstate_size();
        let mut image = core::mem::take(&mut self.signal.xstate);
        if image.len() < size {
            image.try_reserve_exact(size - image.len()).ok()?;
            image.resize(size, 0);
        }
        self.user.xstate(&mut image);
        let head = image.first_chunk().copied();
        self.signal.xstate = image;
        head
    }
    /// All handles.
    pub fn handles(&self) -> &Handles {
        &self.handles
    }
    /// Installs another address space and makes it the active one.
    pub fn set_mm(&mut self, mm: Arc<Mm>) {
        self.task.update_handles(|h| h.mm = mm.clone());
        mm.activate();
        self.handles.mm = mm;
    }
    /// Installs another descriptor table.
    pub fn set_files(&mut self, files: Arc<FdTable>) {
        self.task.update_handles(|h| h.files = files.clone());
        self.handles.files = files;
    }
    /// Installs other directories.
    pub fn set_fs(&mut self, fs: Arc<FsContext>) {
        self.task.update_handles(|h| h.fs = fs.clone());
        self.handles.fs = fs;
    }
    /// EAGAIN if a change of user left more threads than that user may have, and there still are (execve(2)).
    pub fn check_exec_count(&mut self) -> Result<(), Errno> {
        if !core::mem::take(&mut self.too_many_tasks) {
            return Ok(());
        }
        self.too_many_tasks = self.task.user().over_limit(self.process().limits.soft(Resource::Nproc));
        if self.too_many_tasks { Err(Errno::EAGAIN) } else { Ok(()) }
    }
    /// Credentials in a new user namespace below the caller's (clone(2), unshare(2)).
    pub fn child_user_ns(&self) -> Result<Arc<Cred>, Errno> {
        let dirs = self.handles.fs.dirs();
        let chrooted = dirs.root != dirs.ns.root_path();
        // The superuser of the first namespace is not held to his limit.
        let free = self.handles.cred.uid == 0;
        let most = if free { u64::MAX } else { self.process().limits.soft(Resource::Nproc) };
        vfs::user_ns::create(&self.handles.cred, chrooted, most).map(Arc::new)
    }
    /// Installs other namespaces.
    pub fn set_ns(&mut self, ns: Arc<NsProxy>) {
        self.task.update_handles(|h| h.ns = ns.clone());
        self.handles.ns = ns;
    }
    /// Installs other credentials.
    ///
    /// Who changes the ids that others judge him by, or gains capabilities, is no longer open to their debuggers.
    pub fn set_cred(&mut self, cred: Arc<Cred>) {
        let old = &self.handles.cred;
        let ids = |c: &Cred| (c.euid, c.egid, c.fsuid, c.fsgid);
        if ids(old) != ids(&cred) || !old.covers(&cred) {
            self.process().dumpable.store(crate::exec::suid_dumpable(), Relaxed);
            self.task.pdeath_signal.store(0, Relaxed);
        }
        if old.uid != cred.uid {
            let limit = self.process().limits.soft(Resource::Nproc);
            self.too_many_tasks = cred.uid != 0 && UserCounts::of(&cred).over_limit(limit);
        }
        self.task.change_cred(&cred);
        self.handles.cred = cred;
    }
}
