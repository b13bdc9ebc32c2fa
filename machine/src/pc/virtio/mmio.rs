//! virtio over memory-mapped registers (virtio 1.2, 4.2), version 2.

use super::super::irq::{self, Wiring};
use super::super::{paging, x86};
use crate::sync::IrqLock;
use crate::virtio::transport::{Rings, Transport};
use alloc::boxed::Box;
use alloc::string::String;

const MAGIC: u64 = 0x00;
const VERSION: u64 = 0x04;
const DEVICE_ID: u64 = 0x08;
const DEVICE_FEATURES: u64 = 0x10;
const DEVICE_FEATURES_SEL: u64 = 0x14;
const DRIVER_FEATURES: u64 = 0x20;
const DRIVER_FEATURES_SEL: u64 = 0x24;
const QUEUE_SEL: u64 = 0x30;
const QUEUE_NUM_MAX: u64 = 0x34;
const QUEUE_NUM: u64 = 0x38;
const QUEUE_READY: u64 = 0x44;
const QUEUE_NOTIFY: u64 = 0x50;
const INTERRUPT_STATUS: u64 = 0x60;
const INTERRUPT_ACK: u64 = 0x64;
const STATUS: u64 = 0x70;
const QUEUE_DESC: u64 = 0x80;
const QUEUE_AVAIL: u64 = 0x90;
const QUEUE_USED: u64 = 0xa0;
const GENERATION: u64 = 0xfc;
const CONFIG: u64 = 0x100;

/// The registers of one device.
#[derive(Clone, Copy)]
struct Registers {
    base: u64,
    size: u64,
}

impl Registers {
    fn read(self, reg: u64) -> u32 {
        // SAFETY: `probe` mapped `size` bytes; the constants lie below 0x100, which `probe` checked.
        unsafe { x86::mmio_read32(self.base + reg) }
    }
    fn write(self, reg: u64, v: u32) {
        // SAFETY: as in `read`; ring addresses come from frames that the queue owns.
        unsafe { x86::mmio_write32(self.base + reg, v) }
    }
}

pub struct Mmio {
    regs: Registers,
    id: u32,
    gsi: u32,
    /// Orders the pairs of select and access.
    select: IrqLock<()>,
}

impl Mmio {
    /// Looks for a device at a physical address.
    pub fn probe(phys: u64, size: u64, gsi: u32) -> Option<Mmio> {
        if size < CONFIG || !phys.is_multiple_of(4) {
            return None;
        }
        let regs = Registers { base: paging::map_device(phys, size)?, size };
        if regs.read(MAGIC) != 0x7472_6976 || regs.read(VERSION) != 2 {
            return None;
        }
        let id = regs.read(DEVICE_ID);
        (id != 0).then_some(Mmio { regs, id, gsi, select: IrqLock::new(()) })
    }

    fn write64(&self, reg: u64, v: u64) {
        self.regs.write(reg, v as u32);
        self.regs.write(reg + 4, (v >> 32) as u32);
    }
}

impl Transport for Mmio {
    fn device_id(&self) -> u32 {
        self.id
    }
    fn reset(&self) {
        self.regs.write(STATUS, 0);
        while self.regs.read(STATUS) != 0 {
            crate::cpu::relax();
        }
    }
    fn status(&self) -> u8 {
        self.regs.read(STATUS) as u8
    }
    fn add_status(&self, bits: u8) {
        self.regs.write(STATUS, self.regs.read(STATUS) | u32::from(bits));
    }
    fn device_features(&self) -> u64 {
        let _guard = self.select.lock();
        self.regs.write(DEVICE_FEATURES_SEL, 1);
        let high = u64::from(self.regs.read(DEVICE_FEATURES));
        self.regs.write(DEVICE_FEATURES_SEL, 0);
        high << 32 | u64::from(self.regs.read(DEVICE_FEATURES))
    }
    fn set_driver_features(&self, features: u64) {
        let _guard = self.select.lock();
        for half in 0..2 {
            self.regs.write(DRIVER_FEATURES_SEL, half);
            self.regs.write(DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
    }
    fn queue_max(&self, index: u16) -> u16 {
        let _guard = self.select.lock();
        self.regs.write(QUEUE_SEL, u32::from(index));
        self.regs.read(QUEUE_NUM_MAX).min(u32::from(u16::MAX)) as u16
    }
    fn set_queue(&self, index: u16, size: u16, rings: Rings) -> bool {
        let _guard = self.select.lock();
        self.regs.write(QUEUE_SEL, u32::from(index));
        if self.regs.read(QUEUE_READY) != 0 {
            return false;
        }
        self.regs.write(QUEUE_NUM, u32::from(size));
        self.write64(QUEUE_DESC, rings.desc.0);
        self.write64(QUEUE_AVAIL, rings.avail.0);
        self.write64(QUEUE_USED, rings.used.0);
        self.regs.write(QUEUE_READY, 1);
        true
    }
    fn notify(&self, index: u16) {
        self.regs.write(QUEUE_NOTIFY, u32::from(index));
    }
    fn read_config(&self, off: usize, buf: &mut [u8]) {
        for (i, b) in buf.iter_mut().enumerate() {
            let at = CONFIG + (off + i) as u64;
            // SAFETY: a byte inside the mapped registers.
            *b = if at < self.regs.size { unsafe { ((self.regs.base + at) as *const u8).read_volatile() } } else { 0 };
        }
    }
    fn config_generation(&self) -> u32 {
        self.regs.read(GENERATION)
    }
    fn connect(&self, name: String, handler: Box<dyn Fn() + Send + Sync>) -> bool {
        let regs = self.regs;
        irq::register(
            Wiring { gsi: self.gsi, low: false, level: false },
            name,
            Box::new(move || {
                let status = regs.read(INTERRUPT_STATUS);
                if status != 0 {
                    regs.write(INTERRUPT_ACK, status);
                    handler();
                }
            }),
        )
    }
}
