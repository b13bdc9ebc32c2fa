//! `provoke-crash/DIRECT` in debugfs: makes the kernel fail in ways that it must contain or end with, to see that it does.
//!
//! Names and effects are those of Linux's crash test module, of which the ones are here that mean something to this kernel. Source: Linux
//! `Documentation/fault-injection/provoke-crashes.rst`.

use abi::Errno;
use alloc::boxed::Box;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use machine::{oops, warning};
use sched::{Completion, Timer};
use sysfs::debug::DebugFile;

/// The file.
pub const DIRECT: DebugFile = DebugFile { dir: "provoke-crash", name: "DIRECT", show, store };

/// A way to crash.
type Crash = (&'static str, fn());

static CRASHES: &[Crash] = &[
    ("PANIC", || oops::die(format_args!("dumptest"))),
    ("BUG", bug),
    ("BUG_IN_HARDIRQ", bug_in_timer),
    ("WARNING", || warning!("provoked")),
    ("WARNING_MESSAGE", || {
        warning!("Warning message trigger count: {}", WARNINGS.fetch_add(1, Relaxed).wrapping_add(1))
    }),
    ("EXCEPTION", oops::provoke_fault),
    ("EXHAUST_STACK", || {
        core::hint::black_box(exhaust(u64::MAX));
    }),
    ("ARRAY_BOUNDS", out_of_bounds),
];

static WARNINGS: AtomicU32 = AtomicU32::new(0);

fn bug() {
    panic!("provoked")
}

/// In the callback of a timer, which interrupts whatever runs.
fn bug_in_timer() {
    let timer = Timer::new(Box::new(bug));
    timer.arm(sched::now());
    Completion::new().wait();
}

/// Calls itself until the stack ends.
fn exhaust(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    // Looked at on the way back, lest this becomes a loop.
    if depth == 0 { 0 } else { core::hint::black_box(exhaust(depth - 1)).wrapping_add(frame[(depth % 64) as usize]) }
}

fn out_of_bounds() {
    let eight = core::hint::black_box([0u8; 8]);
    let at = core::hint::black_box(eight.len());
    core::hint::black_box(eight[at]);
}

fn show() -> String {
    let mut text = String::from("Available crash types:\n");
    for (name, _) in CRASHES {
        text.push_str(name);
        text.push('\n');
    }
    text
}

fn store(input: &[u8]) -> Result<(), Errno> {
    let (name, crash) = CRASHES.iter().find(|(name, _)| name.as_bytes() == input.trim_ascii()).ok_or(Errno::EINVAL)?;
    machine::kinfo!("lkdtm: Performing direct entry {name}");
    crash();
    Ok(())
}
