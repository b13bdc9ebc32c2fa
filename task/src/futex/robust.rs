//! Robust words (set_robust_list(2)): when a thread ends, the words it still owns are marked and their waiters woken.
//!
//! A program that frees such a word has a moment in which it owns the word no more but its list still says that it may: another
//! thread could free the memory, and a death right then would mark what is now something else. FUTEX_ROBUST_UNLOCK closes that: the
//! kernel frees the word and takes back the mark of the pending operation in one call. The vDSO has the same for a word without
//! waiters; who is stopped between its two steps by a signal has the second one done here ([`finish_unlock`]).

use super::pi::WORLD;
use super::{Locker, key, wake};
use crate::Cx;
use crate::exec::vdso_around;
use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, ROBUST_LIST_LIMIT, RobustListHead, word};
use core::sync::atomic::Ordering::Relaxed;
use machine::{PAGE_SIZE, VirtAddr};
use mm::Mm;
use mm::user::UserPtr;

/// Where `struct robust_list_head` has the pending operation.
const PENDING_AT: u64 = 16;

/// The thread leaves its address space, by exit or by exec: what it owned is given up. Until [`enter_memory`] it can own
/// nothing.
pub(crate) fn leave_memory(cx: &Cx) {
    let task = &*cx.task;
    let head = task.robust_list.swap(0, Relaxed);
    if head != 0 {
        task.links().begin_leaving();
        walk(cx.mm(), head, task.nr() as u32);
    }
    if task.links().end_leaving() {
        WORLD.lock().disown(cx.mm(), task);
    }
}

/// The thread has got its new address space (exec).
pub(crate) fn enter_memory(cx: &Cx) {
    cx.task.links().revive();
}

/// Walks the list at `head` for the ending thread `tid`. The list is the program's: where it cannot be read, the walk ends.
pub(super) fn walk(mm: &Mm, head: u64, tid: u32) {
    let _ = try_walk(mm, head, tid);
}

fn try_walk(mm: &Mm, head: u64, tid: u32) -> Result<(), Errno> {
    let RobustListHead { list, futex_offset, list_op_pending: pending } =
        UserPtr::<RobustListHead>::new(VirtAddr(head)).read(mm)?;
    let word_of = |entry: u64| VirtAddr((entry & !1).wrapping_add_signed(futex_offset));
    let mut entry = list;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !1 == head {
            break;
        }
        // Read before the word is released: its new owner may take the entry out of memory.
        let next = UserPtr::<u64>::new(VirtAddr(entry & !1)).read(mm);
        if entry & !1 != pending & !1 {
            release(mm, word_of(entry), tid, entry & 1 != 0, false)?;
        }
        entry = next?;
        sched::cond_resched();
    }
    if pending & !1 != 0 {
        release(mm, word_of(pending), tid, pending & 1 != 0, true)?;
    }
    Ok(())
}

/// Marks one word if the thread owns it. `pending`: it may have been in the middle of locking or unlocking it. Who waits for a
/// priority-inheriting word gets it when the walk is over ([`leave_memory`]).
fn release(mm: &Mm, addr: VirtAddr, tid: u32, is_pi: bool, pending: bool) -> Result<(), Errno> {
    if addr.0 & 3 != 0 {
        return Err(Errno::EINVAL);
    }
    let wake_one = || {
        // The word itself could be reached; if its waiters cannot, the others of the list still matter.
        let _ = key(mm, addr, true, true).and_then(|key| wake(mm, key, 1, BITSET_MATCH_ANY));
    };
    let mut seen = mm.load_u32(addr)?;
    loop {
        if pending && !is_pi && seen == 0 {
            // It had freed the word and died before it could wake the next one.
            wake_one();
            return Ok(());
        }
        if seen & word::TID_MASK != tid {
            return Ok(());
        }
        match mm.cmpxchg_u32(addr, seen, seen & word::WAITERS | word::OWNER_DIED)? {
            Ok(_) => break,
            Err(now) => seen = now,
        }
    }
    if !is_pi && seen & word::WAITERS != 0 {
        wake_one();
    }
    Ok(())
}

/// Before a signal, or the end, of a thread that was stopped in user code: if that is the vDSO's function that frees a word, and the
/// word is free, takes back the mark.
pub(crate) fn finish_unlock(cx: &Cx) {
    let regs = &cx.user.regs;
    let in_page = |at: u64| at % PAGE_SIZE as u64;
    for unlock in machine::vdso::unlocks() {
        // The code is mapped at some page's start, so nearly every other place differs in these bits.
        if in_page(regs.rip.wrapping_sub(unlock.code.start)) < unlock.code.end - unlock.code.start
            && vdso_around(cx.mm(), regs.rip).is_some_and(|start| unlock.code.contains(&(regs.rip - start)))
            && let Some(pending) = unlock.mark(regs)
        {
            let _ = RobustUnlock { pending, narrow: unlock.narrow }.clear(cx);
        }
    }
}

/// The mark of a pending operation that FUTEX_ROBUST_UNLOCK takes back.
#[derive(Clone, Copy)]
pub struct RobustUnlock {
    /// Where it is.
    pub pending: VirtAddr,
    /// It is a word of 32 bits (FUTEX_ROBUST_LIST32).
    pub narrow: bool,
}

impl RobustUnlock {
    /// Frees a plain word before its waiter is woken.
    pub fn free(self, cx: &Cx, addr: VirtAddr) -> Result<(), Errno> {
        let mut seen = cx.mm().load_u32(addr)?;
        while let Err(now) = cx.mm().cmpxchg_u32(addr, seen, 0)? {
            seen = now;
        }
        self.clear(cx)
    }
    /// Takes the mark back. A thread whose mark can not be written has lost its list: better that some words stay locked than that
    /// its end damages what is now in their place.
    pub fn clear(self, cx: &Cx) -> Result<(), Errno> {
        let done = cx.mm().write_bytes(self.pending, if self.narrow { &[0; 4] } else { &[0; 8] });
        let head = cx.task.robust_list.load(Relaxed);
        if done.is_err() && !self.narrow && self.pending.0 == head.wrapping_add(PENDING_AT) {
            cx.task.robust_list.store(0, Relaxed);
        }
        done
    }
}
