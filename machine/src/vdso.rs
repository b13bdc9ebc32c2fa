//! The vDSO image and the data page (vvar) that its code reads, mapped right before it.

use crate::imp;
use crate::mem::{Frame, OutOfFrames};
use crate::time::ClockParams;
use core::sync::atomic::{AtomicU32, Ordering};

/// The shared object: whole pages of position-independent code; empty where the machine has none.
pub fn image() -> &'static [u8] {
    imp::vdso::image()
}

/// Offsets in the vvar page: sequence counter (odd: being written), mode (1: TSC usable), TSC base, multiplier (64 bits),
/// shift, whether RDTSCP gives the CPU number, wall-clock offset in ns, zero.
mod at {
    pub const SEQUENCE: usize = 0;
    pub const MODE: usize = 4;
    pub const TSC_BASE: usize = 8;
    pub const MULT: usize = 16;
    pub const SHIFT: usize = 24;
    pub const HAS_CPU: usize = 28;
    pub const WALL: usize = 32;
}

/// The vvar page of the system.
pub struct Vvar(Frame);

impl Vvar {
    /// A page with the clock's parameters; `has_cpu` says that TSC_AUX holds the CPU number.
    pub fn new(params: Option<ClockParams>, has_cpu: bool) -> Result<Vvar, OutOfFrames> {
        let frame = Frame::alloc_zeroed()?;
        if let Some(p) = params {
            frame.write(at::TSC_BASE, &p.tsc_base.to_ne_bytes());
            frame.write(at::MULT, &u64::from(p.mult).to_ne_bytes());
            frame.write(at::SHIFT, &p.shift.to_ne_bytes());
            frame.write(at::MODE, &1u32.to_ne_bytes());
        }
        frame.write(at::HAS_CPU, &u32::from(has_cpu).to_ne_bytes());
        Ok(Vvar(frame))
    }
    /// Publishes a new distance between the monotonic and the wall clock. Writers take turns (the caller's lock).
    pub fn set_wall_offset(&self, ns: u64) {
        let Some(sequence) = self.0.atomic_u32(at::SEQUENCE) else { return };
        bump(sequence);
        self.0.write(at::WALL, &ns.to_ne_bytes());
        bump(sequence);
    }
    /// The page, to be mapped read-only before the image.
    pub fn frame(&self) -> &Frame {
        &self.0
    }
}

fn bump(sequence: &AtomicU32) {
    sequence.fetch_add(1, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::Vvar;
    use crate::time::ClockParams;

    #[test]
    fn vvar_holds_the_parameters_and_an_even_sequence_after_an_update() {
        let v = Vvar::new(Some(ClockParams { tsc_base: 5, mult: 7, shift: 9 }), true).expect("memory");
        v.set_wall_offset(11);
        let mut b = [0u8; 48];
        v.frame().read(0, &mut b);
        let word = |i: usize| u32::from_ne_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        assert_eq!((word(0), word(4), word(8), word(16), word(24), word(28), word(32)), (2, 1, 5, 7, 9, 1, 11));
    }
}
