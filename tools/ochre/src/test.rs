//! `./x test`: host unit tests, the kernel image, then real programs in guests.

use crate::fail::{Context, Result, fail};
use crate::{conformance, image, oracle, qemu, workspace};
use clap::{Args, Subcommand};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// What to test.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Processor counts of the guests
    #[arg(long, value_name = "N,...", default_value = "1,2")]
    smp: String,
    /// Run the guest tests on the oracle kernel instead of Ochre
    #[arg(long)]
    oracle: bool,
    /// Store what the oracle kernel does as the expected results of the case tables
    #[arg(long)]
    record: bool,
    /// Only the tests in guests
    #[arg(long)]
    guest: bool,
    /// Only the unit tests on the host
    #[arg(long, conflicts_with = "guest")]
    unit: bool,
    /// Calls the fuzzer makes
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    fuzz_calls: u64,
}

/// Tests that are called for by name.
#[derive(Debug, Subcommand)]
enum Action {
    /// Test programs of other projects, judged by what they do on Linux
    Conformance(conformance::Options),
}

/// How many tests went which way.
#[derive(Clone, Copy, Default)]
struct Count {
    passed: u64,
    failed: u64,
    /// A step failed without a count of its own.
    broken: bool,
}

/// Runs the tests; the exit status.
pub fn run(options: &Options) -> Result<u8> {
    if let Some(Action::Conformance(chosen)) = &options.action {
        let tally = conformance::run(chosen)?;
        println!("{} passed, {} failed", tally.passed, tally.failed);
        return Ok(u8::from(tally.failed > 0));
    }
    let mut total = Count::default();
    if !options.guest && !options.record && !options.oracle {
        total.add(unit_tests(options)?);
    }
    if !options.unit {
        total.add(guest_tests(options)?);
    }
    if !options.unit && !options.record && !options.oracle && options.filter.is_none() {
        total.add(conformance_tests(options)?);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(u8::from(total.failed > 0 || total.broken))
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.broken |= other.broken;
    }
}

/// Plain `cargo test`, or nextest where it is installed.
fn unit_tests(options: &Options) -> Result<Count> {
    let mut command = cargo();
    if qemu::in_path("cargo-nextest").is_some() {
        command.args(["nextest", "run", "--no-tests=pass", "--no-fail-fast"]);
        command.args(["--status-level", "fail", "--cargo-quiet"]);
    } else {
        command.args(["test", "--quiet", "--no-fail-fast"]);
    }
    command.args(["--workspace", "--lib", "--bins"]);
    if let Some(filter) = &options.filter {
        command.arg(filter);
    }
    println!("unit tests on the host");
    count(&mut command)
}

fn guest_tests(options: &Options) -> Result<Count> {
    qemu::ensure()?;
    let on_oracle = options.oracle || options.record;
    image::ensure(!on_oracle)?;
    if on_oracle {
        oracle::current()?;
    }
    println!("programs in guests");
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "ochre-tests", "--test", "guest"]);
    if let Some(filter) = &options.filter {
        command.arg(filter);
    }
    let tool = std::env::current_exe().context("this program")?;
    command.env("OCHRE_TOOL", tool).env("OCHRE_TEST_SMP", &options.smp);
    command.env("OCHRE_FUZZ_CALLS", options.fuzz_calls.to_string());
    if options.oracle {
        command.env("OCHRE_TEST_ORACLE", "1");
    }
    if options.record {
        command.env("OCHRE_TEST_RECORD", "1");
    }
    count(&mut command)
}

/// The suites that are quick enough for every run.
fn conformance_tests(options: &Options) -> Result<Count> {
    println!("conformance suites in guests");
    let smp = options.smp.split(',').map(str::parse).collect::<std::result::Result<_, _>>().context("--smp")?;
    let tally = conformance::run(&conformance::Options::fast(smp))?;
    Ok(Count { passed: tally.passed, failed: tally.failed, broken: false })
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()).env("CARGO_TARGET_DIR", workspace::target());
    command
}

/// Runs a test command, shows what it prints and adds its summaries up.
fn count(command: &mut Command) -> Result<Count> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cargo")?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return fail("cargo: no pipes");
    };
    let errors = std::thread::spawn(move || pass_on(BufReader::new(stderr), &mut std::io::stderr()));
    let mut total = pass_on(BufReader::new(stdout), &mut std::io::stdout());
    total.add(errors.join().unwrap_or_default());
    let status = child.wait().context("cargo")?;
    total.broken |= !status.success();
    Ok(total)
}

fn pass_on(reader: impl BufRead, to: &mut impl Write) -> Count {
    let mut total = Count::default();
    for line in reader.lines().map_while(std::result::Result::ok) {
        if let Some((passed, failed)) = summary(&line) {
            total.passed += passed;
            total.failed += failed;
        }
        let _ = writeln!(to, "{line}");
    }
    total
}

/// `test result: ok. 5 passed; 0 failed; ...` or nextest's
/// `Summary [ 0.1s] 6 tests run: 5 passed, 1 failed, 0 skipped`.
fn summary(line: &str) -> Option<(u64, u64)> {
    let line = line.trim_start();
    if !line.starts_with("test result:") && !line.starts_with("Summary [") {
        return None;
    }
    let words: Vec<&str> = line.split([' ', ';', ',', '(', ')']).filter(|w| !w.is_empty()).collect();
    let before = |word: &str| {
        let at = words.iter().position(|w| *w == word)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some((before("passed").unwrap_or(0), before("failed").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_kinds_of_summary_are_counted() {
        let cargo = "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; finished in 0.01s";
        assert_eq!(super::summary(cargo), Some((5, 2)));
        let nextest = "     Summary [   0.104s] 6 tests run: 5 passed (1 slow), 1 failed, 0 skipped";
        assert_eq!(super::summary(nextest), Some((5, 1)));
        assert_eq!(super::summary("5 passed"), None);
    }
}
