//! What a queue and a device need of the way they are attached.

use crate::addr::PhysAddr;
use alloc::boxed::Box;
use alloc::string::String;

/// Device status bits.
pub struct Status;

#[allow(missing_docs)]
impl Status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const FAILED: u8 = 128;
}

/// Where the three parts of a split queue lie.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_os = "none"), allow(dead_code))] // no device reads them on a host
pub struct Rings {
    /// Descriptor table.
    pub desc: PhysAddr,
    /// Available ring.
    pub avail: PhysAddr,
    /// Used ring.
    pub used: PhysAddr,
}

/// One attached device.
pub trait Transport: Send + Sync {
    /// Device type.
    fn device_id(&self) -> u32;
    /// Stops the device and waits until it has stopped.
    fn reset(&self);
    /// Status bits.
    fn status(&self) -> u8;
    /// Sets status bits.
    fn add_status(&self, bits: u8);
    /// Offered features.
    fn device_features(&self) -> u64;
    /// Accepts features.
    fn set_driver_features(&self, features: u64);
    /// Largest size of a queue, 0 if there is none.
    fn queue_max(&self, index: u16) -> u16;
    /// Enables a queue; false if the device refuses.
    fn set_queue(&self, index: u16, size: u16, rings: Rings) -> bool;
    /// Tells the device of new buffers.
    fn notify(&self, index: u16);
    /// Reads configuration bytes.
    fn read_config(&self, off: usize, buf: &mut [u8]);
    /// Changes whenever the configuration does.
    fn config_generation(&self) -> u32;
    /// Connects the interrupt of the device of this name; false if there is none.
    fn connect(&self, name: String, handler: Box<dyn Fn() + Send + Sync>) -> bool;
}
