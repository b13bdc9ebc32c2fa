//! `smaps`, `smaps_rollup` and `clear_refs`: proc_pid_smaps(5), proc_pid_clear_refs(5).

use super::Subject;
use super::maps::{NAME_COLUMN, Part, line};
use crate::text::Text;
use abi::Errno;
use mm::space::{PSS_SHIFT, Resident, VmFlags};
use mm::{VmaInfo, VmaName};
use vfs::{File, number};

/// Kilobytes in a page.
const PAGE_KIB: u64 = 4;

/// What the `VmFlags` line says of an area, in Linux's order.
const MNEMONICS: [(VmFlags, &str); 17] = [
    (VmFlags::MAYREAD, "mr "),
    (VmFlags::MAYWRITE, "mw "),
    (VmFlags::MAYEXEC, "me "),
    (VmFlags::SHARED, "ms "),
    (VmFlags::GROWSDOWN, "gd "),
    (VmFlags::LOCKED, "lo "),
    (VmFlags::SEQ_READ, "sr "),
    (VmFlags::RAND_READ, "rr "),
    (VmFlags::DONTCOPY, "dc "),
    (VmFlags::DONTEXPAND, "de "),
    (VmFlags::LOCKONFAULT, "lf "),
    (VmFlags::ACCOUNT, "ac "),
    (VmFlags::NORESERVE, "nr "),
    (VmFlags::WIPEONFORK, "wf "),
    (VmFlags::DONTDUMP, "dd "),
    (VmFlags::HUGEPAGE, "hg "),
    (VmFlags::NOHUGEPAGE, "nh "),
];

/// `/proc/PID/smaps`.
pub fn smaps(subject: &Subject, from: u64, out: &mut Text) -> Result<Option<u64>, Errno> {
    let mut part = Part::new(from);
    if let Some(mm) = subject.task()?.mm() {
        mm.survey(from, &mut |vma, sum| part.add(out, vma.end, |out| area(out, vma, sum)));
    }
    Ok(part.next)
}

fn area(out: &mut Text, vma: &VmaInfo<'_>, sum: &Resident) {
    line(out, vma);
    row(out, "Size:", (vma.end - vma.start) / 1024);
    row(out, "KernelPageSize:", PAGE_KIB);
    row(out, "MMUPageSize:", PAGE_KIB);
    figures(out, sum, false);
    // There are no huge pages.
    out.left("THPeligible:", LABEL).dec_width(0, 8).ch('\n');
    flags(out, vma);
}

/// `/proc/PID/smaps_rollup`.
pub fn rollup(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let mm = subject.task()?.mm().ok_or(Errno::ESRCH)?;
    let (mut first, mut last) = (None, 0);
    let mut sum = Resident::default();
    mm.survey(0, &mut |vma, area| {
        first.get_or_insert(vma.start);
        last = vma.end;
        sum.merge(area);
        true
    });
    let start = out.position();
    out.hex(first.unwrap_or(0), 8).ch('-').hex(last, 8).str(" ---p 00000000 00:00 0 ");
    let width = out.position() - start;
    out.pad(' ', NAME_COLUMN.saturating_sub(width)).str("[rollup]\n");
    figures(out, &sum, true);
    Ok(())
}

/// Width of the names of figures.
const LABEL: usize = 16;

fn row(out: &mut Text, name: &str, kib: u64) {
    // The longest name takes a column of the number's.
    out.left(name, LABEL).dec_width(kib, 8 - name.len().saturating_sub(LABEL)).str(" kB\n");
}

/// The figures that areas and whole address spaces have. There are no huge pages, no merged ones and no swap.
fn figures(out: &mut Text, sum: &Resident, whole: bool) {
    let pages = |count: u64| count * PAGE_KIB;
    let share = |pss: u64| (pss >> PSS_SHIFT) / 1024;
    row(out, "Rss:", pages(sum.rss));
    row(out, "Pss:", share(sum.pss));
    row(out, "Pss_Dirty:", share(sum.pss_dirty));
    if whole {
        row(out, "Pss_Anon:", share(sum.pss_anon));
        row(out, "Pss_File:", share(sum.pss_file));
        row(out, "Pss_Shmem:", share(sum.pss_shmem));
    }
    row(out, "Shared_Clean:", pages(sum.shared_clean));
    row(out, "Shared_Dirty:", pages(sum.shared_dirty));
    row(out, "Private_Clean:", pages(sum.private_clean));
    row(out, "Private_Dirty:", pages(sum.private_dirty));
    row(out, "Referenced:", pages(sum.referenced));
    row(out, "Anonymous:", pages(sum.anonymous));
    let absent = [
        "KSM:",
        "LazyFree:",
        "AnonHugePages:",
        "ShmemPmdMapped:",
        "FilePmdMapped:",
        "Shared_Hugetlb:",
        "Private_Hugetlb: ",
    ];
    for name in absent {
        row(out, name, 0);
    }
    row(out, "Swap:", 0);
    row(out, "SwapPss:", 0);
    row(out, "Locked:", share(sum.pss_locked));
}

fn flags(out: &mut Text, vma: &VmaInfo<'_>) {
    let special = matches!(vma.name, VmaName::Special(_));
    out.str("VmFlags: ");
    for (flag, name) in [(VmFlags::READ, "rd "), (VmFlags::WRITE, "wr "), (VmFlags::EXEC, "ex ")] {
        out.str(if vma.flags.contains(flag) { name } else { "" });
    }
    // A shared mapping of a file that was opened for reading never stores to it.
    if vma.shared && vma.flags.contains(VmFlags::MAYWRITE) {
        out.str("sh ");
    }
    for (flag, name) in MNEMONICS {
        if vma.flags.contains(flag) && !(special && flag == VmFlags::SHARED) {
            out.str(name);
        }
        if flag == VmFlags::LOCKED && special && !vma.flags.contains(VmFlags::EXEC) {
            out.str("io ");
        }
    }
    if vma.flags.contains(VmFlags::DROPPABLE) {
        out.str("dp ");
    }
    out.ch('\n');
}

/// What a write to `clear_refs` names.
mod clear {
    pub const ALL: i32 = 1;
    pub const ANON: i32 = 2;
    pub const MAPPED: i32 = 3;
}

/// Writing `clear_refs`. Soft-dirty marks (4) are not kept; the peak of what was resident (5) is what is resident now.
pub fn clear_refs(subject: &Subject, _: &File, input: &[u8]) -> Result<(), Errno> {
    let kind: i32 = number::signed(number::strip(input), 10)?;
    if !(clear::ALL..=clear::MAPPED).contains(&kind) {
        return Err(Errno::EINVAL);
    }
    if let Some(mm) = subject.task()?.mm() {
        mm.forget_accesses(&|vma| {
            let file = matches!(vma.name, VmaName::File(_) | VmaName::Shared(_));
            match kind {
                clear::ANON => !file,
                clear::MAPPED => file,
                _ => true,
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_linuxs_columns() {
        let mut out = Text::new();
        row(&mut out, "Rss:", 12);
        row(&mut out, "Private_Hugetlb: ", 0);
        assert_eq!(out.finish().unwrap(), b"Rss:                  12 kB\nPrivate_Hugetlb:       0 kB\n");
    }
}
