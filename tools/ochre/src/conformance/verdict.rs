//! What a run is measured against: Linux's results, and the differences the compatibility page owns up to.

use super::tap::Status;
use crate::fail::{Context, Result, fail};
use crate::workspace;
use std::collections::{HashMap, HashSet};

/// One sub-test: program, name, status.
pub type Row = (String, String, Status);

/// The stored tables.
pub struct Judge {
    linux: Vec<Passing>,
    /// `suite.program.sub-test`, with stars for any text.
    known: Vec<String>,
}

/// What passes on Linux.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Passing {
    suite: String,
    program: String,
    name: String,
    /// Processors without which there is no such sub-test, or Linux fails it.
    cpus: u32,
}

/// What is to be said of one suite's run.
#[derive(Default)]
pub struct Ruling {
    /// As on Linux.
    pub passed: u64,
    /// Different, and on the compatibility page.
    pub known: u64,
    /// Different.
    pub failures: Vec<String>,
    /// Not failures, but to be mended: entries of the page that hold no longer.
    pub notes: Vec<String>,
}

impl Judge {
    /// Reads both.
    pub fn read() -> Result<Judge> {
        let folder = workspace::root().join("tests/conformance");
        let mut linux = Vec::new();
        for entry in std::fs::read_dir(&folder).context(folder.display())?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "tsv") {
                let text = std::fs::read_to_string(&path).context(path.display())?;
                linux.extend(text.lines().filter_map(passing_row));
            }
        }
        if linux.is_empty() {
            return fail("tests/conformance has no results of Linux");
        }
        let page = workspace::root().join("docs/compatibility.md");
        let page = std::fs::read_to_string(&page).context(page.display())?;
        Ok(Judge { linux, known: known_differences(&page) })
    }

    /// Compares one suite's rows of a machine with so many processors; `wanted` tells which programs were to run.
    pub fn rule(&self, suite: &str, cpus: u32, rows: &[Row], wanted: impl Fn(&str) -> bool) -> Ruling {
        let got: HashMap<(&str, &str), Status> = rows.iter().map(|(p, n, s)| ((p.as_str(), n.as_str()), *s)).collect();
        let mut ruling = Ruling::default();
        let mut used = HashSet::new();
        let of_suite = || self.linux.iter().filter(|row| row.suite == suite);
        for Passing { program, name, .. } in of_suite().filter(|row| wanted(&row.program) && row.cpus <= cpus) {
            let status = got.get(&(program.as_str(), name.as_str()));
            let full = format!("{suite}.{program}.{name}");
            let known = self.known.iter().find(|k| covers(k, &full));
            match status {
                Some(Status::Pass) => ruling.passed += 1,
                _ if known.is_some() => {
                    ruling.known += 1;
                    used.extend(known);
                }
                Some(status) => ruling.failures.push(format!("FAILED {full}: {} (Linux: pass)", status.word())),
                None => ruling.failures.push(format!("FAILED {full}: not reached (Linux: pass)")),
            }
        }
        // Judged only where the whole suite ran: a filter leaves entries without use.
        let complete = of_suite().all(|row| wanted(&row.program));
        for entry in self.known.iter().filter(|k| complete && k.starts_with(&format!("{suite}.")) && !used.contains(k))
        {
            ruling.notes.push(format!("docs/compatibility.md: {entry} differs no longer"));
        }
        ruling
    }
}

/// A row `suite<TAB>program<TAB>sub-test<TAB>pass`, with the number of processors it needs behind it when that is not one.
fn passing_row(line: &str) -> Option<Passing> {
    let mut columns = line.split('\t');
    let mut text = || columns.next().map(str::to_owned);
    let (suite, program, name, status) = (text()?, text()?, text()?, text()?);
    let cpus = text().map_or(Some(1), |cpus| cpus.parse().ok())?;
    (status == "pass").then_some(Passing { suite, program, name, cpus })
}

/// The first column, in backquotes, of the page's table rows.
fn known_differences(page: &str) -> Vec<String> {
    let first = |line: &str| line.strip_prefix("| `")?.split_once('`').map(|(entry, _)| entry.to_owned());
    page.lines().filter_map(first).filter(|entry| entry.contains('.')).collect()
}

/// Whether a pattern, in which a star stands for any text, fits the whole name.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((beginning, rest)) => name.strip_prefix(beginning).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| tail.get(at..).is_some_and(|t| covers(rest, t)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_failure_unless_the_page_has_it() {
        let row =
            |p: &str, n: &str| Passing { suite: "s".to_owned(), program: p.to_owned(), name: n.to_owned(), cpus: 1 };
        let judge = Judge {
            linux: vec![
                row("a", "one"),
                row("a", "two"),
                Passing { cpus: 2, ..row("a", "each") },
                row("b", "x"),
                row("b", "exit"),
            ],
            known: known_differences("| name | why |\n| `s.b.*` | no such device |\n| `s.a.gone` | mended |\n"),
        };
        let got = [("a", "one", Status::Pass), ("a", "two", Status::Fail), ("b", "x", Status::Skip)];
        let got: Vec<Row> = got.iter().map(|(p, n, s)| ((*p).to_owned(), (*n).to_owned(), *s)).collect();
        let ruling = judge.rule("s", 1, &got, |_| true);
        assert_eq!((ruling.passed, ruling.known), (1, 2));
        assert_eq!(ruling.failures, ["FAILED s.a.two: fail (Linux: pass)"]);
        assert_eq!(ruling.notes, ["docs/compatibility.md: s.a.gone differs no longer"]);
        assert_eq!(judge.rule("s", 2, &got, |_| true).failures.len(), 2, "with two processors one more is due");
        assert!(judge.rule("s", 1, &got, |p| p == "b").notes.is_empty(), "a part of a suite says nothing of the page");
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name) in [("a.b.c", "a.b.c"), ("a.*_32.*", "a.x_32.exit"), ("a.*", "a."), ("*c", "a.b.c")] {
            assert!(covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a.*_32.*", "a.x_64.exit"), ("a.b", "a.b.c"), ("*c", "a.cb")] {
            assert!(!covers(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn only_passes_are_a_goal() {
        assert_eq!(passing_row("s\tp\tn\tpass").map(|row| row.cpus), Some(1));
        assert_eq!(passing_row("s\tp\tn\tpass\t2").map(|row| row.cpus), Some(2));
        assert!(passing_row("s\tp\tn\tfail").is_none());
        assert!(passing_row("# comment").is_none());
    }
}
