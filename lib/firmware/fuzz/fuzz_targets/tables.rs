//! Any bytes as every table that firmware or loader leaves in memory: nothing, or values that lie within the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ochre_firmware::{acpi, cmos, mp, pvh, virtio_mmio_word};

fuzz_target!(|table: &[u8]| {
    let _ = (acpi::root(table), acpi::length(table), acpi::fixed(table), acpi::mcfg(table), acpi::s5_type(table));
    let _ = (mp::find(table), mp::length(table), pvh::parse(table), pvh::ram_entry(table), pvh::module(table));
    assert!(acpi::find_root(table).is_none_or(|at| at < table.len()));
    assert!(acpi::entries(table, false).len() <= table.len() / 4 && acpi::entries(table, true).len() <= table.len() / 8);
    for found in [acpi::madt(table)].into_iter().chain(mp::parse(table)) {
        assert!(found.cpus.len() + found.io_apics.len() + found.overrides.len() <= table.len());
    }
    assert!(acpi::virtio_devices(table).len() <= table.len());
    if let Ok(word) = core::str::from_utf8(table) {
        let _ = virtio_mmio_word(word);
    }
    if let Some((registers, [status, ..])) = table.split_first_chunk::<6>() {
        let _ = cmos::decode(*registers, *status);
    }
});
