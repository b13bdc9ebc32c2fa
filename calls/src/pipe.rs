//! pipe(2), pipe2(2), tee(2).

use crate::io::written;
use crate::splice::{SPLICE_F_NONBLOCK, SPLICE_FLAGS};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use mm::UserPtr;
use pipe::PipeEnd;
use task::Cx;
use vfs::File;

/// pipe(2).
pub fn pipe(cx: &mut Cx, fds: UserPtr<[i32; 2]>) -> Result<(), Errno> {
    pipe2(cx, fds, 0)
}

/// pipe2(2). `O_EXCL` (`O_NOTIFICATION_PIPE`) is ENOPKG, as on a Linux without watch queues.
pub fn pipe2(cx: &mut Cx, fds: UserPtr<[i32; 2]>, flags: u32) -> Result<(), Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    let known = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT | OpenFlags::EXCL;
    if !known.contains(flags) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(OpenFlags::EXCL) {
        return Err(Errno::ENOPKG);
    }
    let (reader, writer) = pipe::create(flags, cx.cred());
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let files = cx.files();
    let read_fd = cx.install(reader, cloexec)?;
    let installed = cx.install(writer, cloexec);
    let result = installed.and_then(|write_fd| {
        let told = fds.write(cx.mm(), &[read_fd, write_fd]);
        if told.is_err() {
            let _ = files.close(write_fd);
        }
        told
    });
    if result.is_err() {
        // The program never learned of the descriptors.
        let _ = files.close(read_fd);
    }
    result
}

/// tee(2).
pub fn tee(cx: &mut Cx, input: i32, output: i32, len: usize, flags: u32) -> Result<usize, Errno> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (cx.files().get(input)?, cx.files().get(output)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    let end = |file: &Arc<File>| file.ops_as::<PipeEnd>().map(|end| end.pipe().clone());
    let (source, sink) = (end(&from).ok_or(Errno::EINVAL)?, end(&to).ok_or(Errno::EINVAL)?);
    if Arc::ptr_eq(&source, &sink) {
        return Err(Errno::EINVAL);
    }
    let nonblock = flags & SPLICE_F_NONBLOCK != 0 || from.is_nonblocking() || to.is_nonblocking();
    written(cx, source.tee(&sink, len, nonblock))
}
