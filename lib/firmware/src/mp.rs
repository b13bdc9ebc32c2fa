//! The MultiProcessor tables: CPUs and I/O APICs where there is no ACPI (microvm with `acpi=off`, Firecracker).

use super::{Bytes, Override, Topology, sums_to_zero};

/// Finds the floating pointer in a stretch of memory; the physical address of the configuration table.
pub fn find(area: &[u8]) -> Option<u64> {
    area.chunks_exact(16)
        .find(|c| c.u32_at(0) == Some(u32::from_le_bytes(*b"_MP_")) && sums_to_zero(c))
        .and_then(|c| c.u32_at(4))
        .filter(|a| *a != 0)
        .map(u64::from)
}

/// Length of the table that begins with these bytes.
pub fn length(header: &[u8]) -> Option<usize> {
    header.starts_with(b"PCMP").then(|| header.u16_at(4))?.map(usize::from)
}

/// Parses the configuration table.
pub fn parse(table: &[u8]) -> Option<Topology> {
    let len = length(table)?;
    let table = table.get(..len)?;
    if !sums_to_zero(table) {
        return None;
    }
    let mut t = Topology::default();
    let mut isa_bus = None;
    let mut at = 44;
    // To the length: QEMU's qboot leaves the number of entries 0.
    while at < len {
        let kind = table.u8_at(at)?;
        let entry = table.get(at..)?;
        match kind {
            0 => {
                // Usable?
                if entry.u8_at(3)? & 1 != 0 {
                    t.cpus.push(u32::from(entry.u8_at(1)?));
                }
                at += 20;
                continue;
            }
            1 if entry.get(2..5)? == b"ISA" => isa_bus = entry.u8_at(1),
            2 if entry.u8_at(3)? & 1 != 0 => {
                // MP tables do not say where lines begin: with more than one chip they follow each other by 24.
                let base = 24 * t.io_apics.len() as u32;
                t.io_apics.push((u64::from(entry.u32_at(4)?), base));
            }
            3 if entry.u8_at(1)? == 0 && entry.u8_at(4) == isa_bus && isa_bus.is_some() => {
                let (flags, isa, pin) = (entry.u16_at(2)?, entry.u8_at(5)?, entry.u8_at(7)?);
                let o = Override { isa, gsi: u32::from(pin), low: flags & 3 == 3, level: flags >> 2 & 3 == 3 };
                if o.gsi != u32::from(isa) || o.low || o.level {
                    t.overrides.push(o);
                }
            }
            1..=4 => {}
            _ => break,
        }
        at += 8;
    }
    Some(t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn table(entries: &[&[u8]]) -> Vec<u8> {
        let mut b = vec![0u8; 44];
        b[..4].copy_from_slice(b"PCMP");
        for e in entries {
            b.extend_from_slice(e);
        }
        let len = b.len() as u16;
        b[4..6].copy_from_slice(&len.to_le_bytes());
        let sum = b.iter().fold(0u8, |s, v| s.wrapping_add(*v));
        b[7] = sum.wrapping_neg();
        b
    }

    fn cpu(id: u8, usable: u8) -> [u8; 20] {
        let mut e = [0; 20];
        e[1] = id;
        e[3] = usable;
        e
    }

    #[test]
    fn usable_cpus_and_chips_are_listed() {
        let chip = [2, 7, 0x11, 1, 0, 0, 0xc0, 0xfe];
        let bus = [1, 3, b'I', b'S', b'A', b' ', b' ', b' '];
        let irq = [3, 0, 0, 0, 3, 0, 7, 2];
        let t = parse(&table(&[&cpu(0, 3), &cpu(1, 1), &cpu(2, 0), &bus, &chip, &irq])).unwrap();
        assert_eq!(t.cpus, [0, 1]);
        assert_eq!(t.io_apics, [(0xfec0_0000, 0)]);
        assert_eq!(t.overrides, [Override { isa: 0, gsi: 2, low: false, level: false }]);
    }

    #[test]
    fn damaged_tables_are_refused() {
        let good = table(&[&cpu(0, 1)]);
        for cut in 0..good.len() {
            assert_eq!(parse(&good[..cut]), None, "{cut}");
        }
        let mut bad = good.clone();
        bad[45] ^= 1;
        assert_eq!(parse(&bad), None);
    }
}
