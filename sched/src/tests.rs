//! Behaviour of the whole crate on the mock machine, where each test is a CPU of its own.
extern crate std;

use crate::*;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::*};

const MS: u64 = 1_000_000;

fn start(f: impl FnOnce() + Send + 'static) -> Arc<Thread> {
    let thread = spawn("test", None, Box::new(f)).expect("the mock has memory");
    thread.start();
    thread
}

#[test]
fn a_started_thread_runs_when_the_current_one_sleeps_and_ends_dead() {
    init_boot_cpu();
    let done = Arc::new(Completion::new());
    let theirs = done.clone();
    let thread = start(move || theirs.complete());
    assert!(!done.is_done());
    done.wait();
    yield_now();
    sleep_until(now() + MS).expect("no signal");
    assert_eq!(thread.state_char(), 'X');
}

#[test]
fn two_threads_pass_a_token_back_and_forth() {
    let queue = Arc::new(WaitQueue::new());
    let turn = Arc::new(AtomicU32::new(0));
    let (q, t) = (queue.clone(), turn.clone());
    start(move || {
        for round in 0..100 {
            q.wait(|| (t.load(Acquire) == 2 * round + 1).then_some(()));
            t.store(2 * round + 2, Release);
            q.wake_sync();
        }
    });
    for round in 0..100 {
        turn.store(2 * round + 1, Release);
        queue.wake_one();
        queue.wait(|| (turn.load(Acquire) == 2 * round + 2).then_some(()));
    }
    assert_eq!(turn.load(Acquire), 200);
}

#[test]
fn a_deadline_ends_a_wait_and_sleeps_last_at_least_as_long_as_asked() {
    let queue = WaitQueue::new();
    let begun = now();
    assert_eq!(queue.wait_deadline(Some(begun + 2 * MS), || None::<()>), Err(WaitError::TimedOut));
    assert!(now() >= begun + 2 * MS);
    sleep_until(now() + MS).expect("no signal");
    assert_eq!(queue.wait_deadline(Some(0), || Some(7)), Ok(7));
}

#[test]
fn who_is_woken_as_the_time_runs_out_takes_what_it_was_woken_for() {
    init_boot_cpu();
    let queue = WaitQueue::new();
    let (looks, there) = (AtomicU32::new(0), AtomicU32::new(0));
    let look = || {
        let found = there.load(Acquire);
        // What comes between the last look and the deadline is told to this thread alone.
        if looks.fetch_add(1, Relaxed) == 1 {
            there.store(7, Release);
            assert!(queue.wake_one());
        }
        (found != 0).then_some(found)
    };
    assert_eq!(queue.wait_deadline(Some(now()), look), Ok(7));
    assert_eq!(queue.wait_deadline(Some(now()), || None::<()>), Err(WaitError::TimedOut));
}

#[test]
fn an_interrupt_ends_interruptible_sleeps_only() {
    let queue = Arc::new(WaitQueue::new());
    let q = queue.clone();
    let state = Arc::new(AtomicU32::new(0));
    let s = state.clone();
    let sleeper = start(move || {
        assert_eq!(q.wait_interruptible(|| None::<()>), Err(Interrupted));
        s.store(1, Release);
        q.wait(|| (s.load(Acquire) == 2).then_some(()));
        s.store(3, Release);
    });
    sleep_until(now() + MS).expect("no signal");
    assert_eq!(sleeper.state_char(), 'S');
    sleeper.interrupt();
    sleep_until(now() + MS).expect("no signal");
    assert_eq!((state.load(Acquire), sleeper.state_char()), (1, 'D'));
    state.store(2, Release);
    queue.wake_all();
    sleep_until(now() + MS).expect("no signal");
    assert_eq!(state.load(Acquire), 3);
}

#[test]
fn wake_one_wakes_in_order_of_arrival() {
    let queue = Arc::new(WaitQueue::new());
    let order = Arc::new(Mutex::new(Vec::new()));
    let tickets = Arc::new(AtomicU32::new(0));
    for name in 0..4 {
        let (q, o, t) = (queue.clone(), order.clone(), tickets.clone());
        start(move || {
            q.wait(|| t.fetch_update(AcqRel, Acquire, |n| n.checked_sub(1)).ok());
            o.lock().push(name);
        });
        sleep_until(now() + MS).expect("no signal");
    }
    for _ in 0..4 {
        tickets.fetch_add(1, AcqRel);
        assert!(queue.wake_one());
        sleep_until(now() + MS).expect("no signal");
    }
    assert!(!queue.wake_one());
    assert_eq!(*order.lock(), [0, 1, 2, 3]);
}

#[test]
fn a_waiter_woken_in_vain_leaves_no_entry_behind() {
    let queue = Arc::new(WaitQueue::new());
    let go = Arc::new(AtomicU32::new(0));
    let (q, g) = (queue.clone(), go.clone());
    let sleeper = start(move || q.wait(|| (g.load(Acquire) == 1).then_some(())));
    sleep_until(now() + MS).expect("no signal");
    assert!(queue.wake_one());
    sleep_until(now() + MS).expect("no signal");
    assert!(queue.is_watched());
    go.store(1, Release);
    assert!(sleeper.wake());
    sleep_until(now() + MS).expect("no signal");
    assert!(!queue.is_watched());
}

#[test]
fn a_mutex_excludes_across_sleeps() {
    let mutex = Arc::new(Mutex::new(0));
    let done = Arc::new(Completion::new());
    let left = Arc::new(AtomicU32::new(5));
    for _ in 0..5 {
        let (m, d, l) = (mutex.clone(), done.clone(), left.clone());
        start(move || {
            for _ in 0..20 {
                let mut value = m.lock();
                let seen = *value;
                yield_now();
                *value = seen + 1;
            }
            if l.fetch_sub(1, AcqRel) == 1 {
                d.complete();
            }
        });
    }
    done.wait();
    assert_eq!(*mutex.lock(), 100);
}

#[test]
fn readers_share_and_a_waiting_writer_gets_its_turn() {
    let lock = Arc::new(RwLock::new(1));
    let first = lock.read();
    let l = lock.clone();
    start(move || *l.write() += 1);
    sleep_until(now() + MS).expect("no signal");
    assert!(lock.try_read().is_none(), "a writer waits");
    drop(first);
    sleep_until(now() + MS).expect("no signal");
    assert_eq!(*lock.read(), 2);
}

#[test]
fn timers_call_back_once_or_periodically_until_cancelled() {
    let count = Arc::new(AtomicU32::new(0));
    let c = count.clone();
    let timer = Timer::new(Box::new(move || {
        c.fetch_add(1, AcqRel);
    }));
    timer.arm(now() + MS);
    assert!(timer.remaining().is_some_and(|left| left <= MS));
    sleep_until(now() + 3 * MS).expect("no signal");
    assert_eq!((count.load(Acquire), timer.remaining()), (1, None));
    timer.arm_periodic(now() + MS, MS);
    sleep_until(now() + 10 * MS).expect("no signal");
    assert!(count.load(Acquire) > 2);
    assert!(timer.cancel() && !timer.cancel());
    let seen = count.load(Acquire);
    sleep_until(now() + 3 * MS).expect("no signal");
    assert_eq!(count.load(Acquire), seen);
}

#[test]
fn many_timers_due_at_once_leave_time_between_batches() {
    const TIMERS: u32 = 1000;
    let count = Arc::new(AtomicU32::new(0));
    let timers: Vec<_> = (0..TIMERS)
        .map(|_| {
            let c = count.clone();
            let timer = Timer::new(Box::new(move || {
                c.fetch_add(1, AcqRel);
            }));
            timer.arm(1);
            timer
        })
        .collect();
    let cpu = crate::cpu::this();
    let mut batches = 0;
    while crate::timer::run_due(cpu) {
        assert!(cpu.next_timer.load(Acquire) > 1, "the rest waits");
        batches += 1;
    }
    assert!(batches > 10);
    assert_eq!(count.load(Acquire), TIMERS);
    assert!(timers.iter().all(|timer| timer.deadline().is_none()));
}

#[test]
fn deferred_work_runs_in_a_thread_that_may_sleep() {
    let done = Arc::new(Completion::new());
    let d = done.clone();
    defer(Box::new(move || {
        sleep_until(now() + MS).expect("no signal");
        d.complete();
    }));
    done.wait();
}

#[test]
fn realtime_threads_go_first_and_nice_ones_get_less() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut threads = Vec::new();
    for (name, policy, priority) in [(0, Policy::Normal, 0), (1, Policy::Fifo, 10), (2, Policy::Fifo, 20)] {
        let o = order.clone();
        let thread = spawn("test", None, Box::new(move || o.lock().push(name))).expect("memory");
        thread.set_policy(policy, priority, 0);
        threads.push(thread);
    }
    threads.iter().for_each(Thread::start);
    sleep_until(now() + 5 * MS).expect("no signal");
    assert_eq!(*order.lock(), [2, 1, 0]);
}

#[test]
fn who_falls_to_a_priority_comes_before_and_who_rises_to_it_behind_those_who_have_it() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..4)
        .map(|name| {
            let o = order.clone();
            let thread = spawn("test", None, Box::new(move || o.lock().push(name))).expect("memory");
            thread.set_policy(Policy::Fifo, [10, 10, 20, 5][name], 0);
            thread
        })
        .collect();
    threads.iter().for_each(Thread::start);
    threads[0].set_policy(Policy::Fifo, 10, 0);
    threads[2].set_policy(Policy::Fifo, 10, 0);
    threads[3].set_policy(Policy::Fifo, 10, 0);
    sleep_until(now() + 5 * MS).expect("no signal");
    assert_eq!(*order.lock(), [2, 0, 1, 3]);
}

#[test]
fn listeners_hear_until_unsubscribed_and_outlive_the_queue() {
    struct Count(AtomicU32);
    impl Listener for Count {
        fn notify(&self, key: u64) -> bool {
            self.0.fetch_add(key as u32, AcqRel);
            true
        }
    }
    let queue = WaitQueue::new();
    let listener = Arc::new(Count(AtomicU32::new(0)));
    let one = queue.subscribe(listener.clone());
    let two = queue.subscribe(listener.clone());
    queue.wake_key(1, false, 10);
    drop(one);
    queue.wake_key(1, false, 1);
    drop(queue);
    drop(two);
    assert_eq!(listener.0.load(Acquire), 21);

    let queue = WaitQueue::new();
    let ears: Vec<_> = (0..3).map(|_| Arc::new(Count(AtomicU32::new(0)))).collect();
    let _subscribed: Vec<_> = ears.iter().map(|e| queue.subscribe_exclusive(e.clone())).collect();
    for _ in 0..6 {
        queue.wake_key(1, false, 1);
    }
    assert!(ears.iter().all(|e| e.0.load(Acquire) == 2));
}

#[test]
fn threads_spread_over_cpus_that_are_idle() {
    init_boot_cpu();
    let home = current().cpu();
    // Another host thread is another CPU; it idles until this test ends.
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let id = machine::cpu::this();
        send.send(id).expect("the test waits");
        run_cpu();
    });
    let other = receive.recv().expect("it sends");
    while !crate::cpu::IDLE.contains(other) {
        std::thread::yield_now();
    }
    let mut both = CpuSet::single(home);
    both.insert(other);
    let ran_on = Arc::new(AtomicU32::new(u32::MAX));
    let r = ran_on.clone();
    let thread = spawn("test", None, Box::new(move || r.store(machine::cpu::this().0, Release))).expect("memory");
    assert!(thread.set_affinity(&both));
    thread.start();
    while ran_on.load(Acquire) == u32::MAX {
        sleep_until(now() + MS).expect("no signal");
    }
    // A busy CPU's thread moves at once when it must.
    assert!(current().set_affinity(&CpuSet::single(other)));
    schedule();
    assert_eq!(machine::cpu::this(), other);
    assert!(current().set_affinity(&CpuSet::single(home)));
    schedule();
    assert_eq!(machine::cpu::this(), home);
    assert!(!thread.set_affinity(&CpuSet::empty()));
}
