//! Restartable sequences under fire: `sections [SECONDS]`. Threads run a long critical section of rseq(2) over data of their processor
//! while others share their processor, move them to another one and send them signals. A section that was interrupted must start
//! again: it finds the processor and the data as it left them, no handler sees it in the middle, and no step is lost. Prints `ok`.

use ochre_guest::{Rng, now_ms};
use std::arch::asm;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};

const THREADS: usize = 6;
/// Steps between the begin and the commit of a section: much longer than a signal takes to arrive, shorter than a time slice.
const LENGTH: u64 = 20_000;
const SIG_RSEQ: u32 = 0x5305_3053;

/// What belongs to one processor; only sections write it.
#[repr(C, align(64))]
struct Local {
    /// The section that began last.
    owner: u64,
    /// Sections that came to their end.
    count: u64,
}

/// What threads are doing, for those who disturb them.
struct Thread {
    tid: AtomicI32,
    done: AtomicU64,
    aborts: AtomicU64,
}

static STOP: AtomicBool = AtomicBool::new(false);
static SIGNALS: AtomicU64 = AtomicU64::new(0);
static CAUGHT: AtomicBool = AtomicBool::new(false);
/// Where the `struct rseq_cs` of the section lies, once one has run.
static DESCRIPTOR: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static __rseq_offset: isize;
    static __rseq_size: u32;
}

/// Address of this thread's `struct rseq`, which the C library has registered.
fn area() -> *mut u32 {
    let thread: *mut u8;
    // SAFETY: on x86-64 the first word of the thread's block is its own address.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) thread, options(nostack, readonly));
        thread.offset(__rseq_offset).cast()
    }
}

/// Runs one section on `local[processor]`; `Some(true)` when it came to its end, `None` when it was aborted, `Some(false)` when it found
/// the processor or the data changed under it.
#[inline(never)]
fn section(area: *mut u32, local: &[Local], mark: u64) -> Option<bool> {
    let (descriptor, outcome): (u64, u64);
    // SAFETY: `cpu_id` is below the number of elements of `local` and only sections on that processor write there. The abort handler
    // follows its signature; the descriptor lies in writable data, as its addresses are relocated.
    unsafe {
        asm!(
            ".pushsection .data.sections, \"aw\"",
            ".balign 32",
            "7: .long 0, 0",
            ".quad 2f, 3f - 2f, 4f",
            ".popsection",
            "lea {cs}, [rip + 7b]",
            "mov [{area} + 8], {cs}",
            "2:",
            "mov {cpu:e}, [{area} + 4]",
            "mov {t}, {cpu}",
            "shl {t}, 6",
            "add {t}, {local}",
            "mov [{t}], {mark}",
            "mov {old}, [{t} + 8]",
            "5: dec {n}",
            "jnz 5b",
            "mov {out}, 1",
            "cmp {cpu:e}, [{area} + 4]",
            "jne 6f",
            "cmp [{t}], {mark}",
            "jne 6f",
            "cmp [{t} + 8], {old}",
            "jne 6f",
            "inc {old}",
            "mov [{t} + 8], {old}",
            "3:",
            "mov {out}, 2",
            "jmp 6f",
            ".byte 0x0f, 0xb9, 0x3d",
            ".long {sig}",
            "4:",
            "xor {out:e}, {out:e}",
            "6:",
            "mov qword ptr [{area} + 8], 0",
            area = in(reg) area,
            local = in(reg) local.as_ptr(),
            mark = in(reg) mark,
            n = inout(reg) LENGTH => _,
            cs = out(reg) descriptor,
            t = out(reg) _,
            cpu = out(reg) _,
            old = out(reg) _,
            out = out(reg) outcome,
            sig = const SIG_RSEQ,
            options(nostack),
        );
    }
    DESCRIPTOR.store(descriptor, SeqCst);
    match outcome {
        0 => None,
        n => Some(n == 2),
    }
}

extern "C" fn on_signal(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    SIGNALS.fetch_add(1, SeqCst);
    let descriptor = DESCRIPTOR.load(SeqCst) as *const u64;
    if descriptor.is_null() {
        return;
    }
    // SAFETY: the kernel hands over a whole context; the descriptor has the section's begin and its length.
    let (at, begin, length) = unsafe {
        let context = &*context.cast::<libc::ucontext_t>();
        (context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64, *descriptor.add(1), *descriptor.add(2))
    };
    // Its first instruction has done nothing yet.
    if at > begin && at < begin + length {
        CAUGHT.store(true, SeqCst);
    }
}

fn set(processors: impl Iterator<Item = usize>) -> libc::cpu_set_t {
    // SAFETY: a set of zeroes is empty.
    let mut set = unsafe { zeroed() };
    // SAFETY: a valid set.
    processors.for_each(|processor| unsafe { libc::CPU_SET(processor, &mut set) });
    set
}

fn work(me: &Thread, number: u64, local: &[Local]) {
    // SAFETY: a plain call.
    me.tid.store(unsafe { libc::gettid() }, SeqCst);
    let area = area();
    let mut round = 0;
    while !STOP.load(SeqCst) {
        round += 1;
        match section(area, local, number << 48 | round) {
            Some(true) => me.done.fetch_add(1, SeqCst),
            None => me.aborts.fetch_add(1, SeqCst),
            Some(false) => panic!("a section went on after it was interrupted"),
        };
    }
}

/// Sends signals to the threads and moves them about.
fn disturb(threads: &[Thread], processors: usize) {
    let mut rng = Rng::new(1);
    while !STOP.load(SeqCst) {
        let tid = threads[rng.below(threads.len() as u64) as usize].tid.load(SeqCst);
        let one = rng.below(processors as u64) as usize;
        // SAFETY: the threads live until they are told to stop; valid sets.
        unsafe {
            match rng.below(3) {
                0 if tid != 0 => drop(libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1)),
                1 if tid != 0 => drop(libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &set(one..one + 1))),
                _ => drop(libc::usleep(rng.below(300) as u32)),
            };
        }
    }
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(3);
    // SAFETY: set by the C library before `main`.
    if unsafe { __rseq_size } == 0 {
        // The C library gives up in the same way when the kernel refuses it.
        #[repr(align(32))]
        struct Area([u32; 8]);
        let mut area = Area([0; 8]);
        // SAFETY: the area lives until the second call gives it up.
        let [begun, ended] =
            [0, 1].map(|flags| unsafe { libc::syscall(libc::SYS_rseq, area.0.as_mut_ptr(), 32, flags, SIG_RSEQ) });
        assert_eq!([begun, ended], [0, 0], "rseq(2) is refused");
        println!("ok: the C library does not use rseq(2)");
        return;
    }
    // SAFETY: a valid action.
    unsafe {
        let mut act: libc::sigaction = zeroed();
        act.sa_sigaction = on_signal as *const () as usize;
        act.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &act, null_mut()), 0);
    }
    // SAFETY: a plain call.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) } as usize;
    let local: Vec<Local> = (0..processors).map(|_| Local { owner: 0, count: 0 }).collect();
    let new = || Thread { tid: AtomicI32::new(0), done: AtomicU64::new(0), aborts: AtomicU64::new(0) };
    let threads: Vec<Thread> = (0..THREADS).map(|_| new()).collect();
    std::thread::scope(|scope| {
        for (number, thread) in threads.iter().enumerate() {
            let local = &local;
            scope.spawn(move || work(thread, number as u64 + 1, local));
        }
        scope.spawn(|| disturb(&threads, processors));
        // As long as it was asked for, and until every kind of thing has happened.
        let (end, latest) = (now_ms() + seconds * 1000, now_ms() + 60_000);
        let enough = || threads.iter().all(|t| t.done.load(SeqCst) > 10 && t.aborts.load(SeqCst) > 0);
        while now_ms() < end || now_ms() < latest && !enough() {
            ochre_guest::sleep_ms(20);
        }
        STOP.store(true, SeqCst);
        assert!(enough(), "some thread never finished a section, or was never interrupted in one");
    });
    let sum = |of: fn(&Thread) -> &AtomicU64| threads.iter().map(|t| of(t).load(SeqCst)).sum::<u64>();
    let (done, aborts) = (sum(|t| &t.done), sum(|t| &t.aborts));
    // SAFETY: all threads have ended.
    let counted: u64 = local.iter().map(|l| unsafe { (&raw const l.count).read_volatile() }).sum();
    assert!(!CAUGHT.load(SeqCst), "a handler saw the middle of a section");
    assert_eq!(counted, done, "steps were lost");
    println!("ok: {done} sections, {aborts} aborted, {} signals", SIGNALS.load(SeqCst));
}
