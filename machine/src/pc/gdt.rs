//! Segment descriptors and the task state segment of each CPU. Selector values equal Linux's, which programs see in signal
//! frames and through ptrace.

use super::cpu::Cpu;
use core::arch::asm;

pub const KERNEL_CS: u16 = 0x10;
pub const KERNEL_DS: u16 = 0x18;
/// What SYSRET counts from (the place of a 32-bit user code segment).
pub const SYSRET_BASE: u16 = 0x23;
pub use crate::segment::{USER_CS, USER_SS as USER_DS};
const TSS_SEL: u16 = 0x40;
const LDT_SEL: u16 = 0x50;

/// Interrupt stack numbers.
pub const IST_DOUBLE_FAULT: u8 = 1;
pub const IST_NMI: u8 = 2;
pub const IST_MACHINE_CHECK: u8 = 3;
pub const IST_DEBUG: u8 = 4;

/// The hardware's 64-bit task state segment, placed so that `rsp0` is aligned.
#[repr(C, align(8))]
pub struct Tss {
    _pad: u32,
    _reserved0: u32,
    /// Where the CPU pushes the frame of a trap from user mode: the end of the running thread's `UserCtx::regs`.
    pub rsp0: u64,
    rsp1_2: [u64; 2],
    _reserved1: u64,
    ist: [u64; 7],
    _reserved2: [u16; 5],
    iomap: u16,
}

impl Tss {
    pub const fn new() -> Tss {
        Tss {
            _pad: 0,
            _reserved0: 0,
            rsp0: 0,
            rsp1_2: [0; 2],
            _reserved1: 0,
            ist: [0; 7],
            _reserved2: [0; 5],
            iomap: 104,
        }
    }
}

/// One CPU's descriptor table.
#[repr(C, align(16))]
pub struct Gdt([u64; 12]);

impl Gdt {
    pub const fn new() -> Gdt {
        Gdt([
            0,
            0x00cf_9b00_0000_ffff, // kernel, 32 bit
            0x00af_9b00_0000_ffff, // kernel code
            0x00cf_9300_0000_ffff, // kernel data
            0,                     // no 32-bit user code: in compatibility mode SYSCALL would enter at CSTAR
            0x00cf_f300_0000_ffff, // user data
            0x00af_fb00_0000_ffff, // user code
            0,
            0, // task state segment, two words
            0,
            0, // local descriptor table, two words
            0,
        ])
    }
}

#[repr(C, packed)]
pub struct TablePtr {
    pub limit: u16,
    pub base: u64,
}

/// Makes these descriptors, which stay where they are while they are in use, this CPU's local table. Interrupts are off.
pub fn load_local(cpu: &Cpu, table: &[u64]) {
    let (base, bytes) = (table.as_ptr() as u64, size_of_val(table) as u64);
    let selector = if bytes == 0 { 0 } else { LDT_SEL };
    let limit = bytes.saturating_sub(1);
    // SAFETY: only this CPU touches its block; the descriptors are ones that a program may have (`crate::segment::Descriptor`), and a
    // null selector leaves it without any.
    unsafe {
        let gdt = &mut *cpu.gdt.get();
        gdt.0[10] = limit & 0xffff | (base & 0xff_ffff) << 16 | 0x82 << 40 | (base >> 24 & 0xff) << 56;
        gdt.0[11] = base >> 32;
        asm!("lldt {:x}", in(reg) selector, options(nostack, preserves_flags));
    }
}

/// Loads this CPU's descriptor tables. `ist` are the tops of its interrupt stacks.
pub fn load(cpu: &'static Cpu, ist: [u64; 4]) {
    // SAFETY: only this CPU touches its own block, interrupts are off, and the tables live as long as the block.
    unsafe {
        let tss = &mut *cpu.tss.get();
        tss.ist[..4].copy_from_slice(&ist);
        // The structure begins 4 bytes before the hardware's, to align `rsp0`.
        let base = core::ptr::from_ref(tss) as u64 + 4;
        let gdt = &mut *cpu.gdt.get();
        gdt.0[8] = 103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        gdt.0[9] = base >> 32;
        let ptr = TablePtr { limit: (size_of::<Gdt>() - 1) as u16, base: gdt.0.as_ptr() as u64 };
        asm!(
            "lgdt [{ptr}]",
            "push {cs}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            "mov ss, {ds:x}",
            "ltr {tss:x}",
            ptr = in(reg) &raw const ptr,
            cs = const KERNEL_CS,
            tmp = out(reg) _,
            ds = in(reg) u64::from(KERNEL_DS),
            tss = in(reg) u64::from(TSS_SEL),
        );
    }
}
