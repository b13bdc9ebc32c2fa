//! Where exec puts things: stack top, base of mappings, heap, position-independent programs; randomized as Linux does.

use super::areas::{Dead, MIN_ADDR, STACK_GAP};
use super::vma::{VmFlags, Vma};
use super::{Layout, Mm, PAGE, page_up};
use abi::Errno;
use machine::sync::Once;
use machine::{USER_MAX, VirtAddr, time};

/// Pages of the stack when a program starts (132 KiB, as Linux).
const STACK_START: u64 = 33 * PAGE;
/// Random pages: stack top (16 GiB), mappings (28 bits), heap start (32 MiB).
const STACK_RANDOM: u64 = 0x3f_ffff;
const MMAP_RANDOM: u64 = (1 << 28) - 1;
const BRK_RANDOM: u64 = 0x1fff;
/// Where position-independent programs go: two thirds of the address space.
const PIE_BASE: u64 = USER_MAX / 3 * 2;

static RANDOM: Once<fn() -> u64> = Once::new();

/// Installs the random number generator that layouts are drawn from.
pub fn set_random_source(source: fn() -> u64) {
    let _ = RANDOM.set(source);
}

/// A random number; only the clock before a generator is installed.
fn random() -> u64 {
    match RANDOM.get() {
        Some(source) => source(),
        None => time::now_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20,
    }
}

impl Mm {
    /// Exec: chooses the stack top and the base of mappings; `randomize` is false under ADDR_NO_RANDOMIZE. Call before anything
    /// is mapped.
    pub fn set_up_layout(&self, randomize: bool) {
        let draw = |mask: u64| if randomize { (random() & mask) * PAGE } else { 0 };
        let limit = self.limits().stack;
        let mut areas = self.areas.write();
        areas.randomize = randomize;
        areas.layout.start_stack = USER_MAX - draw(STACK_RANDOM);
        let pad = STACK_RANDOM * PAGE * u64::from(randomize) + STACK_GAP + PAGE;
        let gap = limit.saturating_add(pad).clamp(128 << 20, USER_MAX / 6 * 5);
        areas.base = (USER_MAX - gap - draw(MMAP_RANDOM)) & !(PAGE - 1);
        areas.reset_hint();
    }
    /// Exec: maps the stack (132 KiB, grows down); returns its top. `exec`: the program asks for an executable one.
    pub fn map_stack(&self, exec: bool) -> Result<VirtAddr, Errno> {
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let top = areas.layout.start_stack & !(PAGE - 1);
        let may = VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYEXEC;
        let mut flags = VmFlags::READ | VmFlags::WRITE | VmFlags::GROWSDOWN | VmFlags::STACK | VmFlags::ACCOUNT | may;
        if exec {
            flags |= VmFlags::EXEC;
        }
        areas.charge(STACK_START / PAGE)?;
        areas.place(top - STACK_START, Vma { end: top, pgoff: 0, flags, object: None, label: None }, &mut dead);
        Ok(VirtAddr(top))
    }
    /// Exec: where a position-independent program of any size is loaded.
    pub fn pie_base(&self) -> VirtAddr {
        let randomize = self.areas.read().randomize;
        let offset = if randomize { (random() & MMAP_RANDOM) * PAGE } else { 0 };
        VirtAddr((PIE_BASE & !(PAGE - 1)) + offset)
    }
    /// Exec: the heap begins behind `end_of_bss`, at a random distance unless ADDR_NO_RANDOMIZE.
    pub fn set_brk_start(&self, end_of_bss: VirtAddr) {
        let mut areas = self.areas.write();
        let offset = if areas.randomize { (random() & BRK_RANDOM) * PAGE } else { 0 };
        let start = page_up(end_of_bss.0).unwrap_or(USER_MAX).max(MIN_ADDR) + offset;
        areas.layout.start_brk = start;
        areas.layout.brk = start;
    }
    /// What exec recorded.
    pub fn layout(&self) -> Layout {
        self.areas.read().layout
    }
    /// Changes what exec recorded.
    pub fn set_layout(&self, f: impl FnOnce(&mut Layout)) {
        f(&mut self.areas.write().layout)
    }
}
