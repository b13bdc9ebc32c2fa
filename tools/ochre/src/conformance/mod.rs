//! `./x test conformance`: test programs of other projects, unmodified, judged by what they do on Linux.
//!
//! [`programs`] makes the binaries from Debian's source packages, once; [`guest`] packs one suite into a boot archive,
//! boots it and reads the framed output; [`tap`] turns that into sub-tests; [`verdict`] compares them with the stored result of
//! Linux (`tests/conformance/linux-*.tsv`) and with the differences that `docs/compatibility.md` owns up to.

mod guest;
mod programs;
mod suites;
mod tap;
mod verdict;

use crate::fail::{Result, fail};
use crate::{image, oracle, qemu};
use clap::Args;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use suites::Suite;

/// Which suites, on what.
#[derive(Debug, Args)]
pub struct Options {
    /// Only suites whose name contains this; without it all
    suite: Option<String>,
    /// Only programs whose name contains this
    #[arg(long, value_name = "PROGRAM")]
    program: Option<String>,
    /// Only the suites that plain `./x test` runs
    #[arg(long)]
    fast: bool,
    /// Processor counts of the guests
    #[arg(long, value_name = "N,...", default_value = "1,2", value_delimiter = ',')]
    smp: Vec<u32>,
    /// Run on the oracle kernel and print its results instead of judging
    #[arg(long)]
    oracle: bool,
    /// Print the output of every program
    #[arg(long)]
    show: bool,
}

impl Options {
    /// What plain `./x test` runs.
    pub fn fast(smp: Vec<u32>) -> Options {
        Options { suite: None, program: None, fast: true, smp, oracle: false, show: false }
    }
}

/// Sub-tests that are as on Linux, and those that are not.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// As on Linux, or better.
    pub passed: u64,
    /// Neither that nor owned up to.
    pub failed: u64,
}

/// Runs the suites; how it went.
pub fn run(options: &Options) -> Result<Tally> {
    let mut chosen = suites::read()?;
    chosen.retain(|s| (!options.fast || s.fast) && options.suite.as_ref().is_none_or(|part| s.name.contains(part)));
    if chosen.is_empty() {
        return fail("no suite has such a name: tests/conformance/suites.list has them all");
    }
    if chosen.iter().all(|s| s.programs(options.program.as_deref()).is_empty()) && programs::present() {
        return fail("no program of these suites has such a name");
    }
    if chosen.iter().any(|s| s.modules.is_empty()) {
        programs::ensure()?;
    }
    if chosen.iter().any(|s| !s.modules.is_empty() && s.script.is_none()) {
        programs::ensure_python()?;
    }
    if chosen.iter().any(|s| s.script.is_some()) {
        programs::ensure_tools()?;
    }
    qemu::ensure()?;
    image::ensure(!options.oracle)?;
    if options.oracle {
        oracle::current()?;
    }
    let judge = verdict::Judge::read()?;
    let jobs: VecDeque<(Suite, u32)> =
        chosen.iter().flat_map(|s| options.smp.iter().map(|smp| (s.clone(), *smp))).collect();
    let jobs = Mutex::new(jobs);
    let total = Mutex::new(Tally::default());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((suite, smp)) = job else { return };
                    let results = guest::run(&suite, smp, options);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    report(&judge, &suite, smp, &results, options, &mut total);
                }
            });
        }
    });
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Prints one suite's line and whatever differs; adds to the total.
fn report(
    judge: &verdict::Judge,
    suite: &Suite,
    smp: u32,
    results: &guest::Results,
    options: &Options,
    total: &mut Tally,
) {
    if options.oracle {
        for (program, name, status) in &results.rows {
            println!("{}\t{program}\t{name}\t{}", suite.name, status.word());
        }
        return;
    }
    let ruling = judge.rule(&suite.name, smp, &results.rows, |program| suite.runs(program, options.program.as_deref()));
    println!(
        "conformance {} smp{smp}: {} of {} as on Linux, {} known differences, {} s",
        suite.name,
        ruling.passed,
        ruling.passed + ruling.known + ruling.failures.len() as u64,
        ruling.known,
        results.seconds
    );
    for line in ruling.failures.iter().chain(&ruling.notes) {
        println!("  {line}");
    }
    total.passed += ruling.passed;
    total.failed += ruling.failures.len() as u64;
}
