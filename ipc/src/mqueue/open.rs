//! mq_open(2) and mq_unlink(2).

use super::root::Root;
use crate::IpcNamespace;
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::ipc::MqAttr;
use abi::stat::S_IFREG;
use alloc::sync::Arc;
use vfs::open::{How, open_found};
use vfs::{Caller, File, Start, may, walk};

/// EACCES, ENOENT or ENAMETOOLONG for what can be no name of a queue. The C library has taken the leading slash off.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        _ if name.contains(&b'/') => Err(Errno::EACCES),
        _ if name.len() > 255 => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// mq_open(2); `mode` is already cut by the umask.
pub fn open(
    ns: &Arc<IpcNamespace>,
    name: &[u8],
    flags: OpenFlags,
    mode: u32,
    attr: Option<&MqAttr>,
    caller: &Caller<'_>,
) -> Result<Arc<File>, Errno> {
    check_name(name)?;
    let place = ns.mqueue.place(ns);
    let root = place.inode();
    let made = {
        let _guard = root.base().lock.lock();
        match root.lookup(name) {
            Ok(_) if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => return Err(Errno::EEXIST),
            Ok(_) if flags.access() == 3 => return Err(Errno::EINVAL),
            Ok(_) => false,
            Err(Errno::ENOENT) if flags.contains(OpenFlags::CREAT) => {
                root.check(caller.cred, may::WRITE | may::EXEC)?;
                let dir = root.as_any().downcast_ref::<Root>().ok_or(Errno::ENOENT)?;
                dir.make(name, S_IFREG | mode & 0o7777, caller.cred, attr)?;
                true
            }
            Err(e) => return Err(e),
        }
    };
    // Whoever may not search the directory through a mount may still open queues by name.
    let kernel = vfs::Cred::root();
    let path = walk::lookup(&Start::new(&place, &place, &kernel), name, false)?;
    let flags = flags & (OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::NONBLOCK);
    let how = How { flags, mode: 0, umask: 0, regular: false };
    open_found(path, &how, caller, made)
}

/// mq_unlink(2).
pub fn unlink(ns: &Arc<IpcNamespace>, name: &[u8], caller: &Caller<'_>) -> Result<(), Errno> {
    check_name(name)?;
    let place = ns.mqueue.place(ns);
    vfs::ops::unlink(&Start::new(&place, &place, caller.cred), name)
}
