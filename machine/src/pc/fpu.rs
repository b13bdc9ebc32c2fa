//! Extended state (x87, SSE, AVX, AVX-512) and segment bases of user threads, switched lazily.
//!
//! The kernel uses no vector registers, so a thread's state stays in its CPU until another thread enters user mode there;
//! a thread that is switched away from leaves a copy in memory ([`leave`]), for it may go on elsewhere.
//! `Cpu::fpu_owner` names the state a CPU holds and `FpuState::cpu` the CPU that last loaded it: the registers are
//! this thread's when both agree. FS and GS base travel along: a program can change them by itself (WRFSBASE), so what
//! `load` wrote last is kept to tell the kernel's changes from the program's. The data segment selectors travel likewise (`segments`).
//!
//! A thread that needs more than this on its way to user mode is marked [`SPECIAL`], which makes every entry take the slow path here; it is told
//! of what remains to be done (`user::enter_special`).
//! Source: Intel SDM volume 1 chapter 13 (XSAVE); [`xstate`] has the layout of images.

use super::cpu::Cpu;
use super::{segments, thread, x86};
use crate::mem::OutOfFrames;
use crate::user::{BadXstate, Regs};
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use xstate::{HEADER, MAGIC1, MAGIC2, MXCSR_AT, SW_AT};

/// Bytes of the XSAVE area (standard format).
static SIZE: AtomicU32 = AtomicU32::new(512);
/// Components in XCR0; 0: only FXSAVE.
static MASK: AtomicU64 = AtomicU64::new(0);
/// MXCSR bits that do not fault.
static MXCSR_MASK: AtomicU32 = AtomicU32::new(0xffbf);

const NO_CPU: u32 = u32::MAX >> 1;
/// In `FpuState::cpu`: the state is there, but entries take the slow path.
const SPECIAL: u32 = 1 << 31;
/// No base: what is kept behind the image does not count.
const UNKNOWN: u64 = u64::MAX;
/// Its program may have other code and stack segments than every program's.
pub const ODD_SEGMENTS: u8 = 1;
/// Its program may not read the time-stamp counter.
pub const NO_TSC: u8 = 2;
const MXCSR_INIT: u32 = 0x1f80;
const FCW_INIT: u16 = 0x37f;
/// x87, SSE, AVX, AVX-512 (three components).
const WANTED: u64 = 0xe7;

/// Turns on FXSAVE/XSAVE on this CPU.
pub fn init_cpu() {
    let has_xsave = x86::cpuid(1, 0).ecx & 1 << 26 != 0;
    let mut cr4 = x86::read_cr4() | 0x600;
    if has_xsave {
        cr4 |= 1 << 18;
    }
    // SAFETY: OSFXSR, OSXMMEXCPT and (where CPUID has it) OSXSAVE only allow instructions.
    unsafe { x86::write_cr4(cr4) };
    if has_xsave {
        let d = x86::cpuid(0xd, 0);
        let mut mask = (u64::from(d.edx) << 32 | u64::from(d.eax)) & WANTED;
        if mask & 0xe0 != 0xe0 {
            mask &= 7;
        }
        // SAFETY: OSXSAVE is on and the components are among those CPUID lists.
        unsafe {
            asm!("xsetbv", in("ecx") 0, in("eax") mask as u32, in("edx") 0, options(nostack, preserves_flags));
        }
        MASK.store(mask, Ordering::Relaxed);
        SIZE.store(x86::cpuid(0xd, 0).ebx.max(576), Ordering::Relaxed);
    }
    #[repr(C, align(16))]
    struct Area([u8; 512]);
    let mut area = Area([0; 512]);
    // SAFETY: the area has FXSAVE's size and alignment.
    unsafe { asm!("fninit", "fxsave64 [{}]", in(reg) &raw mut area, options(nostack)) };
    let m = u32::from_le_bytes([area.0[28], area.0[29], area.0[30], area.0[31]]);
    if m != 0 {
        MXCSR_MASK.store(m, Ordering::Relaxed);
    }
}

/// Bytes of the XSAVE image.
fn image_size() -> usize {
    SIZE.load(Ordering::Relaxed) as usize
}

/// Where the segment bases, and the selectors behind them, are kept behind the image.
fn bases_at() -> usize {
    image_size().next_multiple_of(8)
}

/// The image and, behind it, the segment bases and selectors as the program left them.
fn layout() -> Layout {
    // A size of at least 512 rounded up to 64 never overflows; the fallback keeps this free of panics.
    Layout::from_size_align(bases_at() + 24, 64).unwrap_or(Layout::new::<[u64; 512]>())
}

/// Saves the registers this CPU holds into the area they belong to.
///
/// # Safety
/// `area` is the live area of an `FpuState` whose registers `cpu` (this one) holds; interrupts are off.
unsafe fn save_registers(cpu: &Cpu, area: *mut u8) {
    let mask = MASK.load(Ordering::Relaxed);
    // SAFETY: the area is as large as XCR0's components need and 64-byte aligned, and has room for the bases behind them.
    unsafe {
        if mask != 0 {
            asm!("xsave64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") 0, options(nostack));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack));
        }
        let kept = area.add(bases_at()).cast::<u64>();
        let (fs, gs) = segments::read_bases();
        kept.write(fs);
        kept.add(1).write(gs);
        x86::read_selectors(&cpu.selectors);
        kept.add(2).write(cpu.selectors.get());
    }
}

/// The running thread is about to be switched away from. Interrupts are off.
#[inline]
pub fn leave(cpu: &Cpu) {
    if cpu.fpu_dirty.load(Ordering::Relaxed) {
        // SAFETY: dirty is set when the owner's registers are loaded here. A state that is dropped on this CPU clears it, and
        // one that is dropped elsewhere while it is set never frees its area (see `Drop`).
        unsafe { save_registers(cpu, cpu.fpu_owner.load(Ordering::Relaxed)) };
        cpu.fpu_dirty.store(false, Ordering::Release);
    }
}

/// Makes the thread whose registers this CPU holds take the slow path before it runs here again. Interrupts are off.
pub fn disown(cpu: &Cpu) {
    leave(cpu);
    cpu.fpu_owner.store(core::ptr::null_mut(), Ordering::Relaxed);
}

/// One thread's extended state.
pub struct FpuState {
    area: NonNull<u8>,
    /// CPU that last loaded it, and [`SPECIAL`].
    cpu: u32,
    /// What makes it special: [`ODD_SEGMENTS`], [`NO_TSC`].
    pub needs: u8,
    /// Segment bases as last loaded or read back.
    fs: u64,
    gs: u64,
}

// SAFETY: the area is owned memory; the registers it mirrors are handled by its own thread only.
unsafe impl Send for FpuState {}
// SAFETY: shared references give no access to the area.
unsafe impl Sync for FpuState {}

impl FpuState {
    pub fn new() -> Result<FpuState, OutOfFrames> {
        // SAFETY: the layout has a size.
        let p = NonNull::new(unsafe { alloc_zeroed(layout()) }).ok_or(OutOfFrames)?;
        let mut s = FpuState { area: p, cpu: NO_CPU, needs: 0, fs: UNKNOWN, gs: UNKNOWN };
        s.init_area();
        Ok(s)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the area has this size and is ours.
        unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), layout().size()) }
    }

    /// Initial state in memory: with XSTATE_BV 0 all but MXCSR comes from the CPU.
    fn init_area(&mut self) {
        let b = self.bytes();
        b[..bases_at()].fill(0);
        b[..2].copy_from_slice(&FCW_INIT.to_le_bytes());
        b[MXCSR_AT..MXCSR_AT + 4].copy_from_slice(&MXCSR_INIT.to_le_bytes());
    }

    /// This CPU has the state, and nothing needs a look before user mode.
    #[inline]
    fn ready(&self, cpu: &Cpu) -> bool {
        cpu.fpu_owner.load(Ordering::Relaxed) == self.area.as_ptr() && self.cpu == cpu.id.get()
    }

    /// This CPU has the state.
    fn live(&self, cpu: &Cpu) -> bool {
        cpu.fpu_owner.load(Ordering::Relaxed) == self.area.as_ptr() && self.cpu & !SPECIAL == cpu.id.get()
    }

    /// Makes the registers of `cpu` (this one) this thread's, and tells whether it takes more to enter user mode. Interrupts are off.
    /// `regs` is where its general ones are kept.
    #[inline]
    pub fn load(&mut self, cpu: &'static Cpu, fs: &mut u64, gs: &mut u64, regs: *const Regs) -> bool {
        let mut special = false;
        if !self.ready(cpu) {
            special = self.load_all(cpu, fs, gs, regs);
        } else if *fs != self.fs || *gs != self.gs {
            self.load_bases(*fs, *gs);
        }
        cpu.fpu_dirty.store(true, Ordering::Relaxed);
        special
    }

    #[cold]
    #[inline(never)]
    fn load_all(&mut self, cpu: &'static Cpu, fs: &mut u64, gs: &mut u64, regs: *const Regs) -> bool {
        // Here because it is seldom: always once before the program runs for the first time.
        thread::note_user_regs(cpu, regs);
        if self.cpu & SPECIAL == 0 || !self.live(cpu) {
            self.load_state(cpu, fs, gs);
        } else if *fs != self.fs || *gs != self.gs {
            self.load_bases(*fs, *gs);
        }
        self.cpu = cpu.id.get();
        let special = u64::from(self.needs) | cpu.ldt.get() != 0;
        if special {
            self.cpu |= SPECIAL;
        }
        special
    }

    #[inline]
    fn load_state(&mut self, cpu: &'static Cpu, fs: &mut u64, gs: &mut u64) {
        self.restore();
        // Where the kernel changed nothing, the program's own base stands.
        // SAFETY: the area has room for the bases, and `save_registers` wrote them since `fs` and `gs` were last set.
        let (own_fs, own_gs, selectors) = unsafe {
            let bases = self.area.as_ptr().add(bases_at()).cast::<u64>();
            (bases.read(), bases.add(1).read(), bases.add(2).read())
        };
        if *fs == self.fs {
            *fs = own_fs;
        }
        if *gs == self.gs {
            *gs = own_gs;
        }
        if selectors != cpu.selectors.get() {
            segments::load(cpu, selectors);
        }
        self.load_bases(*fs, *gs);
        cpu.fpu_owner.store(self.area.as_ptr(), Ordering::Relaxed);
    }

    #[inline(never)]
    fn load_bases(&mut self, fs: u64, gs: u64) {
        segments::write_bases(fs, gs);
        self.fs = fs;
        self.gs = gs;
    }

    fn restore(&mut self) {
        let mask = MASK.load(Ordering::Relaxed);
        // SAFETY: the area holds an image that `save`, `init_area` or `load_image` (validated) wrote.
        unsafe {
            if mask != 0 {
                asm!("xrstor64 [{}]", in(reg) self.area.as_ptr(), in("eax") mask as u32, in("edx") 0, options(nostack));
            } else {
                asm!("fxrstor64 [{}]", in(reg) self.area.as_ptr(), options(nostack));
            }
        }
    }

    /// Brings memory up to date if this CPU holds the state, and tells the segment bases the program has now.
    fn save(&mut self, fs: &mut u64, gs: &mut u64) {
        let irq = crate::cpu::IrqOff::new();
        let cpu = super::cpu::current();
        if self.live(cpu) {
            // SAFETY: the registers are here, and interrupts are off.
            unsafe { save_registers(cpu, self.area.as_ptr()) };
            // A base that the kernel changed since `load` stands; else the program's own value does.
            let (now_fs, now_gs) = segments::read_bases();
            if *fs == self.fs {
                *fs = now_fs;
                self.fs = now_fs;
            }
            if *gs == self.gs {
                *gs = now_gs;
                self.gs = now_gs;
            }
        }
        drop(irq);
    }

    /// Forgets what any CPU's registers hold: memory is newer.
    fn detach(&mut self) {
        let irq = crate::cpu::IrqOff::new();
        let cpu = super::cpu::current();
        if cpu.fpu_owner.load(Ordering::Relaxed) == self.area.as_ptr() {
            cpu.fpu_owner.store(core::ptr::null_mut(), Ordering::Relaxed);
            cpu.fpu_dirty.store(false, Ordering::Relaxed);
            x86::read_selectors(&cpu.selectors);
        }
        drop(irq);
        self.cpu = NO_CPU;
        (self.fs, self.gs) = (UNKNOWN, UNKNOWN);
    }

    pub fn fork(&mut self, fs: &mut u64, gs: &mut u64) -> Result<FpuState, OutOfFrames> {
        self.save(fs, gs);
        // SAFETY: the layout has a size.
        let p = NonNull::new(unsafe { alloc::alloc::alloc(layout()) }).ok_or(OutOfFrames)?;
        // SAFETY: both areas have the layout's size and do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(self.area.as_ptr(), p.as_ptr(), layout().size()) };
        Ok(FpuState { area: p, cpu: NO_CPU, needs: self.needs, fs: UNKNOWN, gs: UNKNOWN })
    }

    /// For a new program.
    pub fn reset(&mut self) {
        self.detach();
        self.init_area();
        self.bytes()[bases_at()..].fill(0);
        self.needs &= !ODD_SEGMENTS;
    }

    /// The selectors DS, ES, FS and GS in memory, brought up to date by `save` before.
    fn selectors_in_memory(&mut self) -> &mut u64 {
        // SAFETY: the area has room for them behind the bases, aligned, and is ours.
        unsafe { &mut *self.area.as_ptr().add(bases_at() + 16).cast::<u64>() }
    }

    /// The selectors the program has in DS, ES, FS and GS, from the lowest word on.
    pub fn selectors(&mut self, fs: &mut u64, gs: &mut u64) -> u64 {
        self.save(fs, gs);
        *self.selectors_in_memory()
    }

    /// Gives the program other selectors; one that cannot be loaded when the thread runs next becomes null then.
    pub fn set_selectors(&mut self, fs: &mut u64, gs: &mut u64, s: u64) {
        if self.selectors(fs, gs) != s {
            self.detach();
            *self.selectors_in_memory() = s;
        }
    }

    /// Sets or clears one of `needs`; the next entry to user mode looks.
    pub fn set_need(&mut self, need: u8, on: bool) {
        self.needs = if on { self.needs | need } else { self.needs & !need };
        if self.cpu != NO_CPU {
            self.cpu |= SPECIAL;
        }
    }

    pub fn switch_out(&mut self, fs: &mut u64, gs: &mut u64) {
        self.save(fs, gs);
    }

    pub fn save_image(&mut self, fs: &mut u64, gs: &mut u64, out: &mut [u8]) {
        self.save(fs, gs);
        let mask = MASK.load(Ordering::Relaxed);
        let size = image_size();
        if out.len() < xstate_size() {
            return;
        }
        out[..size].copy_from_slice(&self.bytes()[..size]);
        if mask == 0 {
            out[SW_AT..HEADER].fill(0);
            return;
        }
        // With XSAVE each component is valid in memory: say so, that a debugger or handler sees x87 and SSE as present.
        let sw = &mut out[SW_AT..HEADER];
        sw.fill(0);
        sw[..4].copy_from_slice(&MAGIC1.to_le_bytes());
        sw[4..8].copy_from_slice(&(size as u32 + 4).to_le_bytes());
        sw[8..16].copy_from_slice(&mask.to_le_bytes());
        sw[16..20].copy_from_slice(&(size as u32).to_le_bytes());
        out[HEADER] |= 3;
        out[size..size + 4].copy_from_slice(&MAGIC2.to_le_bytes());
    }

    pub fn load_image(&mut self, fs: &mut u64, gs: &mut u64, image: Option<&[u8]>) -> Result<(), BadXstate> {
        // The bases are no part of the image: what the program has set stays.
        self.save(fs, gs);
        let Some(image) = image else {
            self.detach();
            self.init_area();
            return Ok(());
        };
        let (size, mask) = (image_size(), MASK.load(Ordering::Relaxed));
        let mxcsr = MXCSR_MASK.load(Ordering::Relaxed);
        // A malformed image must be refused before the memory copy is replaced.
        let limits = xstate::Limits { size, components: mask, mxcsr };
        let extended = xstate::check(image, &limits).map_err(|_| BadXstate)?;
        let legacy = image.get(..HEADER).ok_or(BadXstate)?;
        self.detach();
        let b = self.bytes();
        b[..HEADER].copy_from_slice(legacy);
        b[SW_AT..HEADER].fill(0);
        if extended {
            b[HEADER..size].copy_from_slice(image.get(HEADER..size).ok_or(BadXstate)?);
        } else if mask != 0 {
            b[HEADER..size].fill(0);
            b[HEADER] = 3;
        }
        Ok(())
    }
}

impl Drop for FpuState {
    fn drop(&mut self) {
        let last = super::cpu::of((self.cpu & !SPECIAL) as usize);
        self.detach();
        // A context handed to another CPU straight after it ran is still to be saved where it ran: its area must stay.
        if last.is_some_and(|c| {
            c.fpu_dirty.load(Ordering::Acquire) && c.fpu_owner.load(Ordering::Relaxed) == self.area.as_ptr()
        }) {
            return;
        }
        // SAFETY: allocated with this layout (its size is fixed before the first thread exists).
        unsafe { dealloc(self.area.as_ptr(), layout()) }
    }
}

/// The components that are saved and restored.
pub fn xstate_mask() -> u64 {
    match MASK.load(Ordering::Relaxed) {
        0 => 3,
        mask => mask,
    }
}

/// Bytes of the signal-frame image.
pub fn xstate_size() -> usize {
    if MASK.load(Ordering::Relaxed) == 0 { 512 } else { SIZE.load(Ordering::Relaxed) as usize + 4 }
}
