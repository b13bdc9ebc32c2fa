//! The vDSO image and the data page (vvar) that its code reads, mapped right before it.

use crate::VirtAddr;
use crate::imp;
use crate::mem::{Frame, OutOfFrames};
use crate::time::ClockParams;
use crate::user::Regs;
use core::sync::atomic::Ordering;

/// The shared object: whole pages of position-independent code; empty where the machine has none.
pub fn image() -> &'static [u8] {
    imp::vdso::image()
}

/// The end of a function that frees a robust word (`__vdso_futex_robust_list64_try_unlock`, `..32..`): the word may be free already
/// while the mark of the operation still stands.
#[derive(Clone, Debug)]
pub struct Unlock {
    /// Its place in [`image`].
    pub code: core::ops::Range<u64>,
    /// The mark is a word of 32 bits.
    pub narrow: bool,
}

impl Unlock {
    /// The mark that is still to be taken back by a thread that was stopped in this code with these registers.
    pub fn mark(&self, regs: &Regs) -> Option<VirtAddr> {
        const ZERO: u64 = 1 << 6;
        (regs.eflags & ZERO != 0).then_some(VirtAddr(regs.rdx))
    }
}

/// The two functions.
pub fn unlocks() -> [Unlock; 2] {
    imp::vdso::unlocks()
}

/// Offsets in the vvar page. A clock's value is `((tsc - base) * mult >> shift) + add[id]`.
mod at {
    /// Odd while the page is being written.
    pub const SEQUENCE: usize = 0;
    /// 1: the TSC can be used.
    pub const MODE: usize = 4;
    /// 1: RDTSCP gives the CPU number.
    pub const HAS_CPU: usize = 8;
    /// Minutes west of Greenwich, and the daylight-saving rule.
    pub const ZONE: usize = 12;
    pub const SHIFT: usize = 20;
    /// TSC base and multiplier, 64 bits each.
    pub const STEERED: usize = 24;
    pub const RAW: usize = 40;
    /// 64 bits for each clock id below 12.
    pub const ADD: usize = 64;
    /// Generation of the kernel's random key (64 bits, never 0), and 1 once there is one.
    pub const RANDOM: usize = 192;
    pub const RANDOM_READY: usize = 200;
}

/// Ids of the clocks (`linux/time.h`) that read each line, by what is added to it.
const REALTIME: [usize; 2] = [0, 5];
const MONOTONIC: [usize; 2] = [1, 6];
const MONOTONIC_RAW: usize = 4;
const BOOTTIME: usize = 7;
const TAI: usize = 11;

/// What the clocks are ahead of [`crate::time::now_ns`], in nanoseconds modulo 2^64.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// CLOCK_REALTIME.
    pub realtime: u64,
    /// CLOCK_TAI.
    pub tai: u64,
    /// CLOCK_MONOTONIC and CLOCK_MONOTONIC_RAW: not 0 in a time namespace.
    pub monotonic: u64,
    /// CLOCK_BOOTTIME.
    pub boottime: u64,
}

/// A vvar page: that of the system, or of a time namespace.
pub struct Vvar(Frame);

impl Vvar {
    /// A page that sends every reader to the system call until [`Vvar::publish`]; `has_cpu` says that TSC_AUX holds the CPU number.
    pub fn new(has_cpu: bool) -> Result<Vvar, OutOfFrames> {
        let frame = Frame::alloc_zeroed()?;
        frame.write(at::HAS_CPU, &u32::from(has_cpu).to_ne_bytes());
        Ok(Vvar(frame))
    }
    /// Keeps readers waiting until [`Vvar::publish`], so that nobody sees old and new time mixed. Writers take turns (the caller's
    /// lock).
    pub fn hold(&self) {
        self.bump();
    }
    /// Ends [`Vvar::hold`] with clocks that run along `steered` and `raw`.
    pub fn publish(&self, steered: Option<ClockParams>, raw: Option<ClockParams>, offsets: &Offsets) {
        let page = &self.0;
        let lines = steered.zip(raw);
        if let Some((steered, raw)) = lines {
            let line = |at: usize, p: &ClockParams| {
                page.write(at, &p.tsc_base.to_ne_bytes());
                page.write(at + 8, &u64::from(p.mult).to_ne_bytes());
            };
            line(at::STEERED, &steered);
            line(at::RAW, &raw);
            page.write(at::SHIFT, &steered.shift.to_ne_bytes());
            let add = |id: usize, ns: u64| page.write(at::ADD + 8 * id, &ns.to_ne_bytes());
            for (id, ahead) in REALTIME
                .map(|id| (id, offsets.realtime))
                .into_iter()
                .chain(MONOTONIC.map(|id| (id, offsets.monotonic)))
                .chain([(BOOTTIME, offsets.boottime), (TAI, offsets.tai)])
            {
                add(id, steered.ns_base.wrapping_add(ahead));
            }
            add(MONOTONIC_RAW, raw.ns_base.wrapping_add(offsets.monotonic));
        }
        page.write(at::MODE, &u32::from(lines.is_some()).to_ne_bytes());
        self.bump();
    }
    /// Stores the time zone for gettimeofday(2).
    pub fn set_zone(&self, zone: [i32; 2]) {
        let [west, dst] = zone.map(i32::to_ne_bytes);
        self.0.write(at::ZONE, &west);
        self.0.write(at::ZONE + 4, &dst);
    }
    /// The kernel's random generator has a new key: those of user space are to take new ones. The clocks are not touched.
    pub fn set_random(&self, generation: u64) {
        self.0.write(at::RANDOM, &generation.max(1).to_ne_bytes());
        self.0.write(at::RANDOM_READY, &1u32.to_ne_bytes());
    }
    fn bump(&self) {
        if let Some(sequence) = self.0.atomic_u32(at::SEQUENCE) {
            sequence.fetch_add(1, Ordering::SeqCst);
        }
    }
    /// The page, to be mapped read-only before the image.
    pub fn frame(&self) -> &Frame {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_page_holds_both_lines_and_an_even_sequence() {
        let v = Vvar::new(true).expect("memory");
        let line = ClockParams { tsc_base: 5, ns_base: 100, mult: 7, shift: 9 };
        let raw = ClockParams { tsc_base: 3, ns_base: 0, mult: 8, shift: 9 };
        v.hold();
        v.publish(Some(line), Some(raw), &Offsets { realtime: 11, tai: 48, monotonic: 1, boottime: 2 });
        v.set_zone([-60, 1]);
        let mut b = [0u8; 160];
        v.frame().read(0, &mut b);
        let word = |i: usize| u32::from_ne_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        assert_eq!([0, 4, 8, 20, 24, 32, 40, 48].map(word), [2, 1, 1, 9, 5, 7, 3, 8]);
        assert_eq!([12, 16].map(|i| word(i) as i32), [-60, 1]);
        assert_eq!([0, 1, 4, 5, 6, 7, 11].map(|id| word(at::ADD + 8 * id)), [111, 101, 1, 111, 101, 102, 148]);
    }
}
