//! Which pages of an address space are in memory, and who else has them: proc_pid_smaps(5), proc_pid_pagemap(5).
//!
//! Nothing is counted for this while programs run. A report looks at the page map and at the translations, in groups of pages, and
//! takes sharing from the frames' reference counts:
//! ```text
//! private page   one reference from each address space that has it since a fork, one more from each translation of it
//! page of a file one from the page cache, one from each translation
//! ```
//! so that the number of address spaces that have a page is exact unless one of them has a private page without a translation.
//! Untouched memory (the zero page) and data pages of the kernel are nobody's.
//!
//! Lock order: `areas`, then `pages`, then the machine's; the page cache's own lock is taken alone.

use super::fault::is_zero_page;
use super::info::describe;
use super::pages::LEAF;
use super::vma::{Object, VmFlags, Vma};
use super::{Mm, PAGE, VmaInfo};
use core::ops::ControlFlow;
use machine::VirtAddr;
use machine::aspace::Mapped;

/// Proportional sizes are in bytes shifted by this, so that thirds of pages add up.
pub const PSS_SHIFT: u32 = 12;

/// What of an area is in memory; counts are pages, `pss*` are proportional sizes (see [`PSS_SHIFT`]).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Resident {
    pub rss: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub referenced: u64,
    pub anonymous: u64,
    pub pss: u64,
    pub pss_dirty: u64,
    pub pss_anon: u64,
    pub pss_file: u64,
    pub pss_shmem: u64,
    pub pss_locked: u64,
}

/// Where a page belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The program's own.
    Anon,
    /// A file's.
    File,
    /// Of shared memory.
    Shmem,
}

/// A page in memory.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Page number of its address.
    pub page: u64,
    /// Page number in memory.
    pub pfn: u32,
    /// Where it belongs.
    pub kind: Kind,
    /// Address spaces (or places in one) that have it.
    pub owners: u32,
    /// Its only up-to-date copy.
    pub dirty: bool,
    /// Touched.
    pub accessed: bool,
}

impl Resident {
    fn add(&mut self, page: &Page, locked: bool) {
        let pss = (PAGE << PSS_SHIFT) / u64::from(page.owners.max(1));
        self.rss += 1;
        self.referenced += u64::from(page.accessed);
        self.pss += pss;
        match page.kind {
            Kind::Anon => {
                self.anonymous += 1;
                self.pss_anon += pss;
            }
            Kind::File => self.pss_file += pss,
            Kind::Shmem => self.pss_shmem += pss,
        }
        if locked {
            self.pss_locked += pss;
        }
        if page.dirty {
            self.pss_dirty += pss;
        }
        *match (page.owners > 1, page.dirty) {
            (true, true) => &mut self.shared_dirty,
            (true, false) => &mut self.shared_clean,
            (false, true) => &mut self.private_dirty,
            (false, false) => &mut self.private_clean,
        } += 1;
    }
    /// Adds the figures of another area.
    pub fn merge(&mut self, other: &Resident) {
        let Resident { rss, shared_clean, shared_dirty, private_clean, private_dirty, .. } = other;
        self.rss += rss;
        self.shared_clean += shared_clean;
        self.shared_dirty += shared_dirty;
        self.private_clean += private_clean;
        self.private_dirty += private_dirty;
        self.referenced += other.referenced;
        self.anonymous += other.anonymous;
        self.pss += other.pss;
        self.pss_dirty += other.pss_dirty;
        self.pss_anon += other.pss_anon;
        self.pss_file += other.pss_file;
        self.pss_shmem += other.pss_shmem;
        self.pss_locked += other.pss_locked;
    }
}

impl Mm {
    /// Calls `f` for each area that ends after `from` in order, with what of it is in memory, until it returns false. The address space
    /// is locked meanwhile: `f` must not touch user memory.
    pub fn survey(&self, from: u64, f: &mut dyn FnMut(&VmaInfo<'_>, &Resident) -> bool) {
        let areas = self.areas.read();
        let mut at = areas.overlap(from);
        while let Some((start, vma)) = areas.map.at(at) {
            let mut sum = Resident::default();
            let locked = vma.flags.is(VmFlags::LOCKED);
            self.each_page(start, vma, (start, vma.end), &mut |page| sum.add(page, locked));
            if !f(&describe(&areas.layout, start, vma), &sum) {
                return;
            }
            at = areas.map.next(at);
        }
    }
    /// Calls `f` for each page in memory between two addresses, in order.
    pub fn pages_between(&self, from: u64, to: u64, f: &mut dyn FnMut(&Page)) {
        let areas = self.areas.read();
        let mut at = areas.overlap(from);
        while let Some((start, vma)) = areas.map.at(at).filter(|(start, _)| *start < to) {
            self.each_page(start, vma, (start.max(from), vma.end.min(to)), f);
            at = areas.map.next(at);
        }
    }
    /// Pages of shared memory that are mapped. Costs nothing in an address space that maps none.
    pub fn resident_shmem(&self) -> u64 {
        let areas = self.areas.read();
        let mut count = 0;
        for (start, vma) in areas.map.iter() {
            if vma.file().is_some_and(|file| file.cache().is_memory()) {
                self.each_page(start, vma, (start, vma.end), &mut |page| {
                    count += u64::from(page.kind == Kind::Shmem);
                });
            }
        }
        count
    }
    /// Forgets which pages were touched, of all areas that `wanted` names.
    pub fn forget_accesses(&self, wanted: &dyn Fn(&VmaInfo<'_>) -> bool) {
        let areas = self.areas.read();
        for (start, vma) in areas.map.iter() {
            if wanted(&describe(&areas.layout, start, vma)) {
                self.aspace.forget_accesses(VirtAddr(start), (vma.end - start) / PAGE);
            }
        }
        self.aspace.commit();
    }

    /// Calls `f` for each page in memory between two addresses of an area.
    fn each_page(&self, start: u64, vma: &Vma, (from, to): (u64, u64), f: &mut dyn FnMut(&Page)) {
        let special = matches!(vma.object.as_deref(), Some(Object::Special { .. }));
        if special && !vma.flags.is(VmFlags::EXEC) {
            return;
        }
        let (mut at, end) = (from / PAGE, to / PAGE);
        while let Some(group) = self.next_group(at, end) {
            let first = at.max(group);
            at = end.min(group + LEAF as u64);
            for mut page in self.group(first, at).into_iter().flatten() {
                if page.kind == Kind::File {
                    // One owner is not a translation: the cache.
                    page.owners = page.owners.saturating_sub(1);
                    if let Some(file) = vma.file() {
                        let cache = file.cache();
                        page.dirty = cache.is_dirty(vma.index(start, page.page * PAGE));
                        page.kind = if cache.is_memory() { Kind::Shmem } else { Kind::File };
                    } else if special {
                        // Each area of the kernel's code holds its pages too.
                        page.owners = page.owners.div_ceil(2);
                    }
                }
                f(&page);
            }
            sched::cond_resched();
        }
    }

    /// The first aligned group of pages with one in memory in `[from, to)`.
    fn next_group(&self, from: u64, to: u64) -> Option<u64> {
        let own = self.pages.lock().next_group(from, to);
        // Not beyond that one: then tables are gone through once, however many are empty.
        let end = own.map_or(to, |own| own.min(to));
        let mut mapped = None;
        self.aspace.each_mapped(VirtAddr(from * PAGE), end.saturating_sub(from), &mut |page| {
            mapped = Some(page.page & !(LEAF as u64 - 1));
            ControlFlow::Break(())
        });
        mapped.or(own)
    }

    /// The pages in memory of `[first, end)`, which lie in one group. Those that are not private count as a file's, with all references
    /// as owners.
    fn group(&self, first: u64, end: u64) -> [Option<Page>; LEAF] {
        let mut out = [None; LEAF];
        let pages = self.pages.lock();
        self.aspace.each_mapped(VirtAddr(first * PAGE), end.saturating_sub(first), &mut |m: Mapped| {
            if let Some(slot) = out.get_mut(m.page as usize % LEAF).filter(|_| !is_zero_page(m.pfn)) {
                let (pfn, owners, accessed) = (m.pfn.0, m.refs, m.accessed);
                *slot = Some(Page { page: m.page, pfn, kind: Kind::File, owners, dirty: false, accessed });
            }
            ControlFlow::Continue(())
        });
        for (page, slot) in (first & !(LEAF as u64 - 1)..).zip(&mut out) {
            let Some(frame) = (first..end).contains(&page).then(|| pages.get(page)).flatten() else { continue };
            let pfn = frame.pfn().0;
            let mapped = slot.filter(|there| there.pfn == pfn);
            let others = frame.refs().saturating_sub(1 + u32::from(mapped.is_some()));
            let owners = 1 + others.div_ceil(2);
            let accessed = mapped.is_some_and(|there| there.accessed);
            *slot = Some(Page { page, pfn, kind: Kind::Anon, owners, dirty: true, accessed });
        }
        out
    }
}
