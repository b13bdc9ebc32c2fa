//! `./x doctor`: what is present, what is missing, what would be installed.

use crate::toolchain::{self, Recipe, TARGET};
use crate::{apt, oracle, qemu, workspace};
use std::path::Path;

/// One line of the report.
enum State {
    Present(String),
    Missing(String),
    Optional(String),
}

/// Prints the report; exit status 1 if something needed is missing.
pub fn run() -> u8 {
    let rows = [
        ("compiler target", target()),
        ("QEMU", emulator()),
        ("linker", linker()),
        ("kernel image", image()),
        ("oracle kernel", oracle_kernel()),
        ("test runner", test_runner()),
        ("C compiler for benchmarks", tool("musl-gcc", "musl-tools")),
    ];
    let mut missing = 0;
    for (what, state) in rows {
        let (word, text) = match state {
            State::Present(text) => ("present", text),
            State::Optional(text) => ("absent", text),
            State::Missing(text) => {
                missing += 1;
                ("missing", text)
            }
        };
        println!("{word:8} {what:26} {text}");
    }
    u8::from(missing > 0)
}

fn by_whom(line: &str) -> String {
    if apt::may_install() { format!("would be installed: {line}") } else { format!("as root type: {line}") }
}

fn target() -> State {
    match toolchain::present() {
        Some(Recipe::Prebuilt) => State::Present(format!("{TARGET}, prebuilt")),
        Some(Recipe::BuildStd { linker }) => {
            State::Present(format!("{TARGET}, built from Debian's rust-web-src, linker {}", linker.display()))
        }
        None if qemu::in_path("rustup").is_some() => {
            State::Missing(format!("would be added: rustup target add {TARGET}"))
        }
        None => State::Missing(by_whom("apt-get install rustc-web cargo-web rust-web-src lld")),
    }
}

fn emulator() -> State {
    let version = qemu::version();
    match &version {
        Some((_, text)) if qemu::is_new_enough(&version) => State::Present(text.clone()),
        Some((_, text)) => State::Missing(format!("{text} is too old; {}", by_whom(&qemu::install_line()))),
        None => State::Missing(by_whom(&qemu::install_line())),
    }
}

fn linker() -> State {
    match qemu::in_path("cc") {
        Some(path) => State::Present(path.display().to_string()),
        None => State::Missing(by_whom("apt-get install gcc libc6-dev")),
    }
}

fn image() -> State {
    let path = workspace::target().join(TARGET).join("release/ochre-kernel");
    if Path::new(&path).exists() {
        State::Present(path.display().to_string())
    } else {
        State::Optional("built by the first ./x run or ./x build".to_owned())
    }
}

fn oracle_kernel() -> State {
    match oracle::current() {
        Ok(path) => State::Present(path.display().to_string()),
        Err(_) => State::Optional("only to compare with Linux: ./x oracle fetch".to_owned()),
    }
}

fn test_runner() -> State {
    match qemu::in_path("cargo-nextest") {
        Some(_) => State::Present("cargo-nextest".to_owned()),
        None => State::Optional("cargo-nextest; plain cargo test is used instead".to_owned()),
    }
}

fn tool(name: &str, package: &str) -> State {
    match qemu::in_path(name) {
        Some(path) => State::Present(path.display().to_string()),
        None => State::Optional(format!("{name} (apt-get install {package}); cc -static is used instead")),
    }
}
