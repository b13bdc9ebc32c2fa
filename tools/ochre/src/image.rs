//! The kernel image and the guest's first process, rebuilt only when their sources changed.
//!
//! Cargo would find that out too, but it needs half a second for it; a list of the source files
//! with their sizes and times, remembered from the last build, needs a few milliseconds.

use crate::fail::{Context, Result, fail};
use crate::progress::Progress;
use crate::toolchain::{self, TARGET};
use crate::workspace;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a run needs from the build.
pub struct Images {
    /// The kernel, an ELF file with a PVH note.
    pub kernel: PathBuf,
    /// The guest's first process.
    pub init: PathBuf,
}

/// Folders that no guest code comes from.
const NOT_SOURCES: [&str; 6] = ["target", "tools", "tests", "bench", "docs", "fuzz"];

/// Builds what is out of date. `kernel: false` leaves ours alone, for runs of a real Linux.
pub fn ensure(kernel: bool) -> Result<Images> {
    let dir = workspace::target().join(TARGET).join("release");
    let images = Images { kernel: dir.join("ochre-kernel"), init: dir.join("ochre-init") };
    build("init", &images.init, &["-p", "ochre-init"], Some("init"))?;
    if kernel {
        build("kernel", &images.kernel, &["-p", "ochre-kernel"], None)?;
    }
    Ok(images)
}

fn build(name: &str, output: &Path, packages: &[&str], only: Option<&str>) -> Result<()> {
    let stamp = workspace::state().join(format!("{name}.stamp"));
    let sources = fingerprint(&workspace::root(), only)?;
    let known = std::fs::read_to_string(&stamp).unwrap_or_default();
    if output.exists() && known == sources {
        return Ok(());
    }
    let recipe = toolchain::ensure()?;
    let progress = Progress::start(format!("building the {name}"));
    let mut command = recipe.cargo("build");
    command.args(["--release", "--quiet"]).args(packages);
    // `./x build` prints the image's path on standard output: nothing else may.
    command.stdout(std::io::stderr());
    let result = toolchain::run(&mut command, &format!("building the {name}"));
    drop(progress);
    result?;
    if !output.exists() {
        return fail(format!("cargo made no {}", output.display()));
    }
    std::fs::create_dir_all(workspace::state()).context("build directory")?;
    std::fs::write(&stamp, sources).context("build stamp")
}

/// One line a source file: path, size, time of the last change.
fn fingerprint(root: &Path, only: Option<&str>) -> Result<String> {
    let mut list = String::new();
    for file in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        note(&root.join(file), &mut list);
    }
    match only {
        Some(folder) => walk(&root.join(folder), &mut list),
        None => {
            let entries = std::fs::read_dir(root).context(root.display())?;
            let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
            folders.sort();
            for folder in folders.iter().filter(|f| f.is_dir()) {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                if !NOT_SOURCES.contains(&name.as_ref()) && (!name.starts_with('.') || name == ".cargo") {
                    walk(folder, &mut list);
                }
            }
        }
    }
    Ok(list)
}

fn walk(dir: &Path, list: &mut String) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, list);
        } else {
            note(&path, list);
        }
    }
}

fn note(path: &Path, list: &mut String) {
    if let Ok(meta) = std::fs::metadata(path) {
        let (seconds, nanos) = (meta.mtime(), meta.mtime_nsec());
        let _ = writeln!(list, "{} {} {seconds}.{nanos}", path.display(), meta.len());
    }
}
