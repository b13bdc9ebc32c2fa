//! CPUs: how many, which one, interrupts on and off, halting, kicking, per-CPU data.

use crate::imp;
use crate::sync::SpinLock;
use alloc::boxed::Box;

/// The most CPUs the kernel drives.
pub const MAX_CPUS: usize = 255;

/// Index of a CPU, 0 is the boot CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(pub u32);

/// CPUs present (known before any but the first is started).
pub fn count() -> usize {
    imp::cpu::count()
}

/// The CPU this code runs on; stable only while the thread cannot switch.
#[inline]
pub fn this() -> CpuId {
    imp::cpu::this()
}

/// Starts every other CPU; each calls `entry` on its own boot stack once its tables are set up. `entry` does not return.
pub fn start_others(entry: fn() -> !) {
    imp::cpu::start_others(entry)
}

/// Waits for an interrupt with interrupts enabled; returns after one was handled. Call with interrupts off after checking that
/// there is nothing to run: enabling and halting are one step.
pub fn halt() {
    imp::cpu::halt()
}

/// Makes `cpu` leave user mode or `halt` soon (reschedule).
pub fn kick(cpu: CpuId) {
    imp::cpu::kick(cpu)
}

/// Returns after every CPU has passed a full memory barrier (membarrier(2)).
pub fn barrier_everywhere() {
    imp::cpu::barrier_everywhere()
}

/// A pause inside a spin loop.
#[inline]
pub fn relax() {
    imp::cpu::relax()
}

/// Interrupts are off while this lives; nests. Not `Send`.
pub struct IrqOff {
    was_on: bool,
    _not_send: core::marker::PhantomData<*mut ()>,
}

impl IrqOff {
    /// Turns interrupts off on this CPU.
    #[inline]
    #[allow(clippy::new_without_default)]
    pub fn new() -> IrqOff {
        IrqOff { was_on: imp::cpu::irq_save(), _not_send: core::marker::PhantomData }
    }
}

impl Drop for IrqOff {
    #[inline]
    fn drop(&mut self) {
        imp::cpu::irq_restore(self.was_on)
    }
}

/// An interrupt waits to be taken: long loops give way (`sched::cond_resched`) when it is so.
pub fn irq_pending() -> bool {
    imp::cpu::irq_pending()
}

/// One value a CPU, made when the CPU count is known. Values are shared references: use atomics or locks inside; a lock that
/// only its own CPU takes is uncontended.
pub struct PerCpu<T> {
    slots: Box<[T]>,
}

impl<T: Sync> PerCpu<T> {
    /// Makes one value for each CPU.
    pub fn new(mut make: impl FnMut(CpuId) -> T) -> PerCpu<T> {
        PerCpu { slots: (0..count() as u32).map(|i| make(CpuId(i))).collect() }
    }
    /// This CPU's value.
    #[inline]
    pub fn get(&self) -> &T {
        &self.slots[this().0 as usize % self.slots.len()]
    }
    /// A given CPU's value.
    pub fn of(&self, cpu: CpuId) -> Option<&T> {
        self.slots.get(cpu.0 as usize)
    }
    /// All values in CPU order.
    pub fn iter(&self) -> core::slice::Iter<'_, T> {
        self.slots.iter()
    }
}

/// Called by the timer interrupt and by `kick`, with interrupts off. Set once by `sched`.
static TICK: SpinLock<Option<fn(Event)>> = SpinLock::new(None);

/// What an interrupt that the scheduler cares about was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The deadline set by `time::set_deadline` has passed.
    Timer,
    /// Another CPU called `kick`.
    Kick,
}

/// Installs the scheduler's handler of timer and kick interrupts.
pub fn set_event_handler(handler: fn(Event)) {
    *TICK.lock() = Some(handler);
    imp::cpu::set_event_handler(handler);
}

/// Vendor, brand, family/model/stepping, flags and frequency as /proc/cpuinfo wants them.
pub fn info() -> &'static CpuInfo {
    imp::cpu::info()
}

/// Whether RDTSCP gives user space the number of the CPU it runs on.
pub fn has_tsc_aux() -> bool {
    imp::cpu::has_tsc_aux()
}

/// What the CPU says of itself.
#[derive(Default, Debug)]
pub struct CpuInfo {
    /// `vendor_id`.
    pub vendor: alloc::string::String,
    /// `model name`.
    pub model_name: alloc::string::String,
    /// `cpu family`, `model`, `stepping`.
    pub family_model_stepping: (u32, u32, u32),
    /// Feature words in Linux's names, space separated.
    pub flags: alloc::string::String,
    /// TSC frequency in kHz.
    pub tsc_khz: u64,
    /// AT_HWCAP (CPUID.1:EDX) and AT_HWCAP2.
    pub hwcap: (u64, u64),
}
