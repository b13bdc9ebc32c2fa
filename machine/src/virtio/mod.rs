//! virtio devices: discovery, negotiation, queues; the transport (memory-mapped or PCI) does not show.
//!
//! A driver takes a device with [`take`], calls [`VirtioDevice::negotiate`], makes its queues, sets the interrupt handler and calls
//! [`VirtioDevice::start`]. Buffers are pieces of frames; a queue holds a reference to each frame while the device owns it, and
//! whoever drops a queue resets the device first, so a device never writes memory that has another owner. What the device
//! says (used ids, lengths) is checked. Source: virtio 1.2, chapters 2 and 4.

mod queue;
pub(crate) mod transport;

use crate::imp;
use crate::sync::{IrqLock, Once};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub use queue::{Seg, SubmitError, VirtQueue};
use transport::{Status, Transport};

/// Feature bits that every device may have.
pub mod feature {
    /// Descriptors in a table of their own.
    pub const INDIRECT: u64 = 1 << 28;
    /// The modern interface (required).
    pub const VERSION_1: u64 = 1 << 32;
}

/// Device types.
pub mod id {
    /// Network card.
    pub const NET: u32 = 1;
    /// Block device.
    pub const BLOCK: u32 = 2;
    /// Console.
    pub const CONSOLE: u32 = 3;
    /// Entropy source.
    pub const RNG: u32 = 4;
    /// 9P transport.
    pub const P9: u32 = 9;
    /// vsock.
    pub const VSOCK: u32 = 19;
}

/// Why a device cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VirtioError {
    /// It does not accept the features.
    Features,
    /// It has no such queue.
    NoQueue,
    /// No memory for the queue.
    Memory,
    /// No interrupt line or vector.
    Interrupt,
}

/// A device that a driver has taken.
pub struct VirtioDevice {
    /// Its place among all that were found.
    number: u32,
    transport: Arc<dyn Transport>,
    features: u64,
}

/// A device with its place among all.
type Numbered = (u32, Arc<dyn Transport>);

/// Devices that nobody has taken.
static FOUND: Once<IrqLock<Vec<Numbered>>> = Once::new();

fn found() -> &'static IrqLock<Vec<Numbered>> {
    FOUND.get_or_init(|| IrqLock::new((0..).zip(imp::virtio::find()).collect()))
}

/// Takes the first device of this type that nobody has taken.
pub fn take(id: u32) -> Option<VirtioDevice> {
    take_if(id, |_| true)
}

/// Takes the first device of this type whose configuration `wanted` likes (several 9P shares differ by their tag).
pub fn take_if(id: u32, wanted: impl Fn(&VirtioDevice) -> bool) -> Option<VirtioDevice> {
    let mut list = found().lock();
    let device = |(number, transport)| VirtioDevice { number, transport, features: 0 };
    let at = list.iter().position(|entry| entry.1.device_id() == id && wanted(&device(entry.clone())))?;
    Some(device(list.remove(at)))
}

/// Types of the devices not taken yet, in the order found.
pub fn untaken() -> Vec<u32> {
    found().lock().iter().map(|(_, t)| t.device_id()).collect()
}

impl VirtioDevice {
    /// Its type.
    pub fn id(&self) -> u32 {
        self.transport.device_id()
    }

    /// Reads the device's configuration space from `off`; bytes beyond its end read as the transport gives them.
    pub fn read_config(&self, off: usize, buf: &mut [u8]) {
        for _ in 0..8 {
            let before = self.transport.config_generation();
            self.transport.read_config(off, buf);
            if self.transport.config_generation() == before {
                break;
            }
        }
    }

    /// Resets the device and agrees on features: those of `wanted` that it offers, and the modern interface. Returns them.
    pub fn negotiate(&mut self, wanted: u64) -> Result<u64, VirtioError> {
        let t = &self.transport;
        t.reset();
        t.add_status(Status::ACKNOWLEDGE | Status::DRIVER);
        let offered = t.device_features();
        if offered & feature::VERSION_1 == 0 {
            return Err(VirtioError::Features);
        }
        let agreed = offered & (wanted | feature::VERSION_1 | feature::INDIRECT);
        t.set_driver_features(agreed);
        t.add_status(Status::FEATURES_OK);
        if t.status() & Status::FEATURES_OK == 0 {
            t.add_status(Status::FAILED);
            return Err(VirtioError::Features);
        }
        self.features = agreed;
        Ok(agreed)
    }

    /// Sets queue `index` up, with at most `max_size` descriptors. After `negotiate`, before `start`.
    pub fn queue(&self, index: u16, max_size: u16) -> Result<VirtQueue, VirtioError> {
        VirtQueue::new(self.transport.clone(), index, max_size, self.features & feature::INDIRECT != 0)
    }

    /// Calls `handler` with interrupts off when the device has used buffers or changed its configuration. Once a device.
    pub fn set_handler(&self, handler: Box<dyn Fn() + Send + Sync>) -> Result<(), VirtioError> {
        let name = alloc::format!("virtio{}", self.number);
        if self.transport.connect(name, handler) { Ok(()) } else { Err(VirtioError::Interrupt) }
    }

    /// Lets the device run.
    pub fn start(&self) {
        self.transport.add_status(Status::DRIVER_OK);
    }
}
