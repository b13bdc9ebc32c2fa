//! Raw entropy of the hardware, for seeding the kernel's generator.

use crate::imp;

/// Fills the buffer from the CPU's random number generator, else from timing; true if the hardware's generator gave all of it.
pub fn fill(buf: &mut [u8]) -> bool {
    imp::entropy::fill(buf)
}
