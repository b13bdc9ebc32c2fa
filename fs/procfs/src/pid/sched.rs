//! `sched`: what the scheduler knows of a thread (proc_pid_sched(5)).

use super::Subject;
use super::ids::name_of;
use super::stat::threads;
use crate::text::Text;
use abi::Errno;
use vfs::File;

/// The file. Only rows with something counted behind them are there.
pub fn show(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let (process, task) = (subject.process()?, subject.task()?);
    let thread = task.thread().ok_or(Errno::ESRCH)?;
    let id = subject.ns().nr_of(task.tid());
    out.bytes(name_of(&task.comm())).str(" (").int(id.into()).str(", #threads: ").dec(threads(&process)).str(")\n");
    out.pad('-', 67).ch('\n');
    let ran = thread.runtime();
    out.left("se.sum_exec_runtime", 45).ch(':').dec_width(ran / 1_000_000, 14).ch('.').dec_zeros(ran % 1_000_000, 6);
    out.ch('\n');
    let (voluntary, involuntary) = (thread.voluntary_switches(), thread.involuntary_switches());
    let (least, most) = thread.util_clamp();
    let rows = [
        ("nr_switches", voluntary + involuntary),
        ("nr_voluntary_switches", voluntary),
        ("nr_involuntary_switches", involuntary),
        ("uclamp.min", least.into()),
        ("uclamp.max", most.into()),
        ("policy", thread.policy() as u64),
        ("prio", thread.rank().into()),
        ("se.slice", thread.slice_ns()),
    ];
    for (name, value) in rows {
        out.left(name, 45).ch(':').dec_width(value, 21).ch('\n');
    }
    Ok(())
}
