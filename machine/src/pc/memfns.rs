//! `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp`: the symbols the compiler calls.
//!
//! Eight bytes a step everywhere: the kernel has no vector registers, and an emulator counts each step of a string
//! instruction. Blocks up to 32 bytes move through registers with overlapping ends, longer ones by `rep movsq` with the last
//! eight bytes moved apart.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.memfns, "ax"
    .global memcpy
    .global memmove
    .global memset
    .global memcmp
    .global bcmp

    .balign 16
memmove:
    mov rax, rdi
    sub rax, rsi
    cmp rax, rdx
    jb 5f                       // destination inside the source: from the end
memcpy:
    mov rax, rdi
    cmp rdx, 16
    jb 2f
    cmp rdx, 32
    ja 1f
    mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + rdx - 16]
    mov r11, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + rdx - 16], r10
    mov [rdi + rdx - 8], r11
    ret
1:  mov r8, [rsi + rdx - 8]
    lea r9, [rdi + rdx - 8]
    mov rcx, rdx
    shr rcx, 3
    rep movsq
    mov [r9], r8
    ret
2:  cmp edx, 8
    jb 3f
    mov r8, [rsi]
    mov r9, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + rdx - 8], r9
    ret
3:  cmp edx, 4
    jb 4f
    mov r8d, [rsi]
    mov r9d, [rsi + rdx - 4]
    mov [rdi], r8d
    mov [rdi + rdx - 4], r9d
    ret
4:  test edx, edx
    jz 6f
    movzx r8d, byte ptr [rsi]
    movzx r9d, byte ptr [rsi + rdx - 1]
    shr edx, 1
    movzx r10d, byte ptr [rsi + rdx]
    mov [rdi + rdx], r10b
    mov [rdi], r8b
    lea r10, [rdi + rdx]
    adc r10, rdx
    mov [r10 - 1], r9b
6:  ret

5:  // overlapping, destination above source
    mov rax, rdi
    cmp rdx, 32
    jbe 7f
    mov r8, [rsi]
    mov rcx, rdx
    lea rsi, [rsi + rdx - 8]
    lea rdi, [rdi + rdx - 8]
    shr rcx, 3
    std
    rep movsq
    cld
    mov [rax], r8
    ret
7:  // small blocks are loaded whole before the first store
    cmp rdx, 16
    jb 2b
    mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + rdx - 16]
    mov r11, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + rdx - 16], r10
    mov [rdi + rdx - 8], r11
    ret

    .balign 16
memset:
    mov r8, rdi
    movzx esi, sil
    mov rax, 0x0101010101010101
    imul rax, rsi
    cmp rdx, 8
    jb 2f
    mov [rdi + rdx - 8], rax
    mov rcx, rdx
    shr rcx, 3
    cmp rcx, 4
    ja 1f
3:  mov [rdi], rax
    add rdi, 8
    dec ecx
    jnz 3b
    mov rax, r8
    ret
1:  rep stosq
    mov rax, r8
    ret
2:  cmp edx, 4
    jb 4f
    mov [rdi], eax
    mov [rdi + rdx - 4], eax
    mov rax, r8
    ret
4:  test edx, edx
    jz 5f
    mov [rdi], al
    mov [rdi + rdx - 1], al
    shr edx, 1
    mov [rdi + rdx], al
5:  mov rax, r8
    ret

    .balign 16
memcmp:
bcmp:
    cmp rdx, 8
    jb 2f
1:  mov rax, [rdi]
    mov rcx, [rsi]
    cmp rax, rcx
    jne 4f
    add rdi, 8
    add rsi, 8
    sub rdx, 8
    cmp rdx, 8
    jae 1b
2:  test edx, edx
    jz 5f
3:  movzx eax, byte ptr [rdi]
    movzx ecx, byte ptr [rsi]
    sub eax, ecx
    jne 6f
    inc rdi
    inc rsi
    dec edx
    jnz 3b
5:  xor eax, eax
6:  ret
4:  bswap rax
    bswap rcx
    cmp rax, rcx
    sbb eax, eax
    or eax, 1
    ret
"#
);
