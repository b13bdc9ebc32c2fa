//! ACPI's static tables, and the two facts needed from AML, found by pattern: the sleep type of S5 and the microvm's virtio
//! devices.

use super::{Bytes, Override, Topology, sums_to_zero};
use alloc::vec::Vec;

/// Bytes of a table header.
pub const HEADER: usize = 36;

/// Root table: physical address, and whether its entries are 64 bits wide.
pub fn root(rsdp: &[u8]) -> Option<(u64, bool)> {
    if !rsdp.starts_with(b"RSD PTR ") || !sums_to_zero(rsdp.get(..20)?) {
        return None;
    }
    let xsdt = if rsdp.u8_at(15)? >= 2 { rsdp.u64_at(24).unwrap_or(0) } else { 0 };
    if xsdt != 0 { Some((xsdt, true)) } else { Some((u64::from(rsdp.u32_at(16)?), false)) }
}

/// Offset of the root pointer in a stretch of memory.
pub fn find_root(area: &[u8]) -> Option<usize> {
    let signature = u64::from_le_bytes(*b"RSD PTR ");
    let mut chunks = area.chunks_exact(16).enumerate();
    chunks.find_map(|(i, c)| {
        let at = 16 * i;
        (c.u64_at(0) == Some(signature) && root(&area[at..]).is_some()).then_some(at)
    })
}

/// Length of the table that begins with these bytes.
pub fn length(header: &[u8]) -> Option<usize> {
    header.u32_at(4).map(|n| n as usize).filter(|n| (HEADER..1 << 20).contains(n))
}

/// Addresses in the root table.
pub fn entries(table: &[u8], wide: bool) -> Vec<u64> {
    let body = table.get(HEADER..).unwrap_or(&[]);
    let size = if wide { 8 } else { 4 };
    body.chunks_exact(size).filter_map(|c| if wide { c.u64_at(0) } else { c.u32_at(0).map(u64::from) }).collect()
}

/// Parses the interrupt table ("APIC").
pub fn madt(table: &[u8]) -> Topology {
    let mut t = Topology::default();
    let mut at = HEADER + 8;
    while let Some(e) = table.get(at..)
        && let (Some(kind), Some(len @ 2..)) = (e.u8_at(0), e.u8_at(1))
    {
        let Some(e) = e.get(..usize::from(len)) else { break };
        let _ = entry(kind, e, &mut t);
        at += usize::from(len);
    }
    t
}

fn entry(kind: u8, e: &[u8], t: &mut Topology) -> Option<()> {
    match kind {
        0 if e.u32_at(4)? & 3 != 0 => t.cpus.push(u32::from(e.u8_at(3)?)),
        9 if e.u32_at(8)? & 3 != 0 => t.cpus.push(e.u32_at(4)?),
        1 => t.io_apics.push((u64::from(e.u32_at(4)?), e.u32_at(8)?)),
        2 => {
            let flags = e.u16_at(8)?;
            t.overrides.push(Override {
                isa: e.u8_at(3)?,
                gsi: e.u32_at(4)?,
                low: flags & 3 == 3,
                level: flags >> 2 & 3 == 3,
            });
        }
        _ => {}
    }
    Some(())
}

/// A generic address: false for memory, true for I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// In port space.
    pub io: bool,
    /// Address.
    pub addr: u64,
}

fn register(fadt: &[u8], at: usize) -> Option<Register> {
    let addr = fadt.u64_at(at + 4)?;
    (addr != 0).then_some(Register { io: fadt.u8_at(at)? == 1, addr })
}

/// What the fixed table ("FACP") says about power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Address of the DSDT.
    pub dsdt: u64,
    /// PM1a control port, 0 if none.
    pub pm1a: u16,
    /// Sleep control register of hardware-reduced machines.
    pub sleep: Option<Register>,
    /// Reset register and its value.
    pub reset: Option<(Register, u8)>,
    /// SMI command port and the value that enables ACPI mode.
    pub enable: (u16, u8),
}

/// Parses the fixed table.
pub fn fixed(fadt: &[u8]) -> Option<Fixed> {
    let flags = fadt.u32_at(112)?;
    let wide = fadt.u64_at(140).unwrap_or(0);
    let reset = register(fadt, 116).zip(fadt.u8_at(128)).filter(|_| flags & 1 << 10 != 0);
    Some(Fixed {
        dsdt: if wide != 0 { wide } else { u64::from(fadt.u32_at(40)?) },
        pm1a: u16::try_from(fadt.u32_at(64)?).unwrap_or(0),
        sleep: register(fadt, 244).filter(|_| flags & 1 << 20 != 0),
        reset,
        enable: (u16::try_from(fadt.u32_at(48)?).unwrap_or(0), fadt.u8_at(52)?),
    })
}

/// The sleep type of S5: the first number in the package named `_S5_`.
pub fn s5_type(dsdt: &[u8]) -> Option<u8> {
    let at = dsdt.windows(5).position(|w| w == b"_S5_\x12")?;
    // Package length (1 to 4 bytes), number of elements, then the first element: a byte prefix and value, zero or one.
    let lead = usize::from(dsdt.u8_at(at + 5)? >> 6);
    let first = at + 5 + 1 + lead + 1;
    match dsdt.u8_at(first)? {
        0x0a => dsdt.u8_at(first + 1),
        small @ 0..=1 => Some(small),
        _ => None,
    }
}

/// virtio-mmio devices (`LNRO0005`): base, size, global line.
pub fn virtio_devices(dsdt: &[u8]) -> Vec<(u64, u64, u32)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = dsdt.get(from..).and_then(|b| b.windows(8).position(|w| w == b"LNRO0005")) {
        let start = from + at + 8;
        let body = dsdt.get(start..).unwrap_or(&[]);
        let end = body.windows(8).position(|w| w == b"LNRO0005").unwrap_or(body.len());
        if let Some(d) = resources(&body[..end]) {
            found.push(d);
        }
        from = start;
    }
    found
}

/// The 32-bit memory and the extended interrupt descriptor in a device's resources.
fn resources(body: &[u8]) -> Option<(u64, u64, u32)> {
    let memory = body.windows(3).position(|w| w == [0x86, 9, 0])?;
    let (base, size) = (body.u32_at(memory + 4)?, body.u32_at(memory + 8)?);
    let rest = body.get(memory + 12..)?;
    let irq = rest.windows(3).position(|w| w == [0x89, 6, 0])?;
    Some((u64::from(base), u64::from(size), rest.u32_at(irq + 5)?))
}

/// The configuration space of PCI segment 0 ("MCFG"): base and last bus.
pub fn mcfg(table: &[u8]) -> Option<(u64, u8)> {
    let e = table.get(HEADER + 8..)?;
    (e.u16_at(8)? == 0).then_some((e.u64_at(0)?, e.u8_at(11)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn madt_lists_enabled_cpus_chips_and_overrides() {
        let mut b = vec![0u8; HEADER + 8];
        b.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        b.extend([0, 8, 1, 5, 0, 0, 0, 0]); // not enabled
        b.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        b.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        b.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
        b.extend([0, 0]); // a zero length must end the walk
        let t = madt(&b);
        assert_eq!(t.cpus, [0, 256]);
        assert_eq!(t.io_apics, [(0xfec0_0000, 0)]);
        assert_eq!(t.overrides, [Override { isa: 9, gsi: 9, low: false, level: true }]);
    }

    #[test]
    fn the_sleep_type_is_read_from_its_package() {
        assert_eq!(s5_type(b"xx_S5_\x12\x06\x04\x0a\x05\x0a\x05"), Some(5));
        assert_eq!(s5_type(b"_S5_\x12\x06\x04\x00\x00"), Some(0));
        assert_eq!(s5_type(b"_S5_\x12"), None);
    }

    #[test]
    fn virtio_devices_are_found_in_aml() {
        let mut b = b"..LNRO0005..".to_vec();
        b.extend([0x86, 9, 0, 1, 0, 0x0e, 0xb0, 0xfe, 0, 2, 0, 0]);
        b.extend([0x89, 6, 0, 1, 1, 0x17, 0, 0, 0]);
        b.extend(b"LNRO0005 and nothing else");
        assert_eq!(virtio_devices(&b), [(0xfeb0_0e00, 512, 23)]);
    }
}
