//! Directories: make, remove, list; where a process is (mkdir(2), rmdir(2), getdents(2), chdir(2), chroot(2), getcwd(3), umask(2)).

use crate::at;
use abi::Errno;
use abi::fcntl::AT_FDCWD;
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::user::UserCStr;
use task::Cx;
use vfs::notify::{self, Event};
use vfs::ops::{self, Make};
use vfs::{Cap, DirSink, FileType, Path, walk};

/// mkdirat(2).
pub fn mkdirat(cx: &mut Cx, dirfd: i32, path: UserCStr, mode: u32) -> Result<(), Errno> {
    let umask = cx.fs().umask();
    at::with_path(cx, dirfd, path, |start, text| ops::make(start, text, Make::Directory(mode), umask)).map(drop)
}

/// mkdir(2).
pub fn mkdir(cx: &mut Cx, path: UserCStr, mode: u32) -> Result<(), Errno> {
    mkdirat(cx, AT_FDCWD, path, mode)
}

/// rmdir(2).
pub fn rmdir(cx: &mut Cx, path: UserCStr) -> Result<(), Errno> {
    at::with_path(cx, AT_FDCWD, path, ops::rmdir)
}

/// Bytes collected before they are copied out.
const CHUNK: usize = 4096;
/// `d_ino`, `d_off`, `d_reclen`, `d_type` before the name.
const HEAD64: usize = 19;
/// `d_ino`, `d_off`, `d_reclen` before the name.
const HEAD: usize = 18;

/// Lays entries out as `struct linux_dirent64` (or the old `linux_dirent`, whose type byte comes last).
struct Records {
    bytes: Vec<u8>,
    used: usize,
    room: usize,
    old: bool,
    /// An entry did not fit an empty buffer.
    too_small: bool,
}

impl Records {
    fn new(capacity: usize, old: bool) -> Result<Records, Errno> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(capacity, 0);
        Ok(Records { bytes, used: 0, room: capacity, old, too_small: false })
    }
    /// Starts again with this much room.
    fn reset(&mut self, room: usize) {
        self.used = 0;
        self.room = room.min(self.bytes.len());
    }
    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

impl DirSink for Records {
    #[inline]
    fn entry(&mut self, next: u64, ino: u64, kind: FileType, name: &[u8]) -> bool {
        // Head, name, NUL, and in the old layout the type; rounded up to 8.
        let head = if self.old { HEAD } else { HEAD64 };
        let len = (head + name.len() + 1 + self.old as usize).next_multiple_of(8);
        let end = self.used + len;
        let record = match self.bytes.get_mut(self.used..end) {
            Some(record) if end <= self.room => record,
            _ => {
                self.too_small |= self.used == 0;
                return false;
            }
        };
        // The last word first: it holds the padding, and the name may reach into it.
        if let Some(tail) = record.last_chunk_mut::<8>() {
            *tail = [0; 8];
        }
        if let Some((fixed, rest)) = record.split_first_chunk_mut::<HEAD>() {
            let mut words = [0; HEAD];
            words[..8].copy_from_slice(&ino.to_le_bytes());
            words[8..16].copy_from_slice(&next.to_le_bytes());
            words[16..].copy_from_slice(&(len as u16).to_le_bytes());
            *fixed = words;
            let text = match rest.split_first_mut() {
                Some((first, after)) if !self.old => {
                    *first = kind as u8;
                    after
                }
                _ => rest,
            };
            if let Some(to) = text.get_mut(..name.len()) {
                to.copy_from_slice(name);
            }
        }
        if let (true, Some(last)) = (self.old, record.last_mut()) {
            *last = kind as u8;
        }
        self.used = end;
        true
    }
}

fn list(cx: &Cx, fd: i32, buf: VirtAddr, count: u32, old: bool) -> Result<usize, Errno> {
    let file = cx.files().get(fd)?;
    // Linux counts the room in an `int`.
    let count = usize::try_from(count as i32).unwrap_or(0);
    let mut records = Records::new(count.min(CHUNK), old)?;
    let mut done = 0;
    loop {
        records.reset(count - done);
        let before = file.pos();
        let result = file.readdir(&mut records);
        if done == 0 && result.is_ok() {
            notify::on_file(&file, Event::ACCESS); // once a call, also at the end
        }
        if records.used == 0 {
            return match result {
                _ if done > 0 => Ok(done),
                Err(e) => Err(e),
                Ok(()) if records.too_small => Err(Errno::EINVAL),
                Ok(()) => Ok(0),
            };
        }
        let to = VirtAddr(buf.0.wrapping_add(done as u64));
        if let Err(e) = cx.mm().write_bytes(to, records.filled()) {
            // What the program did not get is not read either.
            file.set_pos(before);
            return if done > 0 { Ok(done) } else { Err(e) };
        }
        done += records.used;
        if result.is_err() {
            return Ok(done);
        }
    }
}

/// getdents64(2).
pub fn getdents64(cx: &mut Cx, fd: i32, buf: VirtAddr, count: u32) -> Result<usize, Errno> {
    list(cx, fd, buf, count, false)
}

/// getdents(2).
pub fn getdents(cx: &mut Cx, fd: i32, buf: VirtAddr, count: u32) -> Result<usize, Errno> {
    list(cx, fd, buf, count, true)
}

fn enter(cx: &Cx, place: Path) -> Result<(), Errno> {
    walk::may_enter(place.inode(), cx.cred())?;
    cx.fs().set_cwd(place);
    Ok(())
}

/// chdir(2).
pub fn chdir(cx: &mut Cx, path: UserCStr) -> Result<(), Errno> {
    let place = at::lookup(cx, AT_FDCWD, path, 0, true)?;
    enter(cx, place)
}

/// fchdir(2).
pub fn fchdir(cx: &mut Cx, fd: i32) -> Result<(), Errno> {
    let place = cx.files().get_any(fd)?.path().clone();
    enter(cx, place)
}

/// chroot(2).
pub fn chroot(cx: &mut Cx, path: UserCStr) -> Result<(), Errno> {
    let place = at::lookup(cx, AT_FDCWD, path, 0, true)?;
    walk::may_enter(place.inode(), cx.cred())?;
    if !cx.cred().capable_here(Cap::SysChroot) {
        return Err(Errno::EPERM);
    }
    cx.fs().set_root(place);
    Ok(())
}

/// getcwd(2): returns the length with the NUL.
pub fn getcwd(cx: &mut Cx, buf: VirtAddr, size: usize) -> Result<usize, Errno> {
    let dirs = cx.fs().dirs();
    if dirs.cwd.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let (path, reachable) = dirs.cwd.text(&dirs.root);
    let mut text = Vec::new();
    text.try_reserve_exact(path.len() + 16).map_err(|_| Errno::ENOMEM)?;
    if !reachable {
        text.extend_from_slice(b"(unreachable)");
    }
    text.extend_from_slice(&path);
    text.push(0);
    if text.len() > mm::user::PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if text.len() > size {
        return Err(Errno::ERANGE);
    }
    cx.mm().write_bytes(buf, &text)?;
    Ok(text.len())
}

/// umask(2).
pub fn umask(cx: &mut Cx, mask: u32) -> Result<u32, Errno> {
    Ok(cx.fs().set_umask(mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_layout_of_linux() {
        let mut r = Records::new(64, false).unwrap();
        assert!(r.entry(7, 42, FileType::Directory, b"abc"));
        assert_eq!(r.used, 24);
        assert_eq!(r.bytes[..8], 42u64.to_le_bytes());
        assert_eq!(r.bytes[8..16], 7u64.to_le_bytes());
        assert_eq!(r.bytes[16..24], [24, 0, 4, b'a', b'b', b'c', 0, 0]);
        assert!(r.entry(8, 1, FileType::Regular, b"12345"));
        assert_eq!(r.used, 56);
        assert!(!r.entry(9, 1, FileType::Regular, b"x"), "no room");
        assert!(!r.too_small);

        let mut r = Records::new(64, true).unwrap();
        r.bytes.fill(0xff);
        assert!(r.entry(7, 42, FileType::Regular, b"abcd"));
        assert_eq!(r.bytes[16..24], [24, 0, b'a', b'b', b'c', b'd', 0, 8]);
        let mut r = Records::new(10, true).unwrap();
        assert!(!r.entry(7, 42, FileType::Regular, b"abcd"));
        assert!(r.too_small);
    }
}
