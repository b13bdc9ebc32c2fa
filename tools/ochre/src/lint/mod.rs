//! `./x lint`: formatting, clippy for the host and for bare metal, and the rules of this source
//! tree that no other tool knows: floors, where `unsafe` may stand, how long a file may be.

mod floors;
mod source;

use crate::fail::{Context, Result};
use crate::progress::Progress;
use crate::{toolchain, workspace};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A crate of the workspace.
struct Crate {
    name: String,
    /// Its folder, from the root of the source tree.
    folder: PathBuf,
    /// Crates of the workspace it uses.
    uses: Vec<String>,
}

/// Checks everything; the exit status.
pub fn run() -> Result<u8> {
    let mut failures = 0;
    let mut report = |what: &str, complaints: Vec<String>| {
        println!("{:6} {what}", if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in &complaints {
            println!("       {complaint}");
        }
        failures += complaints.len();
    };
    let crates = workspace_crates()?;
    let root = workspace::root();
    report("no crate uses a floor above its own", floors::check(&crates));
    report("unsafe code only where the manifest allows it", source::check_unsafe(&root, &crates)?);
    report("no file is too long", source::check_length(&root, &crates)?);
    report("rustfmt", cargo(host(&["fmt", "--all", "--check"]), "./x fmt changes what is not formatted"));
    let host_clippy = host(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    report("clippy, host", cargo(host_clippy, "clippy complains"));
    let mut bare = toolchain::ensure()?.cargo("clippy");
    bare.args(["--quiet", "-p", "ochre-kernel", "-p", "ochre-init", "--", "-D", "warnings"]);
    report("clippy, bare metal", cargo(bare, "clippy complains"));
    println!("{}", source::unsafe_share(&root, &crates)?);
    println!("lint: {}", if failures == 0 { "all good" } else { "failed" });
    Ok(u8::from(failures > 0))
}

/// Formats the sources.
pub fn format() -> Result<u8> {
    let status = host(&["fmt", "--all"]).status().context("cargo fmt")?;
    Ok(u8::from(!status.success()))
}

fn host(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(workspace::root());
    command.env("CARGO_TARGET_DIR", workspace::target());
    command
}

/// Runs a checker that explains itself on our own output.
fn cargo(mut command: Command, complaint: &str) -> Vec<String> {
    let progress = Progress::start("checking");
    let good = command.stdin(Stdio::null()).status().is_ok_and(|s| s.success());
    drop(progress);
    if good { Vec::new() } else { vec![complaint.to_owned()] }
}

/// Asks cargo: each line of the tree is a depth, a name, a version and a folder.
fn workspace_crates() -> Result<Vec<Crate>> {
    let mut command = host(&["tree", "--workspace", "--edges", "normal", "--depth", "1"]);
    command.args(["--prefix", "depth", "--format", " {p}", "--no-dedupe", "--target", "all"]);
    let output = command.stderr(Stdio::inherit()).output().context("cargo tree")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let root = workspace::root().canonicalize().context("source tree")?;
    let mut crates: Vec<Crate> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else { continue };
        let Some(folder) = line.split_once('(').and_then(|(_, rest)| rest.split_once(')')) else { continue };
        let Ok(folder) = Path::new(folder.0).strip_prefix(&root) else { continue };
        match (depth, crates.last_mut()) {
            ("0", _) => crates.push(Crate { name: name.to_owned(), folder: folder.to_owned(), uses: Vec::new() }),
            (_, Some(owner)) => owner.uses.push(name.to_owned()),
            _ => {}
        }
    }
    Ok(crates)
}
