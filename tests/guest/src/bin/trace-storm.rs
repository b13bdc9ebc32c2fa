//! `trace-storm [SECONDS]`: tracers take hold of threads that come and go, stop them, step them, let them go or die with them in
//! hand, while a fourth party stops, continues and kills. Everything that is left at the end must die and can be reaped;
//! then `survived` is printed.

use ochre_guest::{Rng, now_ms, raw_call, sleep_ms};
use std::thread;

/// Processes that are traced, and processes that trace.
const VICTIMS: usize = 4;
const TRACERS: usize = 4;

const NR_PTRACE: u32 = 101;
const PTRACE_PEEKTEXT: u64 = 1;
const PTRACE_PEEKUSER: u64 = 3;
const PTRACE_POKEUSER: u64 = 6;
const PTRACE_CONT: u64 = 7;
const PTRACE_SINGLESTEP: u64 = 9;
const PTRACE_GETREGS: u64 = 12;
const PTRACE_SETREGS: u64 = 13;
const PTRACE_GETFPREGS: u64 = 14;
const PTRACE_ATTACH: u64 = 16;
const PTRACE_DETACH: u64 = 17;
const PTRACE_SYSCALL: u64 = 24;
const PTRACE_SYSEMU: u64 = 31;
const PTRACE_SETOPTIONS: u64 = 0x4200;
const PTRACE_GETSIGINFO: u64 = 0x4202;
const PTRACE_SEIZE: u64 = 0x4206;
const PTRACE_INTERRUPT: u64 = 0x4207;
const PTRACE_LISTEN: u64 = 0x4208;
/// All options but the one that needs seccomp.
const OPTIONS: u64 = 0xff | 1 << 20;
const DR0: u64 = 848;
const DR7: u64 = DR0 + 7 * 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|a| a == "victim") {
        victim(u64::from(std::process::id()));
    }
    let seconds = arguments.get(1).and_then(|s| s.parse().ok()).unwrap_or(5);
    let (mut victims, mut tracers) = (Vec::new(), Vec::new());
    let mut rng = Rng::new(7);
    let end = now_ms() + seconds * 1000;
    let mut killed = 0;
    while now_ms() < end {
        while victims.len() < VICTIMS {
            victims.push(child(|seed| victim(seed)));
        }
        while tracers.len() < TRACERS {
            let of = victims.clone();
            tracers.push(child(move |seed| tracer(seed, &of)));
        }
        sleep_ms(rng.below(10));
        let one = victims[rng.below(VICTIMS as u64) as usize];
        let signal = rng.pick(&[libc::SIGKILL, libc::SIGSTOP, libc::SIGCONT, libc::SIGUSR1, libc::SIGCONT]);
        killed += i32::from(signal == libc::SIGKILL);
        // SAFETY: the target is a child of ours, or a zombie.
        unsafe { libc::kill(one, signal) };
        if rng.below(8) == 0 {
            // A tracer dies with what it holds.
            // SAFETY: as above.
            unsafe { libc::kill(tracers[rng.below(TRACERS as u64) as usize], libc::SIGKILL) };
        }
        reap(&mut victims, &mut tracers, false);
    }
    let deadline = now_ms() + 30_000;
    while !victims.is_empty() || !tracers.is_empty() {
        assert!(now_ms() < deadline, "killed processes do not die: {victims:?} traced by {tracers:?}");
        for pid in tracers.iter().chain(&victims) {
            // SAFETY: as above.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        reap(&mut victims, &mut tracers, true);
        sleep_ms(5);
    }
    assert!(killed > 0, "nothing was killed");
    println!("survived");
}

fn child(body: impl FnOnce(u64)) -> i32 {
    // SAFETY: the child runs its body and never returns.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: plain calls.
            unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
            body(u64::from(std::process::id()));
            std::process::exit(0)
        }
        pid => pid,
    }
}

/// Takes out who has ended. Tracees of our own children are reported to their tracers first.
fn reap(victims: &mut Vec<i32>, tracers: &mut Vec<i32>, last: bool) {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            if last && pid < 0 {
                victims.clear();
                tracers.clear();
            }
            return;
        }
        victims.retain(|v| *v != pid);
        tracers.retain(|t| *t != pid);
    }
}

/// Threads and children come and go for as long as it lives; now and then it runs a new program.
fn victim(seed: u64) -> ! {
    // Calls that its tracers take away or change make it fail in every way; nobody is to read of it.
    // SAFETY: standard error is used by nothing else.
    unsafe { libc::close(2) };
    let mut rng = Rng::new(seed);
    loop {
        let threads: Vec<_> = (0..3).map(|i| thread::spawn(move || sleep_ms(i))).collect();
        // SAFETY: the child ends at once.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: it ends without any clean-up.
            unsafe { libc::_exit(3) };
        }
        // SAFETY: no status is stored.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        if rng.below(16) == 0 {
            // From a thread: the leader dies for it.
            let _ = thread::spawn(|| {
                let program = c"/proc/self/exe".as_ptr();
                let arguments = [c"trace-storm".as_ptr(), c"victim".as_ptr(), std::ptr::null()];
                // SAFETY: the strings and the list end as execv wants.
                unsafe { libc::execv(program, arguments.as_ptr()) };
            })
            .join();
        }
        threads.into_iter().for_each(|t| drop(t.join()));
    }
}

fn ptrace(request: u64, tid: i32, addr: u64, data: u64) -> i64 {
    // SAFETY: what the requests of this program write to is valid, and the rest is the tracee's.
    unsafe { raw_call(NR_PTRACE, [request, tid as u64, addr, data, 0, 0]) }
}

fn tracer(seed: u64, victims: &[i32]) {
    let mut rng = Rng::new(seed);
    let mut held: Vec<i32> = Vec::new();
    let mut regs = [0u64; 64];
    let end = now_ms() + 50 + rng.below(400);
    while now_ms() < end {
        if held.len() < 6 {
            let victim = rng.pick(victims);
            let tids: Vec<i32> = std::fs::read_dir(format!("/proc/{victim}/task"))
                .map(|d| d.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
                .unwrap_or_default();
            if let Some(tid) = tids.get(rng.below(tids.len().max(1) as u64) as usize) {
                let (request, options) = if rng.below(3) == 0 { (PTRACE_ATTACH, 0) } else { (PTRACE_SEIZE, OPTIONS) };
                if ptrace(request, *tid, 0, options) == 0 {
                    held.push(*tid);
                }
            }
        }
        let Some(tid) = held.get(rng.below(held.len().max(1) as u64) as usize).copied() else {
            sleep_ms(1);
            continue;
        };
        ptrace(PTRACE_INTERRUPT, tid, 0, 0);
        let mut status = 0;
        // SAFETY: `status` is valid.
        let who = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::WNOHANG) };
        if who <= 0 {
            thread::yield_now();
            continue;
        }
        if !libc::WIFSTOPPED(status) {
            held.retain(|t| *t != who);
            continue;
        }
        if !held.contains(&who) {
            held.push(who);
        }
        let at = regs.as_mut_ptr() as u64;
        match rng.below(8) {
            0 => drop(ptrace(PTRACE_GETREGS, who, 0, at) == 0 && ptrace(PTRACE_SETREGS, who, 0, at) == 0),
            1 => drop(ptrace(PTRACE_GETFPREGS, who, 0, at)),
            2 => drop(ptrace(PTRACE_GETSIGINFO, who, 0, at)),
            3 => {
                ptrace(PTRACE_PEEKUSER, who, 128, at);
                ptrace(PTRACE_PEEKTEXT, who, regs[0], at);
            }
            4 => {
                ptrace(PTRACE_POKEUSER, who, DR0, 0x1000);
                ptrace(PTRACE_POKEUSER, who, DR7, 1);
            }
            5 => drop(ptrace(PTRACE_SETOPTIONS, who, 0, rng.next_u64() & OPTIONS)),
            _ => {}
        }
        let signal = if rng.below(4) == 0 { libc::WSTOPSIG(status) as u64 & 0x1f } else { 0 };
        // Group stops are not passed on, so that the storm goes on.
        let signal = if signal == libc::SIGTRAP as u64 || signal == libc::SIGSTOP as u64 { 0 } else { signal };
        let how = [PTRACE_CONT, PTRACE_SYSCALL, PTRACE_SINGLESTEP, PTRACE_SYSCALL, PTRACE_LISTEN, PTRACE_SYSEMU];
        match rng.below(12) {
            0 => {
                ptrace(PTRACE_DETACH, who, 0, signal);
                held.retain(|t| *t != who);
            }
            n => drop(ptrace(how[n as usize % how.len()], who, 0, signal)),
        }
    }
}
