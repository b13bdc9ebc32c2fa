//! Parsers of what firmware and loader leave in memory: bytes in, plain values out. No hardware is touched here, so that all of
//! it is tested on the host. Every length and offset is checked: tables are input.
//!
//! Sources: ACPI specification 6.5 (chapters 4.8, 5.2), MultiProcessor Specification 1.4 (chapter 4), PVH boot ABI.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod acpi;
pub mod cmos;
pub mod mp;
pub mod pvh;

use alloc::vec::Vec;

/// What the interrupt tables say.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Topology {
    /// APIC ids of usable CPUs.
    pub cpus: Vec<u32>,
    /// I/O APICs: physical address and first global line.
    pub io_apics: Vec<(u64, u32)>,
    /// ISA interrupts that are not wired one to one.
    pub overrides: Vec<Override>,
}

/// How one ISA interrupt is wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// ISA interrupt.
    pub isa: u8,
    /// Global line.
    pub gsi: u32,
    /// Active low.
    pub low: bool,
    /// Level triggered.
    pub level: bool,
}

/// Little-endian fields of a byte slice.
pub(crate) trait Bytes {
    fn u8_at(&self, at: usize) -> Option<u8>;
    fn u16_at(&self, at: usize) -> Option<u16>;
    fn u32_at(&self, at: usize) -> Option<u32>;
    fn u64_at(&self, at: usize) -> Option<u64>;
}

impl Bytes for [u8] {
    fn u8_at(&self, at: usize) -> Option<u8> {
        self.get(at).copied()
    }
    fn u16_at(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }
    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }
    fn u64_at(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }
}

/// Whether all bytes add up to 0.
pub(crate) fn sums_to_zero(b: &[u8]) -> bool {
    b.iter().fold(0u8, |s, v| s.wrapping_add(*v)) == 0
}

/// One `virtio_mmio.device=SIZE@BASE:IRQ` word of the command line: (base, size, irq).
pub fn virtio_mmio_word(word: &str) -> Option<(u64, u64, u32)> {
    let rest = word.strip_prefix("virtio_mmio.device=")?;
    let (size, rest) = rest.split_once('@')?;
    let mut parts = rest.split(':');
    let base = number(parts.next()?)?;
    let irq = u32::try_from(number(parts.next()?)?).ok()?;
    let (digits, shift) = match size.as_bytes().last()? {
        b'K' | b'k' => (&size[..size.len() - 1], 10),
        b'M' | b'm' => (&size[..size.len() - 1], 20),
        _ => (size, 0),
    };
    let size = number(digits)?.checked_shl(shift)?;
    (size >= 0x100).then_some((base, size, irq))
}

fn number(s: &str) -> Option<u64> {
    match s.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => s.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_table_makes_a_parser_panic(mut table in prop::collection::vec(any::<u8>(), 0..600), start in 0usize..6) {
            let starts: [&[u8]; 6] = [b"", b"RSD PTR ", b"PCMP", b"_S5_\x12", b"LNRO0005\x86\x09\x00", b"\x78\xc5\x6e\x33\x01\0\0\0"];
            table.splice(..0, starts[start].iter().copied());
            if start == 2
                && let Some(length) = table.get_mut(4..6)
            {
                length.copy_from_slice(&600u16.to_le_bytes());
                table.resize(600, 0);
                table[7] = table[7].wrapping_sub(table.iter().fold(0, |sum, b| sum.wrapping_add(*b)));
            }
            let _ = (acpi::root(&table), acpi::find_root(&table), acpi::length(&table), acpi::entries(&table, true));
            let _ = (acpi::madt(&table), acpi::fixed(&table), acpi::mcfg(&table));
            let _ = (acpi::s5_type(&table), acpi::virtio_devices(&table));
            let _ = (mp::find(&table), mp::parse(&table));
            let _ = (pvh::parse(&table), pvh::ram_entry(&table), pvh::module(&table));
        }
        #[test]
        fn no_word_makes_a_parser_panic(size in "[0-9a-fxKMk]{0,20}", rest in any::<std::string::String>()) {
            let _ = virtio_mmio_word(&std::format!("virtio_mmio.device={size}@{rest}"));
        }
    }

    #[test]
    fn virtio_words_parse_as_qemu_and_firecracker_write_them() {
        assert_eq!(virtio_mmio_word("virtio_mmio.device=512@0xfeb00e00:12"), Some((0xfeb0_0e00, 512, 12)));
        assert_eq!(virtio_mmio_word("virtio_mmio.device=4K@0xd0000000:5"), Some((0xd000_0000, 4096, 5)));
        assert_eq!(virtio_mmio_word("virtio_mmio.device=4K@0xd0000000:5:1"), Some((0xd000_0000, 4096, 5)));
        for bad in ["virtio_mmio.device=", "virtio_mmio.device=K@1:2", "virtio_mmio.device=512@1", "quiet"] {
            assert_eq!(virtio_mmio_word(bad), None, "{bad}");
        }
    }
}
