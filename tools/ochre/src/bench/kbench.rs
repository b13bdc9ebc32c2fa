//! Runs kbench as the only program of a guest and compares its lines with Linux's stored ones.

use super::plot;
use super::table::{Figures, JUDGED, compare, markdown};
use crate::cpio::{Archive, Kind};
use crate::fail::{Context, Result, fail};
use crate::progress::Progress;
use crate::{image, qemu, workspace};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Linux's raw figures to compare with.
const LINUX: &str = "linux/linux-7.2-tuned-qemu10.txt";
const TIMEOUT: Duration = Duration::from_secs(900);

/// Measures, prints the table and, for a full run of our kernel, stores it.
pub fn run(only: Option<&str>, kernel: Option<&Path>, mem: u32, fail_above: Option<f64>) -> Result<u8> {
    let bench = workspace::root().join("bench");
    let qemu = qemu::ensure()?;
    let image = match kernel {
        Some(path) => path.to_owned(),
        None => image::ensure(true)?.kernel,
    };
    let program = compile(&bench.join("kbench.c"))?;
    let initrd = pack(&program)?;
    let mut options = "clock:tsc".to_owned();
    if let Some(only) = only {
        options += &format!(",only:{only}");
    }
    let progress = Progress::start("running kbench");
    let text = Guest::start(&qemu, &image, &initrd, &options, mem, &[]).and_then(Guest::finish);
    drop(progress);
    let text = text?;
    if kernel.is_some() {
        print!("{text}");
        return Ok(0);
    }
    let linux = std::fs::read_to_string(bench.join(LINUX)).context(LINUX)?;
    let lines = compare(&Figures::parse(&linux), &Figures::parse(&text));
    let shown: Vec<_> = lines.into_iter().filter(|l| only.is_none() || l.new.is_ok()).collect();
    let table = markdown(&shown, "Linux 7.2, tuned");
    println!("{table}");
    if only.is_none() {
        let head = "# kbench: guest instructions per operation\n\nMade by `./x bench kbench`. Lower ratios are better; bandwidths are inverted.\n\n";
        std::fs::write(bench.join("results.md"), format!("{head}![ratios](results.svg)\n\n{table}"))
            .context("bench/results.md")?;
        let title = "Cost of kernel operations, Ochre / tuned Linux 7.2 (guest instructions)";
        std::fs::write(bench.join("results.svg"), plot::svg(&shown, title)).context("bench/results.svg")?;
        std::fs::write(bench.join("ochre.txt"), text).context("bench/ochre.txt")?;
    }
    let over = |r: f64| fail_above.is_some_and(|limit| r > limit);
    let bad = shown.iter().any(|l| JUDGED.contains(&l.group()) && l.ratio.is_some_and(over));
    Ok(u8::from(bad))
}

/// A static program, by musl's compiler wrapper where it is there (as for Linux's figures), else by the C compiler.
pub(super) fn compile(source: &Path) -> Result<PathBuf> {
    let dir = workspace::state();
    std::fs::create_dir_all(&dir).context("build directory")?;
    let out = dir.join("kbench");
    for compiler in ["musl-gcc", "cc"] {
        let built =
            Command::new(compiler).args(["-static", "-O2", "-pthread", "-s", "-o"]).arg(&out).arg(source).status();
        if built.is_ok_and(|s| s.success()) {
            return Ok(out);
        }
    }
    fail("no C compiler for kbench: install gcc (better: musl-tools) and try again")
}

pub(super) fn pack(program: &Path) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for dir in ["dev", "proc", "sys", "tmp"] {
        archive.add(dir, Kind::Dir, 0o755, b"");
    }
    archive.add("dev/console", Kind::CharDevice(5, 1), 0o600, b"");
    archive.add("init", Kind::File, 0o755, &std::fs::read(program).context("kbench")?);
    let path = workspace::state().join("kbench.cpio");
    std::fs::write(&path, archive.finish()).context("kbench.cpio")?;
    Ok(path)
}

/// A guest that runs kbench.
pub(super) struct Guest {
    child: Child,
    lines: Receiver<String>,
}

impl Guest {
    /// The rig of Linux's figures: q35, one CPU, no enhanced string instructions (each step of one counts as an instruction),
    /// the same random seed and date in every run.
    pub(super) fn start(
        qemu: &Path,
        kernel: &Path,
        initrd: &Path,
        options: &str,
        mem: u32,
        more: &[&str],
    ) -> Result<Guest> {
        let mut child = Command::new(qemu)
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg", "-M", "q35"])
            .args(["-cpu", "max,-erms,-fsrm", "-smp", "1", "-m", &mem.to_string(), "-seed", "1"])
            .args(["-rtc", "base=2026-01-01T00:00:00,clock=vm", "-icount", "shift=0,sleep=off", "-serial", "stdio"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 nokaslr kbench={options}")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting QEMU")?;
        let Some(output) = child.stdout.take() else { return fail("QEMU without an output") };
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(|l| l.ok()) {
                if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        Ok(Guest { child, lines })
    }

    /// The next line of output, if it comes in time; an error at the end of the output.
    pub(super) fn line(&self, within: Duration) -> std::result::Result<Option<String>, ()> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    fn finish(self) -> Result<String> {
        let (end, mut text) = (Instant::now() + TIMEOUT, String::new());
        while let Ok(Some(line)) = self.line(end.saturating_duration_since(Instant::now())) {
            let done = line.starts_with("# done");
            text.push_str(&line);
            text.push('\n');
            if done {
                return Ok(text);
            }
        }
        fail(format!("kbench did not reach its end; its output so far:\n{text}"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The guest powers off by itself after its last line; what matters has been read.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
