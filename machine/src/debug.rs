//! Debug registers: breakpoints and watchpoints in user memory.

use crate::addr::USER_MAX;
use crate::imp;

/// How many the CPU has.
pub const COUNT: usize = 4;

/// What one of them waits for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Control {
    /// Nothing.
    #[default]
    Off,
    /// The instruction there is about to run.
    Execute,
    /// A store to any of so many bytes.
    Write(u8),
    /// A load or store.
    Access(u8),
}

/// A set of breakpoints, none of which the kernel itself could hit but by copying from or to a program.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Registers {
    addresses: [u64; COUNT],
    control: u64,
}

impl Registers {
    /// Checks a set: lengths are 1, 2, 4 or 8, addresses multiples of them, and all is user memory.
    pub fn new(addresses: [u64; COUNT], controls: [Control; COUNT]) -> Option<Registers> {
        let mut set = Registers::default();
        for (n, (address, control)) in addresses.into_iter().zip(controls).enumerate() {
            let (kind, len): (u64, u8) = match control {
                Control::Off => continue,
                Control::Execute => (0, 1),
                Control::Write(len) => (1, len),
                Control::Access(len) => (3, len),
            };
            let size = match len {
                1 => 0,
                2 => 1,
                8 => 2,
                4 => 3,
                _ => return None,
            };
            if !address.is_multiple_of(len.into()) || address >= USER_MAX {
                return None;
            }
            set.addresses[n] = address;
            set.control |= 2 << (2 * n) | (kind | size << 2) << (16 + 4 * n);
        }
        Some(set)
    }
    #[allow(dead_code)] // the host implementation has no such registers
    pub(crate) fn raw(&self) -> (&[u64; COUNT], u64) {
        (&self.addresses, self.control)
    }
}

/// Makes these the breakpoints of this CPU until others are loaded. Call with interrupts off.
pub fn load(set: &Registers) {
    imp::debug::load(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_user_memory_can_be_watched() {
        let one = |address, control| {
            let none = [Control::Off; COUNT - 1];
            Registers::new([address, 0, 0, 0], [control, none[0], none[1], none[2]])
        };
        assert_eq!(one(0x1000, Control::Write(4)).unwrap().control, 2 | 0xd << 16);
        assert_eq!(one(0x1001, Control::Execute).unwrap().control, 2);
        assert_eq!(one(0x1002, Control::Access(4)), None);
        assert_eq!(one(0x1000, Control::Access(3)), None);
        assert_eq!(one(USER_MAX, Control::Execute), None);
        assert_eq!(one(USER_MAX, Control::Off), Some(Registers::default()));
    }
}
