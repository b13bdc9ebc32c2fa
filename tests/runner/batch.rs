//! All cases of a table in one boot.
//!
//! The scripts and a driver are put into a folder of the build directory, which the guest sees
//! through its root file system. The driver frames each result on standard output, so that when
//! the guest dies it is known in which case: that one has failed, the rest runs in a new boot.

use crate::cases::{self, Case};
use crate::tool::{self, setting};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What became of a case: its result, or why there is none.
pub type Outcome = Result<String, String>;

/// Results as they come in; a test waits for its own.
#[derive(Default)]
pub struct Board {
    results: Mutex<HashMap<String, Outcome>>,
    news: Condvar,
}

impl Board {
    fn post(&self, key: String, outcome: Outcome) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(key, outcome);
        self.news.notify_all();
    }

    /// The result under this key, when it is there.
    pub fn wait(&self, key: &str) -> Outcome {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = results.get(key) {
                return outcome.clone();
            }
            results = self.news.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The driver, run by the guest's bash; its arguments are the folder and the usual limit of a case.
const DRIVER: &str = r#"
for script in "$1"/*.case; do
    name=${script##*/}; name=${name%.case}; number=${name%%-*}
    dir=/tmp/case-${name#*-}; rm -rf "$dir"; mkdir -p "$dir"; cd "$dir"
    echo "@start $number"
    limit=$(sed -n 's/^# limit: *//p' "$script")
    HOME=$dir PWD=$dir timeout "${limit:-$2}" bash -c "$(cat "$script")" </dev/null >"$dir.out" 2>&1
    status=$?
    size=$(head -c 200000 "$dir.out" | wc -c)
    echo "@end $number $status $((size))"
    head -c 200000 "$dir.out"
    cd /; rm -rf "$dir" "$dir.out"
done
"#;

/// What the machine may take beyond a case's own limit, which is kept in the guest.
const GRACE: Duration = Duration::from_secs(60);

/// Runs the cases of one table with `smp` processors and posts each result under
/// [`key`]`(table, case, smp)`.
pub fn run(table: &str, mut cases: Vec<Case>, smp: u32, board: &Board) {
    while !cases.is_empty() {
        let (done, why) = boot(table, &cases, smp, board);
        // The case after the last finished one is what the guest died of.
        let rest = cases.split_off(done.min(cases.len()));
        let mut rest = rest.into_iter();
        if let Some(culprit) = rest.next() {
            board.post(key(table, &culprit.name, smp), Err(why));
        }
        cases = rest.collect();
    }
}

/// Where a result is posted.
pub fn key(table: &str, case: &str, smp: u32) -> String {
    format!("smp{smp}::{table}::{case}")
}

/// One boot: how many cases came to their end, and why not more.
fn boot(table: &str, cases: &[Case], smp: u32, board: &Board) -> (usize, String) {
    let folder = setting().target.join(format!("ochre/cases/{table}-smp{smp}"));
    if cases.iter().any(|case| case.script.contains("$PROGRAMS"))
        && let Err(e) = tool::guest_programs()
    {
        return (0, e);
    }
    if let Err(e) = write_scripts(&folder, cases) {
        return (0, format!("{}: {e}", folder.display()));
    }
    let _slot = tool::slot();
    let mut command = tool::run_command(&["--smp", &smp.to_string(), "--mem", "2G"]);
    command.arg("/bin/bash").arg(folder.join("driver.sh")).arg(&folder);
    command.arg(cases::USUAL_LIMIT.to_string()).env("CASES", setting().root.join("tests/cases"));
    command.env("PROGRAMS", setting().target.join("debug"));
    for (name, value) in [("LC_ALL", "C"), ("TERM", "dumb"), ("TZ", "UTC0")] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return (0, format!("starting ./x run: {e}")),
    };
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return (0, "no pipes".to_owned());
    };
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        text
    });
    let (sender, frames) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        while let Some(frame) = next_frame(&mut reader) {
            if sender.send(frame).is_err() {
                return;
            }
        }
    });
    let longest = cases.iter().map(Case::limit).max().unwrap_or(cases::USUAL_LIMIT);
    let silence = Duration::from_secs(longest) + GRACE;
    let mut done = 0;
    let mut silent = false;
    loop {
        match frames.recv_timeout(silence) {
            Ok(Frame::Start) => {}
            Ok(Frame::End { number, status, output }) => {
                if let Some(case) = cases.get(number) {
                    board.post(key(table, &case.name, smp), Ok(cases::result(&output, &status)));
                    done = number + 1;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                silent = true;
                let _ = child.kill();
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let _ = child.wait();
    let errors = errors.join().unwrap_or_default();
    let what = if silent { "the guest hung" } else { "the guest ended early" };
    (done, format!("{what}: {}", tool::shorten(&errors)))
}

fn write_scripts(folder: &Path, cases: &[Case]) -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("driver.sh"), DRIVER)?;
    for (number, case) in cases.iter().enumerate() {
        std::fs::write(folder.join(format!("{number:03}-{}.case", case.name)), &case.script)?;
    }
    Ok(())
}

enum Frame {
    Start,
    End { number: usize, status: String, output: Vec<u8> },
}

/// The next frame; lines that are none are passed over.
fn next_frame(reader: &mut BufReader<ChildStdout>) -> Option<Frame> {
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("@start") => return Some(Frame::Start),
            Some("@end") => {
                // Numbers are written with leading zeros, so that the shell's order is ours.
                let number = words.next()?.parse().ok()?;
                let status = words.next()?.to_owned();
                let mut output = vec![0; words.next()?.parse().ok()?];
                reader.read_exact(&mut output).ok()?;
                return Some(Frame::End { number, status, output });
            }
            _ => {}
        }
    }
}
