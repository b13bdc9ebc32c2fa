//! `maps`: proc_pid_maps(5).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::mman::Prot;
use mm::{MappedFile, VmaInfo, VmaName};

/// Column (from 0) where names start.
pub const NAME_COLUMN: usize = 73;

/// `/proc/PID/maps`.
pub fn maps(subject: &Subject, from: u64, out: &mut Text) -> Result<Option<u64>, Errno> {
    let mut part = Part::new(from);
    if let Some(mm) = subject.task()?.mm() {
        mm.for_each_vma_from(from, &mut |vma| part.add(out, vma.end, |out| line(out, vma)));
    }
    Ok(part.next)
}

/// A page of records, one an area. The position of a record is where the area before it ends: areas that come and go meanwhile
/// neither hide others nor show them twice.
pub struct Part {
    at: u64,
    /// Where the next part starts, once this one is full.
    pub next: Option<u64>,
}

impl Part {
    /// A part that starts at this position.
    pub fn new(from: u64) -> Part {
        Part { at: from, next: None }
    }
    /// Appends what `write` writes of the area that ends at `end`, if there is room; says whether there was.
    pub fn add(&mut self, out: &mut Text, end: u64, write: impl FnOnce(&mut Text)) -> bool {
        let before = out.position();
        write(out);
        if before != 0 && out.position() > machine::PAGE_SIZE {
            out.truncate(before);
            self.next = Some(self.at);
            return false;
        }
        self.at = end;
        true
    }
}

/// The line of an area, which `smaps` has too.
pub fn line(out: &mut Text, vma: &VmaInfo<'_>) {
    let start = out.position();
    out.hex(vma.start, 8).ch('-').hex(vma.end, 8).ch(' ');
    let prot = vma.prot;
    for (on, ch) in
        [(prot.contains(Prot::READ), 'r'), (prot.contains(Prot::WRITE), 'w'), (prot.contains(Prot::EXEC), 'x')]
    {
        out.ch(if on { ch } else { '-' });
    }
    out.ch(if vma.shared { 's' } else { 'p' }).ch(' ').hex(vma.offset, 8).ch(' ');
    let (dev, ino) = match &vma.name {
        VmaName::File(file) => file.describe(),
        _ => (0, 0),
    };
    out.hex(major(dev), 2).ch(':').hex(minor(dev), 2).ch(' ').dec(ino).ch(' ');
    if !matches!(vma.name, VmaName::None) {
        let width = out.position() - start;
        // One space at least stands before the name, whatever its column.
        out.pad(' ', NAME_COLUMN.saturating_sub(width));
    }
    name(out, &vma.name, true);
    out.ch('\n');
}

/// What an area is called; the path of a file with line ends escaped if asked.
pub fn name(out: &mut Text, name: &VmaName<'_>, escape: bool) {
    match name {
        VmaName::None => {}
        VmaName::File(file) if escape => path(out, &***file),
        // A text never refuses what is written to it.
        VmaName::File(file) => drop(file.path(out)),
        VmaName::Heap => drop(out.str("[heap]")),
        VmaName::Stack => drop(out.str("[stack]")),
        VmaName::Special(name) => drop(out.str(name)),
        VmaName::Private(name) => drop(out.str("[anon:").bytes(name).ch(']')),
        VmaName::Shared(name) => drop(out.str("[anon_shmem:").bytes(name).ch(']')),
    }
}

/// The path with line ends escaped, as Linux does.
fn path(out: &mut Text, file: &dyn MappedFile) {
    let mut text = Text::new();
    // A text never refuses what is written to it.
    let _ = file.path(&mut text);
    if let Ok(text) = text.finish() {
        out.escaped(&text, b"\n");
    }
}

/// The major number in a device number as programs see it.
pub fn major(dev: u64) -> u64 {
    dev >> 8 & 0xfff
}

/// The minor number in a device number as programs see it.
pub fn minor(dev: u64) -> u64 {
    dev & 0xff | dev >> 12 & 0xf_ff00
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_linuxs_columns() {
        let mut out = Text::new();
        let vma = |start, end, name| VmaInfo {
            start,
            end,
            prot: Prot::READ | Prot::WRITE,
            shared: false,
            offset: 0,
            name,
            flags: mm::space::VmFlags::empty(),
        };
        line(&mut out, &vma(0x55d0_0000_0000, 0x55d0_0002_1000, VmaName::Heap));
        line(&mut out, &vma(0x7ffd_1000_0000, 0x7ffd_1000_1000, VmaName::None));
        assert_eq!(
            core::str::from_utf8(&out.finish().unwrap()).unwrap(),
            "55d000000000-55d000021000 rw-p 00000000 00:00 0                          [heap]\n\
             7ffd10000000-7ffd10001000 rw-p 00000000 00:00 0 \n"
        );
        assert_eq!((major(0xfe00), minor(0xfe01)), (0xfe, 1));
    }
}
