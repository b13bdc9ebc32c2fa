//! The first root directory: a tmpfs that the initial RAM file system is unpacked into.

use abi::Errno;
use alloc::sync::Arc;
use vfs::{FsContext, MountNamespace};

/// The kernel acting for itself while the machine boots.
pub struct Booter {
    fs: Arc<FsContext>,
}

impl Booter {
    /// Makes the mount namespace of the first process: nullfs at the bottom (so that pivot_root(2) works on the real root), a tmpfs on it.
    pub fn new() -> Result<Booter, Errno> {
        let ns = MountNamespace::first(nullfs::mount());
        vfs::namespace::attach(&tmpfs::rootfs(), &ns.root_path(), &ns)?;
        Ok(Booter { fs: FsContext::new(ns) })
    }
    /// Root, working directory and umask for the first process.
    pub fn fs(&self) -> &Arc<FsContext> {
        &self.fs
    }
    /// Unpacks the boot loader's image into the root.
    pub fn unpack(&self, image: &[u8]) {
        match initramfs::unpack_at(image, &self.fs.dirs().root) {
            Ok(done) if done.refused == 0 => {}
            Ok(done) => {
                machine::kwarn!("initramfs: {} of {} entries refused", done.refused, done.entries + done.refused)
            }
            Err(e) => machine::kwarn!("initramfs: {e}"),
        }
    }
}
