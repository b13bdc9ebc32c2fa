//! Starting guests by `./x run`, no more at a time than there are processors.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

/// What `./x test` says through the environment.
pub struct Setting {
    /// The host command.
    pub tool: PathBuf,
    /// The source tree.
    pub root: PathBuf,
    /// The build directory.
    pub target: PathBuf,
    /// Processor counts to test with.
    pub smp: Vec<u32>,
    /// A real Linux instead of Ochre.
    pub oracle: bool,
    /// Write what the guest does as the expected result.
    pub record: bool,
    /// Calls for the fuzzer.
    pub fuzz_calls: u64,
}

/// The setting of this process, read once.
pub fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        let var = |name: &str| std::env::var(name).ok();
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = var("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let smp = var("OCHRE_TEST_SMP").unwrap_or_else(|| "1,2".to_owned());
        Setting {
            tool: var("OCHRE_TOOL").map_or_else(|| root.join("x"), PathBuf::from),
            smp: smp.split(',').filter_map(|n| n.parse().ok()).collect(),
            oracle: var("OCHRE_TEST_ORACLE").is_some() || var("OCHRE_TEST_RECORD").is_some(),
            record: var("OCHRE_TEST_RECORD").is_some(),
            fuzz_calls: var("OCHRE_FUZZ_CALLS").and_then(|n| n.parse().ok()).unwrap_or(200_000),
            root,
            target,
        }
    })
}

/// The file of a guest program, built if need be.
pub fn guest_program(name: &str) -> Result<String, String> {
    guest_programs()?;
    Ok(setting().target.join("debug").join(name).display().to_string())
}

/// Builds the guest programs, once.
pub fn guest_programs() -> Result<(), String> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    BUILT.get_or_init(build_guest_programs).clone()
}

fn build_guest_programs() -> Result<(), String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--package", "ochre-guest", "--bins"]).current_dir(&setting().root);
    let output = cargo.env("CARGO_TARGET_DIR", &setting().target).output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(describe(&output)) }
}

/// The right to run one guest; given back when dropped.
pub struct Slot(());

/// Waits for it.
pub fn slot() -> Slot {
    let (taken, freed) = slots();
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    let guard = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let mut guard = freed.wait_while(guard, |n| *n >= most).unwrap_or_else(PoisonError::into_inner);
    *guard += 1;
    Slot(())
}

fn slots() -> &'static (Mutex<usize>, Condvar) {
    static SLOTS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());
    &SLOTS
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (taken, freed) = slots();
        *taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        freed.notify_one();
    }
}

/// `./x run OPTIONS -- ...` up to the double dash, with the kernel under test.
pub fn run_command(options: &[&str]) -> Command {
    let setting = setting();
    let mut command = Command::new(&setting.tool);
    command.arg("run").args(options);
    if setting.oracle {
        command.args(["--kernel", "oracle"]);
    }
    command.env("OCHRE_ROOT", &setting.root).env("CARGO_TARGET_DIR", &setting.target);
    command.arg("--");
    command
}

/// Runs a command in a guest of its own, with this standard input, to its end.
pub fn run(options: &[&str], command: &[&str], stdin: &[u8]) -> Result<Output, String> {
    let _slot = slot();
    let mut options = options.to_vec();
    if !options.contains(&"--timeout") {
        options.extend(["--timeout", "120"]);
    }
    let mut process = run_command(&options);
    process.args(command).stdout(Stdio::piped()).stderr(Stdio::piped());
    process.stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = process.spawn().map_err(|e| format!("starting ./x run: {e}"))?;
    let feeder = child.stdin.take().map(|mut pipe| {
        let bytes = stdin.to_vec();
        std::thread::spawn(move || {
            use std::io::Write;
            // A command that does not read to the end closes the pipe: no failure of the test.
            let _ = pipe.write_all(&bytes);
        })
    });
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    drop(feeder.map(std::thread::JoinHandle::join));
    Ok(output)
}

/// All messages of the kernel of a guest that died.
pub fn kernel_log(output: &Output) -> Result<String, String> {
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let file = shown.split_once("(kernel messages: ").and_then(|(_, rest)| rest.split_once(')'));
    let (file, _) = file.ok_or_else(|| describe(output))?;
    let log = std::fs::read(file).map_err(|e| format!("{file}: {e}"))?;
    Ok(String::from_utf8_lossy(&log).replace('\r', ""))
}

/// What a test says about an unexpected result.
pub fn describe(output: &Output) -> String {
    format!(
        "status {:?}\nstdout: {}\nstderr: {}",
        output.status.code(),
        shorten(&output.stdout),
        shorten(&output.stderr)
    )
}

/// The end of some bytes, as text.
pub fn shorten(bytes: &[u8]) -> String {
    const MOST: usize = 2000;
    let start = bytes.len().saturating_sub(MOST);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}
