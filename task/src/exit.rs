//! The end of threads and processes.
//!
//! A thread first gives back what it uses, then leaves its group; the last one to leave makes the process a zombie: children
//! go to a new parent, the terminal is let go, the parent is told. Whoever is told of an end finds memory and files gone. Sources:
//! _exit(2), wait(2), prctl(2), setpgid(2) on orphaned groups.

use crate::ns::NsProxy;
use crate::process::{Life, Process};
use crate::signal::send::begin_group_exit;
use crate::signal::{send_group, send_process, stop};
use crate::task::Task;
use crate::trace::{self, link, report};
use crate::tree::{self, Tree};
use crate::{Cx, cgroup, coredump, entry, futex, jobs, pidfd, rseq, usage, wait, work};
use abi::futex::BITSET_MATCH_ANY;
use abi::ptrace::Event;
use abi::signal::{SigInfo, Signal, si};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use machine::VirtAddr;
use machine::sync::{Once, SpinGuard};
use sched::Flags;
use zerocopy::IntoBytes;

static INIT_GONE: Once<fn(i32)> = Once::new();

/// Installs what happens when the first process ends (it gets the wait status).
pub fn set_init_gone(f: fn(i32)) {
    let _ = INIT_GONE.set(f);
}

/// Ends the calling thread.
pub(crate) fn exit(mut cx: Cx, status: i32) {
    let task = cx.task.clone();
    let process = task.process().clone();
    // From here on no signal picks this thread, and its last sleeps are not cut short.
    task.work.set(work::EXIT);
    if let Some(thread) = task.thread() {
        thread.clear_flags(Flags::FATAL | Flags::INTERRUPTED);
    }
    coredump::join(&mut cx);
    report::event(&mut cx, Event::Exit, status as u64);
    // Whoever is told of the end finds the namespaces left.
    if !Arc::ptr_eq(cx.ns(), NsProxy::first()) {
        cx.set_ns(NsProxy::first().clone());
    }
    release_memory(&mut cx);
    let rss = usage::peak_rss_kib(cx.mm());
    drop(cx);
    task.drop_handles();
    if task.entry.has(entry::SECCOMP) {
        task.seccomp.release();
    }

    cgroup::member::leave(&task);
    let mut sum = task.sum();
    sum.counts.maxrss = rss;
    process.usage().add_thread(&sum);
    link::tracer_ends(&task);
    let (last, status, stopped) = {
        let mut state = process.sig();
        state.remove_thread(&task);
        if let Some(trace) = task.trace() {
            trace::stop::leave_group_stop(&mut state, &mut trace.lock());
        }
        crate::signal::mask::hand_over(&task, &state, state.pending.set());
        let stopped = stop::check_complete(&mut state);
        if state.workers != 0 && state.ordinary_threads() == 0 {
            // Workers alone do not keep the process alive. It ends as its leader did.
            let status = if task.is_leader() { status } else { process.exit_status() };
            begin_group_exit(&mut state, status, None);
        }
        let (status, grouped) = (state.group_exit.unwrap_or(status), state.group_exit.is_some());
        // What ends the group counts more than how its leader ended before.
        if task.is_leader() || grouped {
            process.set_exit_status(status);
        }
        (state.threads.is_empty(), status, stopped)
    };
    process.stop_wait.wake_all();
    if stopped {
        stop::tell_parent(&process, si::CLD_STOPPED);
    }
    if task.is_leader() {
        process.keep_cred(task.cred());
    }
    if last {
        end_process(&process, &task, status);
    } else {
        let gone = {
            let mut tree = tree::lock();
            parent_thread_gone(&process, &task);
            leave_tree(&mut tree, &task, status)
        };
        if let Some(task) = gone {
            pidfd::thread_gone(&task, status);
        }
    }
}

/// The thread leaves its address space (also on exec): robust futexes, the join word, a waiting vfork parent.
pub(crate) fn release_memory(cx: &mut Cx) {
    futex::leave_memory(cx);
    rseq::reset(cx);
    let word = core::mem::take(&mut cx.clear_child_tid);
    // Without another user of the memory nobody could see the word.
    if word != 0
        && Arc::strong_count(cx.mm()) > 2
        && cx.mm().write_bytes(VirtAddr(word), 0u32.as_bytes()).is_ok()
        && let Ok(key) = futex::key(cx.mm(), VirtAddr(word), true, false)
    {
        // Nobody waits for such a word as a priority-inheriting one; if a program does, its waiter stays.
        let _ = futex::wake(cx.mm(), key, 1, BITSET_MATCH_ANY);
    }
    cx.task.release_vfork();
}

/// The last thread is gone.
fn end_process(process: &Arc<Process>, last: &Arc<Task>, status: i32) {
    for a in process.take_attachments() {
        a.on_exit();
    }
    process.set_exe(None);
    if process.session().sid() == process.pid() {
        jobs::session_ends(process);
    }
    if process.is_init() && !process.is_first() {
        let own = if last.is_leader() { 1 } else { 2 };
        if let Some(signal) = process.number().ns().shut_down(process, own) {
            process.set_exit_status(i32::from(signal.number()));
        }
    }
    if process.is_first()
        && let Some(f) = INIT_GONE.get()
    {
        f(status);
    }
    let (gone, dead) = {
        let mut tree = tree::lock();
        let adopted_dead = give_away_children(&mut tree, process);
        parent_thread_gone(process, last);
        hang_up_orphans(&tree, process);
        process.family().life = Life::Zombie;
        let gone = leave_tree(&mut tree, last, status);
        let mut dead = adopted_dead;
        dead.extend(announce(&mut tree, process));
        (gone, dead)
    };
    if let Some(thread) = gone {
        pidfd::thread_gone(&thread, status);
    }
    process.tell_watchers();
    drop(dead);
}

/// The number of a thread that has ended is free, unless it leads its group or a tracer is still to ask about it.
fn leave_tree(tree: &mut SpinGuard<'_, Tree>, task: &Arc<Task>, status: i32) -> Option<Arc<Task>> {
    if task.is_leader() {
        None
    } else if link::keep_dead(task, status) {
        link::tell_of_death(task, status);
        None
    } else {
        tree.remove_task(task.tid())
    }
}

/// Tells whoever is to know first that a process is a zombie: its tracer, else its parent. Gives the process when nobody wants
/// to wait for it.
pub(crate) fn announce(tree: &mut SpinGuard<'_, Tree>, process: &Arc<Process>) -> Option<Reaped> {
    if process.is_held() {
        return None;
    }
    let tracer = if process.has_tracees() { tree.task(process.pid()).and_then(|t| t.tracer()) } else { None };
    let Some(tracer) = tracer else {
        return notify_parent(process).then(|| reap(tree, process));
    };
    let own = process.parent().is_some_and(|p| Arc::ptr_eq(&p, tracer.process()));
    let signal = if own { process.family().exit_signal } else { Some(Signal::CHLD) };
    if let Some(signal) = signal {
        tell_of_end(tracer.process(), signal, process.number().nr_in(tracer.pid_ns()), process, process.exit_status());
    }
    tracer.process().child_wait.wake_all();
    None
}

/// Sends `to` the signal that the process, or a thread of it, has ended; `to` knows it as `nr`.
pub(crate) fn tell_of_end(to: &Arc<Process>, sig: Signal, nr: i32, process: &Arc<Process>, status: i32) {
    let (code, value) = wait::ended(status);
    let (utime, stime) = process.times_in_ticks();
    let uid = process.last_cred().uid;
    let info = SigInfo::child(sig, code, nr as u32, uid, value, utime, stime);
    // A queue too full for it loses the signal, as it would another instance of it.
    let _ = send_process(to, sig, &info);
}

/// A process that has left the tree, to be dropped without the lock.
pub(crate) type Reaped = (Arc<Process>, Option<Arc<Task>>);

/// Takes a zombie out of the tree.
pub(crate) fn reap(tree: &mut SpinGuard<'_, Tree>, process: &Arc<Process>) -> Reaped {
    process.family().life = Life::Gone;
    if process.has_tracees()
        && let Some(leader) = tree.task(process.pid()).cloned()
    {
        link::forget(&leader);
    }
    if let Some(parent) = process.parent() {
        parent.family().children.retain(|c| !Arc::ptr_eq(c, process));
    }
    tree.remove_process(process);
    let last = tree.remove_task(process.pid());
    process.keep_end(last.as_ref());
    (process.clone(), last)
}

/// Takes out all children that have ended. For the first process of a pid namespace that ends itself.
pub(crate) fn reap_all(process: &Arc<Process>) -> Vec<Reaped> {
    let mut tree = tree::lock();
    let dead: Vec<_> = process.family().children.iter().filter(|c| c.life() == Life::Zombie).cloned().collect();
    dead.iter().map(|child| reap(&mut tree, child)).collect()
}

/// Tells the parent of a zombie; true when nobody wants to wait for it.
fn notify_parent(process: &Arc<Process>) -> bool {
    let (parent, exit_signal) = {
        let family = process.family();
        (family.parent.upgrade(), family.exit_signal)
    };
    let Some(parent) = parent else { return true };
    let (vanish, tell) = match exit_signal {
        _ if process.autoreap.load(Relaxed) => (true, false),
        Some(Signal::CHLD) => parent.sig().hand.child_exit(),
        _ => (false, true),
    };
    if let Some(sig) = exit_signal.filter(|_| tell) {
        tell_of_end(&parent, sig, process.number().nr_in(parent.number().ns()), process, process.exit_status());
    }
    parent.child_wait.wake_all();
    vanish
}

/// Children made by a thread that ends get their PR_SET_PDEATHSIG and count as another thread's.
fn parent_thread_gone(process: &Arc<Process>, gone: &Arc<Task>) {
    let heir = process.sig().threads.first().map_or(process.pid(), |t| t.tid());
    for child in process.family().children.iter() {
        if child.family().parent_tid == gone.tid() {
            child.family().parent_tid = heir;
            send_pdeath(child);
        }
    }
}

fn send_pdeath(child: &Arc<Process>) {
    for t in child.threads() {
        if let Some(sig) = Signal::from_raw(t.pdeath_signal.load(Relaxed)) {
            // Nobody is left to be told of a full queue.
            let _ = send_process(child, sig, &SigInfo::user(sig, si::USER, 0, 0));
        }
    }
}

/// Gives the children of `process` to their new parent; those that the new parent does not
/// wait for are taken out.
fn give_away_children(tree: &mut SpinGuard<'_, Tree>, process: &Arc<Process>) -> Vec<Reaped> {
    let children = core::mem::take(&mut process.family().children);
    let Some(to) = new_parent(tree, process) else { return Vec::new() };
    let mut dead = Vec::new();
    for child in children {
        let zombie = {
            let mut family = child.family();
            family.parent = Arc::downgrade(&to);
            family.parent_tid = to.pid();
            if family.exit_signal.is_some() {
                family.exit_signal = Some(Signal::CHLD);
            }
            family.life == Life::Zombie
        };
        to.family().children.push(child.clone());
        send_pdeath(&child);
        if zombie {
            dead.extend(announce(tree, &child));
        }
        orphaned_by(tree, process, &child);
    }
    dead
}

/// The nearest subreaper in the same pid namespace, or the first process of that.
fn new_parent(tree: &Tree, process: &Arc<Process>) -> Option<Arc<Process>> {
    let ns = process.number().ns();
    if process.under_subreaper.load(Relaxed) {
        let mut up = process.parent();
        while let Some(p) = up.filter(|p| p.number().ns().level() == ns.level()) {
            if p.subreaper.load(Relaxed) && p.life() == Life::Running {
                return Some(p);
            }
            up = p.parent();
        }
    }
    let first = if ns.level() == 0 { None } else { ns.reaper() };
    first.or_else(|| tree.process(1).cloned()).filter(|init| !Arc::ptr_eq(init, process))
}

/// The group of `child` may have lost its last link to the session: stopped members are hung up.
fn orphaned_by(tree: &Tree, leaving: &Arc<Process>, child: &Arc<Process>) {
    let (group, ours) = (child.group(), leaving.group());
    if group.pgid() != ours.pgid() && Arc::ptr_eq(group.session(), ours.session()) && tree.is_orphaned(&group, None) {
        hang_up_stopped(&group);
    }
}

/// The leaving process may have been the link that kept its own group from being orphaned.
fn hang_up_orphans(tree: &Tree, process: &Arc<Process>) {
    let group = process.group();
    let Some(parent) = process.parent() else { return };
    let theirs = parent.group();
    let was_link = theirs.pgid() != group.pgid() && Arc::ptr_eq(theirs.session(), group.session());
    if was_link && tree.is_orphaned(&group, Some(process)) {
        hang_up_stopped(&group);
    }
}

fn hang_up_stopped(group: &tree::Group) {
    let stopped = group.any(|p| {
        let state = p.sig();
        state.stop.is_some() && state.stopped == state.threads.len() && state.stopped > 0
    });
    if stopped {
        for sig in [Signal::HUP, Signal::CONT] {
            // An empty group has nobody to tell.
            let _ = send_group(group, sig, &SigInfo::kernel(sig));
        }
    }
}
