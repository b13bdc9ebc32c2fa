//! `timers`: the POSIX timers of a process (proc_pid_timers(5)).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::time::sigev;
use alloc::sync::Weak;
use task::timers;
use vfs::File;

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

/// A number as the reader knows it.
fn seen(global: i32) -> i32 {
    crate::current().map_or(global, |me| me.nr_of(global))
}
