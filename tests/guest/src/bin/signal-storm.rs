//! `signal-storm`: several senders flood a receiver up to its limit of queued signals. Prints `survived`.

use ochre_guest::storm::{become_user, child, reap, shared_page, survive, until};
use ochre_guest::{now_ms, raw_call, sleep_ms};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// How many signals may be queued.
const QUEUE: u64 = 100;
const SENDERS: u64 = 4;
/// Milliseconds after which every process of a storm ends by itself, should nobody end it.
const LONGEST: u64 = 60_000;

const NR_RT_SIGQUEUEINFO: u32 = 129;

/// What the processes of a storm share.
struct Shared {
    sent: [AtomicU64; 2],
    refused: AtomicU64,
    /// The receiver can be flooded.
    ready: AtomicBool,
    taken: [AtomicU64; 2],
    stop: AtomicBool,
}

fn main() {
    survive(signals);
}

/// Queues one signal with a value; false when the queue is full.
fn queue(to: i32, signal: i32, value: u64) -> bool {
    let mut info = [0u64; 16];
    info[0] = signal as u64;
    info[1] = (-1i32 as u32).into(); // SI_QUEUE
    info[3] = value;
    // SAFETY: a whole siginfo.
    let ret = unsafe { raw_call(NR_RT_SIGQUEUEINFO, [to as u64, signal as u64, info.as_ptr() as u64, 0, 0, 0]) };
    assert!(ret == 0 || ret == -i64::from(libc::EAGAIN), "rt_sigqueueinfo: {ret}");
    ret == 0
}

/// Several senders flood a receiver: each real-time signal that was accepted arrives once, those beyond the limit are refused.
fn signals() {
    // SAFETY: all-zero atomics are valid and fit a page.
    let shared: &'static Shared = unsafe { shared_page() };
    let receiver = child(|| {
        become_user(libc::RLIMIT_SIGPENDING, QUEUE);
        receive(shared);
    });
    until("the receiver is ready", || shared.ready.load(SeqCst));
    let senders: Vec<i32> = (0..SENDERS)
        .map(|n| {
            child(|| {
                become_user(libc::RLIMIT_SIGPENDING, QUEUE);
                send(shared, receiver, n);
            })
        })
        .collect();
    sleep_ms(1000);
    shared.stop.store(true, SeqCst);
    senders.into_iter().for_each(reap);
    let sent: Vec<u64> = shared.sent.iter().map(|n| n.load(SeqCst)).collect();
    until("each signal that was sent is taken", || {
        let status = fs::read_to_string(format!("/proc/{receiver}/status")).unwrap_or_default();
        assert!(!status.contains("State:\tZ"), "the receiver has ended");
        shared.taken.iter().zip(&sent).all(|(taken, sent)| taken.load(SeqCst) == *sent)
    });
    assert!(shared.refused.load(SeqCst) > 0, "the limit was never reached");
    // SAFETY: our own child.
    unsafe { libc::kill(receiver, libc::SIGUSR2) };
    reap(receiver);
}

fn send(shared: &Shared, receiver: i32, n: u64) {
    let (first, which) = (libc::SIGRTMIN(), (n % 2) as usize);
    let end = now_ms() + LONGEST;
    while !shared.stop.load(SeqCst) && now_ms() < end {
        if queue(receiver, first + which as i32, n) {
            shared.sent[which].fetch_add(1, SeqCst);
        } else {
            shared.refused.fetch_add(1, SeqCst);
        }
        // Plain signals merge and are never refused.
        // SAFETY: the receiver lives as long as its senders.
        assert_eq!(unsafe { libc::kill(receiver, libc::SIGUSR1) }, 0);
    }
}

static TAKEN: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: i32) {
    // SAFETY: the address of the shared page was stored before any signal could come.
    let shared = unsafe { &*(TAKEN.load(SeqCst) as *const Shared) };
    shared.taken[0].fetch_add(1, SeqCst);
}

extern "C" fn on_plain_signal(_: i32) {}

/// One kind of signal is taken by a handler, in bursts; the other by a thread that waits for it.
fn receive(shared: &'static Shared) {
    TAKEN.store(std::ptr::from_ref(shared) as u64, SeqCst);
    // SAFETY: plain calls with valid arguments; the handlers only count.
    unsafe {
        let mut act: libc::sigaction = std::mem::zeroed();
        act.sa_sigaction = on_signal as *const () as usize;
        libc::sigaction(libc::SIGRTMIN(), &act, std::ptr::null_mut());
        act.sa_sigaction = on_plain_signal as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &act, std::ptr::null_mut());
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGRTMIN(), libc::SIGRTMIN() + 1, libc::SIGUSR2] {
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        std::thread::spawn(move || {
            let mut second: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut second);
            libc::sigaddset(&mut second, libc::SIGRTMIN() + 1);
            loop {
                if libc::sigwaitinfo(&second, std::ptr::null_mut()) > 0 {
                    shared.taken[1].fetch_add(1, SeqCst);
                }
            }
        });
        let (mut first, mut last): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&mut first);
        libc::sigaddset(&mut first, libc::SIGRTMIN());
        libc::sigemptyset(&mut last);
        libc::sigaddset(&mut last, libc::SIGUSR2);
        shared.ready.store(true, SeqCst);
        let moment = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let end = now_ms() + LONGEST;
        while libc::sigtimedwait(&last, std::ptr::null_mut(), &moment) < 0 && now_ms() < end {
            libc::sigprocmask(libc::SIG_UNBLOCK, &first, std::ptr::null_mut());
            libc::sigprocmask(libc::SIG_BLOCK, &first, std::ptr::null_mut());
        }
    }
}
