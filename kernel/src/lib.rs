//! The kernel: composition only.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

/// Entered by the machine layer once the hardware is set up.
pub fn main() -> ! {
    machine::kinfo!("nothing to run yet");
    loop {
        machine::cpu::halt();
    }
}
