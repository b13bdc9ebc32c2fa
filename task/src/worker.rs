//! Workers: threads of a user process that run kernel code, for those who work on behalf of a process beside its own calls.
//!
//! A worker shares the memory, files, directories, credentials, limits, namespaces and control group of the thread that asked
//! for it, counts against the same limits, and is seen under its own name in `/proc/PID/task`. It never enters user mode: it runs a
//! closure and ends with it.
//!
//! How it ends. All signals are blocked but SIGKILL and SIGSTOP. A group that ends (by SIGKILL, exit_group(2), a fatal signal) or runs
//! another program kills its workers like its other threads, and [`Worker::should_stop`] says so; execve(2) and the parent's
//! wait(2) then wait for the closure to return. The last ordinary thread that exits ends the group, so that workers keep no
//! process alive. Whoever holds the [`Control`] stops one worker.
//!
//! How it stops and freezes. A worker parks for job control and for the freezer of its control group in the same two functions that let it
//! end, [`Worker::should_stop`] and [`Worker::wait`], by the code that ordinary threads run before user mode. A waiting
//! worker is interrupted for it and holds up neither; a busy one does so until it calls either, which it therefore does between
//! any two pieces of work.
//!
//! No tracer may attach to one, fork(2) does not copy it, and a core dump holds no registers of it. `Process::sig` guards how many
//! there are; in the list of threads they come last, so that the first one is an ordinary one while there is any.
//!
//! Sources: proc_pid_task(5), `man 7 signal`, the release notes of Linux 6.4 on threads of user processes for vhost.

use crate::cgroup::Reservation;
use crate::fork::{self, Request};
use crate::signal::Next;
use crate::signal::deliver::deliver;
use crate::task::{Task, comm_of};
use crate::{Cx, exit, tree, work};
use abi::Errno;
use abi::sched::CloneFlags;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use machine::sync::Once;
use machine::user::UserCtx;
use sched::{Completion, Flags, Thread, WaitQueue};

/// The worker is to end: its closure returns as soon as it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending;

/// What a worker does.
pub type Body = Box<dyn FnOnce(&mut Worker) + Send>;

/// A worker as those see it who have work for it.
pub struct Control {
    task: Once<Weak<Task>>,
    stop: AtomicBool,
    ended: Completion,
}

impl Control {
    /// Tells the worker to end.
    pub fn stop(&self) {
        self.stop.store(true, Release);
        if let Some(task) = self.task() {
            task.nudge();
        }
    }
    /// Waits until its closure has returned. Not for the worker itself.
    pub fn join(&self) {
        self.ended.wait();
    }
    /// Its closure has returned.
    pub fn has_ended(&self) -> bool {
        self.ended.is_done()
    }
    /// Its thread, `None` once that is gone.
    pub fn task(&self) -> Option<Arc<Task>> {
        self.task.get().and_then(Weak::upgrade)
    }
}

/// A worker as its closure sees it.
pub struct Worker {
    cx: Cx,
    thread: Arc<Thread>,
    control: Arc<Control>,
    ending: bool,
}

impl Worker {
    /// What it shares with its process.
    pub fn cx(&mut self) -> &mut Cx {
        &mut self.cx
    }
    /// Parks while the process is stopped or frozen; then says whether the closure is to return.
    pub fn should_stop(&mut self) -> bool {
        if !self.ending && (self.thread.flags() != 0 || self.cx.task.work.any()) {
            self.look();
        }
        self.ending || self.control.stop.load(Acquire)
    }
    /// Sleeps until `cond` gives a value or the worker is to end, which comes first.
    pub fn wait<R>(&mut self, queue: &WaitQueue, mut cond: impl FnMut() -> Option<R>) -> Result<R, Ending> {
        while !self.should_stop() {
            if let Ok(value) = queue.wait_interruptible(&mut cond) {
                return Ok(value);
            }
        }
        Err(Ending)
    }
    /// Sees to what ordinary threads see to before they enter user mode.
    #[cold]
    fn look(&mut self) {
        let cx = &mut self.cx;
        if self.thread.flags() & Flags::NEED_RESCHED != 0 {
            sched::schedule();
            sched::group::wait_for_quota();
        }
        // Whoever interrupts has set his reason before: what comes from here on is seen now or ends the next wait.
        self.thread.clear_flags(Flags::INTERRUPTED | Flags::NOTIFY);
        // Nothing of it runs in user mode that could be inside a restartable sequence.
        let todo = cx.task.work.clear(work::RSEQ);
        if todo & work::NOTE != 0 {
            for note in cx.task.take_notes() {
                note(cx);
            }
        }
        if todo & (work::SIGNAL | work::FREEZE) != 0 {
            self.ending = matches!(deliver(cx, false), Next::Exit(_));
        }
        self.ending |= self.thread.fatal();
    }
}

/// Makes a thread of the calling process, named `name`, that does `body`; EAGAIN at the limits that hold for threads.
pub fn spawn(cx: &mut Cx, name: &str, body: Body) -> Result<Arc<Control>, Errno> {
    let place = fork::place(cx, cx.task.user())?;
    let room = Reservation::new(&cx.task, None)?;
    let regs = UserCtx::new().map_err(|_| Errno::ENOMEM)?;
    let number = tree::lock().allocate(cx.task.pid_ns(), &[])?;
    let process = cx.process().clone();
    let handles = cx.handles().clone();
    let group = room.group().clone();
    let task = Task::new(&number, process.clone(), handles.clone(), comm_of(name.as_bytes()), place, group);
    let task = Arc::new(task.into_worker());
    task.personality.store(cx.task.personality.load(Relaxed), Relaxed);
    task.timer_slack_ns.store(cx.task.timer_slack_ns.load(Relaxed), Relaxed);
    let control = Arc::new(Control { task: Once::new(), stop: AtomicBool::new(false), ended: Completion::new() });
    let _ = control.task.set(Arc::downgrade(&task));
    let own = (Cx::new(task.clone(), regs, handles), control.clone());
    let spawned = sched::spawn(name, Some(task.clone()), Box::new(move || run(own.0, own.1, body)));
    let Ok(thread) = spawned else {
        tree::lock().settle(number.global());
        return Err(Errno::ENOMEM);
    };
    if let Some(mine) = cx.task.thread() {
        thread.inherit(mine, cx.task.resets_on_fork());
    }
    task.set_thread(&thread);
    let flags = CloneFlags::VM | CloneFlags::FS | CloneFlags::FILES | CloneFlags::SIGHAND | CloneFlags::THREAD;
    let req = Request { flags: flags | CloneFlags::UNTRACED, ..Request::default() };
    fork::enter(cx, &req, &task, &process, &process, room, false).announce();
    tree::lock().settle(number.global());
    thread.start();
    Ok(control)
}

/// The worker's life.
fn run(cx: Cx, control: Arc<Control>, body: Body) {
    let mut worker = Worker { cx, thread: sched::current(), control, ending: false };
    body(&mut worker);
    let Worker { cx, control, .. } = worker;
    control.ended.complete();
    exit::exit(cx, 0);
}

#[cfg(test)]
mod tests;
