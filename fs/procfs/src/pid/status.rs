//! `status`: proc_pid_status(5).

use super::Subject;
use super::ids::name_of;
use super::stat::{dispositions, program_pages, state_of, threads};
use crate::text::Text;
use abi::Errno;
use abi::resource::Resource;
use alloc::sync::Arc;
use mm::Mm;
use sched::CpuSet;
use task::ns::PidNamespace;
use task::{Process, Task};
use vfs::{Cred, File, UserNamespace};

type Shown = Result<(), Errno>;

/// `/proc/PID/status`.
pub fn status(subject: &Subject, f: &File, out: &mut Text) -> Shown {
    let process = subject.process()?;
    let task = subject.task()?;
    let cred = task.cred();
    let whole = !subject.is_thread();
    out.str("Name:\t").escaped(name_of(&task.comm()), b"\n\\");
    if let Some(fs) = task.fs() {
        out.str("\nUmask:\t0");
        let mask = fs.umask();
        for shift in [6, 3, 0] {
            out.ch(char::from(b'0' + (mask >> shift & 7) as u8));
        }
    }
    let state = state_of(&process, &task, whole);
    out.str("\nState:\t").ch(state).str(state_name(state));
    ids(&process, &task, &cred, (subject.ns(), &f.cred().user_ns), out);
    if let Some(mm) = task.mm() {
        memory(&mm, out);
    }
    signals(&process, &task, out);
    capabilities(&cred, out);
    out.str("Seccomp:\t").dec(task.seccomp.mode().into());
    out.str("\nSeccomp_filters:\t").dec(task.seccomp.count().into());
    // What PR_GET_SPECULATION_CTRL says, in words.
    out.str("\nSpeculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:\talways enabled\n");
    processors(&task, out);
    let sum = if whole { process.threads_sum() } else { task.sum() };
    out.str("voluntary_ctxt_switches:\t").int(sum.counts.nvcsw);
    out.str("\nnonvoluntary_ctxt_switches:\t").int(sum.counts.nivcsw).ch('\n');
    Ok(())
}

fn state_name(state: char) -> &'static str {
    match state {
        'R' => " (running)",
        'S' => " (sleeping)",
        'D' => " (disk sleep)",
        'T' => " (stopped)",
        't' => " (tracing stop)",
        'Z' => " (zombie)",
        'I' => " (idle)",
        _ => " (dead)",
    }
}

fn ids(process: &Arc<Process>, task: &Task, cred: &Cred, (ns, eyes): (&PidNamespace, &UserNamespace), out: &mut Text) {
    let group = process.group();
    let inner = process.number().ns();
    let pid = process.number().numbers(ns, inner);
    let tid = task::tree::lock().number(task.tid()).map(|n| n.numbers(ns, inner)).unwrap_or_default();
    let first = |all: &[i32]| i64::from(all.first().copied().unwrap_or(0));
    let parent = process.parent().map_or(0, |p| p.number().nr_in(ns));
    out.str("\nTgid:\t").int(first(&pid)).str("\nNgid:\t0\nPid:\t").int(first(&tid));
    out.str("\nPPid:\t").int(parent.into()).str("\nTracerPid:\t");
    let tracer = task.tracer().map_or(0, |t| t.nr_in(ns));
    out.int(tracer.into());
    for (name, ids) in [
        ("\nUid:", [cred.uid, cred.euid, cred.suid, cred.fsuid].map(|id| eyes.show_uid(id))),
        ("\nGid:", [cred.gid, cred.egid, cred.sgid, cred.fsgid].map(|id| eyes.show_gid(id))),
    ] {
        out.str(name);
        for id in ids {
            out.ch('\t').dec(id.into());
        }
    }
    out.str("\nFDSize:\t").dec(task.files().map_or(0, |files| files.slots()) as u64).str("\nGroups:\t");
    for (i, group) in cred.groups.iter().enumerate() {
        out.str(if i == 0 { "" } else { " " }).dec(eyes.show_gid(*group).into());
    }
    out.ch(' ');
    let (pgid, sid) = (group.number().numbers(ns, inner), group.session().number().numbers(ns, inner));
    for (name, numbers) in [("NStgid", pid), ("NSpid", tid), ("NSpgid", pgid), ("NSsid", sid)] {
        out.ch('\n').str(name).ch(':');
        for number in numbers {
            out.ch('\t').int(number.into());
        }
    }
    out.str("\nKthread:\t").dec(process.is_kernel().into()).ch('\n');
}

fn memory(mm: &Mm, out: &mut Text) {
    let stats = mm.stats();
    let layout = mm.layout();
    let rss = stats.rss_anon + stats.rss_shared;
    let text = program_pages(&layout);
    let shmem = mm.resident_shmem().min(stats.rss_shared);
    let rows = [
        ("VmPeak:", stats.total_peak.max(stats.total)),
        ("VmSize:", stats.total),
        ("VmLck:", stats.locked),
        ("VmPin:", 0),
        ("VmHWM:", stats.rss_peak.max(rss)),
        ("VmRSS:", rss),
        ("RssAnon:", stats.rss_anon),
        ("RssFile:", stats.rss_shared - shmem),
        ("RssShmem:", shmem),
        ("VmData:", stats.data),
        ("VmStk:", stats.stack),
        ("VmExe:", text),
        ("VmLib:", stats.text.saturating_sub(text)),
        ("VmPTE:", stats.tables),
        ("VmSwap:", 0),
    ];
    for (name, pages) in rows {
        out.str(name).ch('\t').dec_width(pages * 4, 8).str(" kB\n");
    }
    out.str("HugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t0\nuntag_mask:\t0xffffffffffffffff\n");
}

fn signals(process: &Process, task: &Task, out: &mut Text) {
    let (ignored, caught) = dispositions(process);
    let shared = process.sig().pending.set();
    out.str("Threads:\t").dec(threads(process));
    out.str("\nSigQ:\t")
        .dec(task.user().signals().into())
        .ch('/')
        .dec(process.limits.soft(Resource::Sigpending))
        .ch('\n');
    let sets = [
        ("SigPnd", task.private_pending()),
        ("ShdPnd", shared),
        ("SigBlk", task.blocked()),
        ("SigIgn", ignored),
        ("SigCgt", caught),
    ];
    for (name, set) in sets {
        out.str(name).str(":\t").hex(set.0, 16).ch('\n');
    }
}

fn capabilities(cred: &Cred, out: &mut Text) {
    let sets = [
        ("CapInh", cred.cap_inheritable),
        ("CapPrm", cred.cap_permitted),
        ("CapEff", cred.cap_effective),
        ("CapBnd", cred.cap_bounding),
        ("CapAmb", cred.cap_ambient),
    ];
    for (name, set) in sets {
        out.str(name).str(":\t").hex(set.0, 16).ch('\n');
    }
    out.str("NoNewPrivs:\t").dec(cred.no_new_privs.into());
    out.ch('\n');
}

fn processors(task: &Task, out: &mut Text) {
    let set = task.thread().map(|thread| thread.affinity()).unwrap_or_default();
    out.str("Cpus_allowed:\t");
    mask(&set, out);
    out.str("\nCpus_allowed_list:\t");
    list(&set, out);
    out.str("\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
}

/// The processors that are there, as a hexadecimal mask in groups of 32.
fn mask(set: &CpuSet, out: &mut Text) {
    let count = machine::cpu::count();
    let groups = count.div_ceil(32).max(1);
    for group in (0..groups).rev() {
        let width = if group + 1 == groups { (count - 32 * group).div_ceil(4) } else { 8 };
        let bits = set.iter().filter(|cpu| cpu.0 as usize / 32 == group && (cpu.0 as usize) < count);
        out.hex(bits.fold(0, |mask, cpu| mask | 1 << (cpu.0 % 32)), width.max(1));
        if group > 0 {
            out.ch(',');
        }
    }
}

/// The same as ranges.
fn list(set: &CpuSet, out: &mut Text) {
    let count = machine::cpu::count() as u32;
    let mut first = true;
    let mut range: Option<(u32, u32)> = None;
    let mut put = |out: &mut Text, (from, to): (u32, u32)| {
        if !core::mem::take(&mut first) {
            out.ch(',');
        }
        out.dec(from.into());
        if to > from {
            out.ch('-').dec(to.into());
        }
    };
    for cpu in set.iter().map(|cpu| cpu.0).filter(|cpu| *cpu < count) {
        range = match range {
            Some((from, to)) if to + 1 == cpu => Some((from, cpu)),
            Some(done) => {
                put(out, done);
                Some((cpu, cpu))
            }
            None => Some((cpu, cpu)),
        };
    }
    if let Some(done) = range {
        put(out, done);
    }
}
