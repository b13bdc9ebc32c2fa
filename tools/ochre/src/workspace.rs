//! Where things are: the source tree and the build directory.

use std::path::{Path, PathBuf};

/// The source tree: `./x` says so; the place this tool was built from otherwise.
pub fn root() -> PathBuf {
    match std::env::var_os("OCHRE_ROOT") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
    }
}

/// Cargo's build directory.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root().join("target"),
    }
}

/// This tool's own part of the build directory.
pub fn state() -> PathBuf {
    target().join("ochre")
}
