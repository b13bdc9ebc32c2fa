//! PVH start info: where command line, initrd, memory map and ACPI root are.

use super::Bytes;

const MAGIC: u32 = 0x336e_c578;
/// Bytes of the structure (version 1).
pub const SIZE: usize = 56;
/// Bytes of a memory map entry.
pub const ENTRY: usize = 24;

/// The parsed structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Physical address of the command line, 0 if none.
    pub cmdline: u64,
    /// Physical address and number of module entries.
    pub modules: (u64, u32),
    /// ACPI root pointer, 0 if unknown.
    pub rsdp: u64,
    /// Physical address and number of memory map entries.
    pub map: (u64, u32),
}

/// Parses the structure.
pub fn parse(b: &[u8]) -> Option<StartInfo> {
    if b.u32_at(0)? != MAGIC {
        return None;
    }
    let version = b.u32_at(4)?;
    Some(StartInfo {
        modules: (b.u64_at(16)?, b.u32_at(12)?),
        cmdline: b.u64_at(24)?,
        rsdp: b.u64_at(32)?,
        map: if version >= 1 { (b.u64_at(40)?, b.u32_at(48)?) } else { (0, 0) },
    })
}

/// A memory map entry of ordinary RAM: page numbers that lie wholly in it.
pub fn ram_entry(b: &[u8]) -> Option<(u32, u32)> {
    if b.u32_at(16)? != 1 {
        return None;
    }
    let start = b.u64_at(0)?;
    let end = start.checked_add(b.u64_at(8)?)?;
    // Frames are named by 31 bits (8 TiB).
    let page = |a: u64| u32::try_from(a >> 12).unwrap_or(u32::MAX).min(1 << 31);
    let (first, last) = (page(start.checked_add(4095)?), page(end));
    (first < last).then_some((first, last))
}

/// A module entry: address and size.
pub fn module(b: &[u8]) -> Option<(u64, u64)> {
    let (addr, size) = (b.u64_at(0)?, b.u64_at(8)?);
    addr.checked_add(size)?;
    (size > 0).then_some((addr, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn entry(addr: u64, size: u64, kind: u32) -> Vec<u8> {
        let mut b = vec![];
        b.extend(addr.to_le_bytes());
        b.extend(size.to_le_bytes());
        b.extend(kind.to_le_bytes());
        b.extend([0; 4]);
        b
    }

    #[test]
    fn ram_entries_shrink_to_whole_pages_and_others_are_skipped() {
        assert_eq!(ram_entry(&entry(0, 0x9fc00, 1)), Some((0, 0x9f)));
        assert_eq!(ram_entry(&entry(0x1001, 0x3000, 1)), Some((2, 4)));
        assert_eq!(ram_entry(&entry(0x1001, 0x10, 1)), None);
        assert_eq!(ram_entry(&entry(0, 0x1000, 2)), None);
        assert_eq!(ram_entry(&entry(u64::MAX - 5, 100, 1)), None);
        assert_eq!(ram_entry(&[0; 10]), None);
    }

    #[test]
    fn start_info_needs_its_magic() {
        let mut b = [0; SIZE];
        assert_eq!(parse(&b), None);
        b[..4].copy_from_slice(&MAGIC.to_le_bytes());
        b[24] = 7;
        b[40] = 9;
        assert_eq!(parse(&b).map(|s| (s.cmdline, s.map.0)), Some((7, 0)));
        b[4] = 1;
        assert_eq!(parse(&b).map(|s| s.map.0), Some(9));
    }
}
