use super::*;
use crate::futex::tests::{key_at, memory, settle, start, word_at};
use crate::futex::{Limit, wake};
use abi::futex::word;
use machine::VirtAddr;
use sched::Policy;
use sched::policy::nice_rank;
use zerocopy::IntoBytes;

const MS: u64 = 1_000_000;

/// A thread with a number, among others that know it by that.
struct Fake {
    nr: u32,
    links: Links,
    thread: Arc<Thread>,
    room: Arc<Room>,
}

struct Room {
    mm: Arc<Mm>,
    words: VirtAddr,
    all: SpinLock<Vec<Arc<Fake>>>,
}

impl Locker for Fake {
    fn links(&self) -> &Links {
        &self.links
    }
    fn thread(&self) -> Option<&Arc<Thread>> {
        Some(&self.thread)
    }
    fn runs_in(&self, mm: u64) -> bool {
        self.room.mm.id() == mm
    }
    fn find(&self, nr: u32) -> Option<Arc<dyn Locker>> {
        self.room.all.lock().iter().find(|f| f.nr == nr).map(|f| f.clone() as _)
    }
    fn number_of(&self, other: &dyn Locker) -> u32 {
        other.global() as u32
    }
    fn global(&self) -> i32 {
        self.nr as i32
    }
}

impl Room {
    fn new() -> Arc<Room> {
        let (mm, words) = memory();
        Arc::new(Room { mm, words, all: SpinLock::new(Vec::new()) })
    }
    /// Makes the running thread known by this number.
    fn enter(self: &Arc<Room>, nr: u32) -> Arc<Fake> {
        let fake = Arc::new(Fake { nr, links: Links::new(), thread: sched::current(), room: self.clone() });
        self.all.lock().push(fake.clone());
        fake
    }
    fn value(&self, n: u64) -> u32 {
        self.mm.load_u32(word_at(self.words, n)).expect("mapped")
    }
    fn set(&self, n: u64, value: u32) {
        self.mm.write_bytes(word_at(self.words, n), value.as_bytes()).expect("mapped");
    }
    /// Starts thread `nr` with a real-time priority (0 for none), which locks words one after the other and goes on when the last
    /// is its own.
    fn locks(self: &Arc<Room>, nr: u32, priority: u8, words: &'static [u64]) -> Arc<SpinLock<Vec<Result<(), Errno>>>> {
        let results = Arc::new(SpinLock::new(Vec::new()));
        let (room, slot) = (self.clone(), results.clone());
        start(move || {
            let me = room.enter(nr);
            if priority != 0 {
                me.thread.set_policy(Policy::Fifo, priority, 0);
            }
            for n in words {
                let got = me.lock(*n, None);
                slot.lock().push(got);
            }
        });
        settle();
        results
    }
}

impl Fake {
    fn ask<R>(self: &Arc<Self>, f: impl FnOnce(&Asker) -> R) -> R {
        f(&Asker { me: self.clone(), mm: &self.room.mm })
    }
    fn lock(self: &Arc<Self>, n: u64, limit: Option<Limit>) -> Result<(), Errno> {
        let addr = word_at(self.room.words, n);
        self.ask(|ask| lock(ask, addr, key_at(&self.room.mm, addr), limit, false))
    }
    fn try_lock(self: &Arc<Self>, n: u64) -> Result<(), Errno> {
        let addr = word_at(self.room.words, n);
        self.ask(|ask| lock(ask, addr, key_at(&self.room.mm, addr), None, true))
    }
    fn unlock(self: &Arc<Self>, n: u64) -> Result<(), Errno> {
        self.ask(|ask| unlock(ask, word_at(self.room.words, n), false))
    }
}

#[test]
fn owned_words_are_handed_to_the_next_waiter() {
    let room = Room::new();
    let me = room.enter(1);
    assert_eq!(me.lock(0, None), Ok(()));
    assert_eq!(me.lock(0, None), Err(Errno::EDEADLK));
    let other = room.locks(2, 0, &[0]);
    assert_eq!((room.value(0), other.lock().len()), (1 | word::WAITERS, 0));
    assert_eq!(wake(&room.mm, key_at(&room.mm, room.words), 1, u32::MAX), Err(Errno::EINVAL));
    assert_eq!(me.unlock(0), Ok(()));
    settle();
    assert_eq!((room.value(0), &other.lock()[..]), (2 | word::WAITERS, &[Ok(())][..]));
    assert_eq!(me.unlock(0), Err(Errno::EPERM));
    assert_eq!(me.try_lock(0), Err(Errno::EAGAIN));
    assert_eq!(me.lock(0, Some(Limit::Monotonic(sched::now() + MS))), Err(Errno::ETIMEDOUT));
    room.set(0, 200);
    assert_eq!(me.lock(0, None), Err(Errno::ESRCH));
    assert!(WORLD.lock().find(&key_at(&room.mm, room.words)).is_none(), "nobody waits any more");
}

#[test]
fn the_highest_priority_goes_first() {
    let room = Room::new();
    let me = room.enter(1);
    assert_eq!(me.lock(0, None), Ok(()));
    let low = room.locks(2, 0, &[0]);
    let high = room.locks(3, 10, &[0]);
    assert_eq!(me.unlock(0), Ok(()));
    settle();
    assert_eq!((low.lock().len(), high.lock().len()), (0, 1));
}

#[test]
fn priority_goes_along_a_chain_and_back() {
    let room = Room::new();
    let me = room.enter(1);
    assert_eq!(me.lock(0, None), Ok(()));
    let middle = room.locks(2, 0, &[1, 0]);
    let last = room.locks(3, 50, &[1]);
    assert_eq!(me.thread.rank(), 49);
    // Whoever the middle one waits for has the priority of the last, also when that changes.
    let (second, third) = {
        let all = room.all.lock();
        (all[1].clone(), all[2].clone())
    };
    third.thread.set_policy(Policy::Fifo, 60, 0);
    priority_changed(&(third.clone() as _));
    assert_eq!((second.thread.rank(), me.thread.rank()), (39, 39));
    assert_eq!(me.lock(1, None), Err(Errno::EDEADLK));
    assert_eq!(me.unlock(0), Ok(()));
    assert_eq!(me.thread.rank(), nice_rank(0));
    settle();
    assert_eq!((middle.lock().len(), last.lock().len()), (2, 0));
}

#[test]
fn words_of_a_dead_owner_pass_on_marked() {
    let room = Room::new();
    let me = room.enter(1);
    assert_eq!(me.lock(0, None), Ok(()));
    let next = room.locks(2, 0, &[0]);
    assert!(me.links.end_leaving());
    WORLD.lock().disown(&room.mm, &*me);
    settle();
    assert_eq!(next.lock()[..], [Ok(())]);
    assert_eq!(room.value(0), 2 | word::WAITERS | word::OWNER_DIED);
    assert!(me.links.0.lock().owns.is_empty());
}

#[test]
fn condition_waiters_come_back_as_owners_one_by_one() {
    let room = Room::new();
    let me = room.enter(1);
    let (cond, owned) = (room.words, word_at(room.words, 1));
    let (cond_key, owned_key) = (key_at(&room.mm, cond), key_at(&room.mm, owned));
    let done = Arc::new(SpinLock::new(Vec::new()));
    for nr in [2, 3, 4] {
        let (room, done) = (room.clone(), done.clone());
        start(move || {
            let fake = room.enter(nr);
            let got = fake.ask(|ask| wait_requeue(ask, (cond, cond_key), 0, (owned, owned_key), None));
            done.lock().push((nr, got));
            assert_eq!(fake.unlock(1), Ok(()));
        });
        settle();
    }
    assert_eq!(wake(&room.mm, cond_key, 1, u32::MAX), Err(Errno::EINVAL));
    let go = |expected, target, most| me.ask(|ask| requeue(ask, (cond, cond_key), expected, target, most));
    assert_eq!(go(1, (owned, owned_key), 9), Err(Errno::EAGAIN));
    assert_eq!(go(0, (word_at(cond, 2), key_at(&room.mm, word_at(cond, 2))), 9), Err(Errno::EINVAL));
    assert_eq!(me.lock(1, None), Ok(()));
    assert_eq!(go(0, (owned, owned_key), 9), Ok(3));
    settle();
    assert_eq!((done.lock().len(), room.value(1)), (0, 1 | word::WAITERS));
    assert_eq!(me.unlock(1), Ok(()));
    settle();
    assert_eq!(done.lock()[..], [(2, Ok(())), (3, Ok(())), (4, Ok(()))]);
    assert_eq!(room.value(1), 0);
}
