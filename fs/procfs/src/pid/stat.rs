//! `stat` and `statm`: proc_pid_stat(5), proc_pid_statm(5).

use super::Subject;
use super::ids::name_of;
use crate::text::Text;
use abi::Errno;
use abi::resource::Resource;
use abi::signal::SigSet;
use alloc::sync::Arc;
use mm::space::{Layout, MmStats};
use sched::policy::{FAIR_RANK, nice_rank};
use task::ns::PidNamespace;
use task::process::Life;
use task::usage::NS_PER_TICK;
use task::{Process, Task};
use vfs::File;

type Shown = Result<(), Errno>;

/// Flags of a task that `stat` shows: it has not called execve since fork; it is a worker; its layout is random; it is the
/// kernel's, and cannot be frozen.
const PF_FORKNOEXEC: u64 = 0x40;
const PF_USER_WORKER: u64 = 0x4000;
const PF_RANDOMIZE: u64 = 0x40_0000;
const PF_KTHREAD: u64 = 0x20_0000;
const PF_NOFREEZE: u64 = 0x8000;
/// Bytes in a page.
const PAGE: u64 = 4096;

/// The one-letter state of a thread of `process`.
pub fn state_of(process: &Process, task: &Task, whole: bool) -> char {
    if whole && process.life() == Life::Zombie {
        return 'Z';
    }
    if task.is_trace_stopped() {
        return 't';
    }
    if task.is_stopped() {
        return 'T';
    }
    match task.thread().map_or('X', |thread| thread.state_char()) {
        // It waits for work; that is no load.
        'D' if process.is_kernel() => 'I',
        state => state,
    }
}

/// Ignored and caught signals.
pub fn dispositions(process: &Process) -> (SigSet, SigSet) {
    let hand = process.sig().hand.clone();
    hand.sets()
}

/// How many threads the process has, at least the leader of a zombie.
pub fn threads(process: &Process) -> u64 {
    process.sig().threads.len().max(1) as u64
}

/// `/proc/PID/stat` and `/proc/PID/task/TID/stat`.
pub fn stat(subject: &Subject, f: &File, out: &mut Text) -> Shown {
    let process = subject.process()?;
    let task = subject.task()?;
    let whole = !subject.is_thread();
    let id = subject.ns().nr_of(if whole { process.pid() } else { task.tid() });
    out.int(id.into()).str(" (").bytes(name_of(&task.comm())).str(") ").ch(state_of(&process, &task, whole));
    family(&process, &task, subject.ns(), out);
    counts(&process, &task, whole, out);
    schedule(&process, &task, out);
    let visible = subject.may_trace(f.cred()).is_ok();
    let mm = task.mm();
    let (stats, layout) = mm.as_ref().map(|mm| (mm.stats(), mm.layout())).unwrap_or_default();
    memory(&process, task.tid(), &stats, layout, visible || mm.is_none(), out);
    signals(&process, &task, out);
    let thread = task.thread();
    let asleep = thread.is_none_or(|t| t.state_char() != 'R');
    out.ch(' ').dec(u64::from(visible && asleep)).str(" 0 0");
    let exit_signal = process.family().exit_signal.map_or(0, |signal| signal.number());
    out.ch(' ').int(if whole { exit_signal.into() } else { -1 });
    out.ch(' ').dec(thread.map_or(0, |t| t.cpu().0).into());
    out.ch(' ').dec(thread.map_or(0, |t| t.rt_priority()).into());
    out.ch(' ').dec(thread.map_or(0, |t| t.policy() as u64));
    out.str(" 0 0 0");
    let layout = if visible { layout } else { Layout::default() };
    for address in [
        layout.start_data,
        layout.end_data,
        layout.start_brk,
        layout.arg_start,
        layout.arg_end,
        layout.env_start,
        layout.env_end,
    ] {
        out.ch(' ').dec(address);
    }
    let status = if visible && process.life() == Life::Zombie { process.exit_status() } else { 0 };
    out.ch(' ').int(status.into()).ch('\n');
    Ok(())
}

/// Parent, group, session, terminal, flags.
fn family(process: &Arc<Process>, task: &Task, ns: &PidNamespace, out: &mut Text) {
    let group = process.group();
    let session = group.session();
    let (tty, foreground) =
        session.tty().and_then(|tty| crate::describe_tty(&tty)).map_or((0, -1), |(dev, group)| (dev, ns.nr_of(group)));
    let mut flags = if process.is_kernel() { PF_KTHREAD | PF_NOFREEZE } else { PF_RANDOMIZE };
    if !process.family().has_execed {
        flags |= PF_FORKNOEXEC;
    }
    if task.is_worker() {
        flags |= PF_USER_WORKER;
    }
    let parent = process.parent().map_or(0, |p| p.number().nr_in(ns));
    out.ch(' ').int(parent.into()).ch(' ').int(group.number().nr_in(ns).into());
    out.ch(' ').int(session.number().nr_in(ns).into());
    out.ch(' ').dec(vfs::dev_to_user(tty)).ch(' ').int(foreground.into()).ch(' ').dec(flags);
}

/// Faults and times.
fn counts(process: &Process, task: &Task, whole: bool, out: &mut Text) {
    let own = if whole { process.threads_sum() } else { task.sum() };
    let children = if whole { process.children_sum() } else { Default::default() };
    for count in [own.counts.minflt, children.counts.minflt, own.counts.majflt, children.counts.majflt] {
        out.ch(' ').int(count);
    }
    for ns in [own.user_ns, own.system_ns, children.user_ns, children.system_ns] {
        out.ch(' ').dec(ns / NS_PER_TICK);
    }
}

/// Priority, niceness, threads, start.
fn schedule(process: &Process, task: &Task, out: &mut Text) {
    let (nice, rank) = task.thread().map_or((0, nice_rank(0)), |t| (t.nice(), t.rank()));
    // With what who waits for the thread lends it.
    let priority = i64::from(rank) - i64::from(FAIR_RANK);
    out.ch(' ').int(priority).ch(' ').int(nice.into());
    out.ch(' ').dec(threads(process)).str(" 0 ").dec(started(task) / NS_PER_TICK);
}

/// Sizes and addresses.
fn memory(process: &Process, tid: i32, stats: &MmStats, layout: Layout, visible: bool, out: &mut Text) {
    out.ch(' ').dec(stats.total * PAGE).ch(' ').dec(stats.rss_anon + stats.rss_shared);
    out.ch(' ').dec(process.limits.soft(Resource::Rss));
    let shown = if visible { layout } else { Layout { start_code: 1, end_code: 1, ..Layout::default() } };
    for address in [shown.start_code, shown.end_code, shown.start_stack] {
        out.ch(' ').dec(address);
    }
    // Stack and instruction pointer are shown only of tasks that dump core.
    let (ip, sp) = process.dumping_at(tid).filter(|_| visible).unwrap_or_default();
    out.ch(' ').dec(sp).ch(' ').dec(ip);
}

/// The first 31 signals of each set, in decimal.
fn signals(process: &Process, task: &Task, out: &mut Text) {
    let (ignored, caught) = dispositions(process);
    for set in [task.private_pending(), task.blocked(), ignored, caught] {
        out.ch(' ').dec(set.0 & 0x7fff_ffff);
    }
}

/// When it began, on the reader's boot-time clock.
fn started(task: &Task) -> u64 {
    task.start_ns().saturating_add_signed(crate::boottime_ahead())
}

/// `/proc/PID/statm`.
pub fn statm(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let task = subject.task()?;
    let (stats, layout) = task.mm().map(|mm| (mm.stats(), mm.layout())).unwrap_or_default();
    out.dec(stats.total).ch(' ').dec(stats.rss_anon + stats.rss_shared).ch(' ').dec(stats.rss_shared);
    out.ch(' ').dec(program_pages(&layout)).str(" 0 ").dec(stats.data + stats.stack).str(" 0\n");
    Ok(())
}

/// Pages of the program's own text.
pub fn program_pages(layout: &Layout) -> u64 {
    layout.end_code.div_ceil(PAGE).saturating_sub(layout.start_code / PAGE)
}
