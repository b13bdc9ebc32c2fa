//! A filter's listener: calls wait here until another process answers for them (seccomp_unotify(2)).
//!
//! A waiting call is an entry of [`Notifier::state`]. It goes from `New` (to be fetched) over `Sent` (fetched) to `Answered`; its
//! thread sleeps on a queue of its own until it is answered or has a descriptor to take in, and takes the entry out itself.

use crate::{Cx, jobs};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::seccomp::*;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use machine::VirtAddr;
use machine::sync::SpinLock;
use mm::{Mm, UserPtr};
use sched::{Completion, Interrupted, WaitQueue};
use vfs::{Caller, File, FileOps, PollEvents, PollTable, anon_file};
use zerocopy::{FromZeros, IntoBytes};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    New,
    Sent,
    Answered,
}

/// A descriptor on its way into the waiting task.
struct AddFd {
    file: Arc<File>,
    cloexec: bool,
    /// The number it is to have.
    at: Option<u32>,
    /// Its number is the answer.
    answers: bool,
    result: AtomicI32,
    done: Completion,
}

impl AddFd {
    fn finish(&self, result: i32) {
        self.result.store(result, Ordering::Relaxed);
        self.done.complete();
    }
}

/// One waiting call.
struct Waiting {
    id: u64,
    /// Its thread, by global number.
    tid: i32,
    data: SeccompData,
    phase: Phase,
    answer: SeccompNotifResp,
    fds: VecDeque<Arc<AddFd>>,
    wake: Arc<WaitQueue>,
}

#[derive(Default)]
struct State {
    calls: Vec<Waiting>,
    /// Announcements that no `RECV` has taken. A call that gave up leaves its own behind, for which `RECV` says ENOENT.
    announced: u32,
    next_id: u64,
    closed: bool,
}

impl State {
    fn call(&mut self, id: u64) -> Result<&mut Waiting, Errno> {
        self.calls.iter_mut().find(|c| c.id == id).ok_or(Errno::ENOENT)
    }
    /// A call that was fetched and not yet answered.
    fn sent(&mut self, id: u64) -> Result<&mut Waiting, Errno> {
        self.call(id).and_then(|c| if c.phase == Phase::Sent { Ok(c) } else { Err(Errno::EINPROGRESS) })
    }
}

/// What joins the threads under a filter to its listener.
pub struct Notifier {
    state: SpinLock<State>,
    /// Told when calls come and are fetched, and when the filter has no user left.
    changed: WaitQueue,
    abandoned: AtomicBool,
    /// Once fetched, a call is only interrupted by death.
    wait_killable: bool,
}

enum Event {
    Take(Arc<AddFd>),
    Answered(SeccompNotifResp),
}

impl Notifier {
    pub(super) fn new(wait_killable: bool) -> Notifier {
        let state = State { next_id: u64::from_ne_bytes(crate::exec::random()), ..State::default() };
        Notifier {
            state: SpinLock::new(state),
            changed: WaitQueue::new(),
            abandoned: AtomicBool::new(false),
            wait_killable,
        }
    }
    /// No thread is under the filter any more.
    pub(super) fn abandoned(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.changed.wake_all();
    }
    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
    /// The listener is gone: calls fail at once.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Announces a call; ENOSYS without a listener.
    fn post(&self, tid: i32, data: &SeccompData) -> Result<(u64, Arc<WaitQueue>), Errno> {
        let wake = Arc::new(WaitQueue::new());
        let id = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Errno::ENOSYS);
            }
            state.calls.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            state.announced = state.announced.saturating_add(1);
            let (phase, wake) = (Phase::New, wake.clone());
            let answer = SeccompNotifResp::default();
            state.calls.push(Waiting { id, tid, data: *data, phase, answer, fds: VecDeque::new(), wake });
            id
        };
        self.changed.wake_all();
        Ok((id, wake))
    }
    /// Something for the waiting thread to do.
    fn event(&self, id: u64) -> Option<Event> {
        let mut state = self.state.lock();
        let call = state.call(id).ok()?;
        match call.fds.pop_front() {
            Some(fd) => Some(Event::Take(fd)),
            None => (call.phase == Phase::Answered).then_some(Event::Answered(call.answer)),
        }
    }
    fn is_held(&self, id: u64) -> bool {
        self.wait_killable && self.state.lock().call(id).is_ok_and(|c| c.phase >= Phase::Sent)
    }
    /// The descriptor that was to be the answer has got its number, or has not got in and leaves the call unanswered.
    fn answer_with(&self, id: u64, fd: i32) {
        if let Ok(call) = self.state.lock().call(id) {
            if fd < 0 {
                call.phase = Phase::Sent;
            } else {
                call.answer = SeccompNotifResp { val: fd.into(), ..SeccompNotifResp::default() };
            }
        }
    }
    /// The call waits no more; with `unless_held` it does if it was fetched meanwhile, and the answer is `false`.
    fn forget(&self, id: u64, unless_held: bool) -> bool {
        let gone = {
            let mut state = self.state.lock();
            let at = state.calls.iter().position(|c| c.id == id);
            if unless_held && self.wait_killable && state.call(id).is_ok_and(|c| c.phase >= Phase::Sent) {
                return false;
            }
            at.map(|at| state.calls.remove(at))
        };
        for fd in gone.iter().flat_map(|c| &c.fds) {
            fd.finish(Errno::ESRCH.to_ret() as i32);
        }
        true
    }

    /// `SECCOMP_IOCTL_NOTIF_RECV`.
    fn receive(&self, mm: &Mm, at: VirtAddr) -> Result<(), Errno> {
        let mut notif = SeccompNotif::new_zeroed();
        mm.read_bytes(at, notif.as_mut_bytes())?;
        if notif != SeccompNotif::default() {
            return Err(Errno::EINVAL);
        }
        self.changed.wait_interruptible(|| {
            let mut state = self.state.lock();
            let any = state.announced > 0;
            state.announced = state.announced.saturating_sub(1);
            (any || self.is_abandoned()).then_some(())
        })?;
        {
            let mut state = self.state.lock();
            let call = state.calls.iter_mut().find(|c| c.phase == Phase::New).ok_or(Errno::ENOENT)?;
            call.phase = Phase::Sent;
            notif = SeccompNotif { id: call.id, pid: call.tid as u32, flags: 0, data: call.data };
            // From now on it may sleep deeper.
            call.wake.wake_all();
        }
        notif.pid = jobs::current().map_or(0, |me| me.nr_of(notif.pid as i32)) as u32;
        self.changed.wake_all();
        let copied = UserPtr::<SeccompNotif>::new(at).write(mm, &notif);
        if copied.is_err() {
            let mut state = self.state.lock();
            if let Ok(call) = state.call(notif.id) {
                call.phase = Phase::New;
                call.wake.wake_all();
                state.announced = state.announced.saturating_add(1);
            }
            drop(state);
            self.changed.wake_all();
        }
        copied
    }
    /// `SECCOMP_IOCTL_NOTIF_SEND`.
    fn send(&self, answer: SeccompNotifResp) -> Result<(), Errno> {
        let go_on = answer.flags & NOTIF_CONTINUE != 0;
        if answer.flags & !NOTIF_CONTINUE != 0 || (go_on && (answer.error != 0 || answer.val != 0)) {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        let call = state.sent(answer.id)?;
        (call.phase, call.answer) = (Phase::Answered, answer);
        call.wake.wake_all();
        Ok(())
    }
    /// `SECCOMP_IOCTL_NOTIF_ADDFD`: gives the number that the descriptor has in the waiting task.
    fn add_fd(&self, mm: &Mm, at: VirtAddr, size: usize) -> Result<i32, Errno> {
        if size < size_of::<SeccompNotifAddFd>() || size >= machine::PAGE_SIZE {
            return Err(Errno::EINVAL);
        }
        let mut a = SeccompNotifAddFd::new_zeroed();
        mm::user::read_extensible(mm, at, size, a.as_mut_bytes())?;
        let cloexec = OpenFlags::CLOEXEC.bits();
        if a.newfd_flags & !cloexec != 0
            || a.flags & !(ADDFD_SETFD | ADDFD_SEND) != 0
            || (a.newfd != 0 && a.flags & ADDFD_SETFD == 0)
        {
            return Err(Errno::EINVAL);
        }
        let files = jobs::current().and_then(|me| me.files()).ok_or(Errno::EBADF)?;
        let fd = Arc::new(AddFd {
            file: files.get(a.srcfd as i32)?,
            cloexec: a.newfd_flags & cloexec != 0,
            at: (a.flags & ADDFD_SETFD != 0).then_some(a.newfd),
            answers: a.flags & ADDFD_SEND != 0,
            result: AtomicI32::new(0),
            done: Completion::new(),
        });
        {
            let mut state = self.state.lock();
            let call = state.sent(a.id)?;
            if fd.answers {
                if !call.fds.is_empty() {
                    return Err(Errno::EBUSY);
                }
                call.phase = Phase::Answered;
            }
            call.fds.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            call.fds.push_back(fd.clone());
            call.wake.wake_all();
        }
        if let Err(interrupted) = fd.done.wait_interruptible() {
            let mut state = self.state.lock();
            let waits = state.call(a.id).is_ok_and(|call| {
                let before = call.fds.len();
                call.fds.retain(|f| !Arc::ptr_eq(f, &fd));
                call.fds.len() != before
            });
            if waits || !fd.done.is_done() {
                return Err(interrupted.into());
            }
        }
        let result = fd.result.load(Ordering::Relaxed);
        u32::try_from(result.wrapping_neg()).ok().and_then(Errno::from_raw).map_or(Ok(result), Err)
    }
}

/// Lets the listener answer for the call in the registers. `None`: the call goes on.
pub(super) fn ask(cx: &Cx, notifier: &Notifier, data: &SeccompData) -> Option<i64> {
    let (id, wake) = match notifier.post(cx.task.tid(), data) {
        Ok(posted) => posted,
        Err(e) => return Some(e.to_ret()),
    };
    let answer = loop {
        let held = notifier.is_held(id);
        let event = || notifier.event(id);
        let got = if held {
            wake.wait_killable(event)
        } else {
            // Fetched meanwhile: the sleep is a deeper one from now on.
            let end = || event().map(Some).or_else(|| notifier.is_held(id).then_some(None));
            match wake.wait_interruptible(end) {
                Ok(Some(event)) => Ok(event),
                Ok(None) => continue,
                Err(Interrupted) if !notifier.forget(id, true) => continue,
                Err(Interrupted) => Err(Interrupted),
            }
        };
        match got {
            Ok(Event::Take(fd)) => {
                let result = take_in(cx, &fd);
                if fd.answers {
                    notifier.answer_with(id, result);
                }
                fd.finish(result);
            }
            Ok(Event::Answered(answer)) => break Ok(answer),
            Err(Interrupted) => break Err(Errno::ERESTARTSYS),
        }
    };
    notifier.forget(id, false);
    match answer {
        Ok(a) if a.flags & NOTIF_CONTINUE != 0 => None,
        Ok(a) if a.error != 0 => Some(a.error.into()),
        Ok(a) => Some(a.val),
        Err(e) => Some(e.to_ret()),
    }
}

/// Installs a descriptor in the calling thread's table: its number or a negative errno.
fn take_in(cx: &Cx, fd: &AddFd) -> i32 {
    let limit = cx.process().limits.nofile();
    let file = fd.file.clone();
    let installed = match fd.at {
        None => cx.files().install(file, fd.cloexec, limit),
        Some(at) if at >= limit => Err(Errno::EBADF),
        Some(at) => cx.files().install_at(at, file, fd.cloexec).map(|()| at as i32),
    };
    installed.unwrap_or_else(|e| e.to_ret() as i32)
}

/// The listener's end.
struct Listener(Arc<Notifier>);

/// Makes the listener's descriptor, which is closed on exec.
pub(super) fn open(cx: &Cx, notifier: &Arc<Notifier>) -> Result<i32, Errno> {
    let file = anon_file("seccomp notify", Arc::new(Listener(notifier.clone())), OpenFlags::RDWR, cx.cred());
    cx.install(file, true)
}

impl FileOps for Listener {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn pollable(&self) -> bool {
        true
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        let (mm, at, n) = (caller.mm, VirtAddr(arg), &self.0);
        match cmd {
            ioctl::RECV => n.receive(mm, at).map(|()| 0),
            ioctl::SEND => n.send(UserPtr::new(at).read(mm)?).map(|()| 0),
            ioctl::ID_VALID | ioctl::ID_VALID_WRONG => {
                let id: u64 = UserPtr::new(at).read(mm)?;
                n.state.lock().sent(id).map_err(|_| Errno::ENOENT).map(|_| 0)
            }
            // Both sides are woken as the scheduler sees fit; the flag is only a hint to it.
            ioctl::SET_FLAGS if arg & !ioctl::SYNC_WAKE_UP != 0 => Err(Errno::EINVAL),
            ioctl::SET_FLAGS => Ok(0),
            // The direction and size bits of this one are the caller's.
            _ if cmd & 0xffff == ioctl::ADDFD => n.add_fd(mm, at, (cmd >> 16 & 0x3fff) as usize).map(i64::from),
            _ => Err(Errno::EINVAL),
        }
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.0.changed);
        let mut ready = PollEvents::empty();
        for call in &self.0.state.lock().calls {
            match call.phase {
                Phase::New => ready |= PollEvents::IN | PollEvents::RDNORM,
                Phase::Sent => ready |= PollEvents::OUT | PollEvents::WRNORM,
                Phase::Answered => {}
            }
        }
        if self.0.is_abandoned() {
            ready |= PollEvents::HUP;
        }
        ready
    }
    fn release(&self, _f: &File) {
        let mut state = self.0.state.lock();
        state.closed = true;
        for call in &mut state.calls {
            if call.phase != Phase::Answered {
                call.phase = Phase::Answered;
                let error = Errno::ENOSYS.to_ret() as i32;
                call.answer = SeccompNotifResp { error, ..SeccompNotifResp::default() };
                call.wake.wake_all();
            }
        }
    }
}
