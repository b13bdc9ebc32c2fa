//! Who traces whom.

use super::stop::leave_group_stop;
use super::{State, control, step};
use crate::access::{Creds, Mode, may_access};
use crate::exit::{self, Reaped};
use crate::process::Life;
use crate::signal::{send, send_process, send_task};
use crate::tree::{self, Tree};
use crate::{Cx, Task, entry, pidfd, work};
use abi::Errno;
use abi::ptrace::Options;
use abi::signal::{SigInfo, Signal};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::SpinGuard;

/// Enters the link. The tree lock is held.
fn link(tracer: &Arc<Task>, tracee: &Arc<Task>, seized: bool, options: Options) {
    {
        let mut state = tracee.trace_or_new().lock();
        state.tracer = Some(Arc::downgrade(tracer));
        (state.seized, state.options) = (seized, options);
    }
    tracee.process().count_tracees(true);
    tracer.process().family().tracees.push(tracee.clone());
}

/// PTRACE_ATTACH, and with options PTRACE_SEIZE.
pub fn attach(cx: &Cx, task: &Arc<Task>, seize: Option<Options>) -> Result<(), Errno> {
    if task.is_worker() || Arc::ptr_eq(task.process(), cx.process()) || task.process().is_kernel() {
        return Err(Errno::EPERM);
    }
    may_access(cx, task, Mode::Attach, Creds::Real)?;
    let trace = task.trace_or_new();
    let was_stopped = {
        let _tree = tree::lock();
        let alive = task.process().sig().threads.iter().any(|t| Arc::ptr_eq(t, task));
        if !alive || task.is_traced() {
            return Err(Errno::EPERM);
        }
        link(&cx.task, task, seize.is_some(), seize.unwrap_or_default());
        task.is_stopped()
    };
    if seize.is_none() {
        // A signal that is pending already does as well.
        let _ = send_task(task, Signal::STOP, &SigInfo::kernel(Signal::STOP));
    }
    if was_stopped {
        // Parked by job control: it moves on into a stop of its tracer's, and nobody sees it run in between.
        send::nudge(task);
        task.process().stop_wait.wake_all();
        let _ = trace.settled.wait_killable(|| {
            let state = trace.lock();
            (state.stop.is_some() || state.tracer.is_none() || task.work.has(work::EXIT)).then_some(())
        });
    }
    Ok(())
}

/// PTRACE_TRACEME: the parent traces the caller.
pub fn trace_me(cx: &Cx) -> Result<(), Errno> {
    let me = &cx.task;
    let tree = tree::lock();
    if me.is_traced() {
        return Err(Errno::EPERM);
    }
    let (parent, tid) = {
        let family = cx.process().family();
        (family.parent.upgrade(), family.parent_tid)
    };
    let Some(parent) = parent else { return Ok(()) };
    let maker = tree.task(tid).filter(|t| Arc::ptr_eq(t.process(), &parent)).cloned();
    // A parent on its way out lets go of its tracees anyway.
    let Some(tracer) = maker.or_else(|| parent.leader()).filter(|t| !t.work.has(work::EXIT)) else { return Ok(()) };
    link(&tracer, me, false, Options::empty());
    Ok(())
}

/// A child of a traced thread is traced like its parent. Called before the child runs; the tree lock is held.
pub(crate) fn follow(_tree: &SpinGuard<'_, Tree>, parent: &Task, child: &Arc<Task>) {
    let Some((tracer, seized, options)) = parent.trace().and_then(|t| {
        let state = t.lock();
        Some((state.tracer.as_ref()?.upgrade()?, state.seized, state.options))
    }) else {
        return;
    };
    link(&tracer, child, seized, options);
    // Its first stop: a trap, or for older tracers a signal (see `first_signal`).
    child.trace_or_new().lock().trap = seized;
    child.work.set(work::SIGNAL);
}

/// The signal that the child of a thread traced in the old way starts with.
pub(crate) fn first_signal(child: &Arc<Task>) {
    let old_way = child.trace().is_some_and(|t| {
        let state = t.lock();
        state.tracer.is_some() && !state.seized
    });
    if old_way {
        let _ = send_task(child, Signal::STOP, &SigInfo::kernel(Signal::STOP));
    }
}

/// Ends the link on the tracee's side; gives its tracer. The tree lock is held.
fn unlink(task: &Arc<Task>) -> Option<Arc<Task>> {
    let trace = task.trace()?;
    let mut sig = task.process().sig();
    let mut state = trace.lock();
    let tracer = state.tracer.take()?;
    task.process().count_tracees(false);
    task.entry.clear(entry::TRACE | entry::EMU);
    let State { stop, forced_tf, .. } = &mut *state;
    step::disable(task, stop.as_mut().map(|s| &mut s.regs), forced_tf);
    (state.seized, state.options) = (false, Options::empty());
    (state.trap, state.notify, state.listening) = (false, false, false);
    leave_group_stop(&mut sig, &mut state);
    if let Some(stop) = &mut state.stop
        && stop.resume.is_none()
    {
        // Nobody has decided: a signal that nobody has asked about acts.
        let code = if stop.takes_signal && stop.fresh { stop.code } else { 0 };
        stop.resume = Some(code);
    }
    let stops = sig.stop.is_some();
    drop(state);
    drop(sig);
    if stops {
        send::nudge(task);
    }
    control::wake(task);
    tracer.upgrade()
}

/// Takes `task` out of its tracer's list and ends the link. The tree lock is held.
pub(crate) fn forget(task: &Arc<Task>) -> Option<Arc<Task>> {
    let tracer = unlink(task)?;
    tracer.process().family().tracees.retain(|t| !Arc::ptr_eq(t, task));
    Some(tracer)
}

/// PTRACE_DETACH: the stopped tracee goes on alone, with `signal`.
pub fn detach(cx: &Cx, task: &Arc<Task>, signal: i32) -> Result<(), Errno> {
    let _tree = tree::lock();
    control::in_stop(cx, task)?.stop.as_mut().ok_or(Errno::ESRCH)?.resume = Some(signal);
    forget(task);
    Ok(())
}

/// A thread ends: what it traces goes on alone, or dies (PTRACE_O_EXITKILL).
pub(crate) fn tracer_ends(tracer: &Arc<Task>) {
    let process = tracer.process();
    if process.family().tracees.is_empty() {
        return;
    }
    let mut dead: Vec<Reaped> = Vec::new();
    {
        let mut tree = tree::lock();
        let all = core::mem::take(&mut process.family().tracees);
        let (mine, others) =
            all.into_iter().partition::<Vec<_>, _>(|t| t.trace().is_some_and(|s| s.lock().is_tracer(tracer)));
        process.family().tracees = others;
        for task in mine {
            let kills = task.trace().is_some_and(|t| t.lock().options.contains(Options::EXITKILL));
            if kills {
                // A process that ends already needs no signal.
                let _ = send_process(task.process(), Signal::KILL, &SigInfo::kernel(Signal::KILL));
            }
            unlink(&task);
            dead.extend(let_go(&mut tree, &task, tracer));
        }
    }
    drop(dead);
}

/// A tracee that has ended is its parent's again, or nobody's. The tree lock is held.
pub(crate) fn let_go(tree: &mut SpinGuard<'_, Tree>, task: &Arc<Task>, tracer: &Arc<Task>) -> Vec<Reaped> {
    let process = task.process();
    let died = task.trace().and_then(|t| t.lock().dead.take());
    let mut gone = Vec::new();
    if let Some(status) = died {
        let last = tree.remove_task(task.tid());
        pidfd::thread_gone(task, status);
        gone.push((process.clone(), last));
        let was_last = process.release_held();
        process.stop_wait.wake_all();
        if was_last && process.life() == Life::Zombie {
            gone.extend(exit::announce(tree, process));
        }
    } else if task.is_leader() && process.life() == Life::Zombie && !process.is_held() {
        let own = process.parent().is_some_and(|p| Arc::ptr_eq(&p, tracer.process()));
        if own {
            tracer.process().child_wait.wake_all();
            if tracer.process().sig().hand.child_exit().0 {
                gone.push(exit::reap(tree, process));
            }
        } else {
            gone.extend(exit::announce(tree, process));
        }
    }
    gone
}

/// A traced thread that leads no group has ended: it stays for its tracer to ask. False when nobody traces it. The tree lock
/// is held.
pub(crate) fn keep_dead(task: &Arc<Task>, status: i32) -> bool {
    let Some(trace) = task.trace() else { return false };
    let mut state = trace.lock();
    if state.tracer.is_none() {
        return false;
    }
    state.dead = Some(status);
    drop(state);
    task.process().hold();
    true
}

/// Tells the tracer of a dead thread. The tree lock is held.
pub(crate) fn tell_of_death(task: &Arc<Task>, status: i32) {
    if let Some(tracer) = task.tracer() {
        exit::tell_of_end(tracer.process(), Signal::CHLD, task.nr_in(tracer.pid_ns()), task.process(), status);
        tracer.process().child_wait.wake_all();
    }
}
