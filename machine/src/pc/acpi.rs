//! Reads the firmware's tables through device mappings and keeps what is needed later.

use super::{irq, mem, paging};
use crate::sync::Once;
use alloc::vec::Vec;
use firmware::{Topology, acpi, mp};

/// How to power off.
#[derive(Clone, Copy)]
pub enum PowerOff {
    /// Write a word to a port.
    Port16(u16, u16),
    /// Write a byte to a mapped register.
    Memory8(u64, u8),
}

#[derive(Default)]
struct Facts {
    off: Option<PowerOff>,
    reset: Option<(u64, u8)>,
    virtio: Vec<(u64, u64, u32)>,
    mcfg: Option<(u64, u8)>,
}

static FACTS: Once<Facts> = Once::new();

/// Physical memory as bytes, mapped for good. Firmware tables do not change under us (a host that does it breaks only what it
/// could break anyway: every parser checks its input).
pub fn physical(addr: u64, len: usize) -> Option<&'static [u8]> {
    let end = addr.checked_add(len as u64)?;
    let (first, last) = (addr >> 12, end.div_ceil(4096));
    // Memory that the kernel owns must not get a second, uncached name.
    if (first..last).any(|p| mem::meta(p as u32).is_some_and(|m| m.state() != mem::KIND_RESERVED)) {
        return None;
    }
    let va = paging::map_device(addr, len as u64)?;
    // SAFETY: just mapped, never unmapped, and not memory that Rust code writes.
    Some(unsafe { core::slice::from_raw_parts(va as *const u8, len) })
}

fn table(addr: u64) -> Option<&'static [u8]> {
    let len = acpi::length(physical(addr, acpi::HEADER)?)?;
    physical(addr, len)
}

/// Finds CPUs and interrupt chips, and remembers the rest. `rsdp` is 0 if the loader does not tell it.
pub fn init(rsdp: u64) -> Topology {
    let mut facts = Facts::default();
    let mut topology = None;
    let bios = || physical(0xe0000, 0x20000);
    let rsdp = match rsdp {
        0 => bios().and_then(|b| acpi::find_root(b).and_then(|at| b.get(at..))),
        addr => physical(addr, 36),
    };
    if let Some((root, wide)) = rsdp.and_then(acpi::root)
        && let Some(root) = table(root)
    {
        for t in acpi::entries(root, wide).into_iter().filter_map(table) {
            match t.get(..4) {
                Some(b"APIC") => topology = Some(acpi::madt(t)),
                Some(b"FACP") => power(t, &mut facts),
                Some(b"MCFG") => facts.mcfg = acpi::mcfg(t),
                _ => {}
            }
        }
    }
    let _ = FACTS.set(facts);
    let t = topology.or_else(|| {
        // The extended BIOS data area's first KiB, the last KiB of base memory, the BIOS.
        let ebda = physical(0x40e, 2).map_or(0, |b| u64::from(u16::from_le_bytes([b[0], b[1]])) << 4);
        let areas = [(0x9fc00, 1024), (ebda, 1024), (0xf0000, 0x10000), (0xe0000, 0x10000)];
        let found = areas.into_iter().filter(|a| a.0 != 0).find_map(|(at, n)| mp::find(physical(at, n)?))?;
        mp::parse(physical(found, mp::length(physical(found, 44)?)?)?)
    });
    let mut t = t.unwrap_or_default();
    if t.io_apics.is_empty() {
        t.io_apics.push((0xfec0_0000, 0));
    }
    for (addr, base) in &t.io_apics {
        irq::add_chip(*addr, *base);
    }
    for o in &t.overrides {
        irq::add_override(o.isa, irq::Wiring { gsi: o.gsi, low: o.low, level: o.level });
    }
    t
}

fn power(fadt: &[u8], facts: &mut Facts) {
    let Some(fixed) = acpi::fixed(fadt) else { return };
    let dsdt = table(fixed.dsdt).unwrap_or(&[]);
    facts.virtio = acpi::virtio_devices(dsdt);
    let map = |r: acpi::Register| if r.io { None } else { paging::map_device(r.addr, 1) };
    facts.reset = fixed.reset.and_then(|(r, v)| Some((map(r)?, v)));
    let Some(kind) = acpi::s5_type(dsdt) else { return };
    facts.off = match fixed.sleep {
        Some(r) => map(r).map(|va| PowerOff::Memory8(va, kind << 2 | 1 << 5)),
        None if fixed.pm1a != 0 => Some(PowerOff::Port16(fixed.pm1a, u16::from(kind) << 10 | 1 << 13)),
        None => None,
    };
}

/// How the tables say to power off.
pub fn power_off() -> Option<PowerOff> {
    FACTS.get()?.off
}

/// Mapped reset register and its value.
pub fn reset_register() -> Option<(u64, u8)> {
    FACTS.get()?.reset
}

/// virtio-mmio devices in the tables.
pub fn virtio_devices() -> &'static [(u64, u64, u32)] {
    FACTS.get().map_or(&[], |f| &f.virtio)
}

/// PCI configuration space: physical base and last bus.
pub fn mcfg() -> Option<(u64, u8)> {
    FACTS.get()?.mcfg
}
