//! The end: message, backtrace by frame pointers, failing exit code.

use super::{cpu, paging, power, serial, stack};
use crate::addr::PAGE_SIZE;
use crate::log;
use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

/// CPU that panicked first, plus one.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Exit code of the VM after a panic.
const FAILED: u8 = 101;

/// Whether 16 bytes at `rbp` lie in a kernel stack: only there the chain may be followed.
fn on_a_stack(rbp: u64) -> bool {
    let (low, high) = paging::boot_stack();
    let in_boot = (low..high - 15).contains(&rbp);
    let at = rbp.wrapping_sub(paging::STACK_BASE) % (2 * stack::SIZE);
    let in_region = (paging::STACK_BASE..paging::STACK_BASE + (1 << 39)).contains(&rbp);
    rbp.is_multiple_of(8) && (in_boot || in_region && (stack::SIZE..=2 * stack::SIZE - 16).contains(&at))
}

fn is_text(addr: u64) -> bool {
    let [start, end, ..] = paging::image();
    let page = addr.wrapping_sub(super::entry::KERNEL_BASE) / PAGE_SIZE as u64;
    (u64::from(start)..u64::from(end)).contains(&page)
}

/// Prints the message and the call chain that starts at `rip`/`rbp`, stops the other CPUs and ends the VM.
pub fn fatal(what: fmt::Arguments<'_>, rip: u64, mut rbp: u64) -> ! {
    super::x86::cli();
    let me = cpu::this().0 + 1;
    match OWNER.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed) {
        Ok(_) => {}
        // A fault while panicking: say so briefly and go.
        Err(owner) if owner == me => {
            serial::write_text(b"kernel panic while panicking\n");
            power::exit(FAILED);
        }
        Err(_) => power::stop_this_cpu(),
    }
    log::begin_panic();
    power::stop_others();
    log::print_long(0, format_args!("kernel panic on CPU {}: {what}", me - 1));
    if rip != 0 {
        log::print(0, format_args!("  at {rip:#018x}"));
    }
    for _ in 0..64 {
        if !on_a_stack(rbp) {
            break;
        }
        // SAFETY: the address lies in a mapped kernel stack (or its fault comes back here and ends).
        let (next, ret) = unsafe { (*(rbp as *const u64), *((rbp + 8) as *const u64)) };
        if !is_text(ret) {
            break;
        }
        log::print(0, format_args!("  at {ret:#018x}"));
        if next <= rbp {
            break;
        }
        rbp = next;
    }
    power::exit(FAILED)
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let rbp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    fatal(format_args!("{info}"), 0, rbp)
}
