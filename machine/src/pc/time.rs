//! Clocks: the TSC as the one time base, its frequency, and the per-CPU deadline timer.
//!
//! The frequency comes from the hypervisor (KVM's clock page or timing leaf) or CPUID where they tell it, else from a
//! measurement against a clock of known rate: the local APIC timer under QEMU's emulator (1 GHz), the PIT elsewhere. Under
//! an instruction-counting emulator both run off one counter, so a short window is exact; otherwise several windows
//! are measured and the best bracketed pair of readings is taken, which a busy host disturbs least.

use super::{apic, cpu, x86};
use crate::time::ClockParams;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// A line through a point of time: the clock read `ns` at TSC `base` and runs at `mult` from there.
struct Line {
    base: AtomicU64,
    ns: AtomicU64,
    /// Nanoseconds a tick, as a fixed-point number with [`SHIFT`] fraction bits.
    mult: AtomicU64,
}

impl Line {
    const fn new() -> Line {
        Line { base: AtomicU64::new(0), ns: AtomicU64::new(0), mult: AtomicU64::new(0) }
    }
    fn set(&self, base: u64, ns: u64, mult: u64) {
        self.base.store(base, Ordering::Relaxed);
        self.ns.store(ns, Ordering::Relaxed);
        self.mult.store(mult, Ordering::Relaxed);
    }
    #[inline]
    fn at(&self, tsc: u64) -> u64 {
        let ticks = tsc.wrapping_sub(self.base.load(Ordering::Relaxed));
        let ns = ((u128::from(ticks) * u128::from(self.mult.load(Ordering::Relaxed))) >> SHIFT) as u64;
        ns.wrapping_add(self.ns.load(Ordering::Relaxed))
    }
    fn params(&self) -> Option<ClockParams> {
        Some(ClockParams {
            tsc_base: self.base.load(Ordering::Relaxed),
            ns_base: self.ns.load(Ordering::Relaxed),
            mult: u32::try_from(self.mult.load(Ordering::Relaxed)).ok()?,
            shift: SHIFT,
        })
    }
}

/// The steered clock. Readers use the line that [`TURN`]'s lowest bit names, and look again if it has changed meanwhile; a writer
/// fills the other one first, so readers never wait for it.
static LINES: [Line; 2] = [Line::new(), Line::new()];
static TURN: AtomicU32 = AtomicU32::new(0);
/// The clock as the hardware runs it.
static RAW: Line = Line::new();
/// Timer counts a nanosecond, with 32 fraction bits.
static TIMER_MULT: AtomicU64 = AtomicU64::new(1 << 32);
static TSC_HZ: AtomicU64 = AtomicU64::new(1_000_000_000);
static WALL: AtomicU64 = AtomicU64::new(0);
static USE_TSC_DEADLINE: AtomicBool = AtomicBool::new(false);
const SHIFT: u32 = 31;
const GIGA: u64 = 1_000_000_000;
const TCG_APIC_HZ: u64 = GIGA;

/// The line in use, and its turn.
#[inline]
fn line() -> (&'static Line, u32) {
    let turn = TURN.load(Ordering::Acquire);
    (if turn & 1 == 0 { &LINES[0] } else { &LINES[1] }, turn)
}

#[inline]
pub fn now_ns() -> u64 {
    loop {
        let (line, turn) = line();
        let now = line.at(x86::rdtsc());
        fence(Ordering::Acquire);
        if TURN.load(Ordering::Relaxed) == turn {
            return now;
        }
    }
}

pub fn raw_ns() -> u64 {
    RAW.at(x86::rdtsc())
}

pub fn set_rate(ns_per_second: u64) {
    let mult = u128::from(RAW.mult.load(Ordering::Relaxed)) * u128::from(ns_per_second) / (u128::from(GIGA) << 32);
    let (old, turn) = line();
    let new = if turn & 1 == 0 { &LINES[1] } else { &LINES[0] };
    let irq = crate::cpu::IrqOff::new();
    let tsc = x86::rdtsc();
    fence(Ordering::Release);
    new.set(tsc, old.at(tsc), mult as u64);
    TURN.store(turn.wrapping_add(1), Ordering::Release);
    drop(irq);
}

pub fn boot_wall_ns() -> u64 {
    WALL.load(Ordering::Relaxed)
}

/// The TSC frequency found.
pub fn tsc_hz() -> u64 {
    TSC_HZ.load(Ordering::Relaxed)
}

pub fn clock_params() -> Option<ClockParams> {
    line().0.params()
}

pub fn raw_params() -> Option<ClockParams> {
    RAW.params()
}

pub fn set_deadline(at_ns: u64) {
    let irq = crate::cpu::IrqOff::new();
    let c = cpu::current();
    let turn = TURN.load(Ordering::Relaxed);
    // What was asked for under another rate of the clock would come at another time.
    if c.deadline.replace(at_ns) != at_ns || c.deadline_turn.replace(turn) != turn {
        if USE_TSC_DEADLINE.load(Ordering::Relaxed) {
            apic::tsc_deadline(if at_ns == u64::MAX { 0 } else { tsc_at(at_ns) });
        } else if at_ns == u64::MAX {
            apic::timer_start(0);
        } else {
            let delta = at_ns.saturating_sub(now_ns());
            let count = (u128::from(delta) * u128::from(TIMER_MULT.load(Ordering::Relaxed))) >> 32;
            // A deadline beyond the counter's reach interrupts early; the handler finds nothing due and asks again.
            apic::timer_start(count.clamp(1, u128::from(u32::MAX)) as u32);
        }
    }
    drop(irq);
}

/// TSC value at a time.
fn tsc_at(ns: u64) -> u64 {
    let line = line().0;
    let ahead = ns.saturating_sub(line.ns.load(Ordering::Relaxed));
    let ticks = (u128::from(ahead) << SHIFT) / u128::from(line.mult.load(Ordering::Relaxed).max(1));
    (ticks as u64).wrapping_add(line.base.load(Ordering::Relaxed)).max(1)
}

/// Finds the frequencies and starts the clock at `base`, the TSC at kernel entry; boot CPU, once, with the APIC on.
pub fn init(base: u64) {
    let (tsc, timer) = frequencies();
    TSC_HZ.store(tsc, Ordering::Relaxed);
    let mult = ((u128::from(GIGA) << SHIFT) / u128::from(tsc)) as u64;
    TIMER_MULT.store(((u128::from(timer) << 32) / u128::from(GIGA)) as u64, Ordering::Relaxed);
    [&LINES[0], &LINES[1], &RAW].iter().for_each(|line| line.set(base, 0, mult));
    USE_TSC_DEADLINE.store(x86::cpuid(1, 0).ecx & 1 << 24 != 0, Ordering::Relaxed);
    WALL.store(super::rtc::read_ns().saturating_sub(now_ns()), Ordering::Relaxed);
    init_cpu();
}

/// Lets this CPU's timer interrupt.
pub fn init_cpu() {
    apic::timer_enable(USE_TSC_DEADLINE.load(Ordering::Relaxed));
}

/// TSC and APIC timer frequencies.
fn frequencies() -> (u64, u64) {
    let id = x86::cpuid(0x4000_0000, 0);
    let signature = [id.ebx, id.ecx, id.edx];
    let virt = x86::cpuid(1, 0).ecx & 1 << 31 != 0;
    if super::features::is_tcg() {
        return (against(&ApicClock), TCG_APIC_HZ);
    }
    let timing = if virt { x86::cpuid(0x4000_0010, 0) } else { x86::cpuid(0x4000_00ff, 0) };
    if timing.eax > 1000 {
        let timer = if timing.ebx != 0 { u64::from(timing.ebx) * 1000 } else { GIGA };
        return (u64::from(timing.eax) * 1000, timer);
    }
    if virt
        && signature == [0x4b4d_564b, 0x564b_4d56, 0x4d]
        && let Some(hz) = super::pvclock::tsc_hz(id.eax)
    {
        return (hz, GIGA);
    }
    let ratio = x86::cpuid(0x15, 0);
    let mhz = u64::from(x86::cpuid(0x16, 0).eax & 0xffff);
    let tsc = if ratio.eax != 0 && ratio.ebx != 0 && ratio.ecx != 0 {
        u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax)
    } else if mhz != 0 {
        mhz * 1_000_000
    } else {
        against(&Pit)
    };
    (tsc, measure_apic(tsc))
}

/// A clock of known rate that counts down.
trait Reference {
    const HZ: u64;
    /// Starts it; it does not wrap for `us` microseconds.
    fn start(&self, us: u64);
    fn left(&self) -> u32;
}

struct ApicClock;

impl Reference for ApicClock {
    const HZ: u64 = TCG_APIC_HZ;
    fn start(&self, _us: u64) {
        apic::timer_start(u32::MAX);
    }
    fn left(&self) -> u32 {
        apic::timer_left()
    }
}

/// Channel 2 of the 8254, gate on, speaker off.
struct Pit;

impl Reference for Pit {
    const HZ: u64 = 1_193_182;
    fn start(&self, _us: u64) {
        // SAFETY: channel 2 and its gate are used by nothing else.
        unsafe {
            x86::outb(0x61, x86::inb(0x61) & !2 | 1);
            x86::outb(0x43, 0xb0);
            x86::outb(0x42, 0xff);
            x86::outb(0x42, 0xff);
        }
    }
    fn left(&self) -> u32 {
        // SAFETY: as above: latch, then two reads.
        unsafe {
            x86::outb(0x43, 0x80);
            u32::from(x86::inb(0x42)) | u32::from(x86::inb(0x42)) << 8
        }
    }
}

/// A reading of both clocks, the tightest of a few: (TSC, counter).
fn pair<R: Reference>(r: &R) -> (u64, u32) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..5 {
        let before = x86::rdtsc();
        let left = r.left();
        let width = x86::rdtsc().wrapping_sub(before);
        if width < best.0 {
            best = (width, before.wrapping_add(width / 2), left);
        }
    }
    (best.1, best.2)
}

/// TSC frequency over one window of about `us` microseconds; 0 if the reference stands still.
fn window<R: Reference>(r: &R, us: u64) -> u64 {
    r.start(us);
    let (t0, c0) = pair(r);
    let goal = (us * R::HZ / 1_000_000).max(1);
    let mut spins = 0u32;
    loop {
        let left = r.left();
        if u64::from(c0.saturating_sub(left)) >= goal {
            break;
        }
        spins += 1;
        if spins > 1_000_000 || (spins > 10_000 && left == c0) {
            return 0;
        }
    }
    let (t1, c1) = pair(r);
    let counts = u64::from(c0.saturating_sub(c1)).max(1);
    ((u128::from(t1.wrapping_sub(t0)) * u128::from(R::HZ)) / u128::from(counts)) as u64
}

/// TSC frequency against a reference.
fn against<R: Reference>(r: &R) -> u64 {
    let short = window(r, 20);
    if short == 0 {
        return GIGA;
    }
    if R::HZ == GIGA && short.abs_diff(GIGA) < GIGA / 100 {
        apic::timer_start(0);
        return GIGA;
    }
    // Wall time, not counted instructions: take the median of longer windows.
    let mut w = [window(r, 2000), window(r, 2000), window(r, 2000)];
    w.sort_unstable();
    apic::timer_start(0);
    w[1].max(1_000_000)
}

/// APIC timer frequency against a known TSC.
fn measure_apic(tsc_hz: u64) -> u64 {
    apic::timer_start(u32::MAX);
    let (t0, c0) = pair(&ApicClock);
    let end = t0.wrapping_add(tsc_hz / 2000);
    while x86::rdtsc() < end {
        core::hint::spin_loop();
    }
    let (t1, c1) = pair(&ApicClock);
    apic::timer_start(0);
    let counts = u64::from(c0.wrapping_sub(c1));
    ((u128::from(counts) * u128::from(tsc_hz)) / u128::from(t1.wrapping_sub(t0).max(1))) as u64
}
