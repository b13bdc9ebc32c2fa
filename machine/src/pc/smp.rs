//! Starting the other CPUs.
//!
//! A 16-bit stub is copied to a page below 1 MiB; INIT and start-up IPIs send each CPU there. It switches to the boot tables
//! (which map low memory one to one), then to the kernel's tables, takes one of the prepared stacks and enters [`ap_main`], which
//! finds the CPU's own block by its APIC id.

use super::{apic, cpu, entry, features, fpu, gdt, mem, paging, stack::Stack, time, traps, user, x86};
use crate::cpu::MAX_CPUS;
use crate::sync::Once;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Physical page of the stub: conventional memory that every virtual machine monitor leaves alone.
const STUB_PAGE: u8 = 8;

global_asm!(
    r#"
    .section .rodata
    .global ap_stub
    .global ap_stub_end
ap_stub:                        // 16-bit code, written out: CS is the stub's page
    .byte 0xfa                              // cli
    .byte 0x2e, 0x66, 0x0f, 0x01, 0x16      // lgdt cs:[ap_stub_gdt]
    .word ap_stub_gdt - ap_stub
    .byte 0x0f, 0x20, 0xc0                  // mov eax, cr0
    .byte 0x0c, 0x01                        // or al, 1
    .byte 0x0f, 0x22, 0xc0                  // mov cr0, eax
    .byte 0x66, 0xea                        // far jump to 32-bit code
    .long ap_entry32 - {base}
    .word 8
    .global ap_stub_gdt
ap_stub_gdt:
    .word 31
    .long boot_gdt - {base}
ap_stub_end:

    .section .text.boot, "ax"
    .code32
    .global ap_entry32
ap_entry32:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, 0xb0
    mov cr4, eax
    lea eax, [boot_pml4 - {base}]
    mov cr3, eax
    mov ecx, 0xc0000080
    mov eax, 0x901
    xor edx, edx
    wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    .byte 0xea
    .long 2f - {base}
    .word 0x10
    .code64
2:  xor eax, eax
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    movabs rax, offset .Lap_high
    jmp rax
.Lap_high:
    mov rax, [{root}]
    mov cr3, rax
    mov eax, 1
    lock xadd [{next}], eax
    mov eax, eax
    mov rsp, [{stacks} + rax * 8]
    xor ebp, ebp
    call {main}
    ud2
"#,
    base = const entry::KERNEL_BASE,
    root = sym ROOT,
    next = sym NEXT,
    stacks = sym STACKS,
    main = sym ap_main,
);

static ROOT: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicU32 = AtomicU32::new(0);
static STACKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
static ENTRY: Once<fn() -> !> = Once::new();

unsafe extern "C" {
    static ap_stub: u8;
    static ap_stub_end: u8;
}

/// Makes a block for each CPU of the list but this one.
pub fn init(apic_ids: &[u32]) {
    let me = apic::id();
    cpu::register(0, cpu::boot_cpu());
    let mut n = 1;
    for id in apic_ids.iter().filter(|id| **id != me).take(MAX_CPUS - 1) {
        let block: &'static cpu::Cpu = Box::leak(Box::new(cpu::Cpu::new(n as u32)));
        block.apic_id.store(*id, Ordering::Release);
        cpu::register(n, block);
        n += 1;
    }
    cpu::set_count(n);
    cpu::boot_cpu().online.store(true, Ordering::Release);
}

/// Sets up the parts that each CPU has of its own. GS points to its block; interrupts are off.
pub fn init_this_cpu(block: &'static cpu::Cpu) {
    // One stack serves the vectors that end in a panic.
    let fatal: &'static [u128] = Vec::leak(alloc::vec![0u128; 512]);
    let top = fatal.as_ptr_range().end as u64;
    let debug: &'static [u128] = Vec::leak(alloc::vec![0u128; 256]);
    gdt::load(block, [top, top, top, debug.as_ptr_range().end as u64]);
    traps::load();
    fpu::init_cpu();
    user::init_cpu();
    apic::init_cpu();
}

pub fn start_others(entry: fn() -> !) {
    let others = cpu::count() - 1;
    if others == 0 || ENTRY.set(entry).is_err() {
        return;
    }
    ROOT.store(paging::root(), Ordering::Release);
    for slot in &STACKS[..others] {
        let Ok(stack) = Stack::new() else {
            crate::kwarn!("no memory for the stack of another CPU: one CPU serves");
            return;
        };
        slot.store(stack.top(), Ordering::Release);
        core::mem::forget(stack);
    }
    // SAFETY: conventional memory below 1 MiB is never given to anybody, and the stub fits its page.
    unsafe {
        let len = (&raw const ap_stub_end).offset_from(&raw const ap_stub) as usize;
        core::ptr::copy_nonoverlapping(&raw const ap_stub, mem::direct(u32::from(STUB_PAGE)) as *mut u8, len);
    }
    let ids = || (1..=others).filter_map(cpu::of);
    for c in ids() {
        apic::send_init(c.apic_id.load(Ordering::Relaxed));
    }
    for c in ids() {
        apic::send_startup(c.apic_id.load(Ordering::Relaxed), STUB_PAGE);
    }
    let waiting = || ids().filter(|c| !c.online.load(Ordering::Acquire));
    let begin = time::now_ns();
    let mut again = begin + 10_000_000;
    while waiting().next().is_some() && time::now_ns() - begin < 2_000_000_000 {
        if time::now_ns() > again {
            // A CPU that missed the first start-up message takes the second; the others ignore it.
            waiting().for_each(|c| apic::send_startup(c.apic_id.load(Ordering::Relaxed), STUB_PAGE));
            again += 200_000_000;
        }
        crate::cpu::relax();
    }
    for c in waiting() {
        crate::kwarn!("CPU {} does not start", c.id.get());
    }
}

/// This CPU's APIC id before its APIC is set up.
fn own_apic_id() -> u32 {
    let b = x86::cpuid(0xb, 0);
    if b.ebx != 0 { b.edx } else { x86::cpuid(1, 0).ebx >> 24 }
}

extern "C" fn ap_main() -> ! {
    let id = own_apic_id();
    let block = (1..cpu::count()).filter_map(cpu::of).find(|c| c.apic_id.load(Ordering::Relaxed) == id);
    let (Some(block), Some(entry)) = (block, ENTRY.get()) else { super::power::stop_this_cpu() };
    block.install();
    features::init_cpu();
    init_this_cpu(block);
    time::init_cpu();
    block.online.store(true, Ordering::Release);
    entry()
}
