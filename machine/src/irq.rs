//! Interrupts that have come: what each came from, and how many each CPU has taken (/proc/interrupts).

use crate::cpu::CpuId;
use crate::imp;
use alloc::string::String;
use alloc::vec::Vec;

/// How the interrupt of a device reaches a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// By a line of an I/O APIC.
    Line {
        /// The line.
        number: u32,
        /// It is asserted for as long as the device wants something, not just once.
        level: bool,
    },
    /// By a message over the bus (MSI-X).
    Message,
}

/// Who asks for an interrupt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A device.
    Device {
        /// Number of the interrupt: that of its line, or one behind all lines.
        number: u32,
        /// How it comes.
        wire: Wire,
        /// Name of the device.
        name: String,
    },
    /// The CPU's own timer.
    Timer,
    /// Nobody: what asked has taken it back.
    Spurious,
    /// Another CPU, which has work for this one.
    Kick,
    /// Another CPU, which has unmapped pages.
    Tlb,
}

/// Every source that is connected: devices by their number, then the others.
pub fn sources() -> Vec<(Vector, Source)> {
    imp::irq::sources()
}

/// The interrupts of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vector(pub(crate) u8);

impl Vector {
    /// How many a CPU has taken.
    pub fn count(self, cpu: CpuId) -> u64 {
        imp::irq::count(self.0, cpu)
    }
}
