//! `notify-storm [ROUNDS]`: threads call under a seccomp filter whose listener answers, hands over descriptors, lets calls go on or
//! goes away, while signals and SIGKILL reach them through pidfds. Every process must end and be reaped; then `survived` is printed.

use ochre_guest::{Rng, now_ms, raw_call, sleep_ms};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Processes under the filter, and threads that answer for it.
const WORKERS: usize = 6;
const ANSWERERS: u64 = 2;

const NR_GETGID: u32 = 104;
const NR_SECCOMP: u32 = 317;
const NR_PIDFD_SEND_SIGNAL: u32 = 424;
const NR_PIDFD_OPEN: u32 = 434;
const RECV: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
const ADDFD: u64 = 0x4018_2103;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, and with `_WAIT_KILLABLE_RECV`.
const LISTENER: [u64; 2] = [8, 8 | 32];

static STOP: AtomicBool = AtomicBool::new(false);
/// Who looks for the next call.
static FETCH: Mutex<()> = Mutex::new(());
static ANSWERED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: i32) {}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(10);
    for round in 0..rounds {
        // A process may have one listener in its life.
        let pid = child(|| one_round(round));
        let mut status = 0;
        // SAFETY: our own child; `status` lives.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert_eq!(status, 0, "round {round}");
    }
    println!("survived");
}

fn child(body: impl FnOnce()) -> i32 {
    // SAFETY: the child only makes calls and ends without going back.
    match unsafe { libc::fork() } {
        0 => {
            body();
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    }
}

/// getgid(2) asks the listener; everything else is allowed.
fn install(flags: u64) -> i32 {
    let code: [u64; 4] = [
        0x20,                                     // A = number of the call
        0x0100_0015 | u64::from(NR_GETGID) << 32, // not it: skip one
        0x7fc0_0000 << 32 | 6,
        0x7fff_0000 << 32 | 6,
    ];
    let program: [u64; 2] = [code.len() as u64, code.as_ptr() as u64];
    // SAFETY: the program and its code live through the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        raw_call(NR_SECCOMP, [1, flags, program.as_ptr() as u64, 0, 0, 0]) as i32
    }
}

fn one_round(round: u64) {
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as usize) };
    let listener = install(LISTENER[round as usize % 2]);
    assert!(listener >= 0, "no listener: {listener}");
    let workers: Vec<i32> = (0..WORKERS).map(|i| child(|| work(listener, i))).collect();
    let pidfds: Vec<u64> = workers.iter().map(|p| call(NR_PIDFD_OPEN, &[*p as u64]) as u64).collect();
    let answerers: Vec<_> =
        (0..ANSWERERS).map(|i| std::thread::spawn(move || answer(listener, round * ANSWERERS + i + 1))).collect();
    let deadline = now_ms() + 30_000;
    while ANSWERED.load(Relaxed) == 0 {
        assert!(now_ms() < deadline, "nothing is answered");
        sleep_ms(1);
    }
    let mut rng = Rng::new(round + 1);
    for _ in 0..300 {
        let to = rng.pick(&pidfds);
        let signal = if rng.below(40) == 0 { libc::SIGKILL } else { libc::SIGUSR1 };
        call(NR_PIDFD_SEND_SIGNAL, &[to, signal as u64]);
        if rng.below(16) == 0 {
            sleep_ms(1);
        }
    }
    if round.is_multiple_of(4) {
        // Calls that wait now fail; so do all that follow.
        // SAFETY: the answerers are told by an error.
        unsafe { libc::close(listener) };
    }
    for (pid, pidfd) in workers.iter().zip(&pidfds) {
        call(NR_PIDFD_SEND_SIGNAL, &[*pidfd, libc::SIGKILL as u64]);
        let mut end = libc::pollfd { fd: *pidfd as i32, events: libc::POLLIN, revents: 0 };
        // SAFETY: our own child and a structure that lives.
        let told = unsafe { libc::poll(&mut end, 1, 30_000) };
        assert_eq!(told, 1, "a killed process does not end");
        // SAFETY: as above.
        unsafe { libc::waitpid(*pid, std::ptr::null_mut(), 0) };
    }
    STOP.store(true, Relaxed);
    answerers.into_iter().for_each(|a| a.join().expect("an answerer fails"));
}

fn call(nr: u32, arguments: &[u64]) -> i64 {
    let mut all = [0; 6];
    all.iter_mut().zip(arguments).for_each(|(to, from)| *to = *from);
    // SAFETY: only for calls that touch no memory of ours.
    unsafe { raw_call(nr, all) }
}

/// Calls without end; some keep the listener open, some have a second thread.
fn work(listener: i32, index: usize) {
    if !index.is_multiple_of(3) {
        // SAFETY: nothing else here uses it.
        unsafe { libc::close(listener) };
    }
    if index % 2 == 1 {
        std::thread::spawn(move || calls(listener));
    }
    calls(listener)
}

fn calls(listener: i32) {
    loop {
        call(NR_GETGID, &[]);
        // What the listener put here.
        for fd in (3..40).filter(|fd| *fd != listener) {
            // SAFETY: a descriptor of this process that nobody else uses.
            unsafe { libc::close(fd) };
        }
    }
}

fn answer(listener: i32, seed: u64) {
    let mut rng = Rng::new(seed);
    let since = now_ms();
    while !STOP.load(Relaxed) {
        assert!(now_ms() - since < 200_000, "the round does not end");
        let Some(notice) = next(listener) else { continue };
        // SAFETY: each structure is as long as its command says.
        unsafe {
            if rng.below(2) == 0 {
                // Standard output under any number, now and then as the answer itself.
                let mut fd = [notice[0], (rng.below(2) * 2) | (1 << 32), 0];
                libc::ioctl(listener, ADDFD, fd.as_mut_ptr());
            }
            let (value, goes_on) = if rng.below(3) == 0 { (0, 1u64) } else { (7, 0) };
            let mut reply = [notice[0], value, goes_on << 32];
            if libc::ioctl(listener, SEND, reply.as_mut_ptr()) == 0 {
                ANSWERED.fetch_add(1, Relaxed);
            }
        }
    }
}

/// A call that waits for its answer, if one comes soon.
fn next(listener: i32) -> Option<[u64; 10]> {
    // What is ready must not be fetched by another meanwhile: RECV would wait for a next call, and there may be none.
    let _alone = FETCH.lock().expect("an answerer fails");
    let mut ready = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    // SAFETY: a structure that lives.
    if unsafe { libc::poll(&mut ready, 1, 20) } <= 0 {
        return None;
    }
    if ready.revents & libc::POLLIN == 0 {
        sleep_ms(5);
        return None;
    }
    let mut notice = [0u64; 10];
    // SAFETY: the structure is as long as the command says.
    (unsafe { libc::ioctl(listener, RECV, notice.as_mut_ptr()) } == 0).then_some(notice)
}
