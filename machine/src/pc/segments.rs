//! Segments a program can choose: selectors in its data segment registers, its stack segment, and the local descriptor table of its address space.
//!
//! In 64-bit mode only the bases of FS and GS mean anything, and those are registers of their own (`fpu`): a selector is no more than a number
//! that must come back as it was, and that must not make the kernel fault when it is loaded. There are no code segments but the one
//! of 64-bit programs, so nothing ever runs in compatibility mode.
//!
//! A local table never changes once a CPU may have it loaded: [`Local::write`] makes another one, has the CPUs on which the space is active load that,
//! and only then frees the old one. Tables are told apart by a number that is never used again; a CPU that runs kernel threads may keep a freed
//! one's number, for nothing looks into its table until the next space is active. Lock: [`WRITERS`], under which CPUs are waited for.

use super::cpu::{Cpu, CpuSet};
use super::{features, fpu, gdt, tlb, x86};
use crate::mem::OutOfFrames;
use crate::segment::{Descriptor, LDT_ENTRIES};
use crate::sync::{IrqLock, SpinLock};
use crate::user::Exit;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Access rights: present, privilege 3, a segment of code or data; and for data, writable.
const PRESENT: u32 = 1 << 15;
const USER_SEGMENT: u32 = 7 << 12;
const CODE: u32 = 1 << 11;
const WRITABLE_OR_READABLE: u32 = 1 << 9;
/// In a selector: of the local table.
const LOCAL: u16 = 4;

/// The rights of a segment that a program may use.
fn rights(selector: u16) -> Option<u32> {
    // Asked with the program's privilege, the kernel's own segments are not there.
    x86::access_rights(selector | 3).filter(|r| r & USER_SEGMENT == USER_SEGMENT)
}

fn is_null(selector: u16) -> bool {
    selector & !3 == 0
}

/// A data segment register can take it.
fn is_loadable(selector: u16) -> bool {
    is_null(selector)
        || rights(selector).is_some_and(|r| r & PRESENT != 0 && (r & CODE == 0 || r & WRITABLE_OR_READABLE != 0))
}

/// Puts selectors into DS, ES, FS and GS, null for one that names nothing. Interrupts are off; the bases are to be set afterwards.
#[cold]
pub fn load(cpu: &Cpu, selectors: u64) {
    let keep = |at: u32| if is_loadable((selectors >> at) as u16) { selectors & 0xffff << at } else { 0 };
    let s = keep(0) | keep(16) | keep(32) | keep(48);
    // SAFETY: each is null or was found loadable; tables change by interrupt only.
    unsafe { x86::write_selectors(s) };
    cpu.selectors.set(s);
}

/// The address with its upper bits as the CPU wants them.
#[inline]
fn canonical(addr: u64) -> u64 {
    ((addr << 16) as i64 >> 16) as u64
}

/// The bases of FS and, on the program's side, GS. Interrupts are off.
#[inline]
pub fn read_bases() -> (u64, u64) {
    // SAFETY: the instructions exist where they are used, the registers everywhere.
    unsafe {
        if features::has_fsgsbase() {
            x86::read_bases()
        } else {
            (x86::rdmsr(x86::MSR_FS_BASE), x86::rdmsr(x86::MSR_KERNEL_GS_BASE))
        }
    }
}

/// Sets both. Interrupts are off.
#[inline]
pub fn write_bases(fs: u64, gs: u64) {
    let (fs, gs) = (canonical(fs), canonical(gs));
    // SAFETY: as above; bases are the program's own business, and canonical ones do not fault.
    unsafe {
        if features::has_fsgsbase() {
            x86::write_bases(fs, gs);
        } else {
            x86::wrmsr(x86::MSR_FS_BASE, fs);
            x86::wrmsr(x86::MSR_KERNEL_GS_BASE, gs);
        }
    }
}

fn refused(vector: u8, selector: u16) -> Exit {
    Exit::Exception { vector, code: u64::from(selector & !3) }
}

/// What IRET would say to this code segment.
pub fn check_code(selector: u16) -> Result<(), Exit> {
    match selector | 3 {
        gdt::USER_CS => Ok(()),
        s if rights(s).is_some_and(|r| r & CODE != 0 && r & PRESENT == 0) => Err(refused(11, s)),
        s => Err(refused(13, s)),
    }
}

/// What IRET would say to this stack segment.
pub fn check_stack(selector: u16) -> Result<u16, Exit> {
    match selector | 3 {
        gdt::USER_DS => Ok(gdt::USER_DS),
        s => match rights(s) {
            Some(r) if r & (CODE | WRITABLE_OR_READABLE | PRESENT) == WRITABLE_OR_READABLE | PRESENT => Ok(s),
            // Of a segment in the local table Linux loses the cause.
            _ if s & LOCAL != 0 => Err(refused(13, 0)),
            _ => Err(refused(13, s)),
        },
    }
}

/// A program can have it as its stack segment.
pub fn is_stack(selector: u16) -> bool {
    let irq = crate::cpu::IrqOff::new();
    let ok = check_stack(selector).is_ok();
    drop(irq);
    ok
}

static WRITERS: SpinLock<()> = SpinLock::new(());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The local descriptor table of an address space.
pub struct Local {
    /// 0: none.
    number: AtomicU64,
    /// Nothing is allocated and no CPU waited for under it: a CPU that is asked to load the table takes it.
    table: IrqLock<Vec<u64>>,
}

impl Local {
    pub const fn new() -> Local {
        Local { number: AtomicU64::new(0), table: IrqLock::new(Vec::new()) }
    }

    /// The table's number.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Makes the CPU use this table. Its space is active there.
    #[cold]
    pub fn load(&self, cpu: &Cpu) {
        let table = self.table.lock();
        gdt::load_local(cpu, &table);
        cpu.ldt.set(self.number());
        // Whoever has quick entries to user mode here: they look at no segments.
        fpu::disown(cpu);
        drop(table);
    }

    fn install(&self, new: Vec<u64>, active: &CpuSet) {
        let mut table = self.table.lock();
        let old = core::mem::replace(&mut *table, new);
        // Before the set is read: a CPU that is not in it yet will see this number.
        self.number.store(NEXT.fetch_add(1, Ordering::Relaxed), Ordering::SeqCst);
        drop(table);
        tlb::reload_local_tables(active);
        drop(old);
    }

    /// A copy with room for `len` descriptors at least. The caller is the only writer.
    fn copy(&self, len: usize) -> Result<Vec<u64>, OutOfFrames> {
        let mut new = Vec::new();
        let len = len.max(self.len());
        new.try_reserve_exact(len).map_err(|_| OutOfFrames)?;
        new.resize(len, 0);
        self.read(&mut new);
        Ok(new)
    }

    /// Replaces one descriptor.
    pub fn write(&self, index: usize, d: Descriptor, active: &CpuSet) -> Result<(), OutOfFrames> {
        let _turn = WRITERS.lock();
        let mut new = self.copy(index.min(LDT_ENTRIES - 1) + 1)?;
        if let Some(slot) = new.get_mut(index) {
            *slot = d.word();
        }
        self.install(new, active);
        Ok(())
    }

    /// Takes over another space's table (fork); nobody runs in this space yet.
    pub fn copy_from(&self, other: &Local) -> Result<(), OutOfFrames> {
        if other.number() == 0 {
            return Ok(());
        }
        let _turn = WRITERS.lock();
        self.install(other.copy(0)?, &CpuSet::new());
        Ok(())
    }

    /// Descriptors there are.
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Reads descriptors; what is beyond the last stays in `out`.
    pub fn read(&self, out: &mut [u64]) {
        let table = self.table.lock();
        out.iter_mut().zip(table.iter()).for_each(|(to, from)| *to = *from);
    }
}

/// Loads the table that the space active on this CPU has now.
pub fn reload(cpu: &'static Cpu) {
    let space = cpu.space.get();
    if !space.is_null() {
        // SAFETY: the CPU's reference keeps the space alive while it is active.
        let local = unsafe { &(*space).raw().local };
        if local.number() != cpu.ldt.get() {
            local.load(cpu);
        }
    }
}
