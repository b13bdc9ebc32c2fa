//! The list of suites, `tests/conformance/suites.list`.

use super::programs;
use crate::fail::{Context, Result, fail};
use crate::workspace;
use std::path::PathBuf;
use std::time::Duration;

/// Seconds a program may take unless the list says otherwise.
const LIMIT: u64 = 60;

/// One directory of test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suite {
    /// Below `tools/testing/selftests`.
    pub directory: String,
    /// The directory with dashes for slashes.
    pub name: String,
    /// Part of plain `./x test`.
    pub fast: bool,
    /// What one program may take.
    pub limit: Duration,
    /// Labels of programs left out.
    pub skip: Vec<String>,
    /// Command lines its makefile does not list.
    pub add: Vec<String>,
    /// Modules of CPython's test suite, or the arguments of `script`: there is no directory then.
    pub modules: Vec<String>,
    /// A script of `tests/conformance` that runs one module, where that is not CPython's.
    pub script: Option<String>,
}

/// A program of a suite with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Command line, the program's path below the suite first.
    pub command: String,
    /// The command line as one word.
    pub label: String,
}

impl Suite {
    /// Where its programs are.
    pub fn folder(&self) -> PathBuf {
        programs::output().join("suites").join(&self.name)
    }

    /// What is to be run, as far as it was built.
    pub fn programs(&self, part: Option<&str>) -> Vec<Program> {
        let commands = if self.modules.is_empty() { self.built() } else { self.modules.clone() };
        let all = commands.into_iter().map(|command| Program { label: label(&command), command });
        all.filter(|p| self.runs(&p.label, part)).collect()
    }

    fn built(&self) -> Vec<String> {
        let listed = std::fs::read_to_string(self.folder().join(".tests")).unwrap_or_default();
        let listed = listed.lines().filter_map(|l| l.strip_prefix("P ")).map(str::to_owned);
        let mut all: Vec<String> = listed.collect();
        for command in &self.add {
            let file = command.split(' ').next().unwrap_or_default();
            if !all.contains(command) && self.folder().join(file).is_file() {
                all.push(command.clone());
            }
        }
        all
    }

    /// Whether the program of this label is among those that run.
    pub fn runs(&self, label: &str, part: Option<&str>) -> bool {
        !self.skip.iter().any(|s| s == label) && part.is_none_or(|part| label.contains(part))
    }
}

/// A command line as one word.
fn label(command: &str) -> String {
    let mut label = String::new();
    for c in command.chars() {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '+' | '=' | '-' => label.push(c),
            _ if label.ends_with('_') => {}
            _ => label.push('_'),
        }
    }
    label
}

/// Reads the list.
pub fn read() -> Result<Vec<Suite>> {
    let file = workspace::root().join("tests/conformance/suites.list");
    let text = std::fs::read_to_string(&file).context(file.display())?;
    text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).map(one).collect()
}

fn one(line: &str) -> Result<Suite> {
    let mut words = line.split_whitespace();
    let directory = words.next().unwrap_or_default().to_owned();
    let name = directory.replace('/', "-");
    let mut suite = Suite { directory, name, limit: Duration::from_secs(LIMIT), ..Suite::default() };
    for word in words {
        match word.split_once('=') {
            None if word == "fast" => suite.fast = true,
            Some(("limit", seconds)) => suite.limit = Duration::from_secs(seconds.parse().context(line)?),
            Some(("skip", names)) => suite.skip = names.split(',').map(str::to_owned).collect(),
            Some(("script", file)) => suite.script = Some(file.to_owned()),
            Some(("modules", names)) => suite.modules = names.split(',').map(str::to_owned).collect(),
            Some(("add", command)) => suite.add.push(command.replace('+', " ")),
            _ => return fail(format!("suites.list: {word}: unknown word")),
        }
    }
    Ok(suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_is_read() {
        let suite = one("a/b fast limit=7 skip=x,y add=prog+-T+s").unwrap();
        assert_eq!((suite.name.as_str(), suite.fast, suite.limit.as_secs()), ("a-b", true, 7));
        assert_eq!(suite.add, ["prog -T s"]);
        assert!(!suite.runs("x", None) && suite.runs("z", None) && !suite.runs("z", Some("q")));
        assert!(one("a nonsense").is_err());
    }

    #[test]
    fn labels_are_words() {
        assert_eq!(label("param_test -T s"), "param_test_-T_s");
        assert_eq!(label("load_address.0x1000"), "load_address_0x1000");
    }
}
