//! What the loader handed over: command line and initial RAM disk.

use crate::imp;

/// The kernel command line.
pub fn cmdline() -> &'static str {
    imp::boot::cmdline()
}

/// The initial RAM disk. Dropping it gives its memory to the frame source.
pub struct Initrd(imp::boot::RawInitrd);

/// Takes the initial RAM disk, if the loader gave one; once.
pub fn initrd() -> Option<Initrd> {
    imp::boot::RawInitrd::take().map(Initrd)
}

impl core::ops::Deref for Initrd {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}
