//! How to compile for `x86_64-unknown-none`.
//!
//! In this order: the target's prebuilt `core` is there; `rustup target add` brings it; on Debian
//! the packages `rustc-web` and `rust-web-src` bring a compiler and the sources, from which cargo
//! builds `core` and `alloc` once (`-Zbuild-std`; cached with everything else in the build
//! directory).

use crate::apt::{self, Lists};
use crate::fail::{Context, Result, fail};
use crate::progress::Progress;
use crate::workspace;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The bare-metal target.
pub const TARGET: &str = "x86_64-unknown-none";

/// A way to call cargo for the bare-metal target.
#[derive(Debug, PartialEq, Eq)]
pub enum Recipe {
    /// The ordinary command.
    Prebuilt,
    /// Debian's compiler, `core` from its sources, this linker.
    BuildStd {
        /// An lld.
        linker: PathBuf,
    },
}

/// Debian's compiler, wherever rustup's proxies stand in the path.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

impl Recipe {
    /// A cargo command line `SUBCOMMAND --target x86_64-unknown-none` in the source tree.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match self {
            Recipe::Prebuilt => Command::new("cargo"),
            Recipe::BuildStd { .. } => Command::new(DEBIAN_CARGO),
        };
        command.arg(subcommand).args(["--target", TARGET]);
        command.current_dir(workspace::root()).env("CARGO_TARGET_DIR", workspace::target());
        if let Recipe::BuildStd { linker } = self {
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", linker);
            command.args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"]);
        }
        command
    }
}

/// The compiler's directory, as it says itself.
fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(workspace::root())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim_end()))
}

/// Whether the compiler in the path has the target's prebuilt `core`.
pub fn has_prebuilt() -> bool {
    sysroot("rustc").is_some_and(|s| s.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

/// What would be used without installing anything.
pub fn present() -> Option<Recipe> {
    if has_prebuilt() {
        return Some(Recipe::Prebuilt);
    }
    let sources = sysroot(DEBIAN_RUSTC)?.join("lib/rustlib/src/rust/library");
    if !Path::new(DEBIAN_CARGO).exists() || !sources.is_dir() {
        return None;
    }
    Some(Recipe::BuildStd { linker: linker()? })
}

/// rustup's own lld, or the one of a package.
fn linker() -> Option<PathBuf> {
    let rustup =
        sysroot("rustc").map(|s| s.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld")).filter(|p| p.exists());
    rustup.or_else(|| crate::qemu::in_path("ld.lld"))
}

/// Makes sure of a recipe, installing what is missing where that is allowed.
pub fn ensure() -> Result<Recipe> {
    if let Some(recipe) = present() {
        return Ok(recipe);
    }
    let progress = Progress::start(format!("adding the compiler target {TARGET}"));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(workspace::root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    drop(progress);
    if added.is_ok_and(|s| s.success()) && has_prebuilt() {
        eprintln!("ochre: added the compiler target {TARGET} with rustup");
        return Ok(Recipe::Prebuilt);
    }
    let mut packages = vec!["rustc-web", "cargo-web", "rust-web-src"];
    if linker().is_none() {
        packages.push("lld");
    }
    let what = format!("the compiler target {TARGET}");
    let Some(codename) = apt::codename().filter(|_| apt::may_install()) else {
        let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
        return fail(format!("{what} is missing; type `rustup target add {TARGET}`, or on Debian as root: {line}"));
    };
    // The security archive has the current compiler; see also the script `x`.
    let lists = Lists::of_suite(&format!("{codename}-security"), true)?;
    apt::install(&what, &packages, &lists)?;
    match present() {
        Some(recipe) => Ok(recipe),
        None => fail(format!("no compiler for {TARGET}: type `rustup target add {TARGET}`")),
    }
}

/// Runs a cargo command; its own messages are the explanation of a failure.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().context(what)?;
    if status.success() { Ok(()) } else { fail(format!("{what} failed ({status}; see above)")) }
}
