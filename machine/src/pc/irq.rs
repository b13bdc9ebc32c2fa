//! Device interrupts: the I/O APICs, vectors, and the handlers.
//!
//! A global interrupt line gets a vector when its handler is registered; all lines go to the boot CPU. Handlers are set once and
//! run with interrupts off. Each CPU counts what it takes by vector.

use super::{cpu, paging, traps, x86};
use crate::cpu::CpuId;
use crate::irq::{Source, Vector, Wire};
use crate::sync::{IrqLock, Once};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

type Handler = Box<dyn Fn() + Send + Sync>;

const VECTORS: usize = (traps::VECTOR_DEVICE_END - traps::VECTOR_DEVICE) as usize;
static DEVICES: [Once<Device>; VECTORS] = [const { Once::new() }; VECTORS];
static NEXT: AtomicU8 = AtomicU8::new(traps::VECTOR_DEVICE);
/// Lines that already have a vector (a second device on one line is refused).
static CHIPS: IrqLock<Chips> = IrqLock::new(Chips { list: [None; MAX_CHIPS], overrides: [None; 16] });

const MAX_CHIPS: usize = 8;

/// What a vector stands for.
struct Device {
    handler: Handler,
    wire: Wire,
    name: String,
}

/// Interrupts that a CPU has taken, by vector. Only the CPU itself counts, with interrupts off.
pub struct Counts([AtomicU64; 256 - FIRST]);

/// The vectors before are exceptions.
const FIRST: usize = 32;

impl Counts {
    pub const fn new() -> Counts {
        Counts([const { AtomicU64::new(0) }; 256 - FIRST])
    }
    fn of(&self, v: u8) -> Option<&AtomicU64> {
        self.0.get(usize::from(v).wrapping_sub(FIRST))
    }
    #[inline]
    pub fn add(&self, v: u8) {
        if let Some(count) = self.of(v) {
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

/// An I/O APIC.
#[derive(Clone, Copy)]
struct Chip {
    regs: u64,
    base: u32,
    lines: u32,
}

/// How an ISA interrupt is wired: line, active low, level triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiring {
    pub gsi: u32,
    pub low: bool,
    pub level: bool,
}

struct Chips {
    list: [Option<Chip>; MAX_CHIPS],
    overrides: [Option<Wiring>; 16],
}

impl Chip {
    fn read(&self, reg: u32) -> u32 {
        // SAFETY: the page was mapped by `add_chip`; select and window are used under the lock.
        unsafe {
            x86::mmio_write32(self.regs, reg);
            x86::mmio_read32(self.regs + 16)
        }
    }
    fn write(&self, reg: u32, v: u32) {
        // SAFETY: as in `read`.
        unsafe {
            x86::mmio_write32(self.regs, reg);
            x86::mmio_write32(self.regs + 16, v);
        }
    }
}

/// Masks the legacy controllers: only APICs are used.
pub fn init() {
    // SAFETY: the mask ports of the two 8259s; without them the writes go nowhere.
    unsafe {
        x86::outb(0x21, 0xff);
        x86::outb(0xa1, 0xff);
    }
}

/// Makes an I/O APIC known: its registers and its first global line.
pub fn add_chip(phys: u64, base: u32) {
    let Some(regs) = paging::map_device(phys, 32) else { return };
    let mut chip = Chip { regs, base, lines: 0 };
    let mut chips = CHIPS.lock();
    chip.lines = (chip.read(1) >> 16 & 0xff) + 1;
    if let Some(place) = chips.list.iter_mut().find(|c| c.is_none()) {
        *place = Some(chip);
    }
}

/// Records that ISA interrupt `isa` is wired otherwise than one to one.
pub fn add_override(isa: u8, wiring: Wiring) {
    if let Some(place) = CHIPS.lock().overrides.get_mut(isa as usize) {
        *place = Some(wiring);
    }
}

/// A vector for the messages of a device; `None` when all are used up.
pub fn message(name: String, handler: Handler) -> Option<u8> {
    vector(Device { handler, wire: Wire::Message, name })
}

fn vector(device: Device) -> Option<u8> {
    let v = NEXT.fetch_update(Ordering::AcqRel, Ordering::Acquire, |v| (v < traps::VECTOR_DEVICE_END).then_some(v + 1));
    let v = v.ok()?;
    DEVICES.get((v - traps::VECTOR_DEVICE) as usize)?.set(device).ok()?;
    Some(v)
}

/// Connects a global line to the handler of a device. False when there is no such line or no vector left.
pub fn register(wiring: Wiring, name: String, handler: Handler) -> bool {
    let chip = {
        let chips = CHIPS.lock();
        chips.list.iter().flatten().find(|c| wiring.gsi.wrapping_sub(c.base) < c.lines).copied()
    };
    let Some(chip) = chip else { return false };
    let wire = Wire::Line { number: wiring.gsi, level: wiring.level };
    let Some(v) = vector(Device { handler, wire, name }) else { return false };
    let low = u32::from(v) | u32::from(wiring.low) << 13 | u32::from(wiring.level) << 15;
    let target = cpu::boot_cpu().apic_id.load(Ordering::Acquire);
    let row = 0x10 + 2 * (wiring.gsi - chip.base);
    let _guard = CHIPS.lock();
    chip.write(row, 1 << 16);
    chip.write(row + 1, target << 24);
    chip.write(row, low);
    true
}

/// Connects an ISA interrupt: edge triggered and active high unless the tables say otherwise.
pub fn register_legacy(isa: u32, name: &str, handler: Handler) -> bool {
    let listed = CHIPS.lock().overrides.get(isa as usize).copied().flatten();
    register(listed.unwrap_or(Wiring { gsi: isa, low: false, level: false }), String::from(name), handler)
}

/// Runs the handler of a vector.
pub fn dispatch(v: u8) {
    let slot = v.checked_sub(traps::VECTOR_DEVICE).and_then(|i| DEVICES.get(i as usize));
    if let Some(device) = slot.and_then(Once::get) {
        (device.handler)();
    }
}

/// Messages are numbered behind all lines.
fn lines() -> u32 {
    CHIPS.lock().list.iter().flatten().map(|chip| chip.base.saturating_add(chip.lines)).max().unwrap_or(0)
}

pub fn sources() -> Vec<(Vector, Source)> {
    let lines = lines();
    let mut all = Vec::new();
    for (v, device) in (traps::VECTOR_DEVICE..).zip(DEVICES.iter().map_while(Once::get)) {
        let number = match device.wire {
            Wire::Line { number, .. } => number,
            Wire::Message => lines.saturating_add(u32::from(v - traps::VECTOR_DEVICE)),
        };
        all.push((Vector(v), Source::Device { number, wire: device.wire, name: device.name.clone() }));
    }
    all.sort_by_key(|(_, source)| if let Source::Device { number, .. } = source { *number } else { u32::MAX });
    all.extend([
        (Vector(traps::VECTOR_TIMER), Source::Timer),
        (Vector(traps::VECTOR_SPURIOUS), Source::Spurious),
        (Vector(traps::VECTOR_KICK), Source::Kick),
        (Vector(traps::VECTOR_TLB), Source::Tlb),
    ]);
    all
}

pub fn count(vector: u8, on: CpuId) -> u64 {
    let cpu = cpu::of(on.0 as usize);
    cpu.and_then(|cpu| cpu.interrupts.of(vector)).map_or(0, |count| count.load(Ordering::Relaxed))
}
