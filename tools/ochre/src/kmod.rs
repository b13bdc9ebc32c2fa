//! Kernel modules of a real Linux: which ones a guest needs, in the order of their dependencies.
//!
//! The package does not ship `modules.dep` (its installation makes it), so dependencies are read
//! where depmod(8) reads them: the `depends=` word of each module's `.modinfo` section.

use crate::fail::Result;
use crate::unpack;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What a guest needs beyond the image; those that are built in have no file and are passed over.
const WANTED: [&str; 6] = ["virtio_pci", "virtio_mmio", "virtio_console", "9pnet_virtio", "9p", "overlay"];

/// A module ready to load.
pub struct Module {
    /// Its name.
    pub name: String,
    /// The unpacked object file.
    pub object: Vec<u8>,
}

/// The wanted modules found below `tree`, dependencies first.
pub fn collect(tree: &Path) -> Result<Vec<Module>> {
    let mut files = HashMap::new();
    scan(&tree.join("kernel"), &mut files);
    let mut modules = Vec::new();
    for name in WANTED {
        add(name, &files, &mut modules)?;
    }
    Ok(modules)
}

/// Whether the tree can serve a 9p root at all.
pub fn has_9p(tree: &Path) -> bool {
    let mut files = HashMap::new();
    scan(&tree.join("kernel"), &mut files);
    files.contains_key("9pnet_virtio")
}

fn add(name: &str, files: &HashMap<String, PathBuf>, modules: &mut Vec<Module>) -> Result<()> {
    let Some(file) = files.get(name) else { return Ok(()) };
    if modules.iter().any(|m| m.name == name) {
        return Ok(());
    }
    let object = unpack::read(file)?;
    for dependency in dependencies(&object) {
        add(&dependency, files, modules)?;
    }
    modules.push(Module { name: name.to_owned(), object });
    Ok(())
}

/// The module names after `depends=`, a NUL-ended word of `.modinfo`.
fn dependencies(object: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = object.windows(KEY.len()).position(|w| w == KEY) else { return Vec::new() };
    let list = object[at + KEY.len()..].split(|b| *b == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect()
}

fn scan(dir: &Path, files: &mut HashMap<String, PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            scan(&path, files);
        } else if let Some((stem, "" | ".xz" | ".zst" | ".gz")) =
            entry.file_name().to_str().and_then(|n| n.split_once(".ko"))
        {
            files.insert(stem.replace('-', "_"), path);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn dependencies_come_from_modinfo() {
        let object = b"\x7fELF..license=GPL\0depends=9pnet,net-fs\0name=9p\0";
        assert_eq!(super::dependencies(object), ["9pnet", "net_fs"]);
        assert!(super::dependencies(b"\0depends=\0").is_empty());
    }
}
