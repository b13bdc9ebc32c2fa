//! `map_files`: a link for each area that shows a file, named by the area's bounds: proc_pid_map_files(5). Shared memory without
//! a path has none.

use super::{Subject, dir_ino};
use crate::dir::NUMBERED;
use crate::text::Text;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mm::VmaName;
use vfs::mapping::Mapping;
use vfs::{Cap, Cred, DirSink, File, FileType};

/// Position of the area at `start` in listings: areas that come and go do not shift the others.
fn position(start: u64) -> u64 {
    NUMBERED + (start >> 12)
}

/// The bounds that a name spells: two hexadecimal numbers without leading zeroes.
pub fn bounds(name: &[u8]) -> Option<(u64, u64)> {
    let (start, end) = core::str::from_utf8(name).ok()?.split_once('-')?;
    Some((address(start)?, address(end)?))
}

fn address(text: &str) -> Option<u64> {
    if text.starts_with('0') && text.len() > 1 || text.starts_with('+') {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// The file that exactly the area between these addresses shows.
pub fn file(subject: &Subject, start: u64, end: u64) -> Result<Arc<File>, Errno> {
    let mut found = None;
    subject.task()?.mm().ok_or(Errno::ENOENT)?.for_each_vma_from(start, &mut |vma| {
        if vma.start == start
            && vma.end == end
            && let VmaName::File(file) = &vma.name
        {
            found = file.as_any().downcast_ref::<Mapping>().map(|mapping| mapping.file().clone());
        }
        false
    });
    found.ok_or(Errno::ENOENT)
}

/// Mode bits of a link: what the file was opened for.
pub fn link_mode(file: &File) -> u32 {
    (if file.is_readable() { 0o400 } else { 0 }) | if file.is_writable() { 0o200 } else { 0 }
}

/// Following a link leads past directories that may be closed to the caller.
pub fn may_follow(cred: &Cred) -> Result<(), Errno> {
    let may = cred.capable(Cap::CheckpointRestore) || cred.capable(Cap::SysAdmin);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

/// Lists the areas from position `pos` on.
pub fn list(subject: &Subject, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
    let me = crate::current().ok_or(Errno::ESRCH)?;
    let Some(mm) = subject.task()?.mm() else { return Ok(pos) };
    subject.may_trace(&me.cred())?;
    // Entries are handed out without the lock of the address space: the buffer they go to may be in it.
    let mut areas = Vec::new();
    let mut full = false;
    mm.for_each_vma_from((pos - NUMBERED) << 12, &mut |vma| {
        let linked = matches!(&vma.name, VmaName::File(file) if file.as_any().is::<Mapping>());
        if linked && position(vma.start) >= pos {
            full = areas.try_reserve(1).is_err();
            if !full {
                areas.push((vma.start, vma.end));
            }
        }
        !full
    });
    if full {
        return Err(Errno::ENOMEM);
    }
    let mut at = pos;
    for (start, end) in areas {
        let mut name = Text::new();
        name.hex(start, 1).ch('-').hex(end, 1);
        if !sink.entry(position(start) + 1, dir_ino(start >> 12) | 1 << 41, FileType::Symlink, &name.finish()?) {
            return Ok(position(start));
        }
        at = position(start) + 1;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_one_way() {
        assert_eq!(bounds(b"0-1000"), Some((0, 0x1000)));
        assert_eq!(bounds(b"7fff0000-7fff1000"), Some((0x7fff_0000, 0x7fff_1000)));
        for bad in
            ["01000-2000", "1000-02000", " 1000-2000", "1000 -2000", "1000-2000 ", "1000", "-", "1-100000000000000000"]
        {
            assert_eq!(bounds(bad.as_bytes()), None, "{bad}");
        }
    }
}
