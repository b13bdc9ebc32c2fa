//! Storms: `storms fork-bomb [NPROC]`, `storms memory`. Each does its worst for a few seconds, cleans up and prints `survived`.
//! The OOM killer may choose this program; that is a pass as long as the machine goes on (the caller sees status 137).

use ochre_guest::{now_ms, sleep_ms};

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("fork-bomb") => fork_bomb(args.next().and_then(|n| n.parse().ok())),
        Some("memory") => memory(),
        _ => {
            eprintln!("usage: storms fork-bomb [NPROC] | memory");
            std::process::exit(2);
        }
    }
}

/// Runs `storm` in a process group of its own for `ms`, then kills the group and reaps what is ours.
fn in_group(ms: u64, storm: fn()) {
    // SAFETY: the child runs the storm and never returns.
    let leader = unsafe { libc::fork() };
    if leader == 0 {
        // SAFETY: a plain call.
        unsafe { libc::setpgid(0, 0) };
        storm();
        std::process::exit(0);
    }
    let end = now_ms() + ms;
    while now_ms() < end {
        sleep_ms(50);
    }
    // The group grows while it is killed: again until nothing is left of it.
    let deadline = now_ms() + 30_000;
    // Both each time: a zombie not yet reaped counts as a member too.
    // SAFETY: the group is our child's.
    while (unsafe { libc::kill(-leader, libc::SIGKILL) } == 0) | !reaped() {
        assert!(now_ms() < deadline, "killed processes do not die");
        sleep_ms(20);
    }
    println!("survived");
}

/// Reaps what can be reaped; true when no child is left.
fn reaped() -> bool {
    loop {
        // SAFETY: no status is stored.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            0 => return false,
            n if n < 0 => return true,
            _ => {}
        }
    }
}

fn fork_bomb(limit: Option<u64>) {
    if let Some(n) = limit {
        // SAFETY: a valid rlimit. Root is not held by the limit: become somebody else.
        unsafe {
            libc::setrlimit(libc::RLIMIT_NPROC, &libc::rlimit { rlim_cur: n, rlim_max: n });
            assert_eq!(libc::setuid(12345), 0, "setuid");
        }
    }
    in_group(3000, || {
        loop {
            // SAFETY: parent and child both go on bombing.
            if unsafe { libc::fork() } < 0 {
                sleep_ms(1);
            }
        }
    });
}

fn memory() {
    in_group(4000, || {
        for _ in 0..6 {
            // SAFETY: parent and child both go on.
            unsafe { libc::fork() };
        }
        loop {
            // SAFETY: fresh memory, written within bounds.
            unsafe {
                let len = 1 << 22;
                let p = libc::mmap(
                    std::ptr::null_mut(),
                    len,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                if p != libc::MAP_FAILED {
                    (0..len).step_by(4096).for_each(|i| (p as *mut u8).add(i).write_volatile(1));
                }
                if libc::fork() < 0 {
                    sleep_ms(1);
                }
            }
        }
    });
}
