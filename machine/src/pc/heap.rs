//! The kernel heap: size-class slabs behind per-CPU magazines, large blocks straight from the frame source.
//!
//! A magazine is a linked list of free objects of one class that only its CPU touches, with interrupts off (handlers may
//! allocate). An empty one takes half a magazine of objects from the class's slabs; a full one gives half back. A slab is one
//! page; its free list and count live in the frame's metadata, so that objects fill pages completely and any freed
//! object finds its slab. Slabs with free objects form a list per class; an entirely free slab goes back to the source.
//! When the source has nothing left, small allocations are served from a reserve of pages, refilled as slabs are freed: the
//! floors above refuse user work by then.
//!
//! Lock order: one class lock, then whatever the frame source locks.

use super::cpu;
use super::mem::{self, KIND_LARGE, KIND_RESERVE, KIND_SLAB};
use crate::addr::PAGE_SIZE;
use crate::sync::{IrqLock, SpinLock};
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU32, Ordering};

const CLASSES: usize = 14;
const SIZES: [u16; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1344, 2048];
const LARGEST: usize = 2048;
/// Class by (size - 1) / 16.
const CLASS_OF: [u8; LARGEST / 16] = {
    let mut t = [0; LARGEST / 16];
    let mut i = 0;
    let mut class = 0;
    while i < t.len() {
        while SIZES[class] < (i as u16 + 1) * 16 {
            class += 1;
        }
        t[i] = class as u8;
        i += 1;
    }
    t
};
/// No object.
const NIL: u32 = u32::MAX;
/// Pages kept for when the source is empty.
const RESERVE: usize = 64;

/// The most objects in a magazine of each class: some 8 KiB worth.
const DEPTH: [u32; CLASSES] = {
    let mut t = [0; CLASSES];
    let mut i = 0;
    while i < CLASSES {
        let n = 8192 / SIZES[i] as u32;
        t[i] = if n > 64 { 64 } else { n };
        i += 1;
    }
    t
};

#[derive(Clone, Copy)]
struct Magazine {
    head: *mut Free,
    count: u32,
}

/// A free object.
struct Free {
    next: *mut Free,
}

/// One CPU's magazines.
pub struct Magazines([Magazine; CLASSES]);

impl Magazines {
    pub const fn new() -> Magazines {
        Magazines([Magazine { head: core::ptr::null_mut(), count: 0 }; CLASSES])
    }
}

/// The slabs of a class that have free objects: a doubly linked list through the frames' metadata.
struct Class {
    first: u32,
    /// Objects in use or in a magazine.
    taken: u64,
    /// Pages split into objects.
    pages: u64,
}

static SLABS: [SpinLock<Class>; CLASSES] = [const { SpinLock::new(Class { first: NIL, taken: 0, pages: 0 }) }; CLASSES];

/// Object size, objects taken, pages of one class.
pub fn usage(class: usize) -> Option<(u16, u64, u64)> {
    let size = *SIZES.get(class)?;
    let slabs = SLABS.get(class)?.lock();
    Some((size, slabs.taken, slabs.pages))
}

struct Reserve {
    pages: [u32; RESERVE],
    len: usize,
    /// How many it should hold.
    goal: usize,
}

static POOL: IrqLock<Reserve> = IrqLock::new(Reserve { pages: [0; RESERVE], len: 0, goal: 0 });

/// Fills the reserve, once there is a frame source: up to 64 pages, less on a small machine.
pub fn fill_reserve() {
    let goal = (mem::extent().1 as usize / 512).clamp(8, RESERVE);
    POOL.lock().goal = goal;
    for _ in 0..goal {
        let Some(pfn) = mem::take_kind(0, KIND_RESERVE) else { return };
        keep(pfn);
    }
}

/// Puts a page of kind reserve into the pool; false if the pool is full.
fn keep(pfn: u32) -> bool {
    let mut pool = POOL.lock();
    let at = pool.len;
    if at >= pool.goal {
        return false;
    }
    pool.pages[at] = pfn;
    pool.len += 1;
    true
}

/// A page for a slab.
fn slab_page() -> Option<u32> {
    mem::HEAP_PAGES.fetch_add(1, Ordering::Relaxed);
    if let Some(p) = mem::take_kind(0, KIND_SLAB) {
        return Some(p);
    }
    let mut pool = POOL.lock();
    if let Some(at) = pool.len.checked_sub(1) {
        pool.len = at;
        return Some(pool.pages[at]);
    }
    mem::HEAP_PAGES.fetch_sub(1, Ordering::Relaxed);
    None
}

fn free_slab_page(pfn: u32) {
    mem::HEAP_PAGES.fetch_sub(1, Ordering::Relaxed);
    if !keep(pfn) {
        // Pages that came from the reserve are of that kind still.
        let kind = mem::meta(pfn).map_or(KIND_SLAB, |m| m.state());
        mem::give_kind(pfn, 0, kind);
    }
}

/// Metadata of a slab: free objects in the upper half, index of the first one in the lower.
fn unpack(info: u32) -> (u32, u32) {
    (info >> 16, info & 0xffff)
}

impl Class {
    fn unlink(&mut self, pfn: u32) {
        // SAFETY: slabs on the list are pages of ours.
        let links = unsafe { &mem::meta_of(pfn).links };
        let (prev, next) = (links[0].load(Ordering::Relaxed), links[1].load(Ordering::Relaxed));
        // SAFETY: neighbours on the list are pages of ours.
        unsafe {
            match prev {
                NIL => self.first = next,
                p => mem::meta_of(p).links[1].store(next, Ordering::Relaxed),
            }
            if next != NIL {
                mem::meta_of(next).links[0].store(prev, Ordering::Relaxed);
            }
        }
    }

    fn link(&mut self, pfn: u32) {
        // SAFETY: as in `unlink`.
        unsafe {
            let links = &mem::meta_of(pfn).links;
            links[0].store(NIL, Ordering::Relaxed);
            links[1].store(self.first, Ordering::Relaxed);
            if self.first != NIL {
                mem::meta_of(self.first).links[0].store(pfn, Ordering::Relaxed);
            }
        }
        self.first = pfn;
    }
}

/// Moves up to half a magazine of objects of `class` into `m`; false if there is no memory. Interrupts are off.
#[cold]
#[inline(never)]
fn refill(m: &mut Magazine, class: usize) -> bool {
    let size = u64::from(SIZES[class]);
    let want = DEPTH[class] / 2;
    let mut slabs = SLABS[class].lock();
    while m.count < want {
        let pfn = if slabs.first != NIL {
            slabs.first
        } else {
            if m.count > 0 {
                break;
            }
            let Some(pfn) = slab_page() else { return false };
            let n = PAGE_SIZE as u64 / size;
            let base = mem::direct(pfn);
            for i in 0..n {
                // SAFETY: inside the fresh page; each free object holds the index of the next.
                unsafe { ((base + i * size) as *mut u64).write(i + 1) };
            }
            // SAFETY: a page of ours.
            unsafe { mem::meta_of(pfn) }.info.store((n as u32) << 16, Ordering::Relaxed);
            slabs.link(pfn);
            slabs.pages += 1;
            pfn
        };
        // SAFETY: a slab on the list is a page of ours.
        let info: &AtomicU32 = unsafe { &mem::meta_of(pfn).info };
        let (mut free, mut first) = unpack(info.load(Ordering::Relaxed));
        while free > 0 && m.count < want {
            let p = (mem::direct(pfn) + u64::from(first) * size) as *mut Free;
            // SAFETY: a free object of the slab: it holds the index of the next one, and is ours now.
            unsafe {
                first = p.cast::<u64>().read() as u32;
                p.write(Free { next: m.head });
            }
            m.head = p;
            m.count += 1;
            slabs.taken += 1;
            free -= 1;
        }
        info.store(free << 16 | first & 0xffff, Ordering::Relaxed);
        if free == 0 {
            slabs.unlink(pfn);
        }
    }
    true
}

/// Gives half of a full magazine back to the slabs. Interrupts are off.
#[cold]
#[inline(never)]
fn drain(m: &mut Magazine, class: usize) {
    let size = u64::from(SIZES[class]);
    let all = PAGE_SIZE as u32 / size as u32;
    let mut slabs = SLABS[class].lock();
    let keep = DEPTH[class] / 2;
    while m.count > keep {
        let p = m.head;
        // SAFETY: objects in the magazine are free and linked.
        m.head = unsafe { (*p).next };
        m.count -= 1;
        slabs.taken -= 1;
        let pfn = mem::pfn_of(p as u64);
        // SAFETY: objects lie in slab pages of ours.
        let info = unsafe { &mem::meta_of(pfn).info };
        let (free, first) = unpack(info.load(Ordering::Relaxed));
        let index = (p as u64 & (PAGE_SIZE as u64 - 1)) / size;
        // SAFETY: the object is free and ours.
        unsafe { p.cast::<u64>().write(u64::from(first)) };
        info.store((free + 1) << 16 | index as u32, Ordering::Relaxed);
        if free == 0 {
            slabs.link(pfn);
        }
        if free + 1 == all {
            slabs.unlink(pfn);
            slabs.pages -= 1;
            free_slab_page(pfn);
        }
    }
}

/// Order of a block of `size` bytes.
fn order(size: usize) -> u8 {
    size.div_ceil(PAGE_SIZE).next_power_of_two().trailing_zeros() as u8
}

#[cold]
fn alloc_large(size: usize) -> *mut u8 {
    let order = order(size);
    if order > 18 {
        return core::ptr::null_mut();
    }
    match mem::take_kind(order, KIND_LARGE) {
        Some(pfn) => {
            mem::HEAP_PAGES.fetch_add(1 << order, Ordering::Relaxed);
            mem::direct(pfn) as *mut u8
        }
        None => core::ptr::null_mut(),
    }
}

#[cold]
fn free_large(p: *mut u8, size: usize) {
    let order = order(size);
    mem::HEAP_PAGES.fetch_sub(1 << order, Ordering::Relaxed);
    mem::give_kind(mem::pfn_of(p as u64), order, KIND_LARGE);
}

/// Bytes that a request takes: objects with a larger alignment than 16 come from classes that are powers of two.
#[inline(always)]
fn padded(layout: Layout) -> usize {
    if layout.align() > 16 { layout.size().max(layout.align()).next_power_of_two() } else { layout.size() }
}

/// The kernel's allocator.
struct Heap;

// SAFETY: objects of one class never overlap (a slab is split evenly, and an object is in one list or handed out), large blocks
// are whole pages of their own, and alignment holds: classes are multiples of 16 from a page start, padded ones powers of two.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = padded(layout);
        if size.wrapping_sub(1) >= LARGEST {
            return alloc_large(size);
        }
        let class = CLASS_OF[(size - 1) / 16] as usize;
        let irq = crate::cpu::IrqOff::new();
        // SAFETY: this CPU's magazines, interrupts off; the class table has only valid classes.
        let m = unsafe { (*cpu::current().heap.get()).0.get_unchecked_mut(class) };
        if m.head.is_null() && !refill(m, class) {
            return core::ptr::null_mut();
        }
        let p = m.head;
        // SAFETY: objects in the magazine are free and linked.
        m.head = unsafe { (*p).next };
        m.count -= 1;
        drop(irq);
        p.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        let size = padded(layout);
        if size.wrapping_sub(1) >= LARGEST {
            return free_large(p, size);
        }
        let class = CLASS_OF[(size - 1) / 16] as usize;
        let irq = crate::cpu::IrqOff::new();
        // SAFETY: as in `alloc`; the object is the caller's to give.
        unsafe {
            let m = (*cpu::current().heap.get()).0.get_unchecked_mut(class);
            p.cast::<Free>().write(Free { next: m.head });
            m.head = p.cast();
            m.count += 1;
            if m.count > DEPTH[class] {
                drain(m, class);
            }
        }
        drop(irq);
    }
}

#[global_allocator]
static HEAP: Heap = Heap;
