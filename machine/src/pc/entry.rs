//! The first instructions: PVH entry in 32-bit protected mode, the step to long mode, and the jump to the high half.
//!
//! The loader (QEMU, Firecracker, Cloud Hypervisor: anything that knows PVH) enters `_start` with paging off and EBX pointing
//! to the start info. The static tables below map the first GiB of memory three times: at 0 (for the instructions that turn
//! paging on, here and in the other CPUs' trampoline), at the direct map and at the kernel's link address. `boot::start`
//! replaces them by the real ones.
//! Source: the PVH boot ABI (Xen `docs/misc/pvh.pandoc`, `public/arch-x86/hvm/start_info.h`).

use core::arch::global_asm;

/// Where the kernel image is linked: virtual address of physical 0.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Where all of RAM is mapped.
pub const DIRECT_BASE: u64 = 0xffff_8000_0000_0000;
/// Bytes the boot tables map.
pub const BOOT_MAPPED: u64 = 1 << 30;
/// Bytes of the boot CPU's first stack: twice a thread's, for start-up code with everything inlined.
pub const BOOT_STACK: usize = 32768;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18              // name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad _start - {base}

    .section .text.boot, "ax"
    .code32
    .global _start
_start:
    cli
    cld
    mov edi, ebx
    mov eax, 0xb0               // PAE, PGE, PSE
    mov cr4, eax
    lea eax, [boot_pml4 - {base}]
    mov cr3, eax
    mov ecx, 0xc0000080         // EFER: SCE, LME, NXE
    mov eax, 0x901
    xor edx, edx
    wrmsr
    mov eax, 0x80010033         // PG, WP, NE, ET, MP, PE
    mov cr0, eax
    lgdt [boot_gdt_ptr - {base}]
    lea esp, [boot_stack_top - {base}]
    push 0x10
    lea eax, [2f - {base}]
    push eax
    retf
    .code64
2:  mov ax, 0x18
    mov ss, ax
    xor eax, eax
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    movabs rax, offset .Lboot_high
    jmp rax
.Lboot_high:
    mov rsp, offset boot_stack_top
    mov edi, edi
    xor ebp, ebp
    call {start}
    ud2

    .section .data
    .balign 4096
    .global boot_pml4
boot_pml4:
    .quad boot_pdpt_low - {base} + 3
    .fill 255, 8, 0
    .quad boot_pdpt_low - {base} + 3
    .fill 254, 8, 0
    .quad boot_pdpt_high - {base} + 3
    .global boot_pdpt_low
boot_pdpt_low:
    .quad boot_pd - {base} + 3
    .fill 511, 8, 0
    .global boot_pdpt_high
boot_pdpt_high:
    .fill 510, 8, 0
    .quad boot_pd - {base} + 3
    .quad 0
    .global boot_pd
boot_pd:
    .set frame, 0
    .rept 512
    .quad frame + 0x83
    .set frame, frame + 0x200000
    .endr
    .global boot_gdt
boot_gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff
    .global boot_gdt_ptr
boot_gdt_ptr:
    .word 31
    .long boot_gdt - {base}
    .long 0

    .section .bss
    .balign 4096
    .global boot_stack_guard
boot_stack_guard:
    .skip 4096 + {stack}
    .global boot_stack_top
boot_stack_top:
"#,
    base = const KERNEL_BASE,
    stack = const BOOT_STACK,
    start = sym super::boot::start,
);
