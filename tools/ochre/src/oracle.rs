//! The oracle: a real Linux from Debian, unpacked and never installed.
//!
//! The default flavour is the general one: Debian builds its `cloud` flavour without 9p, and the
//! guest's root file system comes by 9p. For benchmarks, which need no devices, `cloud-amd64` will
//! do.

use crate::apt::{self, Lists};
use crate::fail::{Context, Result, fail};
use crate::progress::Progress;
use crate::{linux, workspace};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do about it.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Download and unpack a Linux kernel from the Debian mirror this machine is configured with
    Fetch {
        /// Suite to take it from: this release unless given; `sid` has the newest
        #[arg(long)]
        suite: Option<String>,
        /// Flavour of the kernel package
        #[arg(long, default_value = "amd64", value_parser = ["amd64", "cloud-amd64"])]
        flavour: String,
    },
}

/// Does it.
pub fn run(action: &Action) -> Result<u8> {
    match action {
        Action::Fetch { suite, flavour } => {
            let kernel = fetch(suite.as_deref(), flavour)?;
            println!("{}", kernel.display());
            Ok(0)
        }
    }
}

fn folder() -> PathBuf {
    workspace::target().join("oracle")
}

/// The kernel fetched last.
pub fn current() -> Result<PathBuf> {
    match std::fs::read_to_string(folder().join("current")) {
        Ok(path) if Path::new(path.trim_end()).is_file() => Ok(PathBuf::from(path.trim_end())),
        _ => fail("no oracle kernel yet: type `./x oracle fetch`"),
    }
}

fn fetch(suite: Option<&str>, flavour: &str) -> Result<PathBuf> {
    let Some(codename) = apt::codename() else {
        return fail("the oracle comes from a Debian mirror and this is not Debian: give a kernel with --kernel FILE");
    };
    let suite = suite.unwrap_or(&codename);
    let lists = Lists::of_suite(suite, suite == codename)?;
    let mut packages = Vec::new();
    collect(&lists, &format!("linux-image-{flavour}"), &mut packages)?;
    if packages.is_empty() {
        return fail(format!("{suite} has no linux-image-{flavour}"));
    }
    let tree = folder().join(format!("{suite}-{flavour}"));
    let listing = packages.join("\n");
    let stamp = tree.join("packages");
    if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&listing) {
        let _ = std::fs::remove_dir_all(&tree);
        let downloads = tree.join("download");
        std::fs::create_dir_all(&downloads).context("oracle")?;
        let progress = Progress::start(format!("downloading {}", packages.join(", ")));
        lists.download(&packages, &downloads)?;
        drop(progress);
        let progress = Progress::start("unpacking the kernel packages");
        for entry in std::fs::read_dir(&downloads).context("oracle")?.flatten() {
            apt::quiet(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&tree))?;
        }
        drop(progress);
        std::fs::remove_dir_all(&downloads).context("oracle")?;
        std::fs::write(&stamp, &listing).context("oracle")?;
    }
    let Some(kernel) = find_image(&tree) else {
        return fail(format!("no kernel image in {}", tree.display()));
    };
    let kernel = kernel.canonicalize().context("oracle")?;
    std::fs::write(folder().join("current"), kernel.display().to_string()).context("oracle")?;
    Ok(kernel)
}

/// The packages that hold the image and its modules: what the flavour's package depends on.
fn collect(lists: &Lists, package: &str, found: &mut Vec<String>) -> Result<()> {
    const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];
    for dependency in lists.depends(package)? {
        if PARTS.iter().any(|p| dependency.starts_with(p)) && !found.contains(&dependency) {
            found.push(dependency.clone());
            collect(lists, &dependency, found)?;
        }
    }
    Ok(())
}

fn find_image(tree: &Path) -> Option<PathBuf> {
    let mut images = Vec::new();
    linux::images_below(tree, &mut images);
    images.pop()
}
