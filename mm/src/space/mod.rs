//! The address space of a process.
//!
//! An [`Mm`] holds the truth in two places: `areas`, the list of what is mapped with which rights, and `pages`, the private pages
//! that were written. Everything else (pages of files, shared memory) belongs to page caches. The machine's
//! [`AddressSpace`] is filled from these by faults and emptied whenever a mapping changes.
//!
//! Life of a fault: `fault` finds the area under the shared lock, checks rights, and takes the page from the page map, the page
//! cache or a new frame; translations are installed in runs where neighbours are at hand.
//!
//! Sources: mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2), mlock(2), msync(2), mincore(2), proc_pid_maps(5).

mod access;
mod advise;
mod areas;
mod brk;
mod dump;
mod fault;
mod force;
mod fork;
mod info;
mod layout;
mod locking;
mod map;
mod pages;
mod protect;
mod remap;
mod shared;
mod survey;
mod sync;
#[cfg(test)]
mod tests;
mod types;
mod vma;

pub use dump::{DumpArea, DumpFilter};
pub use layout::set_random_source;
pub use shared::{Promise, SharedMemory};
pub use survey::{Kind, PSS_SHIFT, Page, Resident};
pub use types::{Access, FaultError, FutexKey, Layout, Limits, MapRequest, MmStats, VmaInfo, VmaName};
pub use vma::VmFlags;

use crate::{commit, frames};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use areas::{Areas, Dead};
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use machine::aspace::AddressSpace;
use machine::segment::Descriptor;
use machine::sync::{Once, SpinLock};
use machine::{PAGE_SIZE, VirtAddr};
use pages::{Leaf, PageMap};
use sched::RwLock;
use smallvec::SmallVec;

const PAGE: u64 = PAGE_SIZE as u64;

/// One address space; threads and vfork children share it.
pub struct Mm {
    id: u64,
    aspace: Arc<AddressSpace>,
    areas: RwLock<Areas>,
    pages: SpinLock<PageMap>,
    limits: SpinLock<Limits>,
    /// Kinds of expedited barrier the process registered for (membarrier(2)).
    barriers: AtomicU32,
    concurrency_ids: AtomicU64,
    futexes: Once<Arc<dyn Any + Send + Sync>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Mm {
    /// An empty address space.
    pub fn new() -> Result<Arc<Mm>, Errno> {
        frames::admit().map_err(|_| Errno::ENOMEM)?;
        Self::build(Areas::new(), PageMap::new(), Limits::default()).map(Arc::new)
    }
    fn build(areas: Areas, pages: PageMap, limits: Limits) -> Result<Mm, Errno> {
        let aspace = AddressSpace::new().map_err(|_| Errno::ENOMEM)?;
        Ok(Mm {
            id: NEXT_ID.fetch_add(1, Relaxed),
            aspace: Arc::new(aspace),
            areas: RwLock::new(areas),
            pages: SpinLock::new(pages),
            limits: SpinLock::new(limits),
            barriers: AtomicU32::new(0),
            concurrency_ids: AtomicU64::new(0),
            futexes: Once::new(),
        })
    }
    /// Makes this the current CPU's user address space.
    #[inline]
    pub fn activate(&self) {
        self.aspace.activate()
    }
    /// Changes a descriptor of the space's local table; ENOMEM if the table cannot grow.
    pub fn set_descriptor(&self, index: usize, d: Descriptor) -> Result<(), Errno> {
        self.aspace.set_descriptor(index, d).map_err(|_| Errno::ENOMEM)
    }
    /// Descriptors in the local table.
    pub fn descriptor_count(&self) -> usize {
        self.aspace.descriptor_count()
    }
    /// Reads the local table in the CPU's form.
    pub fn descriptors(&self, out: &mut [u64]) {
        self.aspace.descriptors(out);
    }
    /// A number no other address space ever has.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// Registrations for membarrier(2), a bit set of its registration commands.
    pub fn barriers(&self) -> &AtomicU32 {
        &self.barriers
    }
    /// What the floor above keeps for those who wait in this space (futex(2)), once they can be several.
    #[inline]
    pub fn futexes(&self) -> &Once<Arc<dyn Any + Send + Sync>> {
        &self.futexes
    }
    /// The concurrency ids that threads of this space own (rseq(2)); its meaning is the owner's of those.
    #[inline]
    pub fn concurrency_ids(&self) -> &AtomicU64 {
        &self.concurrency_ids
    }
    /// The resource limits that memory calls obey from now on.
    pub fn set_limits(&self, limits: Limits) {
        *self.limits.lock() = limits;
    }
    fn limits(&self) -> Limits {
        *self.limits.lock()
    }
    /// Takes everything in `[start, end)` away: areas, private pages, translations.
    fn clear(&self, areas: &mut Areas, start: u64, end: u64, dead: &mut Dead) -> Result<(), Errno> {
        if areas.first_in(start, end).is_none() {
            return Ok(());
        }
        areas.remove(start, end, dead)?;
        self.zap(start, end);
        Ok(())
    }
    /// Drops the private pages and the translations of a range; areas stay. Pages leave the page map first: a fault that comes in
    /// between then finds nothing there and brings a new page, whose translation may go again but which is not lost.
    fn zap(&self, start: u64, end: u64) {
        let mut taken: SmallVec<[Box<Leaf>; 4]> = SmallVec::new();
        loop {
            let leaf = self.pages.lock().take(start / PAGE, end / PAGE);
            let Some((_, leaf)) = leaf else { break };
            if taken.len() == taken.capacity() {
                // A long range goes in parts: these pages stay alive in their translations until the end.
                taken.clear();
            }
            taken.push(leaf);
        }
        self.aspace.unmap(VirtAddr(start), (end - start) / PAGE);
        self.aspace.commit();
    }
}

impl Drop for Mm {
    /// The memory goes with its last user, who may be the thread that ends and still has the space loaded: whoever waits for its
    /// end finds the pages free.
    fn drop(&mut self) {
        let areas = self.areas.get_mut();
        commit::uncharge(areas.committed);
        // Areas of files hold the space too, so that what is cut off a file leaves it.
        areas.map.clear();
        self.aspace.leave();
        if Arc::get_mut(&mut self.aspace).is_none() {
            // Another CPU ran a thread of the space before the kernel thread it runs now, and keeps the tables till it switches.
            self.aspace.unmap(VirtAddr(0), machine::USER_MAX / PAGE);
            self.aspace.commit();
        }
    }
}

/// `len` rounded up to pages.
fn page_up(len: u64) -> Option<u64> {
    len.checked_add(PAGE - 1).map(|n| n & !(PAGE - 1))
}

fn aligned(addr: VirtAddr) -> bool {
    addr.offset() == 0
}
