//! The vDSO: one page of position-independent code with the dynamic-linking tables that C libraries look it up by.
//!
//! The shared object is laid out by hand in assembler, so that the build needs no second link step: ELF header, program headers,
//! `.dynamic`, `.hash`, `.dynsym`, `.dynstr`, symbol versions (everything is `LINUX_2.6`), then the code. It is mapped right behind
//! the vvar page, whose layout `crate::vdso` gives; the code reads the clock parameters there under the sequence counter.
//! Sources: elf(5), vdso(7), System V ABI (symbol hashing), glibc's and musl's look-up rules.

use crate::vdso::Unlock;

core::arch::global_asm!(
    r#"
    .pushsection .rodata.vdso, "a"
    .balign 4096
    .global ochre_vdso_start, ochre_vdso_end, ochre_vdso_unlocks
ochre_vdso_start:
vd:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
    .2byte 3, 62
    .4byte 1
    .quad 0, 64, 0
    .4byte 0
    .2byte 64, 56, 2, 64, 0, 0
    /* PT_LOAD r-x */
    .4byte 1, 5
    .quad 0, 0, 0, vd_end - vd, vd_end - vd, 4096
    /* PT_DYNAMIC */
    .4byte 2, 4
    .quad vd_dyn - vd, vd_dyn - vd, vd_dyn - vd, vd_dyn_end - vd_dyn, vd_dyn_end - vd_dyn, 8
vd_dyn:
    .quad 14, vs_soname - vd_str          /* DT_SONAME */
    .quad 4, vd_hash - vd                 /* DT_HASH */
    .quad 5, vd_str - vd                  /* DT_STRTAB */
    .quad 6, vd_sym - vd                  /* DT_SYMTAB */
    .quad 10, vd_str_end - vd_str         /* DT_STRSZ */
    .quad 11, 24                          /* DT_SYMENT */
    .quad 0x6ffffffc, vd_verdef - vd      /* DT_VERDEF */
    .quad 0x6ffffffd, 2                   /* DT_VERDEFNUM */
    .quad 0x6ffffff0, vd_versym - vd      /* DT_VERSYM */
    .quad 0, 0
vd_dyn_end:
vd_hash:                                  /* one bucket, one chain through all symbols */
    .4byte 1, 15, 1
    .4byte 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0
    .balign 8
vd_sym:
    .macro vdsym name, func, end, bind
    .4byte \name - vd_str
    .byte \bind, 0
    .2byte 1
    .quad \func - vd, \end - \func
    .endm
    .quad 0, 0, 0
    vdsym vs_vclock, vf_clock, vf_clock_end, 0x12
    vdsym vs_clock, vf_clock, vf_clock_end, 0x22
    vdsym vs_vtod, vf_tod, vf_tod_end, 0x12
    vdsym vs_tod, vf_tod, vf_tod_end, 0x22
    vdsym vs_vtime, vf_time, vf_time_end, 0x12
    vdsym vs_time, vf_time, vf_time_end, 0x22
    vdsym vs_vcpu, vf_cpu, vf_cpu_end, 0x12
    vdsym vs_cpu, vf_cpu, vf_cpu_end, 0x22
    vdsym vs_vres, vf_res, vf_res_end, 0x12
    vdsym vs_res, vf_res, vf_res_end, 0x22
    vdsym vs_vrandom, vf_random, vf_random_end, 0x12
    vdsym vs_random, vf_random, vf_random_end, 0x22
    vdsym vs_unlock64, vf_unlock64, vf_unlock64_end, 0x12
    vdsym vs_unlock32, vf_unlock32, vf_unlock32_end, 0x12
vd_str:
    .byte 0
vs_vclock: .ascii "__vdso_"
vs_clock: .asciz "clock_gettime"
vs_vtod: .ascii "__vdso_"
vs_tod: .asciz "gettimeofday"
vs_vtime: .ascii "__vdso_"
vs_time: .asciz "time"
vs_vcpu: .ascii "__vdso_"
vs_cpu: .asciz "getcpu"
vs_vres: .ascii "__vdso_"
vs_res: .asciz "clock_getres"
vs_vrandom: .ascii "__vdso_"
vs_random: .asciz "getrandom"
vs_unlock64: .asciz "__vdso_futex_robust_list64_try_unlock"
vs_unlock32: .asciz "__vdso_futex_robust_list32_try_unlock"
vs_soname: .asciz "linux-vdso.so.1"
vs_version: .asciz "LINUX_2.6"
vd_str_end:
    .balign 2
vd_versym:
    .2byte 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2
    .balign 4
vd_verdef:
    .2byte 1, 1, 1, 1
    .4byte 0x0deebfa1, 20, 28
    .4byte vs_soname - vd_str, 0
    .2byte 1, 0, 2, 1
    .4byte 0x03ae75f6, 20, 0
    .4byte vs_version - vd_str, 0
    .balign 16

/* The clock that runs along the line at r11, with the 64-bit value at r10 added, in rax; r8 = vvar. ZF clear on return: the TSC
   is unusable. */
vf_read:
    mov r9d, [r8]
    test r9d, 1
    jnz vf_read
    cmp dword ptr [r8 + 4], 1
    jne 2f
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [r11]
    mul qword ptr [r11 + 8]
    mov ecx, [r8 + 20]
    shrd rax, rdx, cl
    add rax, [r10]
    cmp r9d, [r8]
    jne vf_read
2:  ret

vf_clock:
    lea r8, [rip + vd - 4096]
    cmp edi, 11
    ja 3f
    mov eax, 0x8f3                        /* REALTIME, MONOTONIC, _RAW, _COARSE of both, BOOTTIME, TAI */
    bt eax, edi
    jnc 3f
    mov eax, edi
    lea r10, [r8 + rax * 8 + 64]
    lea r11, [r8 + 24]
    cmp edi, 4
    jne 1f
    add r11, 16
1:  call vf_read
    jne 3f
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    ret
3:  mov eax, 228
    syscall
    ret
vf_clock_end:

vf_res:
    cmp edi, 11
    ja 3f
    mov eax, 0x893                        /* REALTIME, MONOTONIC, _RAW, BOOTTIME, TAI: a nanosecond */
    mov ecx, 1
    bt eax, edi
    jc 1f
    mov eax, 0x60                         /* _COARSE: a tick of 250 Hz */
    mov ecx, 4000000
    bt eax, edi
    jnc 3f
1:  test rsi, rsi
    jz 2f
    mov qword ptr [rsi], 0
    mov [rsi + 8], rcx
2:  xor eax, eax
    ret
3:  mov eax, 229
    syscall
    ret
vf_res_end:

vf_tod:
    lea r8, [rip + vd - 4096]
    test rdi, rdi
    jz 1f
    lea r10, [r8 + 64]
    lea r11, [r8 + 24]
    call vf_read
    jne 3f
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rdi], rax
    mov eax, edx
    xor edx, edx
    mov ecx, 1000
    div ecx
    mov [rdi + 8], rax
1:  test rsi, rsi
    jz 2f
    mov eax, [r8 + 12]
    mov [rsi], eax
    mov eax, [r8 + 16]
    mov [rsi + 4], eax
2:  xor eax, eax
    ret
3:  mov eax, 96
    syscall
    ret
vf_tod_end:

vf_time:
    lea r8, [rip + vd - 4096]
    lea r10, [r8 + 64]
    lea r11, [r8 + 24]
    call vf_read
    jne 3f
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    test rdi, rdi
    jz 1f
    mov [rdi], rax
1:  ret
3:  mov eax, 201
    syscall
    ret
vf_time_end:

vf_cpu:
    lea r8, [rip + vd - 4096]
    cmp dword ptr [r8 + 8], 1
    jne 3f
    rdtscp
    test rdi, rdi
    jz 1f
    mov eax, ecx
    and eax, 0xfff
    mov [rdi], eax
1:  test rsi, rsi
    jz 2f
    shr ecx, 12
    mov [rsi], ecx
2:  xor eax, eax
    ret
3:  mov eax, 309
    syscall
    ret
vf_cpu_end:

/* Frees the robust word at rdi if it is that of thread esi alone, and takes back the mark at rdx of the operation; eax = what the
   word was. From the label behind the exchange on the mark is the kernel's to take back if ZF is set (`Unlock`). */
    .macro vdunlock width, zero
vf_unlock\width:
    mov eax, esi
    xor ecx, ecx
    lock cmpxchg [rdi], ecx
vf_unlock\width\()_freed:
    jne 1f
    mov [rdx], \zero
1:
vf_unlock\width\()_done:
    ret
vf_unlock\width\()_end:
    .endm
    .balign 16
    vdunlock 64, rcx
    .balign 16
    vdunlock 32, ecx
    .balign 16
"#,
    include_str!("random.s"),
    r#"
vd_end:
    .balign 4096
ochre_vdso_end:
    .balign 8
ochre_vdso_unlocks:
    .quad vf_unlock64_freed - vd, vf_unlock64_done - vd, vf_unlock32_freed - vd, vf_unlock32_done - vd
    .popsection
    "#
);

/// The page of the shared object.
pub fn image() -> &'static [u8] {
    unsafe extern "C" {
        static ochre_vdso_start: u8;
        static ochre_vdso_end: u8;
    }
    let start = &raw const ochre_vdso_start;
    let end = &raw const ochre_vdso_end;
    // SAFETY: both labels bound one read-only object laid out above.
    unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) }
}

/// Where the two functions that free robust words have freed one but not yet taken back the mark of the operation.
pub fn unlocks() -> [Unlock; 2] {
    unsafe extern "C" {
        static ochre_vdso_unlocks: [u64; 4];
    }
    // SAFETY: the label names four words laid out above, which nobody writes.
    let [from64, to64, from32, to32] = unsafe { ochre_vdso_unlocks };
    [Unlock { code: from64..to64, narrow: false }, Unlock { code: from32..to32, narrow: true }]
}
