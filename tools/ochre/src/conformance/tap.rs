//! The output of a test program: TAP or KTAP lines, and how the program ended.

use std::collections::HashMap;

/// What became of a sub-test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// The program found no ground to test on.
    Skip,
    /// It does not, and the program says that this is known.
    ExpectedFail,
    /// Ended by the runner.
    Timeout,
    /// The machine went down with it.
    Crash,
}

impl Status {
    /// The word in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Skip => "skip",
            Status::ExpectedFail => "xfail",
            Status::Timeout => "timeout",
            Status::Crash => "crash",
        }
    }
}

/// How a program ended, by the runner's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exit(i32),
    /// By a signal.
    Signal,
    /// By the runner, for its time.
    Timeout,
    /// With the machine.
    Crash,
}

/// Sub-test and status, the whole program last under the name `exit`.
pub fn results(lines: &[String], end: End) -> Vec<(String, Status)> {
    let mut rows: Vec<(String, Status)> = Vec::new();
    let mut seen: HashMap<String, u32> = HashMap::new();
    for line in lines {
        let Some((passed, number, text)) = tap_line(line) else { continue };
        let upper = text.to_uppercase();
        let status = match () {
            () if upper.contains("# SKIP")
                || passed && upper.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "SKIP") =>
            {
                Status::Skip
            }
            () if upper.contains("# XFAIL") || upper.contains("# TODO") => Status::ExpectedFail,
            () if passed || upper.contains("# XPASS") => Status::Pass,
            () => Status::Fail,
        };
        let mut name = slug(description(text));
        if name == "unnamed" || name == "exit" {
            name = format!("n{number}");
        }
        let count = seen.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
        if *count > 1 {
            name = format!("{name}~{count}");
        }
        rows.push((name, status));
    }
    let whole = match end {
        End::Crash => Status::Crash,
        End::Timeout => Status::Timeout,
        End::Exit(0) if !rows.is_empty() && rows.iter().all(|(_, s)| *s == Status::Skip) => Status::Skip,
        End::Exit(0) => Status::Pass,
        End::Exit(4 | 77) => Status::Skip,
        End::Exit(_) | End::Signal => Status::Fail,
    };
    rows.push(("exit".to_owned(), whole));
    rows
}

/// `ok 1 - text` and `not ok 1 text`: passed, number, text.
fn tap_line(line: &str) -> Option<(bool, u32, &str)> {
    let line = line.trim_start();
    let (passed, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    let rest = rest.strip_prefix(' ')?.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, text) = rest.split_at(digits);
    let text = text.trim_start();
    Some((passed, number.parse().ok()?, text.strip_prefix("- ").unwrap_or(text)))
}

/// The text before a directive.
fn description(text: &str) -> &str {
    let upper = text.to_ascii_uppercase();
    let mut cut = text.len();
    for (at, _) in upper.match_indices('#') {
        let rest = upper.get(at + 1..).unwrap_or_default().trim_start();
        if ["SKIP", "XFAIL", "TODO", "XPASS"].iter().any(|w| rest.starts_with(w)) {
            cut = at;
            break;
        }
    }
    text.get(..cut).unwrap_or(text).trim_end()
}

/// A description as one word in which what differs between runs (addresses, long and broken numbers) is masked.
fn slug(text: &str) -> String {
    let masked = mask(text);
    let mut out = String::new();
    for c in masked.chars() {
        if c.is_ascii_alphanumeric() || "_.:/+=,<>-".contains(c) {
            out.push(c);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    let out: String = out.trim_matches('-').chars().take(100).collect();
    if out.is_empty() { "unnamed".to_owned() } else { out }
}

fn mask(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    let run = |from: usize, test: fn(char) -> bool| text[from..].iter().take_while(|c| test(**c)).count();
    while at < text.len() {
        if text[at] == '0' && text.get(at + 1) == Some(&'x') {
            let digits = run(at + 2, |c| c.is_ascii_hexdigit());
            if digits > 0 {
                out.push('X');
                at += 2 + digits;
                continue;
            }
        }
        let digits = run(at, |c| c.is_ascii_digit());
        if digits == 0 {
            out.push(text[at]);
            at += 1;
            continue;
        }
        let fraction =
            if text.get(at + digits) == Some(&'.') { run(at + digits + 1, |c| c.is_ascii_digit()) } else { 0 };
        let word = |i: Option<usize>| i.and_then(|i| text.get(i)).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        let alone = !word(at.checked_sub(1)) && !word(Some(at + digits + 1 + fraction));
        if fraction > 0 && digits < 4 && fraction < 4 && alone {
            out.push('N');
            at += digits + 1 + fraction;
        } else if digits >= 4 {
            out.push('N');
            at += digits;
        } else {
            out.extend(&text[at..at + digits]);
            at += digits;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn directives_and_repeats() {
        let out = lines(
            "ok 1 - a b\nnot ok 2 a b\nok 3 c # SKIP no such thing\nnot ok 4 d # XFAIL\nnoise\nok 5\nok 6 skip_it",
        );
        let rows = results(&out, End::Exit(1));
        let shown: Vec<(&str, &str)> = rows.iter().map(|(n, s)| (n.as_str(), s.word())).collect();
        assert_eq!(
            shown,
            [
                ("a-b", "pass"),
                ("a-b~2", "fail"),
                ("c", "skip"),
                ("d", "xfail"),
                ("n5", "pass"),
                ("skip_it", "pass"),
                ("exit", "fail")
            ]
        );
    }

    #[test]
    fn only_skips_is_a_skip() {
        assert_eq!(results(&lines("ok 1 x # SKIP"), End::Exit(0)).pop(), Some(("exit".to_owned(), Status::Skip)));
        assert_eq!(results(&[], End::Exit(0)).pop(), Some(("exit".to_owned(), Status::Pass)));
        assert_eq!(results(&[], End::Exit(4)).pop(), Some(("exit".to_owned(), Status::Skip)));
    }

    #[test]
    fn what_changes_between_runs_is_masked() {
        assert_eq!(slug("at 0x7ffe12 pid 12345 in 1.5 s (3 of 4)"), "at-X-pid-N-in-N-s-3-of-4");
        assert_eq!(slug("v1.5 stays"), "v1.5-stays");
        assert_eq!(slug("???"), "unnamed");
    }
}
