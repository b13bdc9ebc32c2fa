//! TLB shoot-down: one request at a time, answered by interrupt or by whoever spins.
//!
//! The initiator holds `TURN`, publishes the range, sets `tlb_request` of each target and sends it an IPI, then waits until
//! all have answered. Every spin loop of this crate calls [`serve`] (through `cpu::relax`), so a target that spins with
//! interrupts off, even for a lock the initiator holds, still answers.

use super::cpu::{self, CpuSet};
use super::{apic, traps, x86};
use crate::sync::SpinLock;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

static TURN: SpinLock<()> = SpinLock::new(());
static START: AtomicU64 = AtomicU64::new(0);
static PAGES: AtomicU64 = AtomicU64::new(0);
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Longer ranges are flushed whole.
const ONE_BY_ONE: u64 = 16;
/// Start value that means "everything, global pages too".
const KERNEL: u64 = u64::MAX;
/// Start value that asks not for a flush but for the local descriptor table of the active space.
const LOCAL_TABLE: u64 = u64::MAX - 1;

fn flush(start: u64, pages: u64) {
    if start >= LOCAL_TABLE {
        if start == LOCAL_TABLE {
            return super::segments::reload(cpu::current());
        }
        let cr4 = x86::read_cr4();
        // SAFETY: toggling PGE flushes everything and changes nothing else.
        unsafe {
            x86::write_cr4(cr4 & !0x80);
            x86::write_cr4(cr4);
        }
    } else if pages > ONE_BY_ONE {
        // SAFETY: reloads the same root.
        unsafe { x86::write_cr3(x86::read_cr3()) };
    } else {
        for i in 0..pages {
            x86::invlpg(start + i * 4096);
        }
    }
}

/// Answers a request to this CPU, if there is one.
#[inline]
pub fn serve() {
    if cpu::current().tlb_request.load(Ordering::Relaxed) {
        answer();
    }
}

#[cold]
fn answer() {
    if cpu::current().tlb_request.swap(false, Ordering::Acquire) {
        flush(START.load(Ordering::Relaxed), PAGES.load(Ordering::Relaxed));
        WAITING.fetch_sub(1, Ordering::Release);
    }
}

fn shoot(start: u64, pages: u64, targets: impl Iterator<Item = usize>) {
    let mut turn = None;
    let irq = crate::cpu::IrqOff::new();
    let me = cpu::this().0 as usize;
    for t in targets {
        if t == me {
            flush(start, pages);
            continue;
        }
        let Some(c) = cpu::of(t) else { continue };
        if turn.is_none() {
            turn = Some(TURN.lock());
            START.store(start, Ordering::Relaxed);
            PAGES.store(pages, Ordering::Relaxed);
        }
        WAITING.fetch_add(1, Ordering::Relaxed);
        c.tlb_request.store(true, Ordering::Release);
        apic::send_ipi(c.apic_id.load(Ordering::Relaxed), traps::VECTOR_TLB);
    }
    if turn.is_some() {
        while WAITING.load(Ordering::Acquire) != 0 {
            core::hint::spin_loop();
        }
    }
    drop(turn);
    drop(irq);
}

/// Drops translations of user addresses `[start, start + pages)` on the CPUs of the set.
#[inline]
pub fn shoot_user(cpus: &CpuSet, start: u64, pages: u64) {
    if cpus.only(cpu::this().0) {
        flush(start, pages);
    } else {
        shoot(start, pages, members(cpus));
    }
}

/// Has the CPUs of the set load the local descriptor table of the space active there.
pub fn reload_local_tables(cpus: &CpuSet) {
    shoot(LOCAL_TABLE, 0, members(cpus));
}

/// Drops all translations on all CPUs.
pub fn shoot_kernel() {
    shoot(KERNEL, 0, (0..cpu::count()).filter(|i| cpu::of(*i).is_some_and(|c| c.online.load(Ordering::Acquire))));
}

/// Returns after every other CPU has taken an interrupt, which orders all its memory accesses.
pub fn barrier() {
    core::sync::atomic::fence(Ordering::SeqCst);
    shoot(0, 0, (0..cpu::count()).filter(|i| cpu::of(*i).is_some_and(|c| c.online.load(Ordering::Acquire))));
}

fn members(cpus: &CpuSet) -> impl Iterator<Item = usize> {
    cpus.words().enumerate().flat_map(|(w, mut bits)| {
        core::iter::from_fn(move || {
            (bits != 0).then(|| {
                let b = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                w * 64 + b
            })
        })
    })
}
