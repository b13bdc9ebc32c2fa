//! Ending the machine.

use crate::imp;

/// Powers off. Where the command line has `debug_exit` the emulator exits with status 1 (`2 * 0 + 1`).
pub fn off() -> ! {
    imp::power::off()
}

/// Restarts the machine.
pub fn reboot() -> ! {
    imp::power::reboot()
}

/// Ends with a code that the host sees where the machine has a way to tell it (the emulator's status is `2 * code + 1`); else
/// powers off for 0 and restarts for others.
pub fn exit(code: u8) -> ! {
    imp::power::exit(code)
}
