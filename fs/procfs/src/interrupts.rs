//! `/proc/interrupts` and the `intr` line of /proc/stat (proc_interrupts(5), proc_stat(5)): what each CPU was interrupted by, and how often.

use crate::text::Text;
use abi::Errno;
use alloc::vec::Vec;
use machine::cpu::{self, CpuId};
use machine::irq::{Source, Vector, Wire, sources};

/// Columns of an interrupt's number or sign.
const SIGN: usize = 4;
/// Columns of a count.
const COUNT: usize = 10;
/// Columns of the longest kind of controller with a name of its own.
const CHIP: usize = 7;

fn counts(vector: Vector) -> impl Iterator<Item = u64> {
    (0..cpu::count() as u32).map(move |i| vector.count(CpuId(i)))
}

/// The file.
pub fn show(out: &mut Text) -> Result<(), Errno> {
    let rows: Vec<_> = sources().into_iter().map(|(vector, source)| (source, counts(vector).collect())).collect();
    table(out, cpu::count(), &rows);
    Ok(())
}

fn table(out: &mut Text, cpus: usize, rows: &[(Source, Vec<u64>)]) {
    out.pad(' ', SIGN + 8);
    for i in 0..cpus {
        out.left(&alloc::format!("CPU{i}"), 11);
    }
    out.ch('\n');
    for (source, counts) in rows {
        match source {
            Source::Device { number, .. } => out.dec_width((*number).into(), SIGN),
            Source::Timer => out.str(" LOC"),
            Source::Spurious => out.str(" SPU"),
            Source::Kick => out.str(" RES"),
            Source::Tlb => out.str(" TLB"),
        };
        out.ch(':');
        for count in counts {
            out.ch(' ').dec_width(*count, COUNT);
        }
        out.str("  ");
        match source {
            Source::Device { wire: Wire::Line { number, level }, name, .. } => {
                out.left("IO-APIC", CHIP).ch(' ').dec_width((*number).into(), SIGN).ch('-');
                out.left(if *level { "fasteoi" } else { "edge" }, 8).str("  ").str(name);
            }
            // Each device sends the first of its messages only.
            Source::Device { wire: Wire::Message, name, .. } => {
                out.left("PCI-MSIX", CHIP).ch(' ').dec_width(0, SIGN).ch('-').left("edge", 8).str("  ").str(name);
            }
            Source::Timer => drop(out.str("Local timer interrupts")),
            Source::Spurious => drop(out.str("Spurious interrupts")),
            Source::Kick => drop(out.str("Rescheduling interrupts")),
            Source::Tlb => drop(out.str("TLB shootdowns")),
        }
        out.ch('\n');
    }
}

/// The line of /proc/stat: all interrupts, then those of the devices by their number.
pub fn stat_line(out: &mut Text) {
    let rows: Vec<_> = sources().into_iter().map(|(vector, source)| (source, counts(vector).sum())).collect();
    line(out, &rows);
}

fn line(out: &mut Text, rows: &[(Source, u64)]) {
    out.str("intr ").dec(rows.iter().map(|(_, count)| count).sum());
    let mut next = 0;
    for (source, count) in rows {
        if let Source::Device { number, .. } = source {
            while next < *number {
                out.str(" 0");
                next += 1;
            }
            out.ch(' ').dec(*count);
            next += 1;
        }
    }
    out.ch('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::{format, vec};

    fn device(number: u32, wire: Wire, name: &str) -> Source {
        Source::Device { number, wire, name: name.into() }
    }

    fn rows() -> Vec<(Source, Vec<u64>)> {
        vec![
            (device(4, Wire::Line { number: 4, level: false }, "ttyS0"), vec![12, 0]),
            (device(24, Wire::Message, "virtio1"), vec![3, 7]),
            (Source::Timer, vec![100, 20]),
        ]
    }

    #[test]
    fn rows_have_linuxs_columns() {
        let mut out = Text::new();
        table(&mut out, 2, &rows());
        let text = String::from_utf8(out.finish().unwrap()).unwrap();
        assert_eq!(
            text,
            "            CPU0       CPU1       \n   \
             4:         12          0  IO-APIC    4-edge      ttyS0\n  \
             24:          3          7  PCI-MSIX    0-edge      virtio1\n \
             LOC:        100         20  Local timer interrupts\n"
        );
    }

    #[test]
    fn the_line_of_stat_has_a_place_for_each_number() {
        let mut out = Text::new();
        let sums: Vec<_> = rows().into_iter().map(|(source, counts)| (source, counts.iter().sum())).collect();
        line(&mut out, &sums[..1]);
        line(&mut out, &sums[1..]);
        assert_eq!(out.finish().unwrap(), format!("intr 12 0 0 0 0 12\nintr 130{} 10\n", " 0".repeat(24)).into_bytes());
    }
}
