//! Hostile and heavy programs: none may end or hang the kernel. The programs are in `tests/guest`.

use crate::direct::Test;
use crate::tool::{describe, guest_program, kernel_log, run, setting};

/// The tests.
pub const TESTS: &[Test] = &[
    ("random_calls_do_not_hurt", || fuzz(&["--smp", "1"], &[], "1")),
    ("random_calls_do_not_hurt_two_processors", || fuzz(&["--smp", "2"], &[], "1")),
    ("random_calls_by_the_root_of_namespaces_do_not_hurt", || {
        fuzz(&["--smp", "2", "--mem", "64M"], &["unshare", "-Urpf", "--mount-proc"], "2")
    }),
    ("threads_hold_a_hundred_times", || program(&["--smp", "2"], &["threads", "100"], "ok 100")),
    ("threads_come_and_go_under_tracers", || program(&["--smp", "4"], &["trace-storm", "5"], "survived")),
    ("listeners_answer_threads_that_die", || program(&["--smp", "4"], &["notify-storm", "12"], "survived")),
    ("segments_stay_what_they_are", || program(&["--smp", "4"], &["segments", "storm", "5"], "survived")),
    ("no_way_leads_into_32_bit_code", || program(&[], &["segments", "narrow"], "none")),
    ("signals_flood_to_the_limit_and_none_is_lost", || program(&["--smp", "1"], &["signal-storm"], "survived")),
    ("signals_flood_to_the_limit_on_two_processors", || program(&["--smp", "2"], &["signal-storm"], "survived")),
    ("signals_flood_to_the_limit_on_four_processors", || program(&["--smp", "4"], &["signal-storm"], "survived")),
    ("forks_meet_their_limit_at_the_same_number", || program(&["--smp", "1"], &["fork-storm"], "survived")),
    ("forks_meet_their_limit_on_two_processors", || program(&["--smp", "2"], &["fork-storm"], "survived")),
    ("forks_meet_their_limit_on_four_processors", || program(&["--smp", "4"], &["fork-storm"], "survived")),
    ("timers_of_idle_processors_fire_in_time", || program(&["--smp", "4"], &["idle-timers"], "ok")),
    ("interrupted_restartable_sequences_start_again", || program(&["--smp", "2"], &["sections", "2"], "ok")),
    ("a_fork_bomb_within_its_limit_is_survived", || {
        program(&["--mem", "64M"], &["storms", "fork-bomb", "200"], "survived")
    }),
    ("a_fork_bomb_without_limit_is_survived", || aftermath(&["storms", "fork-bomb"])),
    ("a_panic_is_told_whole_amid_a_flood", panic_amid_a_flood),
    ("processes_are_killed_at_random_moments", || {
        program(&["--smp", "4"], &["killing", "random", "10000"], "survived")
    }),
    ("ten_thousand_threads_wait_for_each_other", || {
        program(&["--smp", "2", "--mem", "2G"], &["killing", "threads", "10000"], "survived")
    }),
    ("running_out_of_memory_is_survived", || aftermath(&["storms", "memory"])),
    ("heap_objects_come_back", leaks),
];

/// The fuzzer with this seed, started by `by`.
fn fuzz(options: &[&str], by: &[&str], seed: &str) -> Result<(), String> {
    let (file, calls) = (guest_program("fuzz-calls")?, setting().fuzz_calls.to_string());
    let command = [by, &[&file, seed, &calls]].concat();
    let output = run(&[options, &["--timeout", "600"]].concat(), &command, b"")?;
    if output.status.success() { Ok(()) } else { Err(describe(&output)) }
}

fn program(options: &[&str], command: &[&str], wanted: &str) -> Result<(), String> {
    let mut options = options.to_vec();
    options.extend(["--timeout", "300"]);
    let file = guest_program(command.first().copied().unwrap_or_default())?;
    let mut words = vec![file.as_str()];
    words.extend(command.iter().skip(1));
    let output = run(&options, &words, b"")?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && shown.contains(wanted) { Ok(()) } else { Err(describe(&output)) }
}

/// Programs that ran and ended leave nothing on the kernel's heap.
fn leaks() -> Result<(), String> {
    let output = run(&["--smp", "2", "--timeout", "400"], &["bash", "-c", include_str!("leaks.sh")], b"")?;
    if output.stdout == b"checked\n" { Ok(()) } else { Err(describe(&output)) }
}

/// The storm may be killed for its memory; afterwards the machine must still do its work.
fn aftermath(command: &[&str]) -> Result<(), String> {
    let file = guest_program(command.first().copied().unwrap_or_default())?;
    let arguments = command.get(1..).unwrap_or_default().join(" ");
    let script = format!("{file} {arguments}; echo status $?; echo alive | cat");
    let output = run(&["--mem", "64M", "--timeout", "300"], &["sh", "-c", &script], b"")?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    if shown.contains("alive") && output.status.success() { Ok(()) } else { Err(describe(&output)) }
}

/// While three programs flood the log, the machine panics: the console shows the panic's text in one piece, last.
fn panic_amid_a_flood() -> Result<(), String> {
    let script = "echo on > /proc/sys/kernel/printk_devkmsg; dmesg -n 8; \
        for i in 1 2 3; do (while :; do echo flood; done > /dev/kmsg) & done; \
        sleep 0.5; echo c > /proc/sysrq-trigger";
    let output = run(&["--smp", "2", "--timeout", "120"], &["bash", "-c", script], b"")?;
    let log = kernel_log(&output)?;
    let last = log.split_once("kernel panic on CPU").map(|(_, rest)| rest).unwrap_or_default();
    let whole = last.contains(": sysrq triggered crash\n") && last.matches("]   at 0xffffffff").count() > 3;
    if whole && !last.contains("flood") && log.contains("] flood\n") {
        return Ok(());
    }
    Err(format!("the last words are not whole: {last}"))
}
