//! The test programs, made from Debian's source packages in a build root of their own.
//!
//! The root is Debian's unstable suite, whose kernel source is the newest; nothing of it is installed on this machine. It is
//! made once and made anew when the recipe or the list of suites changes.

use super::suites;
use crate::apt::{self, Lists};
use crate::fail::{Context, Result, fail};
use crate::progress::Progress;
use crate::{qemu, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The suite of Debian that has the newest kernel source.
const SUITE: &str = "sid";
/// What the build needs; the last two are for the guest itself.
const PACKAGES: &str = "build-essential,gcc-multilib,libc6-dev-i386,libcap-dev,libnuma-dev,libmnl-dev,libpopt-dev,libssl-dev,pkgconf,rsync,xz-utils,gawk,bash-static,busybox-static";

/// Where Debian puts CPython's test suite.
const PYTHON_TESTS: &str = "/usr/lib/python3.11/test/test_asyncio";

/// What `tests/conformance/tools.sh` needs, and the packages that have it.
const TOOLS: [(&str, &str); 8] = [
    ("stress-ng", "stress-ng"),
    ("cyclictest", "rt-tests"),
    ("tmux", "tmux"),
    ("htop", "htop"),
    ("strace", "strace"),
    ("gdb", "gdb"),
    ("gcc", "gcc"),
    ("python3", "python3"),
];

fn root() -> PathBuf {
    workspace::state().join("conformance/root")
}

/// Where the programs are: `base`, `suites` and `lib`.
pub fn output() -> PathBuf {
    root().join("w/out")
}

/// Whether they were built already.
pub fn present() -> bool {
    output().join(".done").is_file()
}

/// Builds them unless they are there and made from the present recipe.
pub fn ensure() -> Result<()> {
    let recipe = recipe()?;
    let stamp = output().join(".recipe");
    if present() && std::fs::read_to_string(&stamp).ok().as_deref() == Some(&recipe) {
        return Ok(());
    }
    let Some(release) = apt::codename() else {
        return fail("the conformance suites are built from Debian's packages and this is not Debian");
    };
    if !rustix::process::geteuid().is_root() {
        return fail("building the conformance suites needs root (a build root is made): run this once as root");
    }
    for (program, package) in [("mmdebstrap", "mmdebstrap"), ("xz", "xz-utils")] {
        if qemu::in_path(program).is_none() {
            apt::install(program, &[package], &Lists::of_suite(&release, true)?)?;
        }
    }
    let lists = Lists::of_suite(SUITE, false)?;
    if std::fs::read_to_string(root().join(".ready")).ok().as_deref() != Some(PACKAGES) {
        make_root(&lists)?;
    }
    let source = fetch_source(&lists)?;
    build(&source)?;
    std::fs::write(&stamp, recipe).context(stamp.display())
}

/// Everything that decides what is built.
fn recipe() -> Result<String> {
    let folder = workspace::root().join("tests/conformance");
    let mut text = String::new();
    for file in ["build.sh", "testrun.c"] {
        text += &std::fs::read_to_string(folder.join(file)).context(file)?;
    }
    Ok(text + PACKAGES + &directories()?.join(" "))
}

/// The directories of the kernel's source to build.
fn directories() -> Result<Vec<String>> {
    Ok(suites::read()?.into_iter().filter(|s| s.modules.is_empty()).map(|s| s.directory).collect())
}

/// Makes sure of CPython and its test suite, the release's own.
pub fn ensure_python() -> Result<()> {
    if Path::new(PYTHON_TESTS).is_dir() {
        return Ok(());
    }
    let Some(release) = apt::codename() else {
        return fail(format!("CPython's test suite is missing: no {PYTHON_TESTS}"));
    };
    apt::install("CPython's test suite", &["python3.11", "libpython3.11-testsuite"], &Lists::of_suite(&release, true)?)
}

/// Makes sure of the programs that `tools.sh` runs, the release's own.
pub fn ensure_tools() -> Result<()> {
    let missing: Vec<&str> = TOOLS.iter().filter(|(name, _)| qemu::in_path(name).is_none()).map(|(_, p)| *p).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(release) = apt::codename() else { return fail(format!("missing: {}", missing.join(", "))) };
    apt::install("a program of the suites tools and stress", &missing, &Lists::of_suite(&release, true)?)
}

fn make_root(lists: &Lists) -> Result<()> {
    let root = root();
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).context(root.display())?;
    let progress = Progress::start("making a build root for the conformance suites");
    let mut command = Command::new("mmdebstrap");
    // A mirror that stands still is older than its own date of expiry.
    command.args(["--variant=apt", "--aptopt=Acquire::Check-Valid-Until \"false\"", "--include", PACKAGES, SUITE]);
    apt::quiet(command.arg(&root).args(lists.archives()?))?;
    drop(progress);
    std::fs::write(root.join(".ready"), PACKAGES).context("build root")
}

/// The archive with the kernel's source, inside the root.
fn fetch_source(lists: &Lists) -> Result<PathBuf> {
    let inside = root().join("w");
    std::fs::create_dir_all(&inside).context("build root")?;
    let package = lists.depends("linux-source")?.into_iter().find(|p| p.starts_with("linux-source-"));
    let Some(package) = package else { return fail(format!("{SUITE} has no linux-source")) };
    let archive = inside.join("usr/src").join(format!("{package}.tar.xz"));
    if archive.is_file() {
        return Ok(archive);
    }
    let downloads = inside.join("download");
    std::fs::create_dir_all(&downloads).context("build root")?;
    let progress = Progress::start(format!("downloading {package}"));
    lists.download(&[package], &downloads)?;
    for entry in std::fs::read_dir(&downloads).context("download")?.flatten() {
        apt::quiet(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&inside))?;
    }
    drop(progress);
    std::fs::remove_dir_all(&downloads).context("download")?;
    if archive.is_file() { Ok(archive) } else { fail(format!("{}: not in the package", archive.display())) }
}

fn build(source: &Path) -> Result<()> {
    let folder = workspace::root().join("tests/conformance");
    let inside = root().join("w");
    for file in ["build.sh", "testrun.c"] {
        std::fs::copy(folder.join(file), inside.join(file)).context(file)?;
    }
    let source = Path::new("/").join(source.strip_prefix(root()).context("build root")?);
    let progress = Progress::start("building the conformance suites");
    // A mount namespace of its own: /proc goes away with the build.
    let script = "mount -t proc proc \"$1/proc\" && exec chroot \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(root()).args(["bash", "/w/build.sh"]).arg(source);
    command.args(directories()?);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C");
    let result = apt::quiet(&mut command);
    drop(progress);
    result
}
