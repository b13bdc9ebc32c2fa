use super::*;
use abi::futex::wake_op;
use abi::futex::{RobustListHead, word};
use abi::mman::Prot;
use alloc::boxed::Box;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use machine::sync::SpinLock;
use mm::MapRequest;
use zerocopy::IntoBytes;

const MS: u64 = 1_000_000;

/// An address space with one page of zeroes.
pub(super) fn memory() -> (Arc<Mm>, VirtAddr) {
    let mm = Mm::new().expect("memory");
    mm.set_up_layout(false);
    mm.activate();
    let at = mm.mmap(MapRequest::anonymous(PAGE_SIZE, Prot::READ | Prot::WRITE)).expect("room");
    (mm, at)
}
pub(super) fn start(f: impl FnOnce() + Send + 'static) {
    sched::spawn("test", None, Box::new(f)).expect("memory").start();
}
pub(super) fn settle() {
    sched::sleep_until(sched::now() + MS).expect("no signal");
}
pub(super) fn key_at(mm: &Mm, addr: VirtAddr) -> FutexKey {
    key(mm, addr, false, false).expect("aligned")
}
pub(super) fn word_at(addr: VirtAddr, n: u64) -> VirtAddr {
    VirtAddr(addr.0 + 4 * n)
}

/// Starts a thread that waits for a word and stores its result.
fn waiter(mm: &Arc<Mm>, addr: VirtAddr, bitset: u32) -> Arc<SpinLock<Option<Result<(), Errno>>>> {
    let result = Arc::new(SpinLock::new(None));
    let (mm, slot) = (mm.clone(), result.clone());
    start(move || {
        let got = wait(&mm, addr, key_at(&mm, addr), 0, bitset, None);
        *slot.lock() = Some(got);
    });
    settle();
    result
}

#[test]
fn a_changed_word_is_not_waited_for_and_deadlines_end_waits() {
    let (mm, addr) = memory();
    let k = key_at(&mm, addr);
    assert_eq!(wait(&mm, addr, k, 1, u32::MAX, None), Err(Errno::EAGAIN));
    assert_eq!(wait(&mm, addr, k, 0, u32::MAX, Some(Limit::Monotonic(sched::now() + MS))), Err(Errno::ETIMEDOUT));
    assert_eq!(key(&mm, VirtAddr(addr.0 + 1), false, false), Err(Errno::EINVAL));
    assert_eq!(wake(&mm, k, 1, u32::MAX), Ok(0));
}

#[test]
fn wakes_choose_by_bitset_and_in_order() {
    let (mm, addr) = memory();
    let (a, b) = (waiter(&mm, addr, 1), waiter(&mm, addr, 2));
    let k = key_at(&mm, addr);
    assert_eq!(wake(&mm, k, 9, 4), Ok(0));
    assert_eq!(wake(&mm, k, 9, 2), Ok(1));
    settle();
    assert_eq!((*a.lock(), *b.lock()), (None, Some(Ok(()))));
    assert_eq!(wake(&mm, k, 9, u32::MAX), Ok(1));
    settle();
    assert_eq!(*a.lock(), Some(Ok(())));
}

#[test]
fn requeued_waiters_wait_for_the_other_word() {
    let (mm, addr) = memory();
    let results: Vec<_> = (0..3).map(|_| waiter(&mm, addr, u32::MAX)).collect();
    let (from, to) = (key_at(&mm, addr), key_at(&mm, word_at(addr, 9)));
    assert_eq!(requeue(&mm, (from, to), 1, 9), Ok((1, 2)));
    assert_eq!(wake(&mm, from, 9, u32::MAX), Ok(0));
    assert_eq!(wake(&mm, to, 9, u32::MAX), Ok(2));
    settle();
    assert!(results.iter().all(|r| *r.lock() == Some(Ok(()))));
}

#[test]
fn wake_op_changes_the_word_and_wakes_by_its_old_value() {
    let (mm, addr) = memory();
    let other = word_at(addr, 5);
    let keys = (key_at(&mm, addr), key_at(&mm, other));
    let r = waiter(&mm, other, u32::MAX);
    let encode = |op: u32, arg: u32, cmp: u32, cmp_arg: u32| op << 28 | cmp << 24 | arg << 12 | cmp_arg;
    let run = |code| wake_op(&mm, keys, other, (1, 1), code);
    assert_eq!(run(encode(wake_op::ADD, 5, wake_op::CMP_NE, 0)), Ok(0));
    assert_eq!(mm.load_u32(other), Ok(5));
    assert_eq!(run(encode(wake_op::ADD, 0xfff, wake_op::CMP_GT, 4)), Ok(1));
    assert_eq!(mm.load_u32(other), Ok(4));
    assert_eq!(run(encode(7, 0, 0, 0)), Err(Errno::ENOSYS));
    settle();
    assert_eq!(*r.lock(), Some(Ok(())));
}

#[test]
fn waiting_for_several_words_tells_which_one_woke() {
    let (mm, addr) = memory();
    let found = Arc::new(SpinLock::new(None));
    let (m, slot) = (mm.clone(), found.clone());
    start(move || {
        let multi = |n| Multi { addr: word_at(addr, n), key: key_at(&m, word_at(addr, n)), expected: 0 };
        let got = wait_multi(&m, &[multi(0), multi(1), multi(2)], None);
        *slot.lock() = Some(got);
    });
    settle();
    assert_eq!(wake(&mm, key_at(&mm, word_at(addr, 1)), 9, u32::MAX), Ok(1));
    settle();
    assert_eq!(*found.lock(), Some(Ok(1)));
    assert_eq!(wake(&mm, key_at(&mm, word_at(addr, 0)), 9, u32::MAX), Ok(0));
}

#[test]
fn words_of_a_robust_list_are_marked_and_their_waiters_woken() {
    let (mm, addr) = memory();
    let (head, entry) = (addr.0 + 1024, addr.0 + 2048);
    let list = RobustListHead { list: entry, futex_offset: 8, list_op_pending: 0 };
    mm.write_bytes(VirtAddr(head), list.as_bytes()).expect("mapped");
    mm.write_bytes(VirtAddr(entry), head.as_bytes()).expect("mapped");
    let lock = VirtAddr(entry + 8);
    let r = waiter(&mm, lock, u32::MAX);
    mm.write_bytes(lock, (7 | word::WAITERS).as_bytes()).expect("mapped");
    robust::walk(&mm, head, 7);
    settle();
    assert_eq!(mm.load_u32(lock), Ok(word::OWNER_DIED | word::WAITERS));
    assert_eq!(*r.lock(), Some(Ok(())));
    // A list that leads nowhere ends the walk.
    robust::walk(&mm, 8, 7);
}
