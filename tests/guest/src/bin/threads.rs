//! The thread test: `threads [ROUNDS]`: mutex, condition variable, read-write lock, barrier, thread-local storage and cancellation,
//! each round with fresh threads. Prints `ok ROUNDS`.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1);
    for _ in 0..rounds {
        mutex();
        condvar();
        rwlock();
        barrier_and_tls();
        cancellation();
    }
    println!("ok {rounds}");
}

fn run(n: usize, f: impl Fn(usize) + Send + Sync + 'static) {
    let f = Arc::new(f);
    let all: Vec<_> = (0..n)
        .map(|i| {
            let f = f.clone();
            thread::spawn(move || f(i))
        })
        .collect();
    all.into_iter().for_each(|t| t.join().expect("a thread failed"));
}

fn mutex() {
    let n = Arc::new(Mutex::new(0u32));
    let m = n.clone();
    run(4, move |_| (0..500).for_each(|_| *m.lock().expect("poisoned") += 1));
    assert_eq!(*n.lock().expect("poisoned"), 2000);
}

fn condvar() {
    let state = Arc::new((Mutex::new(0usize), Condvar::new()));
    let s = state.clone();
    run(3, move |i| {
        for round in 0..50 {
            let mut turn = s.0.lock().expect("poisoned");
            while *turn != round * 3 + i {
                turn = s.1.wait(turn).expect("poisoned");
            }
            *turn += 1;
            s.1.notify_all();
        }
    });
    assert_eq!(*state.0.lock().expect("poisoned"), 150);
}

fn rwlock() {
    let l = Arc::new(RwLock::new((0u64, 0u64)));
    let m = l.clone();
    run(4, move |i| {
        for _ in 0..200 {
            if i == 0 {
                let mut w = m.write().expect("poisoned");
                w.0 += 1;
                w.1 += 1;
            } else {
                let r = m.read().expect("poisoned");
                assert_eq!(r.0, r.1);
            }
        }
    });
    assert_eq!(l.read().expect("poisoned").0, 200);
}

fn barrier_and_tls() {
    thread_local!(static MINE: Cell<usize> = const { Cell::new(0) });
    let barrier = Barrier::new(4);
    let leaders = Arc::new(AtomicU32::new(0));
    let l = leaders.clone();
    run(4, move |i| {
        for round in 0..20 {
            MINE.with(|m| m.set(i * 100 + round));
            if barrier.wait().is_leader() {
                l.fetch_add(1, Ordering::Relaxed);
            }
            assert_eq!(MINE.with(Cell::get), i * 100 + round);
        }
    });
    assert_eq!(leaders.load(Ordering::Relaxed), 20);
}

extern "C" fn cancellable(_: *mut libc::c_void) -> *mut libc::c_void {
    loop {
        // SAFETY: a cancellation point with nothing to unwind.
        unsafe { libc::pause() };
    }
}

fn cancellation() {
    unsafe extern "C" {
        fn pthread_cancel(thread: libc::pthread_t) -> i32;
    }
    // SAFETY: the thread owns nothing, is cancelled once and joined once.
    unsafe {
        let mut t = 0;
        assert_eq!(libc::pthread_create(&mut t, std::ptr::null(), cancellable, std::ptr::null_mut()), 0);
        assert_eq!(pthread_cancel(t), 0);
        let mut ret = std::ptr::null_mut();
        assert_eq!(libc::pthread_join(t, &mut ret), 0);
        assert_eq!(ret as isize, -1, "PTHREAD_CANCELED");
    }
}
