//! The per-CPU block that GS points to, and the CPU operations of the facade.
//!
//! A CPU's block is made before the CPU runs and never freed. Its fields are either fixed after set-up, atomics, or `Cell`s that
//! only the CPU itself touches with interrupts off (or that its own interrupt handlers do not touch). The assembly paths
//! reach fields by the `off::*` constants.

use super::{apic, x86};
use crate::aspace::AddressSpace;
use crate::cpu::{CpuId, CpuInfo, Event, MAX_CPUS};
use crate::sync::Once;
use crate::thread::KernelThread;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What each CPU keeps for itself.
#[repr(C, align(64))]
pub struct Cpu {
    /// Address of this block (so that `gs:[0]` yields a pointer).
    this: Cell<*const Cpu>,
    /// Index of this CPU.
    pub id: Cell<u32>,
    /// A timer or kick interrupt came while the kernel ran; `user::run` looks before entering user mode.
    pub event: Cell<u32>,
    /// Kernel stack pointer to return to from user mode.
    pub kernel_rsp: Cell<u64>,
    /// Locks that the running thread holds; a switch puts in the next one's.
    locks: Cell<u64>,
    /// Spare word for the system call entry.
    pub scratch: Cell<u64>,
    /// Identity of the `FpuState` whose registers (and segment bases) this CPU holds.
    pub fpu_owner: AtomicPtr<u8>,
    /// User mode ran since the owner's registers were last saved.
    pub fpu_dirty: AtomicBool,
    /// What the data segment registers held when they were last looked at: DS, ES, FS, GS from the lowest word on.
    pub selectors: Cell<u64>,
    /// Number of the local descriptor table that is loaded, 0 for none.
    pub ldt: Cell<u64>,
    /// The active user space (one counted reference), null in kernel threads.
    pub space: Cell<*const AddressSpace>,
    /// The running thread (one counted reference).
    pub current: Cell<*const KernelThread>,
    /// The thread switched away from, until the next one has let go of it.
    pub previous: Cell<*const KernelThread>,
    /// Deadline the timer is set to.
    pub deadline: Cell<u64>,
    /// The turn of the clock's rate it was set under.
    pub deadline_turn: Cell<u32>,
    /// A TLB request waits for this CPU.
    pub tlb_request: AtomicBool,
    /// Local APIC id.
    pub apic_id: AtomicU32,
    /// Up and running.
    pub online: AtomicBool,
    /// Task state segment.
    pub tss: UnsafeCell<super::gdt::Tss>,
    /// Descriptor table.
    pub gdt: UnsafeCell<super::gdt::Gdt>,
    /// Small-object caches of the heap.
    pub heap: UnsafeCell<super::heap::Magazines>,
    /// Zeroed page-table pages ready for use.
    pub tables: UnsafeCell<super::tables::TableCache>,
    /// Interrupts taken.
    pub interrupts: super::irq::Counts,
}

// SAFETY: shared fields are atomics; the rest is touched by the owning CPU only (module comment).
unsafe impl Sync for Cpu {}

/// Field offsets for the assembly paths.
pub mod off {
    use super::{Cpu, offset_of};
    pub const KERNEL_RSP: usize = offset_of!(Cpu, kernel_rsp);
    pub const SCRATCH: usize = offset_of!(Cpu, scratch);
    pub const LOCKS: usize = offset_of!(Cpu, locks);
    pub const RSP0: usize = offset_of!(Cpu, tss) + offset_of!(super::super::gdt::Tss, rsp0);
}

static BOOT_CPU: Cpu = Cpu::new(0);
static BLOCKS: [AtomicPtr<Cpu>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];
static COUNT: AtomicUsize = AtomicUsize::new(1);
static INFO: Once<CpuInfo> = Once::new();
static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

impl Cpu {
    /// A block for the CPU of this index.
    pub const fn new(id: u32) -> Cpu {
        Cpu {
            this: Cell::new(core::ptr::null()),
            id: Cell::new(id),
            event: Cell::new(0),
            kernel_rsp: Cell::new(0),
            locks: Cell::new(0),
            scratch: Cell::new(0),
            fpu_owner: AtomicPtr::new(core::ptr::null_mut()),
            fpu_dirty: AtomicBool::new(false),
            selectors: Cell::new(0),
            ldt: Cell::new(0),
            space: Cell::new(core::ptr::null()),
            current: Cell::new(core::ptr::null()),
            previous: Cell::new(core::ptr::null()),
            deadline: Cell::new(u64::MAX),
            deadline_turn: Cell::new(0),
            tlb_request: AtomicBool::new(false),
            apic_id: AtomicU32::new(0),
            online: AtomicBool::new(false),
            tss: UnsafeCell::new(super::gdt::Tss::new()),
            gdt: UnsafeCell::new(super::gdt::Gdt::new()),
            heap: UnsafeCell::new(super::heap::Magazines::new()),
            tables: UnsafeCell::new(super::tables::TableCache::new()),
            interrupts: super::irq::Counts::new(),
        }
    }

    /// Makes GS point to this block on the CPU that runs this. Interrupts are off.
    pub fn install(&'static self) {
        self.this.set(self);
        // SAFETY: the block lives forever, and this CPU is its only user from now on.
        unsafe {
            x86::wrmsr(x86::MSR_GS_BASE, core::ptr::from_ref(self) as u64);
            x86::wrmsr(x86::MSR_KERNEL_GS_BASE, 0);
        }
    }
}

/// The boot CPU's block.
pub fn boot_cpu() -> &'static Cpu {
    &BOOT_CPU
}

/// This CPU's block. The reference must not be kept over a context switch.
#[inline(always)]
pub fn current() -> &'static Cpu {
    let p: *const Cpu;
    // SAFETY: GS points to the installed block from the first Rust instruction on; it lives forever.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) p, options(nostack, preserves_flags, readonly));
        &*p
    }
}

/// Makes the block for another CPU known.
pub fn register(index: usize, cpu: &'static Cpu) {
    if let Some(slot) = BLOCKS.get(index) {
        slot.store(core::ptr::from_ref(cpu).cast_mut(), Ordering::Release);
    }
}

/// Sets how many CPUs there are; called once at boot before anyone asks.
pub fn set_count(n: usize) {
    COUNT.store(n.clamp(1, MAX_CPUS), Ordering::Release);
}

/// The block of CPU `index`.
#[inline]
pub fn of(index: usize) -> Option<&'static Cpu> {
    let p = BLOCKS.get(index)?.load(Ordering::Acquire);
    // SAFETY: registered blocks live forever.
    unsafe { p.as_ref() }
}

#[inline]
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

#[inline]
pub fn this() -> CpuId {
    let id: u32;
    // SAFETY: reads a field of the installed block.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) id, const offset_of!(Cpu, id), options(nostack, preserves_flags, readonly));
    }
    CpuId(id)
}

pub fn start_others(entry: fn() -> !) {
    super::smp::start_others(entry)
}

pub fn halt() {
    // SAFETY: STI takes effect after the next instruction, so no interrupt is lost between the two.
    unsafe { asm!("sti", "hlt", options(nostack)) }
    // Whoever halts looks for work next: what woke it needs no second look before user mode.
    current().event.set(0);
}

pub fn kick(cpu: CpuId) {
    if let Some(c) = of(cpu.0 as usize)
        && c.online.load(Ordering::Acquire)
    {
        apic::send_ipi(c.apic_id.load(Ordering::Relaxed), super::traps::VECTOR_KICK);
    }
}

pub fn barrier_everywhere() {
    super::tlb::barrier();
}

#[inline]
pub fn relax() {
    core::hint::spin_loop();
    super::tlb::serve();
}

#[inline]
pub fn irq_save() -> bool {
    let on = x86::flags() & 0x200 != 0;
    x86::cli();
    on
}

#[inline]
pub fn irq_restore(was_on: bool) {
    if was_on {
        x86::sti();
    }
}

#[inline]
pub fn irq_pending() -> bool {
    current().event.get() != 0
}

/// The running thread has taken a lock.
#[inline(always)]
pub fn lock_taken() {
    // SAFETY: one instruction, so that no switch comes between; it changes a field that only these three and `ochre_switch` touch.
    unsafe { asm!("inc qword ptr gs:[{}]", const off::LOCKS, options(nostack)) }
}

/// It has given one back.
#[inline(always)]
pub fn lock_given() {
    // SAFETY: as above.
    unsafe { asm!("dec qword ptr gs:[{}]", const off::LOCKS, options(nostack)) }
}

/// How many it holds.
pub fn locks_held() -> u64 {
    let held: u64;
    // SAFETY: reads a field of the installed block.
    unsafe { asm!("mov {}, gs:[{}]", out(reg) held, const off::LOCKS, options(nostack, preserves_flags, readonly)) }
    held
}

pub fn set_event_handler(handler: fn(Event)) {
    HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Tells the scheduler of an event. Interrupts are off.
pub fn event(e: Event) {
    current().event.set(1);
    let p = HANDLER.load(Ordering::Acquire);
    if !p.is_null() {
        // SAFETY: only `set_event_handler` stores here, and it stores a `fn(Event)`.
        let f: fn(Event) = unsafe { core::mem::transmute(p) };
        f(e);
    }
}

pub fn info() -> &'static CpuInfo {
    INFO.get_or_init(super::cpuinfo::read)
}

pub fn has_tsc_aux() -> bool {
    super::features::has_tsc_aux()
}

/// A set of CPUs that many may change at once.
pub struct CpuSet([AtomicU64; MAX_CPUS.div_ceil(64)]);

impl CpuSet {
    pub const fn new() -> CpuSet {
        CpuSet([const { AtomicU64::new(0) }; MAX_CPUS.div_ceil(64)])
    }
    #[inline]
    pub fn insert(&self, cpu: u32) {
        self.0[(cpu / 64) as usize % self.0.len()].fetch_or(1 << (cpu % 64), Ordering::SeqCst);
    }
    #[inline]
    pub fn remove(&self, cpu: u32) {
        self.0[(cpu / 64) as usize % self.0.len()].fetch_and(!(1 << (cpu % 64)), Ordering::SeqCst);
    }
    /// Has this CPU and no other.
    #[inline]
    pub fn only(&self, cpu: u32) -> bool {
        let mine = (cpu / 64) as usize;
        let wanted = |i| if i == mine { 1 << (cpu % 64) } else { 0 };
        self.0.iter().take(count().div_ceil(64)).enumerate().all(|(i, w)| w.load(Ordering::SeqCst) == wanted(i))
    }
    /// The words of the set, 64 CPUs each.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|w| w.load(Ordering::SeqCst))
    }
}
