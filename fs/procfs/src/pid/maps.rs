//! `maps` and `smaps_rollup`: proc_pid_maps(5), proc_pid_smaps(5).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::mman::Prot;
use mm::{MappedFile, VmaInfo, VmaName};
use vfs::File;

/// Column (from 0) where names start.
const NAME_COLUMN: usize = 73;

/// `/proc/PID/maps`.
pub fn maps(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let Some(mm) = subject.task()?.mm() else { return Ok(()) };
    mm.for_each_vma(&mut |vma| {
        line(out, vma);
        true
    });
    Ok(())
}

fn line(out: &mut Text, vma: &VmaInfo<'_>) {
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

/// `/proc/PID/smaps_rollup`: the sums that are counted.
pub fn smaps_rollup(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let Some(mm) = subject.task()?.mm() else { return Ok(()) };
    let (mut first, mut last) = (u64::MAX, 0);
    mm.for_each_vma(&mut |vma| {
        first = first.min(vma.start);
        last = vma.end;
        true
    });
    let stats = mm.stats();
    let kib = |pages: u64| pages * 4;
    let start = out.position();
    out.hex(first.min(last), 8).ch('-').hex(last, 8).str(" ---p 00000000 00:00 0 ");
    let width = out.position() - start;
    out.pad(' ', NAME_COLUMN.saturating_sub(width)).str("[rollup]\n");
    let rows = [
        ("Rss:", kib(stats.rss_anon + stats.rss_shared)),
        ("Anonymous:", kib(stats.rss_anon)),
        ("Locked:", kib(stats.locked)),
    ];
    for (name, value) in rows {
        out.left(name, 16).dec_width(value, 8).str(" kB\n");
    }
    Ok(())
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
            locked: false,
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
