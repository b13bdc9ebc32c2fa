//! Kernel files: ours, or a real Linux to compare with.

use crate::fail::{Context, Result, fail};
use std::path::{Path, PathBuf};

/// A kernel to boot.
#[derive(Debug)]
pub struct Kernel {
    /// What QEMU's `-kernel` gets.
    pub path: PathBuf,
    /// Set if it is Linux.
    pub linux: Option<Linux>,
}

/// What is particular to a real Linux.
#[derive(Debug)]
pub struct Linux {
    /// Its module tree, where one was found.
    pub modules: Option<PathBuf>,
}

/// Looks at a kernel file.
pub fn identify(path: &Path) -> Result<Kernel> {
    let bytes = std::fs::read(path).context(format_args!("kernel {}", path.display()))?;
    let path = path.to_owned();
    if bytes.get(0x202..0x206) == Some(b"HdrS") {
        let modules = release(&bytes).and_then(|release| module_tree(&path, &release));
        return Ok(Kernel { path, linux: Some(Linux { modules }) });
    }
    if !bytes.starts_with(b"\x7fELF") {
        return fail(format!("{}: neither a bzImage nor an ELF kernel", path.display()));
    }
    const BANNER: &[u8] = b"Linux version ";
    let linux = bytes.windows(BANNER.len()).any(|w| w == BANNER);
    Ok(Kernel { path, linux: linux.then_some(Linux { modules: None }) })
}

/// The release in a bzImage: its header points to a text `RELEASE (builder) ...`.
fn release(image: &[u8]) -> Option<String> {
    let pointer = u16::from_le_bytes([*image.get(0x20e)?, *image.get(0x20f)?]);
    let text = image.get(usize::from(pointer) + 0x200..)?;
    let word = text.split(|b| *b == b' ' || *b == 0).next()?;
    String::from_utf8(word.to_vec()).ok()
}

/// The module tree that belongs to the image: beside it, in the tree it was unpacked with, or
/// installed on this machine.
fn module_tree(image: &Path, release: &str) -> Option<PathBuf> {
    let dir = image.parent()?;
    let up = dir.parent().unwrap_or(dir);
    [
        dir.to_owned(),
        up.join("lib/modules").join(release),
        up.join("usr/lib/modules").join(release),
        Path::new("/lib/modules").join(release),
    ]
    .into_iter()
    .find(|tree| tree.join("kernel").is_dir())
}

/// Kernel images (`vmlinuz*`) where packages put them: `boot`, or the module tree.
pub fn images_below(tree: &Path, images: &mut Vec<PathBuf>) {
    let folder = |dir: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.path()).collect()
    };
    let mut candidates = folder(tree.join("boot"));
    for modules in ["lib/modules", "usr/lib/modules"] {
        for release in folder(tree.join(modules)) {
            candidates.extend(folder(release));
        }
    }
    let is_image = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"));
    images.extend(candidates.into_iter().filter(is_image));
}
