//! Which CPU a woken thread goes to.

use crate::cpu::{self, IDLE, ONLINE};
use crate::policy::FAIR_RANK;
use crate::thread::Thread;
use core::sync::atomic::Ordering::Relaxed;
use machine::cpu::CpuId;

/// The CPU for a thread that becomes runnable: the one it ran on if that is idle (its caches are there), the waker's if that is
/// idle or about to be (`sync`), another idle one, or the less loaded of the first two.
pub(crate) fn choose(thread: &Thread, sync: bool) -> CpuId {
    let before = thread.cpu();
    if machine::cpu::count() == 1 {
        return before;
    }
    let here = cpu::this();
    let may = |cpu: CpuId| thread.affinity.contains(cpu) && ONLINE.contains(cpu);
    let (may_before, may_here) = (may(before), may(here.id));
    if may_before && IDLE.contains(before) {
        return before;
    }
    if may_here && (IDLE.contains(here.id) || sync && here.waiting.load(Relaxed) == 0) {
        return here.id;
    }
    if thread.rank() < FAIR_RANK {
        // Where what runs matters least, if that is less than this thread; better here than there.
        let allowed = thread.affinity().and(&ONLINE.load());
        let least = allowed.iter().map(|id| (cpu::of(id).rank.load(Relaxed), id)).max_by_key(|(rank, _)| *rank);
        let before_rank = if may_before { cpu::of(before).rank.load(Relaxed) } else { 0 };
        if let Some((rank, id)) = least
            && rank > thread.rank().max(before_rank)
        {
            return id;
        }
    }
    if let Some(idle) = thread.affinity().and(&ONLINE.load()).and(&IDLE.load()).first() {
        return idle;
    }
    match (may_before, may_here) {
        (true, true) if here.waiting.load(Relaxed) < cpu::of(before).waiting.load(Relaxed) => here.id,
        (true, _) => before,
        (false, true) => here.id,
        (false, false) => thread.affinity().and(&ONLINE.load()).first().unwrap_or(here.id),
    }
}
