//! Signal-driven I/O: `O_ASYNC` has a signal sent to the owner of an open file whenever it becomes ready.
//!
//! The file keeps a subscription to the wait queues that its `poll` names, so who did not ask for it pays nothing. The listener may
//! neither look at the file nor send signals; it queues itself, and the queue is worked off by the thread that caused the event
//! on its way to user mode (a write to one's own pipe has its signal before write(2) returns), or by a kernel thread if that one is
//! busy or asleep.
//!
//! Directory notification (`F_NOTIFY`) sends its signals the same way.
//!
//! Lock order: `TURN` (sleeping) before anything `poll` and sending take; `QUEUE` is a leaf. Sources: fcntl(2), "Managing signals";
//! sigaction(2), `SIGIO/SIGPOLL`.

use crate::process::Process;
use crate::signal::send::{send_process, send_task};
use crate::task::Task;
use crate::{tree, work};
use abi::Errno;
use abi::signal::{SigInfo, Signal, si};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use machine::sync::IrqLock;
use sched::{Listener, Mutex, WaitQueue};
use vfs::dnotify::DirWatch;
use vfs::file::Owner;
use vfs::poll::{PollEvents, PollTable};
use vfs::{Cred, File, FileType};

static QUEUE: IrqLock<VecDeque<Due>> = IrqLock::new(VecDeque::new());
static QUEUED: WaitQueue = WaitQueue::new();
/// Held while the queue is worked off: who finds it empty knows that its signals are sent.
static TURN: Mutex<()> = Mutex::new(());
static HAS_WORKER: AtomicBool = AtomicBool::new(false);

/// What happened to something that somebody must be told of.
enum Due {
    Ready(Arc<Watch>),
    InDirectory(Arc<DirWatch>),
}

/// `si_code` and `si_band`.
type Reason = (i32, u64);
const POLL_IN: Reason = (1, 0x41);
const POLL_OUT: Reason = (2, 0x304);
const POLL_MSG: Reason = (3, 0x441);
const POLL_PRI: Reason = (5, 0x82);
const POLL_HUP: Reason = (6, 0x18);

/// A file that drives signals.
struct Watch {
    me: Weak<Watch>,
    file: Weak<File>,
    /// The descriptor `O_ASYNC` was set through: `si_fd`.
    fd: i32,
    /// Poll events that wakers named since the last look, and whether one named none.
    keys: AtomicU32,
    keyless: AtomicBool,
    queued: AtomicBool,
    hung_up: AtomicBool,
}

/// Starts or ends sending signals for `file`, if it is of a kind that does.
pub fn drive(file: &Arc<File>, fd: i32, on: bool) {
    if !on || file.ops().signals() == vfs::fileops::Signals::Never {
        return file.set_watch(None);
    }
    start_worker();
    let watch = Arc::new_cyclic(|me| Watch {
        me: me.clone(),
        file: Arc::downgrade(file),
        fd,
        keys: AtomicU32::new(0),
        keyless: AtomicBool::new(false),
        queued: AtomicBool::new(false),
        hung_up: AtomicBool::new(false),
    });
    let mut table = Box::new(PollTable::with(watch.clone()));
    let now = file.ops().poll(file, &mut table);
    watch.hung_up.store(now.contains(PollEvents::HUP), Relaxed);
    file.set_watch(Some(table));
}

fn start_worker() {
    if HAS_WORKER.swap(true, AcqRel) {
        return;
    }
    let body = || {
        loop {
            QUEUED.wait(|| (!QUEUE.lock().is_empty()).then_some(()));
            send_queued();
        }
    };
    match sched::spawn("sigio", None, Box::new(body)) {
        Ok(thread) => thread.start(),
        Err(_) => HAS_WORKER.store(false, Release), // the next caller tries again
    }
}

/// Sends the signals of all events so far.
pub(crate) fn send_queued() {
    if !HAS_WORKER.load(Relaxed) {
        return; // nobody ever asked
    }
    let _turn = TURN.lock();
    loop {
        let next = QUEUE.lock().pop_front();
        match next {
            Some(Due::Ready(watch)) => watch.look(),
            Some(Due::InDirectory(watch)) => {
                let Some((events, file, fd)) = watch.take() else { continue };
                (0..events).for_each(|_| tell(&file, fd, POLL_MSG));
            }
            None => break,
        }
    }
}

/// Has what happens in the open directory `file` reported to its owner: `F_NOTIFY` with `events` (`DN_*`).
pub fn watch_directory(file: &Arc<File>, table: u64, fd: i32, events: u32) -> Result<(), Errno> {
    start_worker();
    vfs::dnotify::watch(file, table, fd, events, |watch| {
        enqueue(Due::InDirectory(watch));
        note();
    })
}

fn enqueue(due: Due) {
    QUEUE.lock().push_back(due);
}

/// Has the queue worked off: by this thread before it is back in user mode, or by the kernel's.
fn note() {
    if let Some(task) = crate::current() {
        task.work.set(work::NOTE);
    }
    QUEUED.wake_one();
}

impl Listener for Watch {
    fn notify(&self, key: u64) -> bool {
        if PollEvents::is_passed_on(key) {
            return false;
        }
        self.keys.fetch_or(key as u32, AcqRel);
        if key == 0 {
            self.keyless.store(true, Release);
        }
        if !self.queued.swap(true, AcqRel)
            && let Some(me) = self.me.upgrade()
        {
            enqueue(Due::Ready(me));
        }
        note();
        true
    }
}

impl Watch {
    /// Looks what happened to the file and tells its owner.
    fn look(&self) {
        self.queued.store(false, Release);
        let keys = PollEvents::from_bits_truncate(self.keys.swap(0, AcqRel));
        let keyless = self.keyless.swap(false, AcqRel);
        let Some(file) = self.file.upgrade() else { return };
        let now = file.ops().poll(&file, &mut PollTable::none());
        let hung_up = now.contains(PollEvents::HUP);
        // A socket that is not connected yet counts as hung up, which must not use its later hang-up up.
        let hangs_up = !self.hung_up.swap(hung_up, Relaxed) && hung_up;
        match file.path().dentry.kind() {
            // The end that writes: there is room, or nobody to read.
            FileType::Fifo if !file.is_readable() => tell(&file, self.fd, POLL_OUT),
            FileType::Fifo => tell(&file, self.fd, POLL_IN),
            FileType::Socket if hangs_up => tell(&file, self.fd, POLL_HUP),
            // One hang-up wakes more than once, and each may be looked at on its own; nothing else comes after it.
            FileType::Socket if hung_up => {}
            // A terminal that hung up is not the owner's any more.
            FileType::CharDevice if hung_up => {}
            _ => {
                // SIGURG says this already, to who did not choose a signal.
                if file.path().dentry.kind() == FileType::Socket
                    && keys.contains(PollEvents::PRI)
                    && file.owner().signal != 0
                {
                    tell(&file, self.fd, POLL_PRI);
                }
                if (keyless || keys.intersects(PollEvents::READABLE)) && now.intersects(PollEvents::READABLE) {
                    tell(&file, self.fd, POLL_IN);
                }
                if file.path().dentry.kind() == FileType::Socket
                    && keys.intersects(PollEvents::WRITABLE)
                    && now.intersects(PollEvents::WRITABLE)
                {
                    tell(&file, self.fd, POLL_OUT);
                }
            }
        }
    }
}

/// Sends the owner of `file` his signal.
fn tell(file: &File, fd: i32, (code, band): Reason) {
    let owner = file.owner();
    for_each_owner(&owner, |process, thread| {
        let chosen = Signal::from_raw(owner.signal).map_or(Err(Errno::EAGAIN), |sig| {
            // Elsewhere the numbers of POLL_IN and its like mean something else.
            let code = if sig != Signal::IO && has_own_codes(sig) { si::SIGIO } else { code };
            send(process, thread, sig, SigInfo::poll(sig, code, band, fd))
        });
        if chosen.is_err() {
            // None was chosen, or its queue is full. A process that ends needs no notice.
            let _ = send(process, thread, Signal::IO, SigInfo::kernel(Signal::IO));
        }
    });
}

/// Out-of-band data came: SIGURG, whatever F_SETSIG chose.
pub(crate) fn tell_urgent(file: &File) {
    for_each_owner(&file.owner(), |process, thread| {
        let _ = send(process, thread, Signal::URG, SigInfo::kernel(Signal::URG));
    });
}

fn send(process: &Arc<Process>, thread: Option<&Arc<Task>>, sig: Signal, info: SigInfo) -> Result<(), Errno> {
    match thread {
        Some(task) => send_task(task, sig, &info),
        None => send_process(process, sig, &info),
    }
}

/// Calls `tell` with each process, or the one thread, that an owner stands for and may send signals to.
fn for_each_owner(owner: &Owner, mut tell: impl FnMut(&Arc<Process>, Option<&Arc<Task>>)) {
    let mut tell = |process: &Arc<Process>, thread: Option<&Arc<Task>>| {
        let leader = process.leader();
        if thread.or(leader.as_ref()).is_some_and(|target| may_send(owner, &target.cred())) {
            tell(process, thread);
        }
    };
    if owner.pid < 0 {
        let Some(group) = tree::find_group(owner.pid.saturating_neg()) else { return };
        group.members().iter().for_each(|member| tell(member, None));
    } else if owner.thread {
        if let Some(task) = tree::find_task(owner.pid) {
            tell(task.process(), Some(&task));
        }
    } else if let Some(process) = tree::find_process(owner.pid) {
        tell(&process, None);
    }
}

/// The rule of kill(2) without capabilities, for who made himself responsible with F_SETOWN.
fn may_send(owner: &Owner, target: &Cred) -> bool {
    owner.euid == 0 || [owner.euid, owner.uid].iter().any(|&id| id == target.suid || id == target.uid)
}

fn has_own_codes(sig: Signal) -> bool {
    [Signal::ILL, Signal::FPE, Signal::SEGV, Signal::BUS, Signal::TRAP, Signal::CHLD, Signal::SYS].contains(&sig)
}
