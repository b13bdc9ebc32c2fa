//! Debian's package tools, used without touching the machine's own package lists.
//!
//! Package lists of other suites (backports for QEMU, sid for an oracle kernel) go to a directory
//! of this tool, read from a sources list of its own, made from the mirrors the machine is
//! configured with.

use crate::fail::{Context, Failure, Result, TOOL_FAILED, fail};
use crate::progress::Progress;
use crate::workspace;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One configured archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    /// `[key=value ...]` of the one-line form, or what the deb822 form says about keys.
    options: String,
}

/// A private set of package lists.
pub struct Lists {
    dir: PathBuf,
}

/// The release's code name, where this is Debian.
pub fn codename() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let field = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).map(|v| v.trim_matches('"').to_owned());
    (field("ID=")? == "debian").then(|| field("VERSION_CODENAME="))?
}

/// Whether packages may be installed here at all.
pub fn may_install() -> bool {
    rustix::process::geteuid().is_root() && crate::qemu::in_path("apt-get").is_some()
}

/// Installs packages from `lists`; where that is not allowed, fails with the line to type.
pub fn install(what: &str, packages: &[&str], lists: &Lists) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !may_install() {
        return fail(format!("{what} is missing; as root type: {line}"));
    }
    eprintln!("ochre: {what} is missing; installing {}", packages.join(", "));
    let progress = Progress::start(format!("installing {}", packages.join(", ")));
    let mut command = Command::new("apt-get");
    command.args(lists.options()).args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    let result = quiet(&mut command);
    drop(progress);
    result.map_err(|e| Failure { message: format!("{line}: {}", e.message), code: TOOL_FAILED })
}

impl Lists {
    /// Lists of `suite`, from every configured mirror of Debian itself; `with_own` adds the
    /// machine's own suites, needed where dependencies come from them.
    pub fn of_suite(suite: &str, with_own: bool) -> Result<Lists> {
        let dir = workspace::state().join("apt").join(suite);
        let release = codename().unwrap_or_else(|| "stable".to_owned());
        let mut lines: Vec<(String, String)> = Vec::new();
        for source in configured() {
            // Other vendors' archives have suites of other names.
            let own = source.suites.iter().filter(|s| is_of_release(s, &release));
            let main_archive = source.suites.iter().any(|s| *s == release || s == "stable");
            let extra = main_archive.then(|| suite.to_owned());
            for name in own.filter(|_| with_own).cloned().chain(extra) {
                let archive = format!("{} {name}", archive_of(&source.uri, &name));
                if !lines.iter().any(|(known, _)| *known == archive) {
                    let line = format!("deb {}{archive} main\n", source.options);
                    lines.push((archive, line));
                }
            }
        }
        let text: String = lines.into_iter().map(|(_, line)| line).collect();
        if text.is_empty() {
            return fail("no Debian mirror is configured on this machine (/etc/apt/sources.list)");
        }
        for sub in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(dir.join(sub)).context("package lists")?;
        }
        std::fs::write(dir.join("sources.list"), text).context("package lists")?;
        let lists = Lists { dir };
        let progress = Progress::start(format!("reading the package lists of {suite}"));
        let mut update = Command::new("apt-get");
        let result = quiet(update.args(lists.options()).args(["-qq", "update"]));
        drop(progress);
        result?;
        Ok(lists)
    }

    /// The options that make an apt command use these lists and no others.
    pub fn options(&self) -> Vec<String> {
        let dir = self.dir.display();
        [
            format!("Dir::Etc::sourcelist={dir}/sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::Cache::Archives={dir}/archives"),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
    }

    /// The archives as lines of a sources list, without the keys' places on this machine.
    pub fn archives(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.dir.join("sources.list")).context("package lists")?;
        let plain = |source: Source| format!("deb {} {} main", source.uri, source.suites.join(" "));
        Ok(text.lines().filter_map(one_line).map(plain).collect())
    }

    /// The newest version of a package in `suite`, if it has one.
    pub fn candidate(&self, package: &str, suite: &str) -> Option<String> {
        let output = Command::new("apt-cache").args(self.options()).args(["madison", package]).output().ok()?;
        // "package | version | URI suite/component amd64 Packages"
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().find_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (_, version, place) = (columns.next()?, columns.next()?, columns.next()?);
            place.contains(&format!(" {suite}/")).then(|| version.to_owned())
        })
    }

    /// What a package depends on directly, by name.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let output = Command::new("apt-cache")
            .args(self.options())
            .args(["depends", "--important", package])
            .stderr(Stdio::null())
            .output()
            .context("apt-cache")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = text.lines().filter_map(|l| l.trim_start().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads packages into `dir`.
    pub fn download(&self, packages: &[String], dir: &Path) -> Result<()> {
        let mut command = Command::new("apt-get");
        command.args(self.options()).args(["-qq", "download"]).args(packages).current_dir(dir);
        quiet(&mut command)
    }
}

/// Runs a command whose output matters only if it fails; then its last line is the reason.
pub fn quiet(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().context(&name)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let reason = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
    fail(format!("{name}: {reason}"))
}

/// Where a mirror keeps a suite: security archives stand beside the main one.
fn archive_of(mirror: &str, suite: &str) -> String {
    let mirror = mirror.trim_end_matches('/');
    if suite.ends_with("-security") && mirror.ends_with("/debian") {
        format!("{mirror}-security")
    } else {
        mirror.to_owned()
    }
}

/// Whether a suite is the release, its updates, its backports or its security archive.
fn is_of_release(suite: &str, release: &str) -> bool {
    [release, "stable"]
        .iter()
        .any(|r| suite.strip_prefix(r).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
}

/// Every archive in `/etc/apt/sources.list` and `/etc/apt/sources.list.d`.
fn configured() -> Vec<Source> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        parts.sort();
        files.append(&mut parts);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|e| e.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [options] URI SUITE COMPONENT...`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (options, rest) = inner.split_once(']')?;
            (format!("[{}] ", options.trim()), rest)
        }
        None => (String::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uri: uri.to_owned(), suites: vec![suite.to_owned()], options })
}

/// Stanzas of `Field: value`, continued by lines that begin with a space.
fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let clean: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    for stanza in clean.split(|l| l.trim().is_empty()) {
        let field = |name: &str| -> Vec<String> {
            let mut words = Vec::new();
            let mut inside = false;
            for line in stanza {
                match line.split_once(':') {
                    Some((key, value)) if !line.starts_with([' ', '\t']) => {
                        inside = key.eq_ignore_ascii_case(name);
                        if inside {
                            words.extend(value.split_whitespace().map(str::to_owned));
                        }
                    }
                    _ if inside => words.extend(line.split_whitespace().map(str::to_owned)),
                    _ => {}
                }
            }
            words
        };
        if !field("Types").iter().any(|t| t == "deb") || field("Enabled") == ["no"] {
            continue;
        }
        let options = match field("Signed-By").as_slice() {
            [key] if key.starts_with('/') => format!("[signed-by={key}] "),
            _ => String::new(),
        };
        let suites = field("Suites");
        for uri in field("URIs") {
            sources.push(Source { uri, suites: suites.clone(), options: options.clone() });
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let line = one_line("deb [ signed-by=/k.gpg ] http://m/debian bookworm main").expect("one");
        assert_eq!(line.uri, "http://m/debian");
        assert_eq!(line.options, "[signed-by=/k.gpg] ");
        assert_eq!(one_line("deb-src http://m/debian bookworm main"), None);
        assert_eq!(one_line("# deb http://m/debian bookworm main"), None);
        let text = "Types: deb\n# note\nURIs: http://m/debian\nSuites: a\n a-updates\n\n\
                    Types: deb-src\nURIs: http://x\nSuites: b\n";
        let sources = deb822(text);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].suites, ["a", "a-updates"]);
    }
}
