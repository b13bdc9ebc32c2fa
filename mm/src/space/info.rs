//! What /proc shows of an address space.

use super::vma::{Label, Object, VmFlags, Vma};
use super::{Layout, Mm, MmStats, VmaInfo, VmaName};
use crate::file::MappedFile;
use abi::mman::Prot;
use alloc::sync::Arc;
use machine::VirtAddr;

impl Mm {
    /// Calls `f` for each area in order until it returns false. The address space is locked meanwhile: `f` must not touch user
    /// memory.
    pub fn for_each_vma(&self, f: &mut dyn FnMut(&VmaInfo<'_>) -> bool) {
        self.for_each_vma_from(0, f)
    }
    /// The same for the areas that end after `from`.
    pub fn for_each_vma_from(&self, from: u64, f: &mut dyn FnMut(&VmaInfo<'_>) -> bool) {
        let areas = self.areas.read();
        let mut at = areas.overlap(from);
        while let Some((start, vma)) = areas.map.at(at) {
            if !f(&describe(&areas.layout, start, vma)) {
                return;
            }
            at = areas.map.next(at);
        }
    }
    /// An area ends after `addr`.
    pub fn any_area_from(&self, addr: u64) -> bool {
        let areas = self.areas.read();
        areas.map.at(areas.overlap(addr)).is_some()
    }
    /// The file mapped at `va`, with its rights (for /proc/PID/map_files, core dumps).
    pub fn file_at(&self, va: VirtAddr) -> Option<(Arc<dyn MappedFile>, Prot)> {
        let areas = self.areas.read();
        let (_, vma): (u64, &Vma) = areas.find(va.0)?;
        Some((vma.file()?.clone(), vma.flags.prot()))
    }
    /// Pages that would be freed with this address space (private, shared, tables). Takes no sleeping lock, so that the
    /// out-of-memory handler may ask.
    pub fn footprint(&self) -> (u64, u64, u64) {
        let anon = self.pages.lock().count();
        let resident = u64::from(self.aspace.resident_pages());
        (anon, resident.saturating_sub(anon), u64::from(self.aspace.table_pages()))
    }
    /// Sizes in pages.
    pub fn stats(&self) -> MmStats {
        let (rss_anon, rss_shared, tables) = self.footprint();
        let areas = self.areas.read();
        MmStats {
            total: areas.total,
            total_peak: areas.peak,
            locked: areas.locked,
            data: areas.data,
            stack: areas.stack,
            text: areas.text,
            rss_shared,
            rss_anon,
            rss_peak: rss_anon + rss_shared,
            tables,
            areas: areas.map.len() as u64,
        }
    }
}

/// An area as /proc shows it.
pub(super) fn describe<'a>(layout: &Layout, start: u64, vma: &'a Vma) -> VmaInfo<'a> {
    let name = match vma.object.as_deref() {
        Some(Object::File { file, .. }) => match vma.label.as_deref() {
            Some(Label::Name(name)) => VmaName::Shared(name),
            _ => VmaName::File(file),
        },
        Some(Object::Special { name, .. }) => VmaName::Special(name),
        None if start < layout.brk && vma.end > layout.start_brk => VmaName::Heap,
        None if start <= layout.start_stack && vma.end >= layout.start_stack => VmaName::Stack,
        None => match vma.label.as_deref() {
            Some(Label::Name(name)) => VmaName::Private(name),
            Some(Label::Zeroes(file)) => VmaName::File(file),
            None => VmaName::None,
        },
    };
    VmaInfo {
        start,
        end: vma.end,
        prot: vma.flags.prot(),
        shared: vma.flags.is(VmFlags::SHARED) && !matches!(name, VmaName::Special(_)),
        offset: if vma.file().is_some() { vma.pgoff * super::PAGE } else { 0 },
        name,
        flags: vma.flags,
    }
}
