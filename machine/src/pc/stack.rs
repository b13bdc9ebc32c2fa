//! Kernel stacks: 16 KiB each, with unmapped space below, so that an overflow faults instead of corrupting.
//!
//! Freed stacks stay mapped on a list (linked through their own top words); beyond a limit they are unmapped in batches with
//! one TLB shoot-down.

use super::{mem, paging, tlb};
use crate::addr::PAGE_SIZE;
use crate::mem::OutOfFrames;
use crate::sync::IrqLock;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

const PAGES: u64 = 4;
/// Bytes of a stack.
pub const SIZE: u64 = PAGES * PAGE_SIZE as u64;
/// Distance of stacks: the lower half stays unmapped.
const STRIDE: u64 = 2 * SIZE;
/// Free stacks kept mapped.
const KEEP: usize = 64;
const BATCH: usize = 32;
/// Slots in the stack region.
const SLOTS: u64 = (1 << 39) / STRIDE;

/// A mapped stack, named by its top.
#[derive(PartialEq, Eq)]
pub struct Stack {
    top: u64,
}

struct Pool {
    /// Top of the first free mapped stack, 0 if none.
    first: u64,
    count: usize,
    /// Tops of unmapped slots.
    unmapped: Vec<u64>,
    /// Slots used so far.
    used: u64,
}

static POOL: IrqLock<Pool> = IrqLock::new(Pool { first: 0, count: 0, unmapped: Vec::new(), used: 0 });

impl Pool {
    fn pop(&mut self) -> Option<Stack> {
        if self.first == 0 {
            return None;
        }
        let top = self.first;
        // SAFETY: free stacks are mapped and hold the next one's top in their last word.
        self.first = unsafe { ((top - 8) as *const u64).read() };
        self.count -= 1;
        Some(Stack { top })
    }
    fn push(&mut self, top: u64) {
        // SAFETY: the stack is mapped and no longer in use.
        unsafe { ((top - 8) as *mut u64).write(self.first) };
        self.first = top;
        self.count += 1;
    }
}

impl Stack {
    pub fn new() -> Result<Stack, OutOfFrames> {
        let mut pool = POOL.lock();
        if let Some(s) = pool.pop() {
            return Ok(s);
        }
        let top = match pool.unmapped.pop() {
            Some(t) => t,
            None if pool.used < SLOTS => {
                pool.used += 1;
                paging::STACK_BASE + pool.used * STRIDE
            }
            None => return Err(OutOfFrames),
        };
        drop(pool);
        for i in 0..PAGES {
            let va = top - SIZE + i * PAGE_SIZE as u64;
            let page = mem::take_kind(0, mem::KIND_STACK);
            let Some(pfn) = page else {
                return Err(abandon(top));
            };
            if !paging::map_stack_page(va, pfn) {
                mem::give_kind(pfn, 0, mem::KIND_STACK);
                return Err(abandon(top));
            }
            mem::STACK_PAGES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Stack { top })
    }

    /// Whether the address lies in it.
    pub fn contains(&self, addr: u64) -> bool {
        (self.top - SIZE..self.top).contains(&addr)
    }

    /// Address past the last byte.
    pub fn top(&self) -> u64 {
        self.top
    }
}

/// Unmaps what there is of the stacks and forgets their translations everywhere.
fn unmap(tops: &[u64]) {
    let mut pages = [0u32; BATCH * PAGES as usize];
    let mut n = 0;
    for top in tops {
        for i in 0..PAGES {
            if let Some(pfn) = paging::unmap_stack_page(top - SIZE + i * PAGE_SIZE as u64) {
                pages[n] = pfn;
                n += 1;
            }
        }
    }
    tlb::shoot_kernel();
    for pfn in &pages[..n] {
        mem::STACK_PAGES.fetch_sub(1, Ordering::Relaxed);
        mem::give_kind(*pfn, 0, mem::KIND_STACK);
    }
}

/// A stack that could not be made whole: its slot is given up if it cannot be listed.
fn abandon(top: u64) -> OutOfFrames {
    unmap(&[top]);
    let mut pool = POOL.lock();
    if pool.unmapped.try_reserve(1).is_ok() {
        pool.unmapped.push(top);
    }
    OutOfFrames
}

impl Drop for Stack {
    fn drop(&mut self) {
        let mut pool = POOL.lock();
        pool.push(self.top);
        if pool.count <= KEEP || pool.unmapped.try_reserve(BATCH).is_err() {
            return;
        }
        let mut tops = [0; BATCH];
        for t in &mut tops {
            let Some(s) = pool.pop() else { return };
            *t = s.top;
            core::mem::forget(s);
        }
        drop(pool);
        unmap(&tops);
        POOL.lock().unmapped.extend_from_slice(&tops);
    }
}
