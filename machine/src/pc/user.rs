//! Entering user mode and coming back.
//!
//! `enter` saves the kernel's callee-saved registers, remembers the stack pointer in the CPU's block, points `Tss::rsp0` to the
//! end of the thread's [`Regs`] and leaves by SYSRET when the registers allow it, else by IRET. Whatever ends user mode
//! (SYSCALL here, every trap in `traps`) pushes the user's registers straight into those `Regs` and returns to
//! `enter`'s caller with 0 in RAX for a system call, vector + 1 otherwise, and the error code in RDX.
//! SYSRET with a non-canonical RIP would fault in ring 0 with the user's stack: such a RIP never reaches it.

use super::cpu::{self, off};
use super::saved::{pop_callee_saved, push_callee_saved, push_upper};
use super::{gdt, segments, traps, x86};
use crate::user::{Exit, Fault, Regs, UserCtx};
use core::arch::global_asm;
use core::mem::offset_of;

pub use super::fpu::{FpuState, NO_TSC, ODD_SEGMENTS, xstate_mask, xstate_size};
pub use super::segments::is_stack;

/// Flags a program may have when it is entered by SYSRET: CF PF AF ZF SF DF OF AC ID.
const FAST_FLAGS: u32 = 0x0024_0cd5;
/// Flags a program may set at all: those and TF, NT, RF.
const USER_FLAGS: u32 = 0x0025_4dd5;
/// CR4: the time-stamp counter is the kernel's.
const CR4_TSD: u64 = 4;
/// Flags that SYSCALL clears: all but the reserved one.
const SYSCALL_MASK: u64 = 0x0025_7fd5;

/// Notes the way back; on to 3 if RIP (in RCX then) is no user address. R11: the flags.
macro_rules! begin {
    () => {
        concat!(
            push_callee_saved!(),
            r#"
    mov gs:[{kernel_rsp}], rsp
    lea rax, [rdi + {size}]
    mov gs:[{rsp0}], rax
    mov rcx, [rdi + {rip}]
    mov r11, [rdi + {eflags}]
    mov rdx, rcx
    shr rdx, 47
    jnz 3f
"#
        )
    };
}

/// Loads the registers but RDI (which points to them), RSP and what SYSRET takes.
macro_rules! load_most {
    () => {
        r#"
    mov r15, [rdi + {r15}]
    mov r14, [rdi + {r14}]
    mov r13, [rdi + {r13}]
    mov r12, [rdi + {r12}]
    mov rbp, [rdi + {rbp}]
    mov rbx, [rdi + {rbx}]
    mov r10, [rdi + {r10}]
    mov r9, [rdi + {r9}]
    mov r8, [rdi + {r8}]
    mov rax, [rdi + {rax}]
    mov rdx, [rdi + {rdx}]
    mov rsi, [rdi + {rsi}]
"#
    };
}

global_asm!(
    r#"
    .section .text.user, "ax"
    .balign 64
    .global ochre_enter_user, ochre_enter_user_ss
ochre_enter_user:               // rdi: &mut Regs
    "#, begin!(), r#"
    cmp rcx, [rdi + {rcx}]
    jne 2f
    cmp r11, [rdi + {r11}]
    jne 2f
    mov eax, r11d
    and eax, ~{fast_flags}
    cmp eax, 0x202
    jne 2f
    "#, load_most!(), r#"
    mov rsp, [rdi + {rsp}]
    mov rdi, [rdi + {rdi}]
    swapgs
    sysretq
ochre_enter_user_ss:            // rsi: a stack segment that IRET can load
    "#, begin!(), r#"
    push rsi
    jmp 4f
2:                              // the general way
    push {user_ds}
4:  push [rdi + {rsp}]
    and r11d, {user_flags}
    or r11d, 0x202
    push r11
    push {user_cs}
    push rcx
    "#, load_most!(), r#"
    mov r11, [rdi + {r11}]
    mov rcx, [rdi + {rcx}]
    mov rdi, [rdi + {rdi}]
    swapgs
    iretq
3:                              // RIP is no user address: the fault the CPU would raise
    mov eax, 14
    xor edx, edx
    "#, pop_callee_saved!(), r#"
    ret

    .balign 64
    .global ochre_syscall_entry
ochre_syscall_entry:
    swapgs
    mov gs:[{scratch}], rsp
    mov rsp, gs:[{rsp0}]
    push {user_ds}
    push gs:[{scratch}]
    push r11
    push {user_cs}
    push rcx
    push rax
    push rdi
    push rsi
    push rdx
    push rcx
    push -38                    // RAX while the call runs: -ENOSYS
    "#, push_upper!(), r#"
    mov rsp, gs:[{kernel_rsp}]
    "#, pop_callee_saved!(), r#"
    xor eax, eax
    ret
"#,
    kernel_rsp = const off::KERNEL_RSP,
    scratch = const off::SCRATCH,
    rsp0 = const off::RSP0,
    size = const size_of::<Regs>(),
    fast_flags = const FAST_FLAGS,
    user_flags = const USER_FLAGS,
    user_ds = const gdt::USER_DS,
    user_cs = const gdt::USER_CS,
    r15 = const offset_of!(Regs, r15),
    r14 = const offset_of!(Regs, r14),
    r13 = const offset_of!(Regs, r13),
    r12 = const offset_of!(Regs, r12),
    rbp = const offset_of!(Regs, rbp),
    rbx = const offset_of!(Regs, rbx),
    r11 = const offset_of!(Regs, r11),
    r10 = const offset_of!(Regs, r10),
    r9 = const offset_of!(Regs, r9),
    r8 = const offset_of!(Regs, r8),
    rax = const offset_of!(Regs, rax),
    rcx = const offset_of!(Regs, rcx),
    rdx = const offset_of!(Regs, rdx),
    rsi = const offset_of!(Regs, rsi),
    rdi = const offset_of!(Regs, rdi),
    rip = const offset_of!(Regs, rip),
    eflags = const offset_of!(Regs, eflags),
    rsp = const offset_of!(Regs, rsp),
);

/// What `enter` brings back: 0 or vector + 1, and the error code.
#[repr(C)]
struct Left {
    reason: u64,
    code: u64,
}

unsafe extern "C" {
    fn ochre_enter_user(regs: *mut Regs) -> Left;
    fn ochre_enter_user_ss(regs: *mut Regs, ss: u64) -> Left;
    fn ochre_syscall_entry();
}

// The CPU aligns the stack to 16 bytes before it pushes a trap frame; the end of `regs` must be so aligned.
const _: () =
    assert!((offset_of!(UserCtx, regs) + size_of::<Regs>()).is_multiple_of(16) && align_of::<UserCtx>() >= 16);

/// Sets up SYSCALL on this CPU.
pub fn init_cpu() {
    // SAFETY: selectors match the descriptor table; the entry is the stub above; FMASK masks interrupts on entry.
    unsafe {
        x86::wrmsr(x86::MSR_EFER, x86::rdmsr(x86::MSR_EFER) | 1);
        x86::wrmsr(x86::MSR_STAR, u64::from(gdt::SYSRET_BASE) << 48 | u64::from(gdt::KERNEL_CS) << 32);
        x86::wrmsr(x86::MSR_LSTAR, ochre_syscall_entry as *const () as u64);
        x86::wrmsr(x86::MSR_CSTAR, 0);
        x86::wrmsr(x86::MSR_FMASK, SYSCALL_MASK);
    }
}

#[inline]
pub fn run(ctx: &mut UserCtx) -> Exit {
    x86::cli();
    let cpu = cpu::current();
    if cpu.event.get() != 0 {
        cpu.event.set(0);
        x86::sti();
        return Exit::Interrupt;
    }
    let left = if ctx.fpu.load(cpu, &mut ctx.fs_base, &mut ctx.gs_base, &raw const ctx.regs) {
        match enter_special(ctx) {
            Ok(left) => left,
            Err(exit) => {
                x86::sti();
                return exit;
            }
        }
    } else {
        // SAFETY: interrupts are off, `regs` end on a 16-byte boundary inside `ctx`, which stays borrowed until user mode is left.
        unsafe { ochre_enter_user(&raw mut ctx.regs) }
    };
    if left.reason == 0 {
        x86::sti();
        return Exit::Syscall;
    }
    trapped((left.reason - 1) as u8, left.code)
}

/// Enters user mode for a thread that may have a stack segment of its own, or whose reading of the time-stamp counter faults. What IRET would
/// refuse comes back as the exception it would raise; what it takes cannot change before it runs, for interrupts are off.
#[cold]
#[inline(never)]
fn enter_special(ctx: &mut UserCtx) -> Result<Left, Exit> {
    segments::check_code(ctx.regs.cs as u16)?;
    let ss = segments::check_stack(ctx.regs.ss as u16)?;
    (ctx.regs.cs, ctx.regs.ss) = (gdt::USER_CS.into(), ss.into());
    if ss == gdt::USER_DS {
        ctx.fpu.needs &= !ODD_SEGMENTS;
    } else {
        ctx.fpu.needs |= ODD_SEGMENTS;
    }
    let no_tsc = ctx.fpu.needs & NO_TSC != 0;
    if no_tsc {
        // SAFETY: the bit only forbids user mode an instruction.
        unsafe { x86::write_cr4(x86::read_cr4() | CR4_TSD) };
    }
    // SAFETY: as in `run`; the stack segment was found loadable.
    let left = unsafe {
        if ss == gdt::USER_DS {
            ochre_enter_user(&raw mut ctx.regs)
        } else {
            ochre_enter_user_ss(&raw mut ctx.regs, ss.into())
        }
    };
    if no_tsc {
        // SAFETY: as above.
        unsafe { x86::write_cr4(x86::read_cr4() & !CR4_TSD) };
    }
    Ok(left)
}

/// Sorts out a trap from user mode. Interrupts are off; they are on when this returns.
fn trapped(vector: u8, code: u64) -> Exit {
    let exit = match vector {
        14 => Exit::Fault(Fault {
            addr: x86::read_cr2(),
            write: code & 2 != 0,
            exec: code & 16 != 0,
            present: code & 1 != 0,
        }),
        1 => Exit::Exception { vector, code: super::debug::take_status() },
        0..32 => Exit::Exception { vector, code },
        _ => {
            traps::interrupt(vector);
            cpu::current().event.set(0);
            Exit::Interrupt
        }
    };
    x86::sti();
    exit
}
