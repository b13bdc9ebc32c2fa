//! Copies between kernel and user memory in the active address space, with a table that turns faults into results.
//!
//! Each instruction below that may touch user memory has a row in `.ex_table`: when it faults, `traps::kernel_trap` resumes
//! at the row's second address with the fault address in RAX. Callers have checked that the user range ends
//! below `USER_MAX`, so a wild pointer can never name kernel memory. STAC/CLAC sites are listed and turned into no-ops at boot
//! on a CPU without SMAP.

use core::arch::global_asm;

global_asm!(
    r#"
    .macro ex from, to
    .pushsection .ex_table, "a"
    .quad \from, \to
    .popsection
    .endm
    .macro user_on
771: stac
    .pushsection .smap_sites, "a"
    .quad 771b
    .popsection
    .endm
    .macro user_off
771: clac
    .pushsection .smap_sites, "a"
    .quad 771b
    .popsection
    .endm

    .section .text.usercopy, "ax"
    .balign 16
// (rdi: to, rsi: from, rdx: bytes) -> (rax: bytes left, rdx: fault address)
    .global ochre_user_copy
ochre_user_copy:
    user_on
    cmp rdx, 8
    jb 20f
    mov rcx, rdx
    shr rcx, 3
10: rep movsq
    and edx, 7
    jnz 20f
    user_off
    xor eax, eax
    ret
20: test dl, 4
    jz 22f
21: mov ecx, [rsi]
23: mov [rdi], ecx
    add rsi, 4
    add rdi, 4
22: test dl, 2
    jz 25f
24: movzx ecx, word ptr [rsi]
26: mov [rdi], cx
    add rsi, 2
    add rdi, 2
25: test dl, 1
    jz 28f
27: movzx ecx, byte ptr [rsi]
29: mov [rdi], cl
28: user_off
    xor eax, eax
    ret
// faults: how many bytes are left; those before the fault in a word that crosses a page are copied one by one
30: shl rcx, 3
    and edx, 7
    add rcx, rdx
    cmp rax, rsi                // the word began at the fault: nothing before it
    je 35f
    cmp rax, rdi
    je 35f
    jmp 34f
31: mov ecx, edx
    and ecx, 7
    jmp 34f
32: mov ecx, edx
    and ecx, 3
    jmp 34f
33: mov ecx, edx
    and ecx, 1
34: rep movsb
    user_off
    xor eax, eax
    ret
35: user_off
    mov rdx, rax
    mov rax, rcx
    ret
    ex 10b, 30b
    ex 21b, 31b
    ex 23b, 31b
    ex 24b, 32b
    ex 26b, 32b
    ex 27b, 33b
    ex 29b, 33b
    ex 34b, 35b

    .balign 16
// (rdi: to, rsi: bytes) -> (rax: bytes left, rdx: fault address)
    .global ochre_user_zero
ochre_user_zero:
    user_on
    mov rcx, rsi
    and esi, 7
    xor eax, eax
    shr rcx, 3
40: rep stosq
    mov ecx, esi
41: rep stosb
    user_off
    ret
42: shl rcx, 3
    add rcx, rsi
    xor eax, eax
    jmp 41b
43: user_off
    mov rdx, rax
    mov rax, rcx
    ret
    ex 40b, 42b
    ex 41b, 43b

    .balign 16
// (rdi: to, rsi: from, rdx: room) -> (rax: room left after the NUL was copied, rdx: 0)
// no NUL in the room: rax = -1; fault: rax = room left, rdx = fault address with bit 63 set
    .global ochre_user_str
ochre_user_str:
    user_on
    mov rcx, rdx
    mov r10, 0x8080808080808080
    mov r11, 0x0101010101010101
50: cmp rcx, 8
    jb 52f
    mov eax, esi
    and eax, 0xfff
    cmp eax, 0xff8              // a word that crosses a page goes byte by byte
    ja 52f
51: mov rax, [rsi]
    mov rdx, rax
    mov r8, rax
    sub rdx, r11
    not r8
    and rdx, r8
    and rdx, r10
    jnz 55f
    mov [rdi], rax
    add rsi, 8
    add rdi, 8
    sub rcx, 8
    jmp 50b
55: mov [rdi], rax              // the word with the NUL; what lies behind it is overwritten or ignored
    bsf rdx, rdx
    shr edx, 3
    inc edx
    sub rcx, rdx
    mov rax, rcx
    xor edx, edx
    user_off
    ret
52: test rcx, rcx
    jz 54f
53: movzx eax, byte ptr [rsi]
    mov [rdi], al
    inc rsi
    inc rdi
    dec rcx
    test al, al
    jnz 50b
    mov rax, rcx
    xor edx, edx
    user_off
    ret
54: mov rax, -1
    xor edx, edx
    user_off
    ret
56: user_off
    mov rdx, rax
    bts rdx, 63
    mov rax, rcx
    ret
    ex 51b, 56b
    ex 53b, 56b

    .balign 16
// (rdi: address) -> (rax: value, rdx: 0, or rdx: fault address with bit 63 set)
    .global ochre_user_load32
ochre_user_load32:
    user_on
    xor edx, edx
60: mov eax, [rdi]
    user_off
    ret
61: user_off
    mov rdx, rax
    bts rdx, 63
    ret
    ex 60b, 61b

    .balign 16
// (rdi: address, esi: old, edx: new) -> (rax: value seen, rdx: 0, or rdx: fault address with bit 63 set)
    .global ochre_user_cmpxchg32
ochre_user_cmpxchg32:
    user_on
    mov ecx, edx
    mov eax, esi
    xor edx, edx
62: lock cmpxchg [rdi], ecx
    user_off
    ret
    ex 62b, 61b
"#
);

/// Two result registers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pair {
    /// RAX.
    pub a: u64,
    /// RDX.
    pub d: u64,
}

unsafe extern "C" {
    fn ochre_user_copy(to: u64, from: u64, len: usize) -> Pair;
    fn ochre_user_zero(to: u64, len: usize) -> Pair;
    fn ochre_user_str(to: u64, from: u64, room: usize) -> Pair;
    fn ochre_user_load32(at: u64) -> Pair;
    fn ochre_user_cmpxchg32(at: u64, old: u32, new: u32) -> Pair;
    static __ex_table_start: [u64; 2];
    static __ex_table_end: [u64; 2];
    static __smap_sites_start: u64;
    static __smap_sites_end: u64;
}

/// Copies; returns the bytes left and, if any, the fault address.
/// # Safety
/// One side is kernel memory valid for `len` bytes, the other a user range that ends at or below `USER_MAX`.
#[inline]
pub unsafe fn copy(to: u64, from: u64, len: usize) -> Pair {
    // SAFETY: the caller's promise; faults on the user side come back as a result.
    unsafe { ochre_user_copy(to, from, len) }
}

/// Zeroes user memory; a result as of [`copy`].
/// # Safety
/// The range ends at or below `USER_MAX`.
pub unsafe fn zero(to: u64, len: usize) -> Pair {
    // SAFETY: as above.
    unsafe { ochre_user_zero(to, len) }
}

/// Copies a string; see the assembly for the result.
/// # Safety
/// `to` is kernel memory of `room` bytes, `from + room` at or below `USER_MAX`.
pub unsafe fn string(to: u64, from: u64, room: usize) -> Pair {
    // SAFETY: as above.
    unsafe { ochre_user_str(to, from, room) }
}

/// Loads a word; `d` is the fault address with bit 63 set if not 0.
/// # Safety
/// The word is aligned and below `USER_MAX`.
pub unsafe fn load32(at: u64) -> Pair {
    // SAFETY: as above.
    unsafe { ochre_user_load32(at) }
}

/// Compare-exchange of a word; `d` as for [`load32`].
/// # Safety
/// As [`load32`].
pub unsafe fn cmpxchg32(at: u64, old: u32, new: u32) -> Pair {
    // SAFETY: as above.
    unsafe { ochre_user_cmpxchg32(at, old, new) }
}

/// Where to go on after a fault at `rip`.
pub fn fixup(rip: u64) -> Option<u64> {
    // SAFETY: the linker script puts the table between the two symbols.
    let rows = unsafe {
        let start = &raw const __ex_table_start;
        let n = (&raw const __ex_table_end).offset_from(start);
        core::slice::from_raw_parts(start, n as usize)
    };
    rows.iter().find(|r| r[0] == rip).map(|r| r[1])
}

/// Turns the STAC and CLAC instructions into no-ops: this CPU has no SMAP. At boot, before the text is made read-only.
pub fn remove_smap() {
    // SAFETY: each listed address is a three-byte instruction of the kernel text, still writable, and this CPU is alone.
    unsafe {
        let start = &raw const __smap_sites_start;
        let n = (&raw const __smap_sites_end).offset_from(start);
        for &site in core::slice::from_raw_parts(start, n as usize) {
            (site as *mut [u8; 3]).write_volatile([0x0f, 0x1f, 0x00]);
        }
    }
}
