//! The boot archive of a guest: its first process, what to run, and a real Linux's modules.

use crate::cpio::{Archive, Kind};
use crate::kmod::Module;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The file the guest's first process reads: alternating keys and values, each ended by NUL.
#[derive(Default)]
pub struct Params(Vec<u8>);

impl Params {
    /// Adds one pair. A NUL cannot occur: arguments and paths are C strings.
    pub fn add(&mut self, key: &str, value: impl AsRef<OsStr>) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(0);
        self.0.extend_from_slice(value.as_ref().as_bytes());
        self.0.push(0);
    }
}

/// Packs the archive.
pub fn pack(init: &[u8], mut params: Params, modules: &[Module]) -> Vec<u8> {
    let mut archive = Archive::default();
    for dir in ["dev", "proc", "sys"] {
        archive.add(dir, Kind::Dir, 0o755, b"");
    }
    // The kernel opens it for the first process before any file system is mounted.
    archive.add("dev/console", Kind::CharDevice(5, 1), 0o600, b"");
    archive.add("init", Kind::File, 0o755, init);
    if !modules.is_empty() {
        archive.add("modules", Kind::Dir, 0o755, b"");
    }
    for module in modules {
        let path = format!("modules/{}.ko", module.name);
        archive.add(&path, Kind::File, 0o644, &module.object);
        params.add("module", format!("/{path}"));
    }
    archive.add("ochre.params", Kind::File, 0o600, &params.0);
    archive.finish()
}
