//! Page faults.
//!
//! Where the page comes from, by kind of area:
//! ```text
//! private anonymous   page map; else the zero page (load) or a new page of zeroes (store)
//! private file        page map; else the page cache, read-only, neighbours included (load); a copy of it (store)
//! shared              page cache, neighbours included; marked dirty and made writable on the first store
//! ```
//! A private page may be written in place when the page map and its translation are its only owners; otherwise it is shared since
//! a fork and is copied.

use super::areas::{Areas, STACK_GAP};
use super::vma::{Object, VmFlags, Vma};
use super::{Access, FaultError, Mm, PAGE};
use crate::frames;
use crate::pagecache::PageCache;
use abi::Errno;
use core::slice::from_ref;
use machine::mem::{Frame, OutOfFrames};
use machine::sync::Once;
use machine::{PAGE_SIZE, Pfn, USER_MAX, VirtAddr, aspace};

/// Pages mapped together around a fault on a file.
const AROUND: usize = 16;

/// The page that untouched anonymous memory reads from; never written.
static ZERO: Once<Frame> = Once::new();

fn zero_page() -> Result<&'static Frame, FaultError> {
    if let Some(frame) = ZERO.get() {
        return Ok(frame);
    }
    let _ = ZERO.set(frames::alloc_zeroed()?);
    ZERO.get().ok_or(FaultError::Oom)
}

/// `pfn` is the page that untouched memory reads from.
pub(super) fn is_zero_page(pfn: Pfn) -> bool {
    ZERO.get().is_some_and(|frame| frame.pfn() == pfn)
}

impl From<OutOfFrames> for FaultError {
    fn from(_: OutOfFrames) -> FaultError {
        FaultError::Oom
    }
}

/// What a page cache that cannot give a page means for the program.
fn cache_error(e: Errno) -> FaultError {
    if e == Errno::ENOMEM { FaultError::Oom } else { FaultError::BusAdrErr }
}

/// Outcome of one attempt.
enum Step {
    Done,
    /// Something changed under way; look again.
    Again,
}

impl Mm {
    /// Resolves a page fault at `addr`.
    pub fn fault(&self, addr: VirtAddr, access: Access) -> Result<(), FaultError> {
        if addr.0 >= USER_MAX {
            return Err(FaultError::MapErr);
        }
        loop {
            let areas = self.areas.read();
            let Some((start, vma)) = areas.find(addr.0) else {
                drop(areas);
                self.grow_stack(addr.0)?;
                continue;
            };
            let needed = match access {
                Access { write: true, .. } => VmFlags::WRITE,
                Access { exec: true, .. } => VmFlags::EXEC,
                _ => VmFlags::RWX,
            };
            if !vma.flags.is(needed) {
                return Err(FaultError::AccErr);
            }
            let va = addr.align_down();
            let step = match vma.object.as_deref() {
                None => self.fault_anon(va, vma, access.write),
                Some(Object::File { file, .. }) => {
                    let at = FilePage { va, start, vma, cache: file.cache(), index: vma.index(start, va.0) };
                    if vma.is_private() {
                        self.fault_private_file(&at, access.write)
                    } else {
                        if access.write {
                            file.mkwrite().map_err(cache_error)?;
                        }
                        self.fault_shared(&at, access.write)
                    }
                }
                Some(Object::Special { frames, .. }) => {
                    let page = frames.get(vma.index(start, va.0) as usize).ok_or(FaultError::BusAdrErr)?;
                    self.aspace.map(va, from_ref(page), vma.full())?;
                    Ok(Step::Done)
                }
            };
            if let Step::Done = step? {
                return Ok(());
            }
        }
    }

    fn fault_anon(&self, va: VirtAddr, vma: &Vma, write: bool) -> Result<Step, FaultError> {
        if let Some(step) = self.fault_present(va, vma, write)? {
            return Ok(step);
        }
        if !write {
            self.aspace.map_absent(va, &[Some(zero_page()?.clone())], vma.read_only())?;
            return Ok(Step::Done);
        }
        let frame = frames::alloc()?;
        frame.zero();
        self.adopt(va, frame, None, vma.full())
    }

    /// The page map has the page: gives it a translation, copied first if it must be. `None`: the page map does not have it.
    #[inline]
    fn fault_present(&self, va: VirtAddr, vma: &Vma, write: bool) -> Result<Option<Step>, FaultError> {
        let pages = self.pages.lock();
        let Some(frame) = pages.get(va.page()) else { return Ok(None) };
        let mapped = self.aspace.query(va).is_some_and(|(pfn, _)| pfn == frame.pfn());
        if frame.refs() == 1 + u32::from(mapped) {
            // Ours alone: it may be written if the area allows, and the fault is over once the translation says so.
            self.aspace.map(va, from_ref(frame), vma.full())?;
            return Ok(Some(Step::Done));
        }
        if !write {
            if !mapped {
                self.aspace.map(va, from_ref(frame), vma.read_only())?;
            }
            return Ok(Some(Step::Done));
        }
        let shared = frame.clone();
        drop(pages);
        let copy = frames::alloc()?;
        copy.copy_from(&shared);
        self.adopt(va, copy, Some(&shared), vma.full()).map(Some)
    }

    /// Makes `frame` the private page at `va`, provided the page map still holds what it did when the caller looked.
    #[inline]
    fn adopt(&self, va: VirtAddr, frame: Frame, seen: Option<&Frame>, prot: aspace::Prot) -> Result<Step, FaultError> {
        let mut pages = self.pages.lock();
        if pages.get(va.page()).map(Frame::pfn) != seen.map(Frame::pfn) {
            return Ok(Step::Again);
        }
        self.aspace.map(va, from_ref(&frame), prot)?;
        let old = pages.insert(va.page(), frame);
        drop(pages);
        // The zero page or a shared page may have been mapped before: other CPUs must not keep using it.
        self.aspace.commit();
        drop(old);
        Ok(Step::Done)
    }

    fn fault_private_file(&self, at: &FilePage<'_>, write: bool) -> Result<Step, FaultError> {
        if !at.cache.has_index(at.index) {
            return Err(FaultError::BusAdrErr);
        }
        if let Some(step) = self.fault_present(at.va, at.vma, write)? {
            return Ok(step);
        }
        if !write {
            return self.map_around(at, at.vma.read_only());
        }
        let page = at.cache.get(at.index).map_err(cache_error)?;
        let copy = frames::alloc()?;
        copy.copy_from(&page);
        self.adopt(at.va, copy, None, at.vma.full())
    }

    fn fault_shared(&self, at: &FilePage<'_>, write: bool) -> Result<Step, FaultError> {
        // Memory objects have nothing to write back, so their pages may be writable from the start. A translation that is there
        // all the same was made before the area became writable.
        let memory = at.cache.is_memory();
        if memory && !(write && self.aspace.query(at.va).is_some()) {
            return self.map_around(at, at.vma.full());
        }
        if !write {
            return self.map_around(at, at.vma.read_only());
        }
        let generation = at.cache.generation();
        if !at.cache.has_index(at.index) {
            return Err(FaultError::BusAdrErr);
        }
        let page = at.cache.get_for_write(at.index, false).map_err(cache_error)?;
        self.aspace.map(at.va, from_ref(&page), at.vma.full())?;
        self.aspace.commit();
        Ok(self.still(at, generation, at.va, 1))
    }

    /// Maps the page and those of its neighbours that are in the cache.
    fn map_around(&self, at: &FilePage<'_>, prot: aspace::Prot) -> Result<Step, FaultError> {
        let generation = at.cache.generation();
        if !at.cache.has_index(at.index) {
            return Err(FaultError::BusAdrErr);
        }
        let mut run = [const { None }; AROUND];
        // The window: aligned in the file, inside the area, and inside one group of the cache's tree.
        let back = (at.index % AROUND as u64).min((at.va.0 - at.start) / PAGE);
        let first = VirtAddr(at.va.0 - back * PAGE);
        let ahead = (AROUND as u64 - at.index % AROUND as u64).min((at.vma.end - at.va.0) / PAGE);
        let window = run.get_mut(..(back + ahead) as usize).unwrap_or_default();
        at.cache.find_run(at.index - back, window);
        if window.get(back as usize).is_none_or(Option::is_none) {
            let page = at.cache.get(at.index).map_err(cache_error)?;
            if let Some(slot) = window.get_mut(back as usize) {
                *slot = Some(page);
            }
        }
        if at.vma.is_private() {
            self.leave_out_private(first, window);
        }
        self.aspace.map_absent(first, window, prot)?;
        Ok(self.still(at, generation, first, window.len() as u64))
    }

    /// Pages that the program has written are not to be covered by the file's.
    fn leave_out_private(&self, first: VirtAddr, window: &mut [Option<Frame>]) {
        let pages = self.pages.lock();
        let mut present = pages.present(first.page());
        for (vpn, slot) in (first.page()..).zip(window) {
            if vpn.is_multiple_of(super::pages::LEAF as u64) {
                present = pages.present(vpn);
            }
            if present >> (vpn % super::pages::LEAF as u64) & 1 == 1 {
                *slot = None;
            }
        }
    }

    /// After mapping pages of a cache: nothing was truncated meanwhile, or the translations go again and the fault is repeated.
    #[inline]
    fn still(&self, at: &FilePage<'_>, generation: u64, first: VirtAddr, pages: u64) -> Step {
        if at.cache.generation() == generation {
            return Step::Done;
        }
        self.aspace.unmap(first, pages);
        self.aspace.commit();
        Step::Again
    }

    /// Nothing is mapped at `addr`: extends the stack above it, if there is one and limits allow.
    #[cold]
    fn grow_stack(&self, addr: u64) -> Result<(), FaultError> {
        let limits = self.limits();
        let mut areas = self.areas.write();
        if areas.find(addr).is_some() {
            return Ok(());
        }
        let pos = areas.map.after(addr);
        let Some((start, vma)) = areas.map.at(pos).filter(|(_, v)| v.flags.is(VmFlags::GROWSDOWN)) else {
            return Err(FaultError::MapErr);
        };
        let to = addr & !(PAGE - 1);
        let (end, flags, pages) = (vma.end, vma.flags, (start - to) / PAGE);
        let below = areas.map.prev(pos).and_then(|p| areas.map.at(p));
        // A PROT_NONE neighbour is a guard of the program's own making and may be closer.
        let room = below.is_none_or(|(_, b)| {
            b.end <= to && (!b.flags.is(VmFlags::RWX) || b.flags.is(VmFlags::GROWSDOWN) || b.end + STACK_GAP <= to)
        });
        let locked = areas.locked.saturating_add(pages).saturating_mul(PAGE) > limits.memlock;
        if !room
            || to < super::areas::MIN_ADDR
            || end - to > limits.stack
            || !areas.may_grow(&limits, flags, pages)
            || flags.is(VmFlags::LOCKED) && locked
        {
            return Err(FaultError::MapErr);
        }
        if flags.is(VmFlags::ACCOUNT) {
            areas.charge(pages).map_err(|_| FaultError::Oom)?;
        }
        areas.grow_down(pos, to);
        Ok(())
    }
}

impl Areas {
    fn grow_down(&mut self, pos: sortmap::Pos, to: u64) {
        let Some((start, vma)) = self.map.at(pos) else { return };
        let pages = (start - to) / (PAGE_SIZE as u64);
        if vma.flags.is(VmFlags::LOCKED) {
            self.locked += pages;
        }
        self.total += pages;
        self.stack += pages;
        self.peak = self.peak.max(self.total);
        self.map.set_key(pos, to);
    }
}

/// A page of a file where an area maps it.
struct FilePage<'a> {
    va: VirtAddr,
    start: u64,
    vma: &'a Vma,
    cache: &'a PageCache,
    index: u64,
}
