//! Thin wrappers over single instructions: ports, model-specific registers, control registers, CPUID.
//!
//! Every function compiles to the instruction it names. Those that can break the machine are `unsafe`: the caller says why
//! the register write is right.

use core::arch::asm;
pub use core::arch::x86_64::CpuidResult;

pub const MSR_APIC_BASE: u32 = 0x1b;
pub const MSR_EFER: u32 = 0xc000_0080;
pub const MSR_STAR: u32 = 0xc000_0081;
pub const MSR_LSTAR: u32 = 0xc000_0082;
pub const MSR_CSTAR: u32 = 0xc000_0083;
pub const MSR_FMASK: u32 = 0xc000_0084;
pub const MSR_FS_BASE: u32 = 0xc000_0100;
pub const MSR_GS_BASE: u32 = 0xc000_0101;
pub const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;
pub const MSR_TSC_AUX: u32 = 0xc000_0103;

/// Executes CPUID. Leaves above the CPU's maximum return zeroes.
pub fn cpuid(leaf: u32, sub: u32) -> CpuidResult {
    let base = leaf & 0xffff_0000;
    let max = core::arch::x86_64::__cpuid_count(base, 0).eax;
    if leaf > max && leaf != base {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    core::arch::x86_64::__cpuid_count(leaf, sub)
}

/// # Safety
/// Writing the port must not break a promise of this crate (device programming by its one owner).
#[inline]
pub unsafe fn outb(port: u16, v: u8) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") v, options(nomem, nostack, preserves_flags)) }
}
/// # Safety
/// As [`outb`].
#[inline]
pub unsafe fn outw(port: u16, v: u16) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") v, options(nomem, nostack, preserves_flags)) }
}
/// # Safety
/// As [`outb`].
#[inline]
pub unsafe fn outl(port: u16, v: u32) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") v, options(nomem, nostack, preserves_flags)) }
}
/// # Safety
/// Reading the port may have side effects on its device: the caller owns it.
#[inline]
pub unsafe fn inb(port: u16) -> u8 {
    let v;
    // SAFETY: the caller's promise.
    unsafe { asm!("in al, dx", in("dx") port, out("al") v, options(nomem, nostack, preserves_flags)) }
    v
}
/// # Safety
/// The register must exist.
#[inline]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (lo, hi): (u32, u32);
    // SAFETY: the caller's promise; reading has no effect on memory.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") lo, out("edx") hi, options(nostack, preserves_flags)) }
    u64::from(hi) << 32 | u64::from(lo)
}
/// # Safety
/// The register must exist and the value keep this crate's promises.
#[inline]
pub unsafe fn wrmsr(msr: u32, v: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") v as u32, in("edx") (v >> 32) as u32, options(nostack, preserves_flags))
    }
}

/// The time-stamp counter.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: the instruction exists on every x86-64 CPU and has no side effects.
    unsafe { core::arch::x86_64::_rdtsc() }
}

macro_rules! control {
    ($read:ident, $write:ident, $reg:literal) => {
        #[doc = concat!("Reads ", $reg, ".")]
        #[inline]
        pub fn $read() -> u64 {
            let v;
            // SAFETY: reading a control register in ring 0 has no side effects.
            unsafe { asm!(concat!("mov {}, ", $reg), out(reg) v, options(nostack, preserves_flags)) }
            v
        }
        #[doc = concat!("Writes ", $reg, ".")]
        /// # Safety
        /// The value must keep the kernel mapped and running.
        #[inline]
        pub unsafe fn $write(v: u64) {
            // SAFETY: the caller's promise.
            unsafe { asm!(concat!("mov ", $reg, ", {}"), in(reg) v, options(nostack, preserves_flags)) }
        }
    };
}
/// The selectors in DS, ES, FS and GS, from the lowest word on.
#[inline]
pub fn read_selectors(to: &core::cell::Cell<u64>) {
    // SAFETY: stores the four words of the cell.
    unsafe {
        asm!(
            "mov word ptr [{0}], ds",
            "mov word ptr [{0} + 2], es",
            "mov word ptr [{0} + 4], fs",
            "mov word ptr [{0} + 6], gs",
            in(reg) to.as_ptr(),
            options(nostack, preserves_flags)
        );
    }
}

/// The bases of FS and, on the program's side, GS.
/// # Safety
/// The CPU has FSGSBASE and interrupts are off.
#[inline]
pub unsafe fn read_bases() -> (u64, u64) {
    let (fs, gs);
    // SAFETY: the caller's promise; between the two SWAPGS nothing uses GS.
    unsafe {
        asm!("rdfsbase {}", "swapgs", "rdgsbase {}", "swapgs", out(reg) fs, out(reg) gs, options(nostack, preserves_flags));
    }
    (fs, gs)
}

/// Sets both.
/// # Safety
/// As [`read_bases`], and the bases are canonical.
#[inline]
pub unsafe fn write_bases(fs: u64, gs: u64) {
    // SAFETY: as in `read_bases`.
    unsafe {
        asm!("wrfsbase {}", "swapgs", "wrgsbase {}", "swapgs", in(reg) fs, in(reg) gs, options(nostack, preserves_flags));
    }
}

/// Loads DS, ES, FS and, on the program's side, GS.
/// # Safety
/// Each selector is null or names a segment that can be loaded; interrupts are off; the bases are set afterwards.
pub unsafe fn write_selectors(s: u64) {
    // SAFETY: the caller's promise; between the two SWAPGS nothing uses GS.
    unsafe {
        asm!(
            "mov ds, {0:x}",
            "mov es, {1:x}",
            "mov fs, {2:x}",
            "swapgs",
            "mov gs, {3:x}",
            "swapgs",
            in(reg) s,
            in(reg) s >> 16,
            in(reg) s >> 32,
            in(reg) s >> 48,
            options(nostack, preserves_flags)
        );
    }
}

/// The access rights of the segment a selector names (third and fourth byte of the descriptor's upper half, in place), if there is
/// one that code of the selector's and this privilege may know of.
pub fn access_rights(selector: u16) -> Option<u32> {
    let (rights, found): (u32, u8);
    // SAFETY: reads a descriptor at most.
    unsafe {
        asm!("lar {:e}, {:e}", "setz {}", out(reg) rights, in(reg) u32::from(selector), out(reg_byte) found, options(nostack));
    }
    (found != 0).then_some(rights)
}

control!(read_cr3, write_cr3, "cr3");
control!(read_cr4, write_cr4, "cr4");

/// The address of the last page fault.
#[inline]
pub fn read_cr2() -> u64 {
    let v;
    // SAFETY: reading CR2 has no side effects.
    unsafe { asm!("mov {}, cr2", out(reg) v, options(nomem, nostack, preserves_flags)) }
    v
}

/// Drops this CPU's translation of one address.
#[inline]
pub fn invlpg(addr: u64) {
    // SAFETY: dropping a cached translation is always sound.
    unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) }
}

/// RFLAGS.
#[inline]
pub fn flags() -> u64 {
    let f;
    // SAFETY: the push and pop balance.
    unsafe { asm!("pushfq", "pop {}", out(reg) f, options(nomem, preserves_flags)) }
    f
}

/// Masks interrupts. Also a compiler barrier.
#[inline]
pub fn cli() {
    // SAFETY: masking interrupts is sound; the missing `nomem` keeps memory accesses on their side.
    unsafe { asm!("cli", options(nostack)) }
}

/// Unmasks interrupts. Also a compiler barrier.
#[inline]
pub fn sti() {
    // SAFETY: handlers touch only what the interrupted code may see changed.
    unsafe { asm!("sti", options(nostack)) }
}

/// Reads a device register.
/// # Safety
/// `addr` must be a mapped device register of this width.
#[inline]
pub unsafe fn mmio_read32(addr: u64) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::read_volatile(addr as *const u32) }
}
/// Writes a device register.
/// # Safety
/// As [`mmio_read32`], and the write must keep this crate's promises.
#[inline]
pub unsafe fn mmio_write32(addr: u64, v: u32) {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::write_volatile(addr as *mut u32, v) }
}
