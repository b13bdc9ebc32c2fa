/* __vdso_getrandom(buffer, length, flags, state, size of state): random bytes without a system call. Each caller's state holds a
   ChaCha20 key that the kernel gave, and a batch of output; refilling the batch replaces the key (fast key erasure). The kernel's
   reseeding (a generation in the vvar page), a fork or dropped memory (both leave zeros) show as a generation that differs. A state
   in use (a signal handler) or anything unusual goes to the system call. Source: getrandom(2), RFC 8439; the caller's side is
   what glibc and musl expect: a query with size -1 tells how to map states.

   State: 0 batch (96 bytes), 96 key, 128 generation, 136 bytes of the batch used, 137 in use; 144 bytes.
   Registers: rbx state, rbp vvar, r12 buffer, r13 length, r14d flags (bit 31: tried again), r15 bytes to give; r8 and r9 what is left. */
vf_random:
    cmp r8, -1
    jne 1f
    mov rax, rdi
    or rax, rsi
    mov r9d, edx
    or rax, r9
    jnz 1f
    mov dword ptr [rcx], 144
    mov dword ptr [rcx + 4], 3            /* PROT_READ | PROT_WRITE */
    mov dword ptr [rcx + 8], 0x28         /* MAP_DROPPABLE | MAP_ANONYMOUS */
    pxor xmm0, xmm0
    movups [rcx + 12], xmm0
    movups [rcx + 28], xmm0
    movups [rcx + 44], xmm0
    mov dword ptr [rcx + 60], eax
    ret
1:  mov eax, ecx
    and eax, 4095
    cmp eax, 4096 - 144
    ja 9f
    test edx, -8
    jnz vf_random_call
    cmp r8, 144
    jne vf_random_call
    lea r11, [rip + vd - 4096]
    cmp dword ptr [r11 + 200], 1
    jne vf_random_call
    xor eax, eax
    test rsi, rsi
    jz 8f
    cmp byte ptr [rcx + 137], 0
    jne vf_random_call
    mov byte ptr [rcx + 137], 1
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rbx, rcx
    mov rbp, r11
    mov r12, rdi
    mov r13, rsi
    mov r14d, edx
    mov r15d, 0x7ffff000
    cmp r13, r15
    cmovb r15, r13

vf_random_key:
    mov rax, [rbp + 192]
    cmp [rbx + 128], rax
    je 1f
    mov [rbx + 128], rax                  /* before the key: a fork in between must show */
    mov eax, 318
    lea rdi, [rbx + 96]
    mov esi, 32
    xor edx, edx
    syscall
    mov byte ptr [rbx + 136], 96
    cmp rax, 32
    je 1f
    mov qword ptr [rbx + 128], 0
    jmp vf_random_give_up
1:  mov r8, r12
    mov r9, r15
    xor r11d, r11d

vf_random_batch:
    movzx eax, byte ptr [rbx + 136]
    cmp eax, 96
    ja vf_random_refill
    mov ecx, 96
    sub ecx, eax
    cmp rcx, r9
    cmova rcx, r9
    lea rsi, [rbx + rax]
    add byte ptr [rbx + 136], cl
    sub r9, rcx
1:  cmp ecx, 8
    jb 2f
    mov rax, [rsi]
    mov [r8], rax
    mov qword ptr [rsi], 0
    add rsi, 8
    add r8, 8
    sub ecx, 8
    jmp 1b
2:  test ecx, ecx
    jz 3f
    mov al, [rsi]
    mov [r8], al
    mov byte ptr [rsi], 0
    inc rsi
    inc r8
    dec ecx
    jmp 2b
3:  test r9, r9
    jnz vf_random_refill
    mov rax, [rbp + 192]
    cmp [rbx + 128], rax
    jne 4f
    mov byte ptr [rbx + 137], 0
    mov rax, r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
4:  bts r14d, 31
    jnc vf_random_key
vf_random_give_up:
    mov byte ptr [rbx + 137], 0
    mov rdi, r12
    mov rsi, r13
    mov edx, r14d
    btr edx, 31
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
vf_random_call:
    mov eax, 318
    syscall
8:  ret
9:  mov rax, -14                          /* EFAULT: a state on two pages could lose one of them */
    ret

vf_random_refill:
    mov rcx, r9
    shr rcx, 6
    jz 1f
    call vf_chacha
    and r9d, 63
1:  mov rdx, r8
    mov r8, rbx
    mov ecx, 2
    call vf_chacha
    mov r8, rdx
    mov byte ptr [rbx + 136], 0
    jmp vf_random_batch

/* rcx ChaCha20 blocks to r8, which advances; key at rbx + 96, which may be overwritten; r11 block counter. */
vf_chacha:
    movdqu xmm5, [rbx + 96]
    movdqu xmm6, [rbx + 112]
    movdqa xmm4, [rip + vf_chacha_sigma]
1:  movq xmm7, r11
    movdqa xmm0, xmm4
    movdqa xmm1, xmm5
    movdqa xmm2, xmm6
    movdqa xmm3, xmm7
    mov eax, 10
    .macro vf_rotate reg, left
    movdqa xmm8, \reg
    pslld \reg, \left
    psrld xmm8, 32 - \left
    por \reg, xmm8
    .endm
    .macro vf_quarters
    paddd xmm0, xmm1
    pxor xmm3, xmm0
    vf_rotate xmm3, 16
    paddd xmm2, xmm3
    pxor xmm1, xmm2
    vf_rotate xmm1, 12
    paddd xmm0, xmm1
    pxor xmm3, xmm0
    vf_rotate xmm3, 8
    paddd xmm2, xmm3
    pxor xmm1, xmm2
    vf_rotate xmm1, 7
    .endm
2:  vf_quarters
    pshufd xmm1, xmm1, 0x39
    pshufd xmm2, xmm2, 0x4e
    pshufd xmm3, xmm3, 0x93
    vf_quarters
    pshufd xmm1, xmm1, 0x93
    pshufd xmm2, xmm2, 0x4e
    pshufd xmm3, xmm3, 0x39
    dec eax
    jnz 2b
    paddd xmm0, xmm4
    paddd xmm1, xmm5
    paddd xmm2, xmm6
    paddd xmm3, xmm7
    movdqu [r8], xmm0
    movdqu [r8 + 16], xmm1
    movdqu [r8 + 32], xmm2
    movdqu [r8 + 48], xmm3
    inc r11
    add r8, 64
    dec rcx
    jnz 1b
    pxor xmm0, xmm0
    pxor xmm1, xmm1
    pxor xmm2, xmm2
    pxor xmm3, xmm3
    pxor xmm5, xmm5
    pxor xmm6, xmm6
    pxor xmm8, xmm8
    ret
vf_random_end:
    .balign 16
vf_chacha_sigma:
    .ascii "expand 32-byte k"
