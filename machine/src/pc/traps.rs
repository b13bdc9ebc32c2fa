//! The interrupt descriptor table, the common entry stub, and traps that hit the kernel itself.
//!
//! Every vector has a stub that pushes an error code (0 where the CPU pushes none) and the vector and jumps to
//! `trap_common`. From user mode the CPU's frame lands in the running thread's `UserCtx::regs` (`Tss::rsp0` points to their end),
//! the stub saves the other registers below it and *returns from* `user::enter` with vector and code: traps from user mode
//! are handled by `user::run`, on its caller's stack. In kernel mode the stub calls [`kernel_trap`] on the current stack.
//! Debug exceptions have a stack of their own on which user frames are moved on and others passed over ([`debug_trap`]).
//! Fatal vectors (double fault, NMI, machine check) have stacks of their own and end the machine.

use super::cpu::{self, off};
use super::panic::{Site, Trace, failed};
use super::saved::{pop_all, pop_callee_saved, push_all, push_upper};
use super::{apic, gdt, irq, usercopy, x86};
use crate::cpu::Event;
use crate::oops::Cause;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt;

/// First vector for device interrupts.
pub const VECTOR_DEVICE: u8 = 0x30;
/// One past the last vector for device interrupts.
pub const VECTOR_DEVICE_END: u8 = 0xe0;
/// Local timer.
pub const VECTOR_TIMER: u8 = 0xe0;
/// Reschedule.
pub const VECTOR_KICK: u8 = 0xe1;
/// TLB shoot-down.
pub const VECTOR_TLB: u8 = 0xe2;
/// Stop for good (another CPU panicked or powers off).
pub const VECTOR_STOP: u8 = 0xe3;
/// Spurious interrupt of the local APIC.
pub const VECTOR_SPURIOUS: u8 = 0xff;

global_asm!(
    r#"
    .section .text.traps, "ax"
    .balign 16
    .global trap_stubs
trap_stubs:
    .set vec, 0
    .rept 256
    .balign 16
    .if (vec == 8) || (vec == 10) || (vec == 11) || (vec == 12) || (vec == 13) || (vec == 14) || (vec == 17) || (vec == 21)
    .else
    pushq $0
    .endif
    pushq $vec
    .if (vec == 2) || (vec == 8) || (vec == 18)
    jmp trap_fatal
    .elseif vec == 1
    jmp trap_debug
    .else
    jmp trap_common
    .endif
    .set vec, vec + 1
    .endr
"#,
    options(att_syntax)
);

global_asm!(
    r#"
    .section .text.traps, "ax"
    .balign 16
    .global trap_common
trap_common:
    cld
771: clac
    .pushsection .smap_sites, "a"
    .quad 771b
    .popsection
    test byte ptr [rsp + 24], 3
    jz 1f
    swapgs
    push rsi
    mov rsi, [rsp + 8]
    mov [rsp + 8], rdi
    push rdx
    mov rdx, [rsp + 24]
    mov qword ptr [rsp + 24], -1
    push rcx
    push rax
    "#, push_upper!(), r#"
    lea eax, [rsi + 1]
    mov rsp, gs:[{kernel_rsp}]
    "#, pop_callee_saved!(), r#"
    ret
1:
    "#, push_all!(), r#"
    mov rdi, rsp
    call {kernel_trap}
    "#, pop_all!(), r#"
    add rsp, 16
    iretq

    .global trap_debug
trap_debug:
    test byte ptr [rsp + 24], 3
    jz 5f
    swapgs                      // the frame goes where that of any other trap from user mode is
    mov gs:[{scratch}], rax
    mov rax, gs:[{rsp0}]
    pop [rax - 56]
    pop [rax - 48]
    pop [rax - 40]
    pop [rax - 32]
    pop [rax - 24]
    pop [rax - 16]
    pop [rax - 8]
    lea rsp, [rax - 56]
    mov rax, gs:[{scratch}]
    swapgs
    jmp trap_common
5:                              // GS may be anybody's: the handler does not use it
    cld
    "#, push_all!(), r#"
    mov rdi, rsp
    call {debug_trap}
    "#, pop_all!(), r#"
    add rsp, 16
    iretq

    .global trap_fatal
trap_fatal:
    cld
    "#, push_all!(), r#"
    test byte ptr [rsp + 144], 3
    jnz 3f                      // from user mode: GS is the program's
    mov ecx, {gs_base}
    rdmsr
    test edx, edx
    js 2f                       // from the kernel, but for the first or last instructions
3:  swapgs
2:  mov rdi, rsp
    call {fatal_trap}
    ud2
"#,
    kernel_rsp = const off::KERNEL_RSP,
    gs_base = const x86::MSR_GS_BASE,
    scratch = const off::SCRATCH,
    rsp0 = const off::RSP0,
    kernel_trap = sym kernel_trap,
    debug_trap = sym debug_trap,
    fatal_trap = sym fatal_trap,
);

/// Registers of interrupted kernel code, as the stub pushes them.
#[repr(C)]
pub struct KernelFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbp: u64,
    rbx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    vector: u64,
    code: u64,
    rip: u64,
    cs: u64,
    flags: u64,
    rsp: u64,
    ss: u64,
}

#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: filled once by the boot CPU before any other runs; afterwards only the hardware reads it.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; 256]));

unsafe extern "C" {
    static trap_stubs: u8;
}

/// Fills the table; boot CPU only, once.
pub fn init() {
    let stubs = &raw const trap_stubs as u64;
    // SAFETY: the boot CPU runs alone and the table is not loaded yet.
    let table = unsafe { &mut *IDT.0.get() };
    for (v, gate) in table.iter_mut().enumerate() {
        let addr = stubs + 16 * v as u64;
        let ist = match v {
            2 => gdt::IST_NMI,
            8 => gdt::IST_DOUBLE_FAULT,
            18 => gdt::IST_MACHINE_CHECK,
            1 => gdt::IST_DEBUG,
            _ => 0,
        };
        let dpl: u64 = if v == 3 || v == 4 { 3 } else { 0 };
        gate[0] = addr & 0xffff
            | u64::from(gdt::KERNEL_CS) << 16
            | u64::from(ist) << 32
            | (0x8e | dpl << 5) << 40
            | (addr >> 16 & 0xffff) << 48;
        gate[1] = addr >> 32;
    }
}

/// Loads the table on this CPU.
pub fn load() {
    let ptr = gdt::TablePtr { limit: 4095, base: IDT.0.get() as u64 };
    // SAFETY: the table is filled and lives forever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const ptr, options(readonly, nostack, preserves_flags)) }
}

/// Handles an interrupt vector (32 and up). Interrupts are off.
pub fn interrupt(vector: u8) {
    cpu::current().interrupts.add(vector);
    match vector {
        VECTOR_TIMER => {
            apic::eoi();
            cpu::current().deadline.set(u64::MAX);
            cpu::event(Event::Timer);
        }
        VECTOR_KICK => {
            apic::eoi();
            cpu::event(Event::Kick);
        }
        VECTOR_TLB => {
            apic::eoi();
            super::tlb::serve();
        }
        VECTOR_STOP => super::power::stop_this_cpu(),
        VECTOR_SPURIOUS => {}
        v => {
            irq::dispatch(v);
            apic::eoi();
        }
    }
}

extern "C" fn kernel_trap(frame: &mut KernelFrame) {
    if frame.vector >= 32 {
        interrupt(frame.vector as u8);
        return;
    }
    if frame.vector == 14 || frame.vector == 13 {
        let addr = if frame.vector == 14 { x86::read_cr2() } else { u64::MAX };
        if addr <= crate::USER_MAX
            && let Some(to) = usercopy::fixup(frame.rip)
        {
            frame.rip = to;
            frame.rax = addr;
            return;
        }
    }
    let site = Site { rip: frame.rip, rbp: frame.rbp, rsp: frame.rsp, flags: frame.flags };
    let cause = if frame.vector == 14 { Cause::Fault } else { Cause::Bug };
    failed(format_args!("BUG: {frame}"), &site, cause)
}

/// A debug exception in the kernel: a copy touched memory that its program watches, or such a trap was held back until the
/// first instruction of an entry. Programs hear only of what they do themselves. Runs on a stack of its own, because the stack of
/// the interrupted code may be a program's, and must not use GS.
extern "C" fn debug_trap(frame: &mut KernelFrame) {
    const TF: u64 = 0x100;
    super::debug::take_status();
    frame.flags &= !TF;
}

extern "C" fn fatal_trap(frame: &mut KernelFrame) -> ! {
    super::panic::fatal(format_args!("{frame}"), Trace::new(frame.rip, frame.rbp))
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug trap",
        2 => "NMI",
        3 => "breakpoint",
        6 => "invalid instruction",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        18 => "machine check",
        _ => "exception",
    }
}

impl fmt::Display for KernelFrame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = self;
        write!(
            out,
            "{} {} in the kernel: code {:#x} rip {:#x} rsp {:#x} flags {:#x} cr2 {:#x} cs {:#x} ss {:#x}\n\
             rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x} rbp {:#x}\n\
             r8 {:#x} r9 {:#x} r10 {:#x} r11 {:#x} r12 {:#x} r13 {:#x} r14 {:#x} r15 {:#x}",
            f.vector,
            name(f.vector),
            f.code,
            f.rip,
            f.rsp,
            f.flags,
            x86::read_cr2(),
            f.cs,
            f.ss,
            f.rax,
            f.rbx,
            f.rcx,
            f.rdx,
            f.rsi,
            f.rdi,
            f.rbp,
            f.r8,
            f.r9,
            f.r10,
            f.r11,
            f.r12,
            f.r13,
            f.r14,
            f.r15,
        )
    }
}

/// Resets the CPU (and with it the VM) by a fault that cannot be delivered.
pub fn triple_fault() -> ! {
    let ptr = gdt::TablePtr { limit: 0, base: 0 };
    // SAFETY: the machine is meant to end here.
    unsafe {
        asm!("lidt [{}]", "int3", "2: cli", "hlt", "jmp 2b", in(reg) &raw const ptr, options(noreturn));
    }
}
