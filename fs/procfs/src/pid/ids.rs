//! Short files: names, identities and scores of a process.

use super::Subject;
use crate::text::Text;
use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;
use mm::space::DumpFilter;
use task::task::Comm;
use vfs::{Cap, File, number};

type Shown = Result<(), Errno>;

/// A thread's name without its padding.
pub fn name_of(comm: &Comm) -> &[u8] {
    comm.split(|b| *b == 0).next().unwrap_or_default()
}

/// `comm`.
pub fn comm(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    out.bytes(name_of(&subject.task()?.comm())).ch('\n');
    Ok(())
}

/// Writing `comm`: only threads of the same process may.
pub fn set_comm(subject: &Subject, _: &File, input: &[u8]) -> Shown {
    let task = subject.task()?;
    if crate::current().is_none_or(|me| me.pid() != task.pid()) {
        return Err(Errno::EINVAL);
    }
    task.set_comm(input);
    Ok(())
}

/// `cgroup`: the place in the one hierarchy, as seen from the reader's cgroup namespace.
pub fn cgroup(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let group = subject.task()?.cgroup();
    out.str("0::").bytes(&group.path_from(&task::cgroup::seen_from()));
    if group.is_dead() {
        out.str(" (deleted)");
    }
    out.ch('\n');
    Ok(())
}

/// `children`: the children that the thread has made.
pub fn children(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let (process, tid) = (subject.process()?, subject.task()?.tid());
    let children = process.family().children.clone();
    for child in children.iter().filter(|child| child.family().parent_tid == tid) {
        out.int(child.number().nr_in(subject.ns()).into()).ch(' ');
    }
    Ok(())
}

/// `personality`.
pub fn personality(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    out.hex(subject.task()?.personality.load(Relaxed).into(), 8).ch('\n');
    Ok(())
}

/// `wchan`: the system call in which the thread sleeps, 0 if it does not or the reader may not look into it. (Linux names the function.)
pub fn wchan(subject: &Subject, f: &File, out: &mut Text) -> Shown {
    let task = subject.task()?;
    let of_a_program = !task.process().is_kernel() && !task.is_worker();
    let asleep = task.thread().filter(|thread| of_a_program && matches!(thread.state_char(), 'S' | 'D'));
    let number = asleep.and_then(|thread| thread.user_regs()).and_then(|regs| u32::try_from(regs.orig_rax as i32).ok());
    let name = number.filter(|_| subject.may_trace(f.cred()).is_ok()).and_then(crate::call_name);
    out.str(name.unwrap_or("0"));
    Ok(())
}

/// `oom_score`: the share of memory in thousandths, moved by the adjustment, as Linux computes it.
pub fn oom_score(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    let adj = i64::from(subject.process()?.oom_score_adj.load(Relaxed));
    let total = mm::frames::stats().total.max(1) as i64;
    let used = subject.task()?.mm().map_or(0, |mm| {
        let s = mm.stats();
        (s.rss_anon + s.rss_shared + s.tables) as i64
    });
    let points = if adj == -1000 { 0 } else { (1000 + used * 1000 / total + adj).max(0) * 2 / 3 };
    out.int(points).ch('\n');
    Ok(())
}

/// `oom_score_adj`.
pub fn oom_score_adj(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    out.int(subject.process()?.oom_score_adj.load(Relaxed).into()).ch('\n');
    Ok(())
}

/// `coredump_filter`: what of the memory a core keeps, core(5). A process without memory has nothing to keep.
pub fn coredump_filter(subject: &Subject, _: &File, out: &mut Text) -> Shown {
    if subject.task()?.mm().is_some() {
        out.hex(subject.process()?.core_filter.load(Relaxed).into(), 8).ch('\n');
    }
    Ok(())
}

/// Writing `coredump_filter`.
pub fn set_coredump_filter(subject: &Subject, _: &File, input: &[u8]) -> Shown {
    let filter = DumpFilter::from_bits_truncate(number::unsigned(input, 0)?);
    subject.task()?.mm().ok_or(Errno::ESRCH)?;
    subject.process()?.core_filter.store(filter.bits(), Relaxed);
    Ok(())
}

/// Writing `oom_score_adj`: lowering it needs CAP_SYS_RESOURCE.
pub fn set_oom_score_adj(subject: &Subject, f: &File, input: &[u8]) -> Shown {
    let value: i32 = number::signed(number::strip(input), 0)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    let process = subject.process()?;
    if value < process.oom_score_adj.load(Relaxed) && !f.cred().capable(Cap::SysResource) {
        return Err(Errno::EACCES);
    }
    process.oom_score_adj.store(value, Relaxed);
    Ok(())
}
