//! `fd` and `fdinfo`: proc_pid_fd(5), proc_pid_fdinfo(5).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use vfs::File;

/// `O_CLOEXEC`.
const O_CLOEXEC: u32 = 0o2000000;

/// Mode bits of a link in `fd`: readable and writable as the descriptor is.
pub fn link_mode(file: &File) -> u32 {
    (if file.is_readable() { 0o500 } else { 0 }) | if file.is_writable() { 0o300 } else { 0 }
}

/// `/proc/PID/fdinfo/N`.
pub fn fdinfo(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let fd = subject.fd.ok_or(Errno::ENOENT)?;
    let file = subject.file(fd)?;
    let files = subject.task()?.files().ok_or(Errno::ENOENT)?;
    let mut flags = file.flags().bits();
    if files.cloexec(fd).unwrap_or(false) {
        flags |= O_CLOEXEC;
    }
    out.str("pos:\t").dec(file.pos()).str("\nflags:\t0");
    octal(out, flags);
    out.str("\nmnt_id:\t").dec(file.path().mnt.id().into());
    out.str("\nino:\t").dec(file.inode().base().ino()).ch('\n');
    // A text never refuses what is written to it.
    let _ = file.ops().show_fdinfo(&file, out);
    Ok(())
}

fn octal(out: &mut Text, value: u32) {
    let digits = (32 - value.leading_zeros()).div_ceil(3).max(1);
    for place in (0..digits).rev() {
        out.ch(char::from(b'0' + (value >> (3 * place) & 7) as u8));
    }
}
