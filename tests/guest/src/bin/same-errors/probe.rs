//! One call in a process of its own.

use ochre_guest::{now_ms, raw_call, sleep_ms};
use std::sync::atomic::{AtomicI64, Ordering};

/// How a call ended.
pub enum Ending {
    /// Without an error.
    Done,
    /// With this one.
    Error(u32),
    /// It did not: the process sleeps.
    Waits,
    /// The process ended in it.
    Gone,
}

/// Milliseconds after which a sleeping process is taken to wait for good.
const PATIENCE: u64 = 150;
/// Milliseconds after which a running one is.
const LIMIT: u64 = 10_000;
/// No result yet.
const NONE: i64 = i64::MIN;

/// Where the child leaves the result: a page that both processes see.
fn result() -> &'static AtomicI64 {
    static PAGE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) as u64 }
    });
    // SAFETY: the page stays mapped in this process; all zeroes is a valid value.
    unsafe { &*(*page as *const AtomicI64) }
}

/// Makes the call in a fresh child with namespaces of its own.
pub fn run(nr: u32, args: [u64; 6]) -> Ending {
    result().store(NONE, Ordering::Release);
    let pid = child();
    if pid == 0 {
        set_up();
        // SAFETY: this process is there to be broken.
        let got = unsafe { raw_call(nr, args) };
        result().store(got, Ordering::Release);
        // SAFETY: ends the process at once.
        unsafe { raw_call(libc::SYS_exit_group as u32, [0; 6]) };
    }
    let slept = !ended(pid);
    if slept {
        // SAFETY: our own child, which is then waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: as above.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
    }
    match result().load(Ordering::Acquire) {
        NONE if slept => Ending::Waits,
        NONE => Ending::Gone,
        error @ -4095..0 => Ending::Error(error.unsigned_abs() as u32),
        _ => Ending::Done,
    }
}

/// A child whose signals, mounts and names are its own; 0 in the child.
fn child() -> i32 {
    let flags =
        libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    // SAFETY: as fork: the child goes on with a copy of this memory.
    let pid = unsafe { raw_call(libc::SYS_clone as u32, [(flags | libc::SIGCHLD) as u64, 0, 0, 0, 0, 0]) };
    assert!(pid >= 0, "clone: {pid}");
    pid as i32
}

/// Waits for the child to end; false when it sleeps instead.
fn ended(pid: i32) -> bool {
    let start = now_ms();
    let mut asleep_since = None;
    loop {
        // SAFETY: waiting for our own child.
        if unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } == pid {
            return true;
        }
        let now = now_ms();
        asleep_since = if sleeps(pid) { asleep_since.or(Some(now)) } else { None };
        if asleep_since.is_some_and(|since| now - since > PATIENCE) || now - start > LIMIT {
            return false;
        }
        if now - start > 5 {
            sleep_ms(1);
        }
    }
}

/// The process sleeps or is stopped.
fn sleeps(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['S', 'D', 'T', 't']))
}

/// Gives the child its files: descriptors 0 to 20, always the same.
fn set_up() {
    // SAFETY: plain calls with valid arguments; their results show in the probe's.
    unsafe {
        libc::setpgid(0, 0);
        let limit = libc::rlimit { rlim_cur: 64 << 20, rlim_max: 64 << 20 };
        libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..3 {
            libc::dup2(null, fd);
        }
        for fd in 3..40 {
            libc::close(fd);
        }
        let none = c"none".as_ptr();
        libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null());
        libc::mount(none, c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null());
        libc::chdir(c"/tmp".as_ptr());
        libc::mkdir(c"d".as_ptr(), 0o755);
        libc::mkdir(c"d2".as_ptr(), 0o755);
        libc::symlink(c"f".as_ptr(), c"l".as_ptr());
        libc::symlink(c"loop".as_ptr(), c"loop".as_ptr());
        libc::mkfifo(c"p".as_ptr(), 0o644);
        let file = libc::open(c"f".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o644); // 3
        libc::write(file, c"hello world\n".as_ptr().cast(), 12);
        libc::lseek(file, 3, libc::SEEK_SET);
        libc::open(c"f".as_ptr(), libc::O_RDONLY); // 4
        libc::open(c"d".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY); // 5
        let mut pair = [0; 2];
        libc::pipe(pair.as_mut_ptr()); // 6, 7
        libc::write(pair[1], c"abc".as_ptr().cast(), 3);
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()); // 8, 9
        libc::eventfd(1, libc::EFD_NONBLOCK); // 10
        libc::epoll_create1(0); // 11
        libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK); // 12
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::signalfd(-1, &set, libc::SFD_NONBLOCK); // 13
        libc::open(c"f".as_ptr(), libc::O_PATH); // 14
        libc::open(c"f".as_ptr(), libc::O_WRONLY | libc::O_APPEND); // 15
        raw_call(libc::SYS_pidfd_open as u32, [1, 0, 0, 0, 0, 0]); // 16: this process
        libc::memfd_create(c"m".as_ptr(), libc::MFD_ALLOW_SEALING); // 17
        libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY); // 18
        libc::open(c"/proc/thread-self/ns/uts".as_ptr(), libc::O_RDONLY); // 19
        libc::inotify_init1(libc::IN_NONBLOCK); // 20
    }
}
