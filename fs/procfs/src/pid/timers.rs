//! `timers`: the POSIX timers of a process (proc_pid_timers(5)); `timerslack_ns`: how late its sleeps may end.

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::time::sigev;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering::Relaxed;
use task::task::DEFAULT_TIMER_SLACK_NS;
use task::{Task, timers};
use vfs::{Cap, File, number};

/// Four lines a timer, the newest first.
pub fn show(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let process = subject.process()?;
    for timer in timers::all(&process).iter().rev() {
        let notify = timer.notify();
        let kind = match notify.kind {
            sigev::NONE => "none",
            sigev::THREAD => "thread",
            _ => "signal",
        };
        let (whose, number) = match &notify.thread {
            Some(thread) => ("tid", Weak::upgrade(thread).map_or(0, |t| seen(t.tid()))),
            None => ("pid", seen(process.pid())),
        };
        out.str("ID: ")
            .int(timer.id().into())
            .str("\nsignal: ")
            .int(notify.number.into())
            .ch('/')
            .hex(notify.value, 16);
        out.str("\nnotify: ").str(kind).ch('/').str(whose).ch('.').int(number.into());
        out.str("\nClockID: ").int(timer.clock_id().into()).ch('\n');
    }
    Ok(())
}

/// The thread, if the caller may know or change its slack.
fn slack_of(subject: &Subject, f: &File) -> Result<Arc<Task>, Errno> {
    let task = subject.task()?;
    let own = crate::current().is_some_and(|me| Arc::ptr_eq(&me, &task));
    if own || f.cred().capable_in(&task.cred().user_ns, Cap::SysNice) { Ok(task) } else { Err(Errno::EPERM) }
}

/// `timerslack_ns`.
pub fn slack(subject: &Subject, f: &File, out: &mut Text) -> Result<(), Errno> {
    out.dec(slack_of(subject, f)?.timer_slack_ns.load(Relaxed)).ch('\n');
    Ok(())
}

/// Writing `timerslack_ns`: 0 for the default. Real-time threads have none.
pub fn set_slack(subject: &Subject, f: &File, input: &[u8]) -> Result<(), Errno> {
    let slack: u64 = number::unsigned(input, 10)?;
    let task = slack_of(subject, f)?;
    if task.thread().is_none_or(|thread| !thread.policy().is_realtime()) {
        task.timer_slack_ns.store(if slack == 0 { DEFAULT_TIMER_SLACK_NS } else { slack }, Relaxed);
    }
    Ok(())
}

/// A number as the reader knows it.
fn seen(global: i32) -> i32 {
    crate::current().map_or(global, |me| me.nr_of(global))
}
