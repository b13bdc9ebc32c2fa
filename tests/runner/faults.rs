//! Faults of the kernel's own, provoked through debugfs: an oops ends its task and nothing else where that is sound, and the machine where
//! it is not or where the limits say so.

use crate::cases::in_path;
use crate::direct::Test;
use crate::tool::{describe, kernel_log, run};

/// The tests.
pub const TESTS: &[Test] = &[
    ("an_oops_ends_its_task_alone", || contained("1")),
    ("an_oops_ends_its_task_alone_two_processors", || contained("2")),
    ("the_machine_ends_where_an_oops_cannot_be_contained", || ends(UNSOUND)),
    ("the_machine_ends_when_oopses_or_warnings_are_too_many", || ends(LIMITS)),
];

/// What comes before each script.
const SETUP: &str = "mount -t debugfs none /sys/kernel/debug && cd /sys/kernel/debug/provoke-crash || exit 9\n";

fn contained(smp: &str) -> Result<(), String> {
    let script = [SETUP, include_str!("faults.sh")].concat();
    let output = run(&["--smp", smp, "--timeout", "300"], &["bash", "-c", &script], b"")?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut expected = include_str!("faults.expected").to_owned();
    if !in_path("python3") {
        expected = expected.replace("the other thread lives\n", "").replace("oopses 85", "oopses 84");
    }
    if output.status.success() && shown == expected { Ok(()) } else { Err(describe(&output)) }
}

/// Scripts that end the machine, with what its last words say.
type Deaths = &'static [(&'static str, &'static str)];

/// With the inode's lock held, in the callback of a timer, without a stack, and on demand.
const UNSOUND: Deaths = &[
    ("exec 9<>DIRECT; (echo BUG >&9)", "not confined to a task: a lock is held"),
    ("echo BUG_IN_HARDIRQ > DIRECT", "not confined to a task: a lock is held"),
    ("echo EXHAUST_STACK > DIRECT", "double fault"),
    ("echo PANIC > DIRECT", "dumptest"),
];

const LIMITS: Deaths = &[
    (
        "echo 2 > /proc/sys/kernel/oops_limit; (echo BUG > DIRECT); cat /sys/kernel/oops_count > /dev/kmsg; echo BUG > DIRECT",
        "Oopsed too often (kernel.oops_limit is 2)",
    ),
    ("echo 1 > /proc/sys/kernel/panic_on_oops; echo EXCEPTION > DIRECT", "panic_on_oops is set"),
    (
        "echo 2 > /proc/sys/kernel/warn_limit; echo WARNING > DIRECT; echo WARNING > DIRECT",
        "system warned too often (kernel.warn_limit is 2)",
    ),
    ("echo 1 > /proc/sys/kernel/panic_on_warn; echo WARNING > DIRECT", "panic_on_warn is set"),
];

fn ends(deaths: Deaths) -> Result<(), String> {
    for (script, wanted) in deaths {
        let script = [SETUP, *script, "; echo went on"].concat();
        let output = run(&["--timeout", "120"], &["bash", "-c", &script], b"")?;
        let log = kernel_log(&output)?;
        let last = log.split_once("kernel panic on CPU").map(|(_, rest)| rest).unwrap_or_default();
        if output.status.success() || !output.stdout.is_empty() || !last.contains(wanted) {
            return Err(format!("{script}: {last}\n{}", describe(&output)));
        }
    }
    Ok(())
}
