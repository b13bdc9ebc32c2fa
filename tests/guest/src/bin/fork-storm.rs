//! `fork-storm`: forks up to the limit of a user (RLIMIT_NPROC) and of a control group (pids.max), by one process and by many at
//! once, while processes are killed at random. However often that is done, the limit is met at the same number. Prints `survived`.

use ochre_guest::storm::{USER, become_user, child, reap, shared_page, survive, until};
use ochre_guest::{Rng, now_ms, sleep_ms};
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// How many processes there may be.
const MOST: u64 = 60;
const ROUNDS: u64 = 8;
/// Forks that a swarm may make: where a limit does not hold, the test fails rather than the machine.
const FORKS: u64 = 2000;
/// Milliseconds after which every process of a storm ends by itself, should nobody end it.
const LONGEST: u64 = 60_000;

/// What the processes of a storm share.
struct Shared {
    forks: AtomicU64,
    /// Forks that failed with EAGAIN, and the number of another error that was met.
    refused: AtomicU64,
    error: AtomicU64,
}

fn main() {
    // What the killed leave behind is ours to reap.
    // SAFETY: a plain call.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
    survive(|| {
        reap(child(|| {
            become_user(libc::RLIMIT_NPROC, MOST);
            alone(limit_self, |_| ());
        }));
        swarm_of_user();
        let group = Group::new();
        reap(child(|| {
            group.write("cgroup.procs", "0");
            alone(|n| group.write("pids.max", &n.to_string()), |counts| group.check(counts));
        }));
        swarm_in(&group);
        until("the group is gone", || fs::remove_dir(GROUP).is_ok());
    });
}

fn limit_self(n: u64) {
    // SAFETY: a valid limit, below the hard one.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &libc::rlimit { rlim_cur: n, rlim_max: MOST }) }, 0);
}

/// What a group should count: tasks now and at most, forks refused.
struct Counts {
    now: u64,
    peak: u64,
    refused: u64,
}

/// One process fills what it may have, again and again; in between a part of its children is killed and reaped.
fn alone(set: impl Fn(u64), check: impl Fn(Counts)) {
    let mut rng = Rng::new(5);
    let (mut peak, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let most = 2 + rng.below(MOST - 1);
        set(most);
        peak = most.max(peak);
        let mut alive = Vec::new();
        for left in [rng.below(most), rng.below(most), 0] {
            while let Some(pid) = fork_waiting() {
                alive.push(pid);
            }
            refused += 1;
            assert_eq!(alive.len() as u64 + 1, most, "processes when a fork was refused");
            check(Counts { now: most, peak, refused });
            while alive.len() as u64 > left {
                let pid = alive.swap_remove(rng.below(alive.len() as u64) as usize);
                kill(pid);
                // SAFETY: our own child; no status is stored.
                assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
            }
            check(Counts { now: alive.len() as u64 + 1, peak, refused });
        }
    }
}

/// A child that waits to be killed; nothing when there may be none.
fn fork_waiting() -> Option<i32> {
    // SAFETY: the child only makes calls and does not go back.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            sleep_ms(LONGEST);
            libc::_exit(1);
        }
        assert!(pid > 0 || *libc::__errno_location() == libc::EAGAIN, "fork: {}", std::io::Error::last_os_error());
        (pid > 0).then_some(pid)
    }
}

fn kill(pid: i32) {
    // SAFETY: a plain call; the process is one of the storm's.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn exists(pid: i32) -> bool {
    // SAFETY: a plain call.
    unsafe { libc::kill(pid, 0) == 0 }
}

/// This process, in a group of its own, and all it makes fork as long as they may.
fn swarm(shared: &Shared) {
    // SAFETY: plain calls.
    unsafe { libc::setpgid(0, 0) };
    let end = now_ms() + LONGEST;
    while now_ms() < end {
        while reap_one() > 0 {}
        if shared.forks.load(SeqCst) < FORKS {
            // SAFETY: parent and child both go on here.
            match unsafe { libc::fork() } {
                0 => continue,
                pid if pid > 0 => {
                    shared.forks.fetch_add(1, SeqCst);
                    continue;
                }
                _ => match std::io::Error::last_os_error().raw_os_error() {
                    Some(libc::EAGAIN) => _ = shared.refused.fetch_add(1, SeqCst),
                    other => shared.error.store(other.unwrap_or(-1) as u64, SeqCst),
                },
            }
        }
        sleep_ms(10);
    }
}

/// 0 when no child has ended, less when there is none.
fn reap_one() -> i32 {
    // SAFETY: no status is stored.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) }
}

/// Lets a swarm grow to `MOST`, which it never passes, kills a part of it while it is held, and so on. How many were killed.
fn harass(shared: &Shared, members: impl Fn() -> Vec<i32>, hold: impl Fn(bool)) -> u64 {
    let mut rng = Rng::new(6);
    let mut killed = 0;
    for round in 0..ROUNDS {
        until("the limit is reached", || {
            while reap_one() > 0 {}
            let n = members().len() as u64;
            assert!(n <= MOST, "{n} processes in round {round}");
            n == MOST
        });
        for _ in 0..3 {
            sleep_ms(5);
            assert_eq!(members().len() as u64, MOST, "processes in round {round}");
        }
        hold(true);
        let mut victims = members();
        for _ in 0..rng.below(MOST) {
            victims.swap_remove(rng.below(victims.len() as u64) as usize);
        }
        victims.iter().copied().for_each(kill);
        killed += victims.len() as u64;
        hold(false);
        until("the killed are gone", || {
            while reap_one() > 0 {}
            !victims.iter().any(|pid| exists(*pid))
        });
        assert_eq!(shared.error.load(SeqCst), 0, "a fork failed for another reason");
    }
    assert!(shared.refused.load(SeqCst) > 0, "the limit was never met");
    killed
}

/// The shared page, for the next swarm. It is one and the same, for the kernel remembers who mapped it.
fn shared() -> &'static Shared {
    static PAGE: OnceLock<&Shared> = OnceLock::new();
    // SAFETY: all-zero atomics are valid and fit a page.
    let shared = PAGE.get_or_init(|| unsafe { shared_page() });
    shared.forks.store(0, SeqCst);
    shared.refused.store(0, SeqCst);
    shared
}

fn swarm_of_user() {
    let shared = shared();
    let leader = child(|| {
        become_user(libc::RLIMIT_NPROC, MOST);
        swarm(shared);
    });
    harass(shared, of_user, |_| ());
    // It grows while it is killed: again until nothing is left of it.
    until("the swarm is gone", || {
        // SAFETY: the group is our child's.
        let gone = unsafe { libc::kill(-leader, libc::SIGKILL) } != 0;
        while reap_one() > 0 {}
        gone
    });
    assert!(of_user().is_empty(), "the user has processes left");
}

/// The processes of the user, also those that ended and were not reaped.
fn of_user() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mine = format!("\nUid:\t{USER}\t");
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.contains(&mine)))
        .collect()
}

const ROOT: &str = "/sys/fs/cgroup";
const GROUP: &str = "/sys/fs/cgroup/fork-storm";

/// A control group of our own.
struct Group;

impl Group {
    fn new() -> Group {
        if !fs::exists(format!("{ROOT}/cgroup.controllers")).is_ok_and(|there| there) {
            let (none, at, kind) = (c"none".as_ptr(), c"/sys/fs/cgroup".as_ptr(), c"cgroup2".as_ptr());
            // SAFETY: valid strings.
            assert_eq!(unsafe { libc::mount(none, at, kind, 0, std::ptr::null()) }, 0, "no control groups");
        }
        fs::write(format!("{ROOT}/cgroup.subtree_control"), "+pids").expect("the controller");
        fs::create_dir(GROUP).expect("the group");
        Group
    }
    fn write(&self, file: &str, text: &str) {
        fs::write(format!("{GROUP}/{file}"), text).expect(file);
    }
    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("{GROUP}/{file}")).expect(file)
    }
    fn number(&self, file: &str) -> u64 {
        self.read(file).trim_start_matches("max ").trim().parse().expect(file)
    }
    fn members(&self) -> Vec<i32> {
        self.read("cgroup.procs").lines().map(|line| line.parse().expect("a number")).collect()
    }
    fn check(&self, counts: Counts) {
        assert_eq!(self.number("pids.current"), counts.now, "pids.current");
        assert_eq!(self.number("pids.peak"), counts.peak, "pids.peak");
        assert_eq!(self.number("pids.events"), counts.refused, "pids.events");
    }
    fn freeze(&self, freeze: bool) {
        self.write("cgroup.freeze", if freeze { "1" } else { "0" });
        until("it freezes or thaws", || self.read("cgroup.events").contains("frozen 1") == freeze);
    }
}

fn swarm_in(group: &Group) {
    let shared = shared();
    group.write("pids.max", &MOST.to_string());
    let before = group.number("pids.events");
    child(|| {
        group.write("cgroup.procs", "0");
        swarm(shared);
    });
    let hold = |hold| {
        group.freeze(hold);
        if hold {
            // Who is refused counts for a moment, but now nobody tries.
            assert_eq!(group.number("pids.current"), MOST, "pids.current of a full group");
            assert_eq!(group.number("pids.peak"), MOST, "pids.peak of a full group");
        }
    };
    let killed = harass(shared, || group.members(), hold);
    group.freeze(true);
    let (told, noted) = (group.number("pids.events") - before, shared.refused.load(SeqCst));
    // Who was killed, or is held, may not have come to note it.
    assert!((noted..=noted + killed + MOST).contains(&told), "{told} refusals told, {noted} noted");
    group.write("cgroup.kill", "1");
    group.write("cgroup.freeze", "0");
    until("the group is empty", || {
        while reap_one() > 0 {}
        group.read("cgroup.events").contains("populated 0")
    });
    until("nobody counts", || {
        while reap_one() > 0 {}
        group.number("pids.current") == 0
    });
}
