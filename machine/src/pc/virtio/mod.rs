//! The ways a virtio device is attached to a PC, and finding them all.

mod mmio;
mod pci;

use super::{acpi, boot};
use crate::virtio::transport::Transport;
use alloc::sync::Arc;
use alloc::vec::Vec;
use firmware::virtio_mmio_word;

/// Devices named on the command line, in the microvm's tables, and on the PCI bus.
pub fn find() -> Vec<Arc<dyn Transport>> {
    let mut found: Vec<Arc<dyn Transport>> = Vec::new();
    let words = boot::cmdline().split_ascii_whitespace().filter_map(virtio_mmio_word);
    let mut places: Vec<(u64, u64, u32)> = words.collect();
    if places.is_empty() {
        places.extend_from_slice(acpi::virtio_devices());
    }
    for (base, size, irq) in places {
        if let Some(t) = mmio::Mmio::probe(base, size, irq) {
            found.push(Arc::new(t));
        }
    }
    pci::find(&mut found);
    found
}
