//! Processes and threads by the thousand: `killing random [N]` kills processes at random moments of what they do, N times;
//! `killing threads [N]` has N threads at once. Prints `survived`.

use ochre_guest::{Rng, sleep_ms};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next();
    let n = args.next().and_then(|n| n.parse().ok()).unwrap_or(1000);
    match what.as_deref() {
        Some("random") => random(n),
        Some("threads") => threads(n),
        _ => {
            eprintln!("usage: killing random [N] | threads [N]");
            std::process::exit(2);
        }
    }
    println!("survived");
}

/// Processes alive at a time.
const ALIVE: usize = 10;

fn random(kills: u32) {
    // The killer does not queue behind those it kills; they start as others do.
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: a valid parameter.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &first) };
    let mut rng = Rng::new(7);
    let mut alive: Vec<i32> = (0..ALIVE).map(|i| start(i as u64)).collect();
    let mut left = kills;
    while left != 0 {
        // Several at once, so that they die beside each other.
        let most = (1 + rng.below(ALIVE as u64) as u32).min(left);
        let dying = &mut alive[..most as usize];
        for pid in dying.iter() {
            // SAFETY: the process is our child and not yet waited for.
            assert_eq!(unsafe { libc::kill(*pid, libc::SIGKILL) }, 0, "a child cannot be killed");
        }
        for pid in dying.iter_mut() {
            wait_for(*pid);
            *pid = start(rng.next_u64());
        }
        left -= most;
        alive.rotate_left(most as usize);
    }
    for pid in alive {
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        wait_for(pid);
    }
}

fn wait_for(pid: i32) {
    let mut status = 0;
    // SAFETY: `status` is ours. A process that does not die hangs the test, whose caller has a limit.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid, "the child is lost");
}

/// Starts a process that is busy with one of several things for ever.
fn start(seed: u64) -> i32 {
    // SAFETY: this process has one thread; the child does not return.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no process");
    if pid != 0 {
        return pid;
    }
    // SAFETY: plain call: grandchildren and this die with the storm.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    match seed % 8 {
        0 => loop {
            std::hint::spin_loop();
        },
        1 => loop {
            sleep_ms(1);
        },
        2 => handing_over(),
        3 => locking(),
        4 => forking(),
        5 => mapping(),
        6 => starting_threads(),
        _ => piping(),
    }
}

/// Threads that wait for each other.
fn handing_over() -> ! {
    let turn = Arc::new((Mutex::new(0u32), Condvar::new()));
    for me in 0..3 {
        let turn = turn.clone();
        thread::spawn(move || {
            loop {
                let mut now = turn.0.lock().expect("sound");
                while *now % 3 != me {
                    now = turn.1.wait(now).expect("sound");
                }
                *now = now.wrapping_add(1);
                turn.1.notify_all();
            }
        });
    }
    loop {
        sleep_ms(1000);
    }
}

/// Threads that own and wait for a word with priority inheritance.
fn locking() -> ! {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let futex = |op: i32| {
        // SAFETY: the word is static; the operations touch nothing else.
        unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), op, 0, 0) }
    };
    for _ in 0..3 {
        thread::spawn(move || {
            loop {
                futex(libc::FUTEX_LOCK_PI);
                thread::yield_now();
                futex(libc::FUTEX_UNLOCK_PI);
            }
        });
    }
    loop {
        sleep_ms(1000);
    }
}

fn forking() -> ! {
    loop {
        // SAFETY: the child ends at once.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: no status is stored.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
}

fn mapping() -> ! {
    loop {
        let len = 64 << 10;
        // SAFETY: fresh memory, written within bounds and given back.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let p = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if p != libc::MAP_FAILED {
                (0..len).step_by(4096).for_each(|i| (p as *mut u8).add(i).write_volatile(1));
                libc::munmap(p, len);
            }
        }
    }
}

fn starting_threads() -> ! {
    loop {
        let all: Vec<_> = (0..4).map(|_| thread::spawn(|| sleep_ms(1))).collect();
        all.into_iter().for_each(|t| t.join().expect("a thread failed"));
    }
}

fn piping() -> ! {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    thread::spawn(move || {
        let byte = 1u8;
        loop {
            // SAFETY: one byte from a variable.
            unsafe { libc::write(ends[1], (&raw const byte).cast(), 1) };
        }
    });
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte into a variable.
        unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) };
    }
}

/// Has `n` threads alive at once, each of which waits for all.
fn threads(n: u32) {
    let gate = Arc::new((Mutex::new(0u32), Condvar::new()));
    let all: Vec<_> = (0..n)
        .map(|_| {
            let gate = gate.clone();
            let body = move || {
                let mut arrived = gate.0.lock().expect("sound");
                *arrived += 1;
                while *arrived < n {
                    arrived = gate.1.wait(arrived).expect("sound");
                }
                gate.1.notify_one();
            };
            thread::Builder::new().stack_size(16 << 10).spawn(body).expect("a thread")
        })
        .collect();
    all.into_iter().for_each(|t| t.join().expect("a thread failed"));
}
