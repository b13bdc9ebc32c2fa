//! The file behind the descriptors of fsopen(2) and fspick(2).

use super::MountContext;
use crate::anon::anon_file;
use crate::cred::Cred;
use crate::file::File;
use crate::fileops::FileOps;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use core::any::Any;
use mm::io::Dst;

/// An open mount context.
pub struct ContextFile {
    context: sched::Mutex<MountContext>,
}

impl ContextFile {
    /// A file for `context`.
    pub fn open(context: MountContext, cred: &Arc<Cred>) -> Arc<File> {
        anon_file("[fscontext]", Arc::new(ContextFile { context: sched::Mutex::new(context) }), OpenFlags::RDWR, cred)
    }
    /// The context, locked.
    pub fn lock(&self) -> sched::MutexGuard<'_, MountContext> {
        self.context.lock()
    }
}

impl FileOps for ContextFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    /// One message a read.
    fn read_at(&self, _f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        let message = self.lock().log().take(dst.remaining())?;
        dst.put(&message)
    }
    fn seekable(&self) -> bool {
        false
    }
}
