//! One suite in guests: the boot archive, the boot, the framed output.
//!
//! The archive holds a busybox, the runner, the suite's programs and a plan. The runner frames each program's output, so that
//! when the machine goes down it is known with which: that one has crashed, the rest runs in a new boot.

use super::suites::{Program, Suite};
use super::tap::{self, End, Status};
use super::verdict::Row;
use super::{Options, programs};
use crate::cpio::{Archive, Kind};
use crate::fail::{Context, Result, fail};
use crate::workspace;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What the machine may take beyond a program's own limit.
const GRACE: Duration = Duration::from_secs(60);
/// More boots of one suite are a sign that nothing works.
const MOST_BOOTS: usize = 12;

/// What a suite's programs said.
#[derive(Default)]
pub struct Results {
    /// Program, sub-test, status.
    pub rows: Vec<Row>,
    /// Wall-clock time of the boots together.
    pub seconds: u64,
}

/// Runs one suite with `smp` processors.
pub fn run(suite: &Suite, smp: u32, options: &Options) -> Results {
    let start = Instant::now();
    let mut results = Results::default();
    let mut rest = suite.programs(options.program.as_deref());
    for _ in 0..MOST_BOOTS {
        if rest.is_empty() {
            break;
        }
        match boot(suite, &rest, smp, options, &mut results.rows) {
            Ok(done) => drop(rest.drain(..done.min(rest.len()))),
            Err(failure) => {
                eprintln!("ochre: {}: {}", suite.name, failure.message);
                break;
            }
        }
    }
    for program in rest {
        results.rows.push((program.label, "exit".to_owned(), Status::Crash));
    }
    results.seconds = start.elapsed().as_secs();
    results
}

/// One boot; how many programs of the plan are dealt with.
fn boot(suite: &Suite, plan: &[Program], smp: u32, options: &Options, rows: &mut Vec<Row>) -> Result<usize> {
    let folder = workspace::state().join("conformance/boot");
    std::fs::create_dir_all(&folder).context(folder.display())?;
    let mut command = if suite.modules.is_empty() {
        let archive = folder.join(format!("{}-smp{smp}.cpio", suite.name));
        std::fs::write(&archive, pack(suite, plan)?).context(archive.display())?;
        with_archive(&archive, smp, options.oracle)?
    } else {
        let script = folder.join(format!("{}-smp{smp}.sh", suite.name));
        std::fs::write(&script, script_of(suite, plan)).context(script.display())?;
        with_own_root(&script, smp, options.oracle)?
    };
    command.env("OCHRE_ROOT", workspace::root());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("starting ./x run")?;
    let lines = lines_of(&mut child)?;
    let mut reader = Reader { suite, show: options.show, current: None, done: 0, rows };
    let mut limit = GRACE * 2;
    while let Ok(line) = lines.recv_timeout(limit) {
        match reader.take(&line) {
            Next::Boot | Next::Program => limit = suite.limit + GRACE,
            Next::Over => break,
            Next::Same => {}
        }
    }
    let booted = reader.current.is_some() || reader.done > 0;
    let done = reader.finish();
    let _ = child.kill();
    let _ = child.wait();
    if booted { Ok(done) } else { fail(format!("the guest with {smp} processors did not come up")) }
}

/// `./x run` with the guest's size; what it boots is added to it.
fn run_command(smp: u32) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program")?);
    command.args(["run", "--mem", "2G", "--smp", &smp.to_string()]);
    Ok(command)
}

/// A guest that has nothing but a boot archive.
fn with_archive(archive: &Path, smp: u32, oracle: bool) -> Result<Command> {
    let mut command = run_command(smp)?;
    command.arg("--initramfs").arg(archive);
    if oracle {
        command.args(["--kernel", "oracle", "--append", "rdinit=/init"]);
    }
    Ok(command)
}

/// A guest on this machine's root file system.
fn with_own_root(script: &Path, smp: u32, oracle: bool) -> Result<Command> {
    let mut command = run_command(smp)?;
    if oracle {
        command.args(["--kernel", "oracle"]);
    }
    for (name, value) in [("LC_ALL", "C"), ("TERM", "dumb"), ("TZ", "UTC0")] {
        command.env(name, value);
    }
    command.args(["--", "/bin/bash"]).arg(script);
    Ok(command)
}

/// The runner's work as a script, for modules of CPython's test suite and for programs of this machine.
fn script_of(suite: &Suite, plan: &[Program]) -> String {
    let recipes = workspace::root().join("tests/conformance");
    let runner = match &suite.script {
        Some(file) => format!("bash '{}' ", recipes.join(file).display()),
        None => format!("/usr/bin/python3.11 '{}' test.", recipes.join("outcomes.py").display()),
    };
    let mut script = String::from("echo @@BOOT\n");
    for Program { command, label } in plan {
        script += &format!(
            "echo; echo '@@START {suite} {label}'; export HOME=$(mktemp -d); cd $HOME\n\
             timeout {limit} {runner}{command} </dev/null\n\
             status=$?; [ $status = 124 ] && end=timeout || end=exit=$status\n\
             echo; echo \"@@END $end\"; cd /; rm -rf $HOME\n",
            suite = suite.name,
            limit = suite.limit.as_secs(),
        );
    }
    script + "echo @@DONE\n"
}

fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let Some(stdout) = child.stdout.take() else { return fail("no pipe") };
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    Ok(lines)
}

/// What a line means for the time limit.
enum Next {
    Boot,
    Program,
    Over,
    Same,
}

/// Sorts the lines of one boot.
struct Reader<'a> {
    suite: &'a Suite,
    show: bool,
    current: Option<(String, Vec<String>)>,
    done: usize,
    rows: &'a mut Vec<Row>,
}

impl Reader<'_> {
    fn take(&mut self, line: &str) -> Next {
        // A kernel message may stand before a frame on its line.
        let frame = line.find("@@").and_then(|at| line.get(at..)).unwrap_or_default();
        let mut words = frame.split_whitespace();
        match words.next() {
            Some("@@BOOT") => Next::Boot,
            Some("@@START") => {
                self.current = words.nth(1).map(|label| (label.to_owned(), Vec::new()));
                Next::Program
            }
            Some("@@END") => {
                self.end(end_of(words.next().unwrap_or_default()));
                Next::Program
            }
            Some("@@DONE") => Next::Over,
            _ => {
                if self.show {
                    println!("{}: {line}", self.suite.name);
                }
                if let Some((_, lines)) = &mut self.current {
                    lines.push(line.to_owned());
                }
                Next::Same
            }
        }
    }

    fn end(&mut self, end: End) {
        if let Some((label, lines)) = self.current.take() {
            let found = tap::results(&lines, end);
            self.rows.extend(found.into_iter().map(|(name, status)| (label.clone(), name, status)));
            self.done += 1;
        }
    }

    fn finish(mut self) -> usize {
        self.end(End::Crash);
        self.done
    }
}

fn end_of(word: &str) -> End {
    match word.split_once('=') {
        Some(("exit", status)) => End::Exit(status.parse().unwrap_or(-1)),
        Some(("sig", _)) => End::Signal,
        _ => End::Timeout,
    }
}

/// The boot archive.
fn pack(suite: &Suite, plan: &[Program]) -> Result<Vec<u8>> {
    let out = programs::output();
    let mut tree = Tree::default();
    for folder in "proc sys dev tmp run root scratch var/tmp".split(' ') {
        tree.folder(folder);
    }
    tree.archive.add("dev/console", Kind::CharDevice(5, 1), 0o600, b"");
    tree.archive.add("dev/null", Kind::CharDevice(1, 3), 0o666, b"");
    let recipes = workspace::root().join("tests/conformance");
    tree.copy("init", &recipes.join("guest-init"), 0o755)?;
    for program in ["busybox", "bash", "testrun"] {
        tree.copy(&format!("bin/{program}"), &out.join("base").join(program), 0o755)?;
    }
    let applets = Command::new(out.join("base/busybox")).arg("--list").output().context("busybox")?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|a| *a != "busybox") {
        tree.archive.add(&format!("bin/{applet}"), Kind::Link, 0o777, b"busybox");
    }
    tree.folder("usr/bin");
    tree.archive.add("usr/bin/env", Kind::Link, 0o777, b"/bin/busybox");
    tree.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
    tree.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n");
    tree.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n");
    let base = format!("suite/{}", suite.name);
    tree.copy_all(&base, &suite.folder())?;
    tree.copy_all("", &out.join("lib"))?;
    let mut text = String::new();
    for program in plan {
        let folder = Path::new(&program.command).parent().filter(|p| !p.as_os_str().is_empty());
        let cwd = folder.map_or(format!("/{base}"), |p| format!("/{base}/{}", p.display()));
        let limit = suite.limit.as_secs();
        text += &format!("{limit}\t{}\t{cwd}\t{}\t/{base}/{}\n", suite.name, program.label, program.command);
    }
    tree.file("plan", text.as_bytes());
    Ok(tree.archive.finish())
}

/// An archive that makes the folders its entries lie in.
#[derive(Default)]
struct Tree {
    archive: Archive,
    folders: BTreeSet<String>,
}

impl Tree {
    fn folder(&mut self, name: &str) {
        if name.is_empty() || self.folders.contains(name) {
            return;
        }
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.folder(parent);
        }
        let mode = if name.ends_with("tmp") || name == "scratch" { 0o1777 } else { 0o755 };
        self.archive.add(name, Kind::Dir, mode, b"");
        self.folders.insert(name.to_owned());
    }

    fn file(&mut self, name: &str, contents: &[u8]) {
        self.folder(name.rsplit_once('/').map_or("", |(parent, _)| parent));
        self.archive.add(name, Kind::File, 0o644, contents);
    }

    fn copy(&mut self, name: &str, from: &Path, mode: u32) -> Result<()> {
        self.folder(name.rsplit_once('/').map_or("", |(parent, _)| parent));
        let contents = std::fs::read(from).context(from.display())?;
        self.archive.add(name, Kind::File, mode, &contents);
        Ok(())
    }

    /// A folder with everything below it.
    fn copy_all(&mut self, name: &str, from: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        if !from.is_dir() {
            return Ok(());
        }
        self.folder(name);
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(from).context(from.display())?.flatten().map(|e| e.path()).collect();
        entries.sort();
        for path in entries {
            let leaf = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let inside = if name.is_empty() { leaf } else { format!("{name}/{leaf}") };
            if path.is_dir() {
                self.copy_all(&inside, &path)?;
            } else {
                let mode = std::fs::metadata(&path).context(path.display())?.permissions().mode() & 0o7777;
                self.copy(&inside, &path, mode | 0o444)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_divide_the_output() {
        let suite = Suite { name: "s".to_owned(), ..Suite::default() };
        let mut rows = Vec::new();
        let mut reader = Reader { suite: &suite, show: false, current: None, done: 0, rows: &mut rows };
        for line in ["@@BOOT", "@@START s a", "ok 1 x", "[ 1.0] note @@END exit=0 ms=4", "@@START s b", "not ok 1 y"] {
            reader.take(line);
        }
        assert_eq!(reader.finish(), 2);
        let shown: Vec<String> = rows.iter().map(|(p, n, s)| format!("{p}.{n} {}", s.word())).collect();
        assert_eq!(shown, ["a.x pass", "a.exit pass", "b.y fail", "b.exit crash"]);
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(end_of("exit=4"), End::Exit(4));
        assert_eq!(end_of("sig=11"), End::Signal);
        assert_eq!(end_of("timeout"), End::Timeout);
    }
}
