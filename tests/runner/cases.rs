//! The case tables: `tests/cases/TABLE.cases`.
//!
//! A line `=== NAME` starts a case; the lines up to the next one are a bash script. A comment
//! `# needs: PROGRAM ...` below the heading names programs without which the case is left out;
//! `# limit: SECONDS` gives it more time than the usual; `# slow` leaves it out unless the run's
//! filter names it or its table.
//! The scripts find files of the folder in `$CASES` and the programs of `tests/guest` in `$PROGRAMS`.
//! What Linux does is stored in `TABLE.expected` in the same form: standard output and error as
//! one text, then a line `exit STATUS`. `./x test --record` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Seconds a case may take unless it says otherwise.
pub const USUAL_LIMIT: u64 = 120;

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The script.
    pub script: String,
}

impl Case {
    /// Programs it needs that this machine does not have.
    pub fn missing(&self) -> Vec<String> {
        let needs = self.script.lines().filter_map(|l| l.strip_prefix("# needs:"));
        let programs = needs.flat_map(str::split_whitespace);
        programs.filter(|p| !in_path(p)).map(str::to_owned).collect()
    }

    /// Whether it runs only when asked for.
    pub fn is_slow(&self) -> bool {
        self.script.lines().any(|l| l == "# slow")
    }

    /// Seconds it may take.
    pub fn limit(&self) -> u64 {
        let wanted = self.script.lines().find_map(|l| l.strip_prefix("# limit:"));
        wanted.and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL_LIMIT)
    }
}

/// A table with its expected results.
pub struct Table {
    /// Name of the file, without its ending.
    pub name: String,
    /// Its cases, in order.
    pub cases: Vec<Case>,
    /// Expected result by case.
    pub expected: BTreeMap<String, String>,
    file: PathBuf,
}

/// Every table of the folder, by name.
pub fn tables(folder: &Path) -> Result<Vec<Table>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cases"));
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(file: PathBuf) -> Result<Table, String> {
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let cases = sections(&text).into_iter().map(|(name, script)| Case { name, script }).collect();
    let expected = std::fs::read_to_string(file.with_extension("expected")).unwrap_or_default();
    let expected = sections(&expected).into_iter().collect();
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Table { name, cases, expected, file })
}

impl Table {
    /// Stores the expected results, those of cases that no longer exist left out.
    pub fn store(&self) -> Result<(), String> {
        let mut text = String::new();
        for case in &self.cases {
            if let Some(result) = self.expected.get(&case.name) {
                text.push_str(&format!("=== {}\n{result}", case.name));
            }
        }
        let file = self.file.with_extension("expected");
        std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))
    }
}

/// `=== NAME` headings and what stands below each.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix("=== ") {
            sections.push((name.trim().to_owned(), String::new()));
        } else if let Some((_, body)) = sections.last_mut() {
            body.push_str(line);
        }
    }
    sections
}

/// A result in the form it is stored in: the output, ended by a line end, and the status.
pub fn result(output: &[u8], status: &str) -> String {
    let text = String::from_utf8_lossy(output).replace("\n=== ", "\n = ");
    let mut text: String = text.split_inclusive('\n').map(without_pid).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str("\\ no line end\n");
    }
    format!("{text}exit {status}\n")
}

/// The shell's report of a killed child, `bash: line 4:   194 Killed ...`, with `PID` for the
/// process id, which differs from run to run.
fn without_pid(line: &str) -> String {
    let report = line.find(": line ").and_then(|at| {
        let rest = line.get(at + ": line ".len()..)?;
        let colon = rest.find(':')?;
        let after = rest.get(colon + 1..)?.trim_start();
        let digits = after.find(|c: char| !c.is_ascii_digit())?;
        let killed = after.get(digits..)?;
        let head = line.get(..line.len() - after.len())?.trim_end();
        (digits > 0 && killed.starts_with(' ')).then(|| format!("{head} PID{killed}"))
    });
    report.unwrap_or_else(|| line.to_owned())
}

/// Where two results begin to differ, for people.
pub fn difference(expected: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let at = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    let part = |lines: &[&str], mark: &str| -> String {
        lines.iter().skip(at).take(12).map(|l| format!("{mark} {l}\n")).collect()
    };
    format!("differs at line {}\n{}{}", at + 1, part(&a, "-"), part(&b, "+"))
}

/// Whether this machine, whose root file system guests see, has the program.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_part_a_table_and_scripts_stay_whole() {
        let text = "=== a\necho 1\n\necho 2\n=== b-c\ntrue\n";
        let parts = sections(text);
        assert_eq!(parts[0], ("a".to_owned(), "echo 1\n\necho 2\n".to_owned()));
        assert_eq!(parts[1].0, "b-c");
    }

    #[test]
    fn a_result_always_ends_with_its_status() {
        assert_eq!(result(b"x\n", "0"), "x\nexit 0\n");
        assert_eq!(result(b"x", "3"), "x\\ no line end\nexit 3\n");
        assert_eq!(result(b"", "0"), "exit 0\n");
    }

    #[test]
    fn process_ids_do_not_count() {
        assert_eq!(result(b"bash: line 4:   194 Killed\n", "0"), "bash: line 4: PID Killed\nexit 0\n");
        assert_eq!(without_pid("bash: line 5: f: exists\n"), "bash: line 5: f: exists\n");
    }

    #[test]
    fn a_case_says_what_it_misses() {
        let case = Case { name: "x".into(), script: "# needs: sh no-such-program\n".into() };
        assert_eq!(case.missing(), ["no-such-program"]);
        assert_eq!((case.is_slow(), case.limit()), (false, USUAL_LIMIT));
        let slow = Case { name: "y".into(), script: "# slow\n# limit: 900\ntrue\n".into() };
        assert_eq!((slow.is_slow(), slow.limit()), (true, 900));
    }
}
