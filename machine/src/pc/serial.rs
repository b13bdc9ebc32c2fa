//! The 8250 UART at COM1: polled output for messages, interrupt-driven input.

use super::{irq, x86};
use crate::sync::Once;
use core::sync::atomic::{AtomicBool, Ordering};

const COM1: u16 = 0x3f8;
const GSI: u32 = 4;
const DATA: u16 = COM1;
const INTERRUPTS: u16 = COM1 + 1;
const FIFO: u16 = COM1 + 2;
const LINE: u16 = COM1 + 3;
const MODEM: u16 = COM1 + 4;
const STATUS: u16 = COM1 + 5;
const SCRATCH: u16 = COM1 + 7;

static PRESENT: AtomicBool = AtomicBool::new(false);
static INPUT: Once<fn(u8)> = Once::new();

/// Looks for the UART and sets 115200 8N1.
pub fn init() {
    // SAFETY: the standard port range of COM1, which only this module uses.
    unsafe {
        x86::outb(SCRATCH, 0x5a);
        if x86::inb(SCRATCH) != 0x5a {
            return;
        }
        x86::outb(INTERRUPTS, 0);
        x86::outb(LINE, 0x80);
        x86::outb(DATA, 1);
        x86::outb(INTERRUPTS, 0);
        x86::outb(LINE, 3);
        x86::outb(FIFO, 7);
        x86::outb(MODEM, 0x0b);
    }
    PRESENT.store(true, Ordering::Release);
}

/// Whether there is a UART.
pub fn present() -> bool {
    PRESENT.load(Ordering::Acquire)
}

fn put(b: u8) {
    // SAFETY: as in `init`; the wait is bounded, so that a dead UART loses output instead of time.
    unsafe {
        for _ in 0..100_000 {
            if x86::inb(STATUS) & 0x20 != 0 {
                break;
            }
        }
        x86::outb(DATA, b);
    }
}

/// Writes bytes as they are, when no kernel message is being printed.
pub fn write(bytes: &[u8]) {
    if present() {
        crate::log::write_terminal(bytes, |bytes| bytes.iter().copied().for_each(put));
    }
}

/// Writes text, with CR before LF. Whoever owns the console (`nbcon`) calls this.
pub fn write_text(text: &[u8]) {
    if present() {
        for &b in text {
            if b == b'\n' {
                put(b'\r');
            }
            put(b);
        }
    }
}

/// Calls `f` with each byte that comes in, from the interrupt handler.
pub fn set_input(f: fn(u8)) {
    if !PRESENT.load(Ordering::Acquire) || INPUT.set(f).is_err() {
        return;
    }
    irq::register_legacy(GSI, "ttyS0", alloc::boxed::Box::new(receive));
    // SAFETY: as in `init`.
    unsafe { x86::outb(INTERRUPTS, 1) };
    receive();
}

fn receive() {
    // SAFETY: as in `init`; bounded by the FIFO's size many times over.
    unsafe {
        for _ in 0..256 {
            if x86::inb(STATUS) & 1 == 0 {
                break;
            }
            let b = x86::inb(DATA);
            if let Some(f) = INPUT.get() {
                f(b);
            }
        }
    }
}
