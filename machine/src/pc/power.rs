//! Ending: power off, reboot, exit with a code, stopping CPUs.

use super::{acpi, apic, boot, cpu, traps, x86};

/// QEMU's isa-debug-exit device; the exit status is `2 * value + 1`.
const DEBUG_EXIT: u16 = 0xf4;

fn has_debug_exit() -> bool {
    boot::cmdline().split_ascii_whitespace().any(|w| w == "ochre.debug_exit" || w == "debug_exit")
}

/// Ends the VM with `code` where the host can see one, else powers off (0) or resets (other).
pub fn exit(code: u8) -> ! {
    if has_debug_exit() {
        // SAFETY: the command line promises the device.
        unsafe { x86::outl(DEBUG_EXIT, u32::from(code)) };
    }
    if code == 0 { off() } else { reboot() }
}

/// Powers the machine off.
pub fn off() -> ! {
    x86::cli();
    stop_others();
    if has_debug_exit() {
        // SAFETY: as in `exit`.
        unsafe { x86::outl(DEBUG_EXIT, 0) };
    }
    match acpi::power_off() {
        // SAFETY: the port and value that the tables give for S5.
        Some(acpi::PowerOff::Port16(port, value)) => unsafe { x86::outw(port, value) },
        // SAFETY: the sleep control register that the tables give.
        Some(acpi::PowerOff::Memory8(addr, value)) => unsafe { (addr as *mut u8).write_volatile(value) },
        None => {}
    }
    reboot()
}

/// Resets the machine: keyboard controller, then a triple fault.
pub fn reboot() -> ! {
    x86::cli();
    stop_others();
    if let Some(addr) = acpi::reset_register() {
        // SAFETY: the reset register that the tables give.
        unsafe { (addr.0 as *mut u8).write_volatile(addr.1) };
    }
    // SAFETY: the reset lines of PC chip sets and the keyboard controller; harmless where there are none.
    unsafe {
        x86::outb(0xcf9, 0x06);
        x86::outb(0x64, 0xfe);
    }
    traps::triple_fault()
}

/// Tells all other CPUs to stop for good.
pub fn stop_others() {
    let me = cpu::this();
    for i in 0..cpu::count() {
        if i != me.0 as usize
            && let Some(c) = cpu::of(i)
            && c.online.load(core::sync::atomic::Ordering::Acquire)
        {
            apic::send_ipi(c.apic_id.load(core::sync::atomic::Ordering::Relaxed), traps::VECTOR_STOP);
        }
    }
}

/// This CPU does nothing any more.
pub fn stop_this_cpu() -> ! {
    loop {
        // SAFETY: halting with interrupts off is the end of this CPU.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
