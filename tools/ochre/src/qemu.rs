//! QEMU: found in the path, or installed from the release's backports where the release itself
//! has an older one (7.2, of Debian 12, now and then corrupts the emulated flags register).

use crate::apt::{self, Lists};
use crate::fail::{Result, fail};
use std::path::PathBuf;
use std::process::Command;

/// The emulator's name.
pub const PROGRAM: &str = "qemu-system-x86_64";
const OLDEST_MAJOR: u32 = 10;
/// What has to come from backports together.
const PACKAGES: [&str; 4] = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];

/// The program in the path.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// Major version of the QEMU in the path, with its full version text.
pub fn version() -> Option<(u32, String)> {
    let output = Command::new(in_path(PROGRAM)?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split("version ").nth(1)?.split_whitespace().next()?.to_owned();
    Some((version.split('.').next()?.parse().ok()?, version))
}

/// Whether `present` will do.
pub fn is_new_enough(present: &Option<(u32, String)>) -> bool {
    present.as_ref().is_some_and(|(major, _)| *major >= OLDEST_MAJOR)
}

/// The line to type where this tool may not install.
pub fn install_line() -> String {
    match apt::codename() {
        Some(name) => format!("apt-get install -y --no-install-recommends -t {name}-backports {}", PACKAGES.join(" ")),
        None => format!("install QEMU {OLDEST_MAJOR} or newer with your package manager"),
    }
}

/// Makes sure of a QEMU that is new enough. The version is asked for only when the program
/// changed since it was last found good.
pub fn ensure() -> Result<PathBuf> {
    let stamp = crate::workspace::state().join("qemu.stamp");
    let identity = |program: &PathBuf| {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(program).ok()?;
        Some(format!("{} {} {}", program.display(), meta.mtime(), meta.size()))
    };
    if let Some(program) = in_path(PROGRAM) {
        let known = std::fs::read_to_string(&stamp).ok();
        if known.is_some() && known == identity(&program) {
            return Ok(program);
        }
    }
    if !is_new_enough(&version()) {
        install()?;
    }
    match in_path(PROGRAM) {
        Some(program) if is_new_enough(&version()) => {
            if let Some(identity) = identity(&program) {
                let _ = std::fs::create_dir_all(crate::workspace::state());
                let _ = std::fs::write(&stamp, identity);
            }
            Ok(program)
        }
        _ => fail(format!("QEMU {OLDEST_MAJOR} or newer is needed; as root type: {}", install_line())),
    }
}

fn install() -> Result<()> {
    let Some(codename) = apt::codename().filter(|_| apt::may_install()) else {
        let found = version().map_or("none".to_owned(), |(_, v)| v);
        return fail(format!(
            "QEMU {OLDEST_MAJOR} or newer is needed, found {found}; as root type: {}",
            install_line()
        ));
    };
    // The release's own QEMU first: later releases need no backports.
    let own = Lists::of_suite(&codename, true)?;
    let fits = |version: Option<String>| {
        version.is_some_and(|v| {
            let upstream = v.split_once(':').map_or(v.as_str(), |(_, rest)| rest);
            upstream.split('.').next().and_then(|m| m.parse().ok()).is_some_and(|m: u32| m >= OLDEST_MAJOR)
        })
    };
    if fits(own.candidate(PACKAGES[0], &codename)) {
        return apt::install("QEMU", &PACKAGES, &own);
    }
    let suite = format!("{codename}-backports");
    let lists = Lists::of_suite(&suite, true)?;
    if !fits(lists.candidate(PACKAGES[0], &suite)) {
        return fail(format!("{suite} has no QEMU {OLDEST_MAJOR}; install one by hand"));
    }
    let from_suite = PACKAGES.map(|p| format!("{p}/{suite}"));
    let packages: Vec<&str> = from_suite.iter().map(String::as_str).collect();
    apt::install(&format!("QEMU {OLDEST_MAJOR}"), &packages, &lists)
}
