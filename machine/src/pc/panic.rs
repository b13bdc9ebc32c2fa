//! The end of a task or of the machine: message, backtrace by frame pointers, failing exit code.
//!
//! A panic and an exception in kernel mode come together in [`failed`], which asks [`crate::oops`] whether the task alone can pay.

use super::{cpu, paging, power, serial, stack, thread, x86};
use crate::addr::PAGE_SIZE;
use crate::log;
use crate::oops::{self, Cause};
use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

/// CPU that panicked first, plus one.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Exit code of the VM after a panic.
const FAILED: u8 = 101;
/// Frames of a backtrace when the machine ends, and in a message that is one of many.
const ALL_FRAMES: usize = 64;
const FRAMES: usize = 20;
/// The interrupt flag.
const IF: u64 = 0x200;

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

/// The call chain that starts at `rip` (0 for that of the frame) and `rbp`.
pub struct Trace {
    rip: u64,
    rbp: u64,
}

impl Trace {
    pub fn new(rip: u64, rbp: u64) -> Trace {
        Trace { rip, rbp }
    }
}

impl Iterator for Trace {
    type Item = u64;
    fn next(&mut self) -> Option<u64> {
        if self.rip != 0 {
            return Some(core::mem::take(&mut self.rip));
        }
        if !on_a_stack(self.rbp) {
            return None;
        }
        // SAFETY: the address lies in a mapped kernel stack (or its fault comes back here and ends).
        let (next, ret) = unsafe { (*(self.rbp as *const u64), *((self.rbp + 8) as *const u64)) };
        self.rbp = if next > self.rbp { next } else { 0 };
        is_text(ret).then_some(ret)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trace { rip, rbp } = *self;
        Trace { rip, rbp }.take(FRAMES).try_for_each(|at| write!(f, "\n  at {at:#018x}"))
    }
}

/// The frame pointer of whoever this is compiled into.
#[inline(always)]
fn frame() -> u64 {
    let rbp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}

/// The call chain of the caller.
#[inline(always)]
pub fn trace_here() -> Trace {
    Trace { rip: 0, rbp: frame() }
}

/// What was broken off.
pub struct Site {
    pub rip: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub flags: u64,
}

/// Kernel code cannot go on at `site`: ends the task if that is sound, else the machine.
pub fn failed(what: fmt::Arguments<'_>, site: &Site, cause: Cause) -> ! {
    let trace = Trace { rip: site.rip, rbp: site.rbp };
    let why = match oops::confine(site.flags & IF != 0) {
        Ok(subject) => match thread::take_way_out(site.rsp) {
            Some(way_out) => {
                oops::report(&subject, what, &trace);
                way_out.leave(cause.code())
            }
            None => "not in a system call",
        },
        Err(why) => why,
    };
    fatal(format_args!("{what}\nnot confined to a task: {why}"), trace)
}

/// Ends the machine with a message.
pub fn die(what: fmt::Arguments<'_>) -> ! {
    fatal(what, trace_here())
}

/// Prints the message and the call chain, stops the other CPUs and ends the VM.
pub fn fatal(what: fmt::Arguments<'_>, trace: Trace) -> ! {
    x86::cli();
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
    for at in trace.take(ALL_FRAMES) {
        log::print(0, format_args!("  at {at:#018x}"));
    }
    power::exit(FAILED)
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let rbp = frame();
    let site = Site { rip: 0, rbp, rsp: rbp, flags: x86::flags() };
    match info.location() {
        Some(at) => {
            let (file, line, text) = (at.file(), at.line(), info.message());
            failed(format_args!("kernel BUG at {file}:{line}!\n{text}"), &site, Cause::Bug)
        }
        None => failed(format_args!("{info}"), &site, Cause::Bug),
    }
}

/// Writes to address 0.
pub fn provoke_fault() {
    // SAFETY: the lowest page of the address space is never the kernel's: the write faults and does nothing else, even if a
    // program had something there, for copies to programs are not on.
    unsafe { asm!("mov qword ptr [{}], 0", in(reg) 0u64, options(nostack, preserves_flags)) }
}
