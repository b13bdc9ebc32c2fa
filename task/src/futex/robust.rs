//! Robust lists (set_robust_list(2)): when a thread ends, the words it still owns are marked and their waiters woken.

use super::{key, pi, wake};
use abi::Errno;
use abi::futex::{BITSET_MATCH_ANY, ROBUST_LIST_LIMIT, RobustListHead, word};
use machine::VirtAddr;
use mm::Mm;
use mm::user::UserPtr;

/// Walks the list at `head` for the ending thread `tid`. The list is the program's: where it cannot be read, the walk ends.
pub fn walk(mm: &Mm, head: u64, tid: u32) {
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
        if entry != pending {
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

/// Marks one word if the thread owns it. `pending`: it may have been in the middle of locking or unlocking it.
fn release(mm: &Mm, addr: VirtAddr, tid: u32, is_pi: bool, pending: bool) -> Result<(), Errno> {
    let word_key = key(mm, addr, true)?;
    let wake_one = || wake(word_key, 1, BITSET_MATCH_ANY).map(|_| ());
    let mut seen = mm.load_u32(addr)?;
    loop {
        if pending && !is_pi && seen == 0 {
            // It had freed the word and died before it could wake the next one.
            return wake_one();
        }
        if seen & word::TID_MASK != tid {
            return Ok(());
        }
        if is_pi && seen & word::WAITERS != 0 {
            return pi::owner_died(mm, addr, word_key);
        }
        match mm.cmpxchg_u32(addr, seen, seen & word::WAITERS | word::OWNER_DIED)? {
            Ok(_) => break,
            Err(now) => seen = now,
        }
    }
    if !is_pi && seen & word::WAITERS != 0 { wake_one() } else { Ok(()) }
}
