//! Timers of processors that sleep: `idle-timers`. A thread of each processor waits in every way that has a time-out while one other
//! processor is busy, and while none is. No wait may end early, and none long after its time; then `ok` is printed.

use ochre_guest::{now_ms, sleep_ms};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// Milliseconds that each wait is for, and those it may take: a timer that is lost until something else wakes the processor takes
/// longer, whatever the host does meanwhile.
const WAIT: u64 = 40;
const MOST: u64 = 3000;
const ROUNDS: usize = 5;

/// The ways to wait. Each gets a time-out of [`WAIT`].
const WAYS: [(&str, fn()); 6] = [
    ("clock_nanosleep", || sleep_ms(WAIT)),
    // SAFETY: no descriptors.
    ("poll", || unsafe {
        libc::poll(null_mut(), 0, WAIT as i32);
    }),
    ("futex", futex),
    ("sigtimedwait", sigtimedwait),
    ("timerfd", timerfd),
    ("setitimer", setitimer),
];

static FAILED: AtomicBool = AtomicBool::new(false);

fn span() -> libc::timespec {
    libc::timespec { tv_sec: 0, tv_nsec: WAIT as i64 * 1_000_000 }
}

fn futex() {
    let word = AtomicU32::new(0);
    // SAFETY: the word and the time live through the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, &span()) };
}

fn sigtimedwait() {
    // SAFETY: a valid set and time.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&mut set, libc::SIGUSR1);
        libc::sigtimedwait(&set, null_mut(), &span());
    }
}

fn timerfd() {
    // SAFETY: the descriptor is this function's own; the buffer has its eight bytes.
    unsafe {
        let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, 0);
        let once = libc::itimerspec { it_interval: zeroed(), it_value: span() };
        assert_eq!(libc::timerfd_settime(fd, 0, &once, null_mut()), 0);
        let mut count = 0u64;
        assert_eq!(libc::read(fd, (&raw mut count).cast(), 8), 8);
        libc::close(fd);
    }
}

/// Only one thread at a time can have the process's timer; the others sleep.
fn setitimer() {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, SeqCst) {
        return sleep_ms(WAIT);
    }
    // SAFETY: every thread blocks SIGALRM; valid arguments.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&mut set, libc::SIGALRM);
        let once = libc::itimerval {
            it_interval: zeroed(),
            it_value: libc::timeval { tv_sec: 0, tv_usec: WAIT as i64 * 1000 },
        };
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &once, null_mut()), 0);
        let mut signal = 0;
        libc::sigwait(&set, &mut signal);
    }
    TAKEN.store(false, SeqCst);
}

fn run_on(processor: usize) {
    // SAFETY: a whole set.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(processor, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
    }
}

/// All processors but `busy` wait.
fn round(processors: usize, busy: Option<usize>) {
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        if let Some(busy) = busy {
            scope.spawn(move || {
                run_on(busy);
                while !stop.load(SeqCst) {
                    std::hint::spin_loop();
                }
            });
        }
        let waiters: Vec<_> = (0..processors)
            .filter(|processor| Some(*processor) != busy || processors == 1)
            .map(|processor| {
                scope.spawn(move || {
                    run_on(processor);
                    for (name, way) in WAYS.iter().cycle().take(WAYS.len() * ROUNDS) {
                        let start = now_ms();
                        way();
                        let took = now_ms() - start;
                        // The clock is read in whole milliseconds.
                        if !(WAIT - 1..=MOST).contains(&took) {
                            println!("processor {processor}, busy {busy:?}: {name} of {WAIT} ms took {took}");
                            FAILED.store(true, SeqCst);
                        }
                    }
                })
            })
            .collect();
        waiters.into_iter().for_each(|w| w.join().expect("a waiter failed"));
        stop.store(true, SeqCst);
    });
}

fn main() {
    // SAFETY: a valid set.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&mut set, libc::SIGALRM);
        libc::sigaddset(&mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &set, null_mut());
    }
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    round(processors, None);
    round(processors, Some(0));
    round(processors, Some(processors - 1));
    if !FAILED.load(SeqCst) {
        println!("ok");
    }
}
