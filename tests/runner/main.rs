//! Puts the tests together and hands them to libtest-mimic, which filters, runs and reports.
#![forbid(unsafe_code)]

use libtest_mimic::{Arguments, Failed, Trial};
use ochre_tests::batch::{self, Board};
use ochre_tests::cases::{self, Case, Table};
use ochre_tests::tool::setting;
use ochre_tests::{direct, faults, hostile, interactive};
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tables = match cases::tables(&setting().root.join("tests/cases")) {
        Ok(tables) => tables,
        Err(e) => {
            eprintln!("tests: {e}");
            return ExitCode::FAILURE;
        }
    };
    if setting().record {
        return record(tables, &arguments);
    }
    let board = Arc::new(Board::default());
    let mut trials = Vec::new();
    let groups = [
        ("run", direct::TESTS),
        ("terminal", interactive::TESTS),
        ("hostile", hostile::TESTS),
        ("faults", faults::TESTS),
    ];
    for (group, tests) in groups {
        for (name, test) in tests {
            let name = format!("{group}::{name}");
            trials.push(Trial::test(name, move || test().map_err(Failed::from)));
        }
    }
    let mut jobs = VecDeque::new();
    for table in &tables {
        for smp in &setting().smp {
            let mut wanted = Vec::new();
            for case in &table.cases {
                let key = batch::key(&table.name, &case.name, *smp);
                let skipped = !case.missing().is_empty() || case.is_slow() && arguments.filter.is_none();
                let expected = table.expected.get(&case.name).cloned();
                let board = board.clone();
                if !skipped && asked_for(&arguments, &key) {
                    wanted.push(case.clone());
                }
                let name = key.clone();
                let test = Trial::test(name, move || judge(&board.wait(&key), expected.as_deref()));
                trials.push(test.with_ignored_flag(skipped));
            }
            if !wanted.is_empty() {
                jobs.push_back((table.name.clone(), wanted, *smp));
            }
        }
    }
    if !arguments.list {
        work_off(jobs, &board);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether libtest-mimic will run the test of this name.
fn asked_for(arguments: &Arguments, name: &str) -> bool {
    let fits = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    arguments.filter.as_ref().is_none_or(fits) && !arguments.skip.iter().any(fits)
}

/// Starts as many workers as guests may run at a time.
fn work_off(jobs: VecDeque<(String, Vec<Case>, u32)>, board: &Arc<Board>) {
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let (jobs, board) = (jobs.clone(), board.clone());
        std::thread::spawn(move || {
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((table, cases, smp)) = job else { return };
                batch::run(&table, cases, smp, &board);
            }
        });
    }
}

fn judge(outcome: &batch::Outcome, expected: Option<&str>) -> Result<(), Failed> {
    let got = outcome.as_ref()?;
    match expected {
        None => Err(Failed::from("no expected result is stored: ./x test --record")),
        Some(expected) if expected == got => Ok(()),
        Some(expected) => Err(Failed::from(cases::difference(expected, got))),
    }
}

/// Runs the cases and stores what they do.
fn record(tables: Vec<Table>, arguments: &Arguments) -> ExitCode {
    let mut failed = false;
    for mut table in tables {
        let fits =
            |case: &&Case| asked_for(arguments, &batch::key(&table.name, &case.name, 1)) && case.missing().is_empty();
        let cases: Vec<Case> = table.cases.iter().filter(fits).cloned().collect();
        if cases.is_empty() {
            continue;
        }
        let board = Board::default();
        batch::run(&table.name, cases.clone(), 1, &board);
        for case in cases {
            match board.wait(&batch::key(&table.name, &case.name, 1)) {
                Ok(result) => {
                    println!("recorded {}::{}", table.name, case.name);
                    table.expected.insert(case.name, result);
                }
                Err(e) => {
                    println!("FAILED {}::{}: {e}", table.name, case.name);
                    failed = true;
                }
            }
        }
        if let Err(e) = table.store() {
            println!("FAILED {e}");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
