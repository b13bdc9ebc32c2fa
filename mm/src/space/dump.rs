//! What a core dump keeps of an address space: core(5), `coredump_filter`.

use super::vma::{Object, VmFlags, Vma};
use super::{Mm, PAGE, SharedMemory};
use crate::file::MappedFile;
use abi::Errno;
use abi::mman::Prot;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;

bitflags::bitflags! {
    /// Kinds of memory that are kept (`coredump_filter`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DumpFilter: u32 {
        /// Private memory that was written.
        const ANON_PRIVATE = 1;
        /// Shared memory without a name.
        const ANON_SHARED = 2;
        /// Private mappings of files.
        const MAPPED_PRIVATE = 4;
        /// Shared mappings of files.
        const MAPPED_SHARED = 8;
        /// The first page of private mappings of ELF files.
        const ELF_HEADERS = 16;
        /// Private huge pages.
        const HUGETLB_PRIVATE = 32;
        /// Shared huge pages.
        const HUGETLB_SHARED = 64;
        /// Private mappings of files in persistent memory.
        const DAX_PRIVATE = 128;
        /// Shared mappings of them.
        const DAX_SHARED = 256;
        /// What a process starts with.
        const DEFAULT = 0x33;
    }
}

/// An area as a core dump shows it.
pub struct DumpArea {
    /// First address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Rights.
    pub prot: Prot,
    /// Bytes that are kept, from the start on.
    pub kept: u64,
    /// The file it shows, with the page number in it.
    pub file: Option<(Arc<dyn MappedFile>, u64)>,
}

impl Mm {
    /// All areas, with what of them a dump keeps.
    pub fn dump_areas(&self, filter: DumpFilter) -> Result<Vec<DumpArea>, Errno> {
        let mut out = Vec::new();
        {
            let areas = self.areas.read();
            out.try_reserve_exact(areas.map.len()).map_err(|_| Errno::ENOMEM)?;
            for (start, vma) in areas.map.iter() {
                let file = vma.file().filter(|f| !f.as_any().is::<SharedMemory>());
                out.push(DumpArea {
                    start,
                    end: vma.end,
                    prot: vma.flags.prot(),
                    kept: if self.keeps(start, vma, filter) { vma.end - start } else { 0 },
                    file: file.map(|f| (f.clone(), vma.pgoff)),
                });
            }
        }
        // The beginning of a program file tells a debugger which file it was.
        if filter.contains(DumpFilter::ELF_HEADERS) {
            for area in out.iter_mut().filter(|a| a.kept == 0 && a.prot.contains(Prot::READ)) {
                let mut magic = [0u8; 4];
                if area.file.as_ref().is_some_and(|(_, page)| *page == 0)
                    && self.read_forced(VirtAddr(area.start), &mut magic) == magic.len()
                    && magic == *b"\x7fELF"
                {
                    area.kept = PAGE;
                }
            }
        }
        Ok(out)
    }

    fn keeps(&self, start: u64, vma: &Vma, filter: DumpFilter) -> bool {
        if matches!(vma.object.as_deref(), Some(Object::Special { .. })) {
            return true;
        }
        if vma.flags.is(VmFlags::DONTDUMP) {
            return false;
        }
        match vma.file() {
            Some(file) if !vma.is_private() => filter.contains(if file.as_any().is::<SharedMemory>() {
                DumpFilter::ANON_SHARED
            } else {
                DumpFilter::MAPPED_SHARED
            }),
            file => {
                let written = self.pages.lock().has_any(start / PAGE, vma.end / PAGE);
                written && filter.contains(DumpFilter::ANON_PRIVATE)
                    || file.is_some() && filter.contains(DumpFilter::MAPPED_PRIVATE)
            }
        }
    }
}
