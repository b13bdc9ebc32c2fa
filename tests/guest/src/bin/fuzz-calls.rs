//! The call fuzzer: `fuzz-calls [SEED [CALLS [PROCESSES]]]` throws seeded random arguments at every implemented call from
//! several processes until CALLS have been made, and prints one summary line. The grammar is the kernel's own call table.
//!
//! A worker may kill itself in any way; it is replaced. What must hold: the parent lives, killed workers die, the machine goes on.

use ochre_guest::{Rng, now_ms, raw_call, sleep_ms};
use ochre_kernel::table::{Kind, ROWS, Row};
use std::fmt::{Display, Formatter};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What all processes share.
struct Shared {
    calls: AtomicU64,
    workers: [Progress; 64],
}

/// How far a worker is: calls it has made, and the call it makes now.
struct Progress {
    made: AtomicU32,
    nr: AtomicU32,
    args: [AtomicU64; 6],
}

/// Calls that would end the machine or the parent rather than test anything.
const LEFT_OUT: &[&str] = &["reboot", "exit", "exit_group", "rt_sigreturn"];
/// Calls that signal, stop or lead to signals: they may only name the worker itself.
const SIGNALLING: &[&str] = &[
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "prlimit64",
    "setpriority",
    "ptrace",
    "pidfd_open",
];

fn shared_page<T>() -> &'static T {
    // SAFETY: a fresh zeroed shared mapping, large enough; all-zero atomics are valid; it is never unmapped by the parent.
    unsafe {
        let p = libc::mmap(
            std::ptr::null_mut(),
            std::mem::size_of::<T>().max(4096),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(p, libc::MAP_FAILED, "no shared page");
        &*(p as *const T)
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().expect("a number"));
    let seed = args.next().unwrap_or(1);
    let goal = args.next().unwrap_or(200_000);
    let workers = args.next().unwrap_or(4).clamp(1, 64) as usize;
    let shared: &Shared = shared_page();
    // Workers may mount something over it.
    let proc = File::open("/proc").expect("/proc");
    let mut slots: Vec<(i32, u64, u64)> = vec![(0, 0, 0); workers];
    let (mut round, mut deaths, mut stuck) = (0u64, 0u64, 0u64);
    while shared.calls.load(Ordering::Relaxed) < goal {
        deaths += reap(&mut slots);
        for (slot, state) in slots.iter_mut().enumerate() {
            let (pid, seen, since) = *state;
            if pid != 0 {
                let made = shared.workers[slot].made.load(Ordering::Relaxed).into();
                if made != seen {
                    *state = (pid, made, now_ms());
                } else if now_ms() - since > 400 {
                    stuck += 1;
                    if is_running(&proc, pid) {
                        println!("fuzz: slow: {}", shared.workers[slot]);
                    }
                    // SAFETY: our own child.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
            }
            if state.0 == 0 {
                round += 1;
                *state = (spawn(shared, slot, seed.wrapping_add(round << 20)), 0, now_ms());
            }
        }
        sleep_ms(20);
    }
    for (pid, ..) in slots.iter().filter(|(pid, ..)| *pid != 0) {
        // SAFETY: our own children; 0 would be everybody in our group.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    let deadline = now_ms() + 20_000;
    while slots.iter().any(|(pid, ..)| *pid != 0) {
        reap(&mut slots);
        if now_ms() > deadline {
            println!("fuzz: a killed worker does not die");
            std::process::exit(1);
        }
        sleep_ms(10);
    }
    println!(
        "fuzz: seed {seed}, {} calls over {} rows, {deaths} workers replaced, {stuck} of them stuck: the machine lives",
        shared.calls.load(Ordering::Relaxed),
        ROWS.len()
    );
}

impl Progress {
    fn begins(&self, nr: u32, args: &[u64; 6]) {
        self.nr.store(nr, Ordering::Relaxed);
        self.args.iter().zip(args).for_each(|(place, arg)| place.store(*arg, Ordering::Relaxed));
    }
}

impl Display for Progress {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        let nr = self.nr.load(Ordering::Relaxed);
        write!(f, "{}(", ROWS.iter().find(|row| row.nr == nr).map_or("?", |row| row.name))?;
        self.args.iter().try_for_each(|arg| write!(f, " {:#x}", arg.load(Ordering::Relaxed)))?;
        write!(f, " )")
    }
}

/// Whether a worker that makes no progress computes rather than sleeps.
fn is_running(proc: &File, pid: i32) -> bool {
    let Ok(path) = std::ffi::CString::new(format!("{pid}/stat")) else { return false };
    // SAFETY: a valid directory and path; the new descriptor is owned by the file made of it.
    let mut stat = unsafe {
        match libc::openat(proc.as_raw_fd(), path.as_ptr(), libc::O_RDONLY) {
            fd if fd >= 0 => File::from_raw_fd(fd),
            _ => return false,
        }
    };
    let mut text = String::new();
    stat.read_to_string(&mut text).is_ok() && text.contains(") R ")
}

/// Reaps what has ended, also children of workers that were left to us (in a pid namespace we may be its first process). How many
/// workers were among it; their slots are free.
fn reap(slots: &mut [(i32, u64, u64)]) -> u64 {
    let mut workers = 0;
    loop {
        let mut status = 0;
        // SAFETY: the status has its place.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
        if pid <= 0 {
            return workers;
        }
        // A worker that asked to be traced by us is told of when it merely stops.
        if !libc::WIFSTOPPED(status)
            && let Some(slot) = slots.iter_mut().find(|slot| slot.0 == pid)
        {
            *slot = (0, 0, 0);
            workers += 1;
        }
    }
}

fn spawn(shared: &'static Shared, slot: usize, seed: u64) -> i32 {
    // SAFETY: the child only runs the worker loop and never returns.
    match unsafe { libc::fork() } {
        0 => worker(shared, slot, seed),
        pid if pid > 0 => pid,
        _ => 0,
    }
}

extern "C" fn on_signal(_: i32) {}

/// Confines the worker: few processes, bounded memory, an alarm that breaks blocking calls.
fn confine() {
    // SAFETY: plain calls with valid arguments.
    unsafe {
        libc::setpgid(0, 0);
        for (resource, value) in [
            (libc::RLIMIT_NPROC, 64),
            (libc::RLIMIT_AS, 256 << 20),
            (libc::RLIMIT_FSIZE, 8 << 20),
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_NOFILE, 128),
        ] {
            libc::setrlimit(resource, &libc::rlimit { rlim_cur: value, rlim_max: value });
        }
        let mut act: libc::sigaction = std::mem::zeroed();
        act.sa_sigaction = on_signal as *const () as usize;
        libc::sigaction(libc::SIGALRM, &act, std::ptr::null_mut());
        let tick = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        libc::setitimer(
            libc::ITIMER_REAL,
            &libc::itimerval { it_interval: tick, it_value: tick },
            std::ptr::null_mut(),
        );
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..3 {
            libc::dup2(null, fd);
        }
        let mut fds = [0; 2];
        libc::pipe(fds.as_mut_ptr());
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, fds.as_mut_ptr());
        libc::eventfd(0, 0);
        libc::epoll_create1(0);
        libc::open(c"/tmp".as_ptr(), libc::O_DIRECTORY);
        libc::open(c"/tmp/fuzz-file".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600);
        libc::open(c"/dev/zero".as_ptr(), libc::O_RDWR);
        libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY);
        libc::timerfd_create(libc::CLOCK_MONOTONIC, 0);
    }
}

/// Memory the arguments point into: a buffer, a read-only page, and a page that ends at an unmapped one.
struct Targets {
    buffer: u64,
    read_only: u64,
    edge: u64,
    strings: Vec<u64>,
}

fn targets() -> Targets {
    let map = |len: usize, prot: i32| {
        // SAFETY: a fresh anonymous mapping.
        unsafe { libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) as u64 }
    };
    let buffer = map(1 << 16, libc::PROT_READ | libc::PROT_WRITE);
    let read_only = map(4096, libc::PROT_READ);
    let edge = map(8192, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: the second page of our own mapping; the first is filled with a string without an end.
    unsafe {
        libc::munmap((edge + 4096) as *mut _, 4096);
        std::ptr::write_bytes(edge as *mut u8, b'a', 4096);
    }
    let long = format!("/{}", "x/".repeat(3000));
    let names = [
        "",
        "/",
        ".",
        "..",
        "/tmp",
        "/tmp/fuzz-file",
        "/tmp/fuzz-dir/a",
        "/proc/self/maps",
        "/proc/self/fd/3",
        "/proc/1/stat",
        "/dev/null",
        "/dev/tty",
        "/dev/ptmx",
        "tmpfs",
        "proc",
        "overlay",
        "/tmp/fuzz-link",
        "/bin/true",
        "user.x",
        "lowerdir=/,upperdir=/tmp",
        &long,
    ];
    let strings = names.iter().map(|s| Box::leak(format!("{s}\0").into_boxed_str()).as_ptr() as u64).collect();
    Targets { buffer, read_only, edge, strings }
}

fn worker(shared: &'static Shared, slot: usize, seed: u64) -> ! {
    confine();
    let t = targets();
    let mut rng = Rng::new(seed);
    let me = std::process::id();
    loop {
        let row = &ROWS[rng.below(ROWS.len() as u64) as usize];
        if LEFT_OUT.contains(&row.name) {
            continue;
        }
        scribble(&mut rng, &t);
        let mut args = [0; 6];
        for (value, arg) in args.iter_mut().zip(row.args) {
            *value = argument(&mut rng, &t, arg.kind, row, me);
        }
        // Registers beyond the arguments hold noise, as they do in a real program.
        for value in args.iter_mut().skip(row.args.len()) {
            *value = rng.next_u64();
        }
        shared.workers[slot].begins(row.nr, &args);
        // SAFETY: this process is there to be broken.
        let ret = unsafe { raw_call(row.nr, args) };
        if ret == 0 && matches!(row.name, "fork" | "vfork" | "clone" | "clone3") {
            // SAFETY: a child of the call just made ends at once.
            unsafe { raw_call(231, [0; 6]) };
        }
        shared.calls.fetch_add(1, Ordering::Relaxed);
        shared.workers[slot].made.fetch_add(1, Ordering::Relaxed);
    }
}

/// Puts small numbers, pointers and noise where structures will be read.
fn scribble(rng: &mut Rng, t: &Targets) {
    for _ in 0..rng.below(6) {
        let at = t.buffer + rng.below(64) * 8;
        let value = match rng.below(4) {
            0 => rng.below(64),
            1 => t.buffer + rng.below(4096),
            2 => rng.next_u64(),
            _ => 0,
        };
        // SAFETY: inside the buffer, unless an earlier call unmapped it: then this worker dies and is replaced.
        unsafe { (at as *mut u64).write_volatile(value) };
    }
}

fn pointer(rng: &mut Rng, t: &Targets) -> u64 {
    match rng.below(16) {
        0 => 0,
        1 => rng.pick(&[
            1,
            8,
            0xfff,
            0x1000,
            0x7fff_ffff_f000,
            0x7fff_ffff_efff,
            0x8000_0000_0000,
            u64::MAX,
            u64::MAX - 7,
        ]),
        2 => 0xffff_8000_0000_0000 | rng.next_u64() >> 17,
        3 => 0xffff_ffff_8000_0000 | rng.next_u64() >> 33,
        4 => rng.next_u64(),
        5 => t.read_only + rng.below(4096),
        6 => t.edge + 4096 - rng.below(64),
        7 => t.buffer + rng.below(1 << 16),
        _ => t.buffer + rng.below(64) * 8,
    }
}

fn argument(rng: &mut Rng, t: &Targets, kind: Kind, row: &Row, me: u32) -> u64 {
    match kind {
        Kind::Fd | Kind::DirFd => match rng.below(8) {
            0 => rng.pick(&[
                -1i64 as u64,
                i32::MAX as u64,
                i32::MIN as i64 as u64,
                1 << 20,
                -100i64 as u64,
                -10003i64 as u64,
            ]),
            1 => rng.next_u64(),
            _ => rng.below(24),
        },
        Kind::Ptr | Kind::Buf => pointer(rng, t),
        Kind::Str => match rng.below(6) {
            0 => pointer(rng, t),
            1 => t.edge + rng.below(4096),
            _ => rng.pick(&t.strings),
        },
        Kind::Pid if SIGNALLING.contains(&row.name) => rng.pick(&[u64::from(me), 0x3fff_ffff, u64::from(me)]),
        Kind::Pid => rng.pick(&[0, u64::from(me), 1, 2, -1i64 as u64, 0x3fff_ffff, i32::MIN as i64 as u64]),
        Kind::Sig => rng.pick(&[0, 1, 10, 12, 13, 14, 15, 17, 18, 20, 28, 32, 34, 64, 65, u64::MAX]),
        Kind::Size | Kind::Uint | Kind::Off | Kind::Int => match rng.below(4) {
            0 => rng.pick(&[
                u64::MAX,
                1 << 31,
                (1 << 31) - 1,
                1 << 32,
                1 << 40,
                1 << 63,
                (1 << 63) - 1,
                i64::MIN as u64 + 1,
            ]),
            1 => rng.pick(&[0, 1, 2, 7, 8, 16, 64, 128, 4095, 4096, 4097, 65536]),
            2 => rng.below(16),
            _ => rng.below(8192),
        },
        Kind::Hex | Kind::Open | Kind::Mode | Kind::Prot | Kind::Map | Kind::Clock => match rng.below(5) {
            0 => 1 << rng.below(64),
            1 => (1 << rng.below(32)) | (1 << rng.below(32)) | (1 << rng.below(12)),
            2 => rng.next_u64(),
            _ => rng.below(0x100),
        },
    }
}
