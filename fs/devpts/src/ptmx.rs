//! Opening /dev/ptmx: a new pty in the right instance.

use crate::instance::{Instance, instance_of};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::boxed::Box;
use alloc::sync::Arc;
use tty::pty::{Master, PtyHome};
use vfs::{Caller, CharDevice, File, FileOps, Path, Start, walk};

/// Device number of ptmx.
pub const MAJOR: u32 = 5;
/// Device number of ptmx.
pub const MINOR: u32 = 2;

/// Opens the multiplexer.
pub struct Ptmx;

impl CharDevice for Ptmx {
    fn open(&self, _: u32, path: &Path, _: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        let root = find_root(path, caller).ok_or(Errno::ENODEV)?;
        let instance = instance_of(root.inode().as_any()).ok_or(Errno::ENODEV)?.clone();
        let index = instance.reserve()?;
        let number = index.number();
        let home = Home { root: root.clone(), instance: instance.clone() };
        let master = Master::new(number, Box::new(home), Box::new(index));
        instance.install(root.inode().sb(), number, &master, caller.cred);
        Ok(master)
    }
}

/// The root of the instance that an opened ptmx belongs to: its own, or the one mounted on `pts` beside it.
fn find_root(path: &Path, caller: &Caller<'_>) -> Option<Path> {
    let dir = Path { mnt: path.mnt.clone(), dentry: path.dentry.parent()? };
    if instance_of(dir.inode().as_any()).is_some() {
        return Some(dir);
    }
    walk::lookup(&Start::new(&dir, &dir, caller.cred), b"pts", false).ok()
}

/// What a master keeps of its instance.
struct Home {
    root: Path,
    instance: Arc<Instance>,
}

impl PtyHome for Home {
    fn closed(&self, index: u32) {
        self.instance.remove_node(index);
    }
    fn open_peer(
        &self,
        index: u32,
        ops: Arc<dyn FileOps>,
        flags: OpenFlags,
        caller: &Caller<'_>,
    ) -> Result<Arc<File>, Errno> {
        let name = alloc::format!("{index}");
        let place = walk::lookup(&Start::new(&self.root, &self.root, caller.cred), name.as_bytes(), false)?;
        Ok(File::new(place, ops, flags, caller.cred.clone()))
    }
}
