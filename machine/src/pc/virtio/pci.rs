//! virtio over PCI (virtio 1.2, 4.1), modern devices with MSI-X, found through the memory-mapped configuration space.

use super::super::{acpi, cpu, irq, paging};
use crate::sync::IrqLock;
use crate::virtio::transport::{Rings, Transport};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

const VENDOR: u16 = 0x1af4;
const COMMAND: u64 = 0x04;
/// Memory decoding, bus mastering, no INTx.
const COMMAND_BITS: u16 = 0x406;
const CAPABILITIES: u64 = 0x34;
const CAP_VENDOR: u8 = 9;
const CAP_MSIX: u8 = 0x11;
const CFG_COMMON: u8 = 1;
const CFG_NOTIFY: u8 = 2;
const CFG_ISR: u8 = 3;
const CFG_DEVICE: u8 = 4;
const NO_VECTOR: u16 = 0xffff;

/// Common configuration, by offset.
mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0;
    pub const DEVICE_FEATURE: u64 = 4;
    pub const DRIVER_FEATURE_SELECT: u64 = 8;
    pub const DRIVER_FEATURE: u64 = 12;
    pub const CONFIG_MSIX: u64 = 16;
    pub const STATUS: u64 = 20;
    pub const GENERATION: u64 = 21;
    pub const QUEUE_SELECT: u64 = 22;
    pub const QUEUE_SIZE: u64 = 24;
    pub const QUEUE_MSIX: u64 = 26;
    pub const QUEUE_ENABLE: u64 = 28;
    pub const QUEUE_NOTIFY_OFF: u64 = 30;
    pub const QUEUE_DESC: u64 = 32;
    pub const QUEUE_AVAIL: u64 = 40;
    pub const QUEUE_USED: u64 = 48;
    pub const SIZE: u64 = 56;
}

/// A mapped stretch of device registers.
#[derive(Clone, Copy)]
struct Window {
    base: u64,
    len: u64,
}

macro_rules! access {
    ($read:ident, $write:ident, $t:ty) => {
        fn $read(self, at: u64) -> $t {
            if at + size_of::<$t>() as u64 > self.len {
                return 0;
            }
            // SAFETY: inside the mapped window; registers are naturally aligned.
            unsafe { ((self.base + at) as *const $t).read_volatile() }
        }
        #[allow(dead_code)]
        fn $write(self, at: u64, v: $t) {
            if at + size_of::<$t>() as u64 <= self.len {
                // SAFETY: as above; ring addresses come from frames that the queue owns.
                unsafe { ((self.base + at) as *mut $t).write_volatile(v) }
            }
        }
    };
}

impl Window {
    access!(r8, w8, u8);
    access!(r16, w16, u16);
    access!(r32, w32, u32);
}

pub struct Pci {
    id: u32,
    common: Window,
    notify: Window,
    notify_step: u64,
    isr: Window,
    device: Window,
    msix: Option<(Window, u64, Window)>,
    select: IrqLock<()>,
}

/// Adds the virtio devices of bus 0.
pub fn find(found: &mut Vec<Arc<dyn Transport>>) {
    let Some((base, _last_bus)) = acpi::mcfg() else { return };
    for slot in 0..32u64 {
        let Some(va) = paging::map_device(base + (slot << 15), 4096) else { return };
        let config = Window { base: va, len: 4096 };
        // A modern device's id is 0x1040 + type, a transitional one's 0x1000..=0x103f with the type as its subsystem id.
        let id = match (config.r16(0), config.r16(2)) {
            (VENDOR, id @ 0x1041..=0x107f) => u32::from(id - 0x1040),
            (VENDOR, 0x1000..=0x103f) => u32::from(config.r16(0x2e)),
            _ => continue,
        };
        if let Some(t) = probe(config, id) {
            found.push(Arc::new(t));
        }
    }
}

/// Maps `len` bytes from `off` of a base address register.
fn bar(config: Window, index: u8, off: u64, len: u64) -> Option<Window> {
    if index > 5 {
        return None;
    }
    let at = 0x10 + 4 * u64::from(index);
    let low = config.r32(at);
    if low & 1 != 0 {
        return None;
    }
    let high = if low & 6 == 4 { u64::from(config.r32(at + 4)) << 32 } else { 0 };
    let phys = high | u64::from(low & !15);
    if phys == 0 {
        return None;
    }
    Some(Window { base: paging::map_device(phys.checked_add(off)?, len)?, len })
}

fn probe(config: Window, id: u32) -> Option<Pci> {
    config.w16(COMMAND, config.r16(COMMAND) | COMMAND_BITS);
    let (mut common, mut notify, mut isr, mut device, mut msix) = (None, None, None, None, None);
    let mut at = u64::from(config.r8(CAPABILITIES) & !3);
    for _ in 0..48 {
        if at < 0x40 {
            break;
        }
        let window = |config: Window| {
            bar(config, config.r8(at + 4), u64::from(config.r32(at + 8)), u64::from(config.r32(at + 12)))
        };
        match config.r8(at) {
            CAP_VENDOR => match config.r8(at + 3) {
                CFG_COMMON => common = common.or_else(|| window(config)),
                CFG_NOTIFY => notify = notify.or_else(|| Some((window(config)?, u64::from(config.r32(at + 16))))),
                CFG_ISR => isr = isr.or_else(|| window(config)),
                CFG_DEVICE => device = device.or_else(|| window(config)),
                _ => {}
            },
            CAP_MSIX => {
                let entries = u64::from(config.r16(at + 2) & 0x7ff) + 1;
                let place = config.r32(at + 4);
                msix = bar(config, (place & 7) as u8, u64::from(place & !7), entries * 16).map(|t| (config, at, t));
            }
            _ => {}
        }
        at = u64::from(config.r8(at + 1) & !3);
    }
    let common = common.filter(|c| c.len >= common::SIZE)?;
    let (notify, notify_step) = notify?;
    Some(Pci {
        id,
        common,
        notify,
        notify_step,
        isr: isr?,
        device: device.unwrap_or(Window { base: 0, len: 0 }),
        msix,
        select: IrqLock::new(()),
    })
}

impl Pci {
    fn w64(&self, at: u64, v: u64) {
        self.common.w32(at, v as u32);
        self.common.w32(at + 4, (v >> 32) as u32);
    }
}

impl Transport for Pci {
    fn device_id(&self) -> u32 {
        self.id
    }
    fn reset(&self) {
        self.common.w8(common::STATUS, 0);
        while self.common.r8(common::STATUS) != 0 {
            crate::cpu::relax();
        }
    }
    fn status(&self) -> u8 {
        self.common.r8(common::STATUS)
    }
    fn add_status(&self, bits: u8) {
        self.common.w8(common::STATUS, self.status() | bits);
    }
    fn device_features(&self) -> u64 {
        let _guard = self.select.lock();
        self.common.w32(common::DEVICE_FEATURE_SELECT, 1);
        let high = u64::from(self.common.r32(common::DEVICE_FEATURE));
        self.common.w32(common::DEVICE_FEATURE_SELECT, 0);
        high << 32 | u64::from(self.common.r32(common::DEVICE_FEATURE))
    }
    fn set_driver_features(&self, features: u64) {
        let _guard = self.select.lock();
        for half in 0..2 {
            self.common.w32(common::DRIVER_FEATURE_SELECT, half);
            self.common.w32(common::DRIVER_FEATURE, (features >> (32 * half)) as u32);
        }
    }
    fn queue_max(&self, index: u16) -> u16 {
        let _guard = self.select.lock();
        self.common.w16(common::QUEUE_SELECT, index);
        self.common.r16(common::QUEUE_SIZE)
    }
    fn set_queue(&self, index: u16, size: u16, rings: Rings) -> bool {
        let _guard = self.select.lock();
        self.common.w16(common::QUEUE_SELECT, index);
        if self.common.r16(common::QUEUE_ENABLE) != 0 {
            return false;
        }
        self.common.w16(common::QUEUE_SIZE, size);
        self.common.w16(common::QUEUE_MSIX, if self.msix.is_some() { 0 } else { NO_VECTOR });
        self.w64(common::QUEUE_DESC, rings.desc.0);
        self.w64(common::QUEUE_AVAIL, rings.avail.0);
        self.w64(common::QUEUE_USED, rings.used.0);
        self.common.w16(common::QUEUE_ENABLE, 1);
        true
    }
    fn notify(&self, index: u16) {
        let off = {
            let _guard = self.select.lock();
            self.common.w16(common::QUEUE_SELECT, index);
            u64::from(self.common.r16(common::QUEUE_NOTIFY_OFF))
        };
        self.notify.w16(off * self.notify_step, index);
    }
    fn read_config(&self, off: usize, buf: &mut [u8]) {
        for (i, b) in buf.iter_mut().enumerate() {
            *b = self.device.r8((off + i) as u64);
        }
    }
    fn config_generation(&self) -> u32 {
        u32::from(self.common.r8(common::GENERATION))
    }
    fn connect(&self, name: String, handler: Box<dyn Fn() + Send + Sync>) -> bool {
        let Some((config, cap, table)) = self.msix else { return false };
        let isr = self.isr;
        let Some(vector) = irq::message(
            name,
            Box::new(move || {
                // With MSI-X the ISR is not needed; reading it clears what a transitional device may have set.
                isr.r8(0);
                handler();
            }),
        ) else {
            return false;
        };
        let target = u64::from(cpu::boot_cpu().apic_id.load(Ordering::Acquire) & 0xff);
        table.w32(0, (0xfee0_0000 | target << 12) as u32);
        table.w32(4, 0);
        table.w32(8, u32::from(vector));
        table.w32(12, 0);
        config.w16(cap + 2, config.r16(cap + 2) & !0x4000 | 0x8000);
        let _guard = self.select.lock();
        self.common.w16(common::CONFIG_MSIX, 0);
        true
    }
}
