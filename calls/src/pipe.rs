//! pipe(2) and pipe2(2).

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::resource::Resource;
use mm::UserPtr;
use task::Cx;

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
    let limit = cx.process().limits.soft(Resource::Nofile).min(u64::from(u32::MAX)) as u32;
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let files = cx.files();
    let read_fd = files.install(reader, cloexec, limit)?;
    let installed = files.install(writer, cloexec, limit);
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
