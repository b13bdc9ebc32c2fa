//! Device numbers and what answers to them; opening of special files (mknod(2), "Major and minor").

use crate::attr::{FileType, major, minor};
use crate::caller::Caller;
use crate::fileops::FileOps;
use crate::inode::InodeBase;
use crate::path::Path;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use machine::sync::{Once, SpinLock};

/// A character device.
pub trait CharDevice: Send + Sync {
    /// Opens minor `minor`.
    fn open(&self, minor: u32, path: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno>;
}

struct Entry {
    major: u32,
    minors: RangeInclusive<u32>,
    name: &'static str,
    device: Arc<dyn CharDevice>,
}

static CHAR_DEVICES: SpinLock<Vec<Entry>> = SpinLock::new(Vec::new());

/// Opens a FIFO: set by the crate that implements pipes. The state that the openers share hangs at [`InodeBase::rare`].
pub type FifoOpen = fn(&InodeBase, &Path, OpenFlags, &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno>;
static FIFO: Once<FifoOpen> = Once::new();

/// Makes `device` answer to these numbers. `name` is what /proc/devices shows.
pub fn register_char(major: u32, minors: RangeInclusive<u32>, name: &'static str, device: Arc<dyn CharDevice>) {
    CHAR_DEVICES.lock().push(Entry { major, minors, name, device });
}

/// Installs the opener of FIFOs; the first call counts.
pub fn register_fifo(open: FifoOpen) {
    let _ = FIFO.set(open);
}

/// Calls `f` with each registered major number and name.
pub fn for_each_char(mut f: impl FnMut(u32, &'static str)) {
    let list: Vec<_> = CHAR_DEVICES.lock().iter().map(|e| (e.major, e.name)).collect();
    list.into_iter().for_each(|(major, name)| f(major, name));
}

/// Opens a character device by number.
pub fn open_char(dev: u32, path: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    let (major, minor) = (major(dev), minor(dev));
    let device = CHAR_DEVICES
        .lock()
        .iter()
        .find(|e| e.major == major && e.minors.contains(&minor))
        .map(|e| e.device.clone())
        .ok_or(Errno::ENXIO)?;
    device.open(minor, path, flags, caller)
}

/// Opens what is neither a regular file nor a directory.
pub fn open_special(
    base: &InodeBase,
    path: &Path,
    flags: OpenFlags,
    caller: &Caller<'_>,
) -> Result<Arc<dyn FileOps>, Errno> {
    match base.kind() {
        FileType::CharDevice => open_char(base.rdev(), path, flags, caller),
        FileType::Fifo => FIFO.get().ok_or(Errno::ENXIO)?(base, path, flags, caller),
        FileType::Symlink => Err(Errno::ELOOP),
        // No block driver and no opener of sockets: the number leads nowhere.
        _ => Err(Errno::ENXIO),
    }
}
