//! Debug registers of a traced thread: breakpoints and watchpoints that its tracer sets through `struct user`.
//!
//! They belong to one thread, are loaded when it is switched to (`Task::on_switch`), and only then. They are not taken out when
//! another thread runs: a trap that one of them causes there takes them out, and nobody hears of it.
//! Source: Intel SDM volume 3 chapter 18 (debug registers).

use crate::task::on_switch;
use crate::{Cx, Task};
use abi::Errno;
use abi::signal::{SigInfo, Signal, si};
use machine::USER_MAX;
use machine::debug::{self, COUNT, Control, Registers};

/// DR6: a single step.
const STEP: u64 = 0x4000;
/// DR6: which breakpoints.
const HITS: u64 = (1 << COUNT) - 1;
/// DR6's bits that read as one.
const DR6_ONES: u64 = 0xffff_0ff0;
/// DR7's bits that mean something.
const DR7_USED: u64 = 0xffff_03ff;
/// The resume flag: an instruction breakpoint does not strike again at once.
const RF: u64 = 0x1_0000;

/// What the tracer has set and may read back.
#[derive(Clone, Copy, Default, Debug)]
pub struct Debug {
    addresses: [u64; COUNT],
    /// What struck; bits are one when it did.
    status: u64,
    /// DR7 as it was written.
    control: u64,
}

impl Debug {
    /// Reads a register.
    pub fn get(&self, number: usize) -> u64 {
        match number {
            6 => self.status ^ DR6_ONES,
            7 => self.control,
            n => self.addresses.get(n).copied().unwrap_or(0),
        }
    }
    /// Writes a register, for [`Debug::apply`] to take effect.
    pub fn set(&mut self, number: usize, value: u64) -> Result<(), Errno> {
        let mut new = *self;
        match number {
            6 => new.status = value ^ DR6_ONES,
            7 => new.control = value,
            n => *new.addresses.get_mut(n).ok_or(Errno::EIO)? = value,
        }
        if number < COUNT && value >= USER_MAX {
            // What the kernel does is nobody's to watch.
            return Err(Errno::EPERM);
        }
        new.registers()?;
        *self = new;
        Ok(())
    }
    /// What the CPU is to hold; EINVAL for what it cannot.
    fn registers(&self) -> Result<Registers, Errno> {
        let mut controls = [Control::Off; COUNT];
        for (n, slot) in controls.iter_mut().enumerate() {
            let enabled = self.control & DR7_USED & 3 << (2 * n) != 0;
            let bits = self.control >> (16 + 4 * n);
            let len = [1, 2, 8, 4][(bits >> 2 & 3) as usize];
            let control = match bits & 3 {
                0 if len == 1 => Control::Execute,
                1 => Control::Write(len),
                3 => Control::Access(len),
                _ if !enabled => continue,
                _ => return Err(Errno::EINVAL),
            };
            if enabled {
                *slot = control;
            }
        }
        Registers::new(self.addresses, controls).ok_or(Errno::EINVAL)
    }
    fn is_used(&self) -> bool {
        self.control & 0xff != 0
    }
    /// The breakpoints that are on.
    fn enabled(&self) -> u64 {
        (0..COUNT).filter(|n| self.control & 3 << (2 * n) != 0).fold(0, |set, n| set | 1 << n)
    }
}

/// The calling thread's registers have changed: loads them, now and at every switch.
pub(crate) fn apply(task: &Task, debug: &Debug) {
    let used = debug.is_used();
    if !used && !task.on_switch.has(on_switch::DEBUG) {
        return;
    }
    if used {
        task.on_switch.set(on_switch::DEBUG);
    } else {
        task.on_switch.clear(on_switch::DEBUG);
    }
    let irq = machine::cpu::IrqOff::new();
    debug::load(&debug.registers().unwrap_or_default());
    drop(irq);
}

/// The thread is about to run here.
pub(crate) fn switch_in(task: &Task) {
    if let Some(trace) = task.trace() {
        let debug = trace.lock().debug;
        debug::load(&debug.registers().unwrap_or_default());
    }
}

/// A new program is not watched where the old one was.
pub(crate) fn clear(task: &Task) {
    if let Some(trace) = task.trace() {
        let debug = Debug::default();
        trace.lock().debug = debug;
        apply(task, &debug);
    }
}

/// What a debug exception of the calling thread with this DR6 (bits that are one say why) tells it: `None` for nothing.
pub(crate) fn struck(cx: &mut Cx, dr6: u64) -> Option<SigInfo> {
    let rip = cx.user.regs.rip;
    let told = |code| Some(SigInfo::fault(Signal::TRAP, code, rip));
    let mut hits = 0;
    if let Some(trace) = cx.task.trace() {
        let mut state = trace.lock();
        let debug = &mut state.debug;
        hits = dr6 & HITS & debug.enabled();
        debug.status = dr6 & STEP | hits;
        let executes = |n: &usize| hits >> n & 1 != 0 && debug.control >> (16 + 4 * n) & 3 == 0;
        if (0..COUNT).any(|n| executes(&n)) {
            cx.user.regs.eflags |= RF;
        }
    }
    match () {
        () if dr6 & STEP != 0 => told(si::TRAP_TRACE),
        () if hits != 0 => told(si::TRAP_HWBKPT),
        // Those of a thread that ran here before.
        () if dr6 & HITS != 0 => {
            let irq = machine::cpu::IrqOff::new();
            debug::load(&Registers::default());
            drop(irq);
            None
        }
        // The INT1 instruction gives no reason.
        () => told(si::TRAP_BRKPT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_checked_as_they_are_written() {
        let mut d = Debug::default();
        assert_eq!(d.set(0, 0x1001), Ok(()));
        assert_eq!(d.set(0, USER_MAX), Err(Errno::EPERM));
        assert_eq!((d.set(4, 0), d.set(5, 0)), (Err(Errno::EIO), Err(Errno::EIO)));
        // Four bytes must lie at a multiple of four.
        assert_eq!(d.set(7, 1 | 0xd << 16), Err(Errno::EINVAL));
        assert_eq!(d.set(0, 0x1004), Ok(()));
        assert_eq!(d.set(7, 1 | 0xd << 16), Ok(()));
        assert_eq!((d.get(0), d.get(7), d.enabled()), (0x1004, 1 | 0xd << 16, 1));
        // I/O breakpoints and wide instructions are refused.
        assert_eq!(d.set(7, 1 | 2 << 16), Err(Errno::EINVAL));
        assert_eq!(d.set(7, 1 | 4 << 16), Err(Errno::EINVAL));
        assert_eq!(Debug::default().get(6), DR6_ONES);
    }
}
