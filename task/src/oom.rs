//! What happens when memory is gone: the process with the most of it is killed. Source: proc_pid_oom_score_adj(5).

use crate::process::{Life, Process};
use crate::signal::send_process;
use crate::{task, tree};
use abi::signal::{SigInfo, Signal};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// `oom_score_adj` of a process that is never chosen.
const NEVER: i32 = -1000;

/// Becomes `mm`'s out-of-memory handler.
pub fn init() {
    mm::frames::set_oom_handler(kill_largest);
}

/// How much killing `process` would free, in pages, shifted by its adjustment; `None` for the untouchable.
pub fn badness(process: &Process, total: u64) -> Option<i64> {
    let adj = process.oom_score_adj.load(Relaxed);
    if process.is_first() || adj == NEVER || process.life() != Life::Running {
        return None;
    }
    let (private, shared, tables) = process.leader()?.mm()?.footprint();
    let pages = private + shared + tables;
    Some((pages as i64 + i64::from(adj) * total as i64 / 1000).max(1))
}

/// The score of /proc/PID/oom_score, 0 to 2000.
pub fn score(process: &Process) -> u64 {
    let total = mm::frames::stats().total.max(1);
    badness(process, total).map_or(0, |b| ((b * 1000 / total as i64 + 1000).clamp(0, 2999) * 2 / 3) as u64)
}

/// Chooses and kills; false when there is nobody to kill.
fn kill_largest() -> bool {
    let total = mm::frames::stats().total;
    let mut worst: Option<(i64, Arc<Process>)> = None;
    let mut next = tree::next_process(0);
    // Without a list of all: there may be no memory for one.
    while let Some(p) = next {
        next = tree::next_process(p.pid() + 1);
        // A victim that is still on its way out gets its time.
        if p.sig().group_exit.is_some() && p.life() == Life::Running && !p.is_first() {
            return true;
        }
        if let Some(b) = badness(&p, total)
            && worst.as_ref().is_none_or(|(w, _)| b > *w)
        {
            worst = Some((b, p));
        }
    }
    let Some((_, victim)) = worst else { return false };
    let name = victim.leader().map(|t| t.comm()).unwrap_or([0; task::COMM_LEN]);
    let name = core::str::from_utf8(&name).unwrap_or("?").trim_end_matches('\0');
    machine::kwarn!("Out of memory: killed process {} ({name})", victim.pid());
    send_process(&victim, Signal::KILL, &SigInfo::kernel(Signal::KILL)).is_ok()
}
