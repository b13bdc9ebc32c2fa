//! What storms have in common: processes that share a page, and kernel objects that are all to come back.

use crate::{now_ms, sleep_ms};
use std::collections::BTreeMap;
use std::fs;

/// How many free objects of a kind may wait in the cache of a processor.
const CACHED: i64 = 64;

/// An ordinary user: root is not held by the limits.
pub const USER: u32 = 12345;

/// Runs the storm once to warm the kernel's caches and then twice more, after which the kernel must have as many objects as
/// before (/proc/slabinfo). Prints `survived`.
pub fn survive(storm: fn()) {
    storm();
    let before = objects();
    storm();
    storm();
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as i64);
    let deadline = now_ms() + 5000;
    loop {
        let grown: Vec<_> = objects()
            .into_iter()
            .map(|(kind, n)| (n - before.get(&kind).copied().unwrap_or_default(), kind))
            .filter(|(more, _)| *more > CACHED * processors)
            .collect();
        if grown.is_empty() {
            break;
        }
        // What is freed late, behind readers, gets its time.
        assert!(now_ms() < deadline, "objects stay: {grown:?}");
        sleep_ms(100);
    }
    println!("survived");
}

/// Objects of the kernel's heap in use, by kind.
fn objects() -> BTreeMap<String, i64> {
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let row = |line: &str| {
        let mut words = line.split_whitespace().filter(|_| line.starts_with("kmalloc-"));
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

/// A zeroed page that children made from now on share.
///
/// # Safety
/// `T` must fit a page and be valid when all its bytes are zero.
pub unsafe fn shared_page<T: Sync>() -> &'static T {
    // SAFETY: a fresh zeroed shared mapping, never unmapped; the caller vouches for `T`.
    unsafe {
        let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let p = libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0);
        assert_ne!(p, libc::MAP_FAILED, "no shared page");
        &*(p as *const T)
    }
}

/// A process that does this and ends.
pub fn child(body: impl FnOnce()) -> i32 {
    // SAFETY: the child only makes calls and ends without going back.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no process: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!good)) }
    }
    pid
}

/// Waits for the end of a child, which must be a good one.
pub fn reap(pid: i32) {
    let mut status = 0;
    // SAFETY: our own child; `status` lives.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "a process of the storm failed");
}

/// Becomes the ordinary user, under this limit.
pub fn become_user(resource: libc::__rlimit_resource_t, limit: u64) {
    // SAFETY: plain calls with valid arguments.
    unsafe {
        assert_eq!(libc::setrlimit(resource, &libc::rlimit { rlim_cur: limit, rlim_max: limit }), 0);
        assert_eq!(libc::setresuid(USER, USER, USER), 0, "setresuid");
    }
}

/// Waits until it is done.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = now_ms() + 30_000;
    while !done() {
        assert!(now_ms() < deadline, "never: {what}");
        sleep_ms(5);
    }
}
