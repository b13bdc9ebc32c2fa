//! Mapping a program and its interpreter into a new address space.

use super::elf::{HEADER_SIZE, Header, Plan, Segment};
use super::{open_exec, read_at};
use crate::Cx;
use crate::ns::TimeNamespace;
use abi::Errno;
use abi::mman::{MapFlags, Prot};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::mem::Frame;
use machine::sync::Once;
use machine::{PAGE_SIZE, VirtAddr};
use mm::space::{Layout, VmaName};
use mm::{MapRequest, MappedFile, Mm};
use vfs::walk::Start;
use vfs::{Caller, Cred, File, Mapping, UserNamespace, may};

const PAGE: u64 = PAGE_SIZE as u64;

static VDSO: Once<Vec<Frame>> = Once::new();

/// Installs the vDSO: its data page first, then its code.
pub fn set_vdso(pages: Vec<Frame>) {
    let _ = VDSO.set(pages);
}

/// The names of the vDSO's data page and of its code in maps.
const VVAR: &str = "[vvar]";
const CODE: &str = "[vdso]";

/// Where the mapping of the vDSO's code begins that `addr` lies in.
pub(crate) fn vdso_around(mm: &Mm, addr: u64) -> Option<u64> {
    let mut found = None;
    mm.for_each_vma(&mut |vma| {
        if vma.end > addr && vma.start <= addr && matches!(vma.name, VmaName::Special(CODE)) {
            found = Some(vma.start);
        }
        vma.end <= addr
    });
    found
}

/// Puts the data page of a time namespace in the place of the one that is mapped; a program without any has no use for it.
pub(crate) fn enter_time(mm: &Mm, ns: &TimeNamespace) -> Result<(), Errno> {
    let Some(system) = VDSO.get().and_then(|pages| pages.first()) else { return Ok(()) };
    let page = ns.page().unwrap_or_else(|| system.clone());
    let mut at = None;
    mm.for_each_vma(&mut |vma| {
        if matches!(vma.name, VmaName::Special(VVAR)) {
            at = Some(VirtAddr(vma.start));
        }
        at.is_none()
    });
    let Some(at) = at else { return Ok(()) };
    mm.munmap(at, PAGE_SIZE)?;
    mm.map_special(at, VVAR, Vec::from([page]), Prot::READ).map(|_| ())
}

/// Maps the vDSO for a program that has lost it (arch_prctl(2), ARCH_MAP_VDSO_64); gives the size of its code. EEXIST while any
/// part of it is mapped.
pub fn map_vdso_again(cx: &Cx, addr: VirtAddr) -> Result<usize, Errno> {
    let mut mapped = false;
    cx.mm().for_each_vma(&mut |vma| {
        mapped = matches!(vma.name, VmaName::Special(VVAR | CODE));
        !mapped
    });
    if mapped {
        return Err(Errno::EEXIST);
    }
    let code_pages = VDSO.get().map_or(0, |pages| pages.len().saturating_sub(1));
    map_vdso(cx.mm(), &cx.ns().time, addr)?.map(|_| code_pages * PAGE_SIZE).ok_or(Errno::EINVAL)
}

/// Maps the vDSO with its data page right below, at `wanted` if it is free; gives the address of the code.
pub(super) fn map_vdso(mm: &Mm, ns: &TimeNamespace, wanted: VirtAddr) -> Result<Option<u64>, Errno> {
    let Some((data, code)) = VDSO.get().and_then(|pages| pages.split_first()) else { return Ok(None) };
    let len = (code.len() + 1) * PAGE_SIZE;
    // One hole that holds both, then the parts in it.
    let hole = mm.mmap(MapRequest { addr: wanted, ..MapRequest::anonymous(len, Prot::empty()) })?;
    mm.munmap(hole, len)?;
    let at = VirtAddr(hole.0 + PAGE);
    let data = ns.page().unwrap_or_else(|| data.clone());
    mm.map_special(hole, VVAR, Vec::from([data]), Prot::READ)?;
    mm.map_special(at, CODE, code.to_vec(), Prot::READ | Prot::EXEC)?;
    Ok(Some(at.0))
}

/// One ELF file to be mapped.
struct Part {
    opened: Arc<File>,
    file: Arc<dyn MappedFile>,
    header: Header,
    plan: Plan,
}

impl Part {
    fn read(file: &Arc<File>, head: &[u8]) -> Result<Part, Errno> {
        let header = Header::parse(head)?;
        let size = header.phdrs_size();
        let from = usize::try_from(header.phoff).map_err(|_| Errno::ENOEXEC)?;
        let plan = match from.checked_add(size).and_then(|end| head.get(from..end)) {
            Some(table) => Plan::parse(&header, table)?,
            None => {
                let mut table = Vec::new();
                table.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
                table.resize(size, 0);
                if read_at(file, header.phoff, &mut table)? != size {
                    return Err(Errno::EIO);
                }
                Plan::parse(&header, &table)?
            }
        };
        let mapping = Mapping::new(file).map_err(|_| Errno::ENOEXEC)?;
        Ok(Part { opened: file.clone(), file: mapping, header, plan })
    }

    /// Maps all segments; gives what to add to the file's addresses.
    fn map(&self, mm: &Mm, base: Base) -> Result<u64, Errno> {
        let (low, high) = self.plan.span()?;
        let len = (high - low) as usize;
        let align = self.plan.align();
        let bias = if !self.header.relocatable {
            0
        } else {
            match base {
                Base::Pie => (mm.pie_base().0 & !(align - 1)).wrapping_sub(low),
                Base::Anywhere => reserve(mm, len, align)?.wrapping_sub(low),
            }
        };
        let mut end = low.wrapping_add(bias);
        for segment in &self.plan.segments {
            end = self.map_segment(mm, segment, bias, end)?;
        }
        Ok(bias)
    }

    /// Maps one segment; `end` is where the one before it ended. Gives the end of this one.
    fn map_segment(&self, mm: &Mm, s: &Segment, bias: u64, end: u64) -> Result<u64, Errno> {
        let start = s.vaddr.wrapping_add(bias);
        let page = start & !(PAGE - 1);
        let lead = start - page;
        let file_end = start + s.filesz;
        let mem_end = (start + s.memsz).next_multiple_of(PAGE);
        let mut prot = Prot::empty();
        prot.set(Prot::READ, s.rights.0);
        prot.set(Prot::WRITE, s.rights.1);
        prot.set(Prot::EXEC, s.rights.2);
        // The reservation of a relocatable file leaves holes mapped that no segment fills.
        if self.header.relocatable && page > end {
            mm.munmap(VirtAddr(end), (page - end) as usize)?;
        }
        let mut anon_from = page;
        if s.filesz > 0 {
            let file_pages = file_end.next_multiple_of(PAGE);
            mm.mmap(MapRequest {
                addr: VirtAddr(page),
                prot,
                flags: MapFlags::PRIVATE | MapFlags::FIXED,
                file: Some(self.file.clone()),
                offset: s.offset - lead,
                ..MapRequest::anonymous((file_pages - page) as usize, prot)
            })?;
            if s.memsz > s.filesz && s.rights.1 && file_pages > file_end {
                mm.zero_bytes(VirtAddr(file_end), (file_pages - file_end) as usize)?;
            }
            anon_from = file_pages;
        }
        if mem_end > anon_from {
            mm.mmap(MapRequest {
                addr: VirtAddr(anon_from),
                flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED,
                ..MapRequest::anonymous((mem_end - anon_from) as usize, prot)
            })?;
        }
        Ok(mem_end.max(anon_from))
    }
}

/// Where a relocatable file goes.
#[derive(Clone, Copy)]
enum Base {
    /// The place of position-independent programs.
    Pie,
    /// Among the mappings.
    Anywhere,
}

/// A free range with the wanted alignment.
fn reserve(mm: &Mm, len: usize, align: u64) -> Result<u64, Errno> {
    let slack = (align - PAGE) as usize;
    let whole = len.checked_add(slack).ok_or(Errno::ENOMEM)?;
    let at = mm.mmap(MapRequest::anonymous(whole, Prot::empty()))?.0;
    let aligned = at.next_multiple_of(align);
    if aligned > at {
        mm.munmap(VirtAddr(at), (aligned - at) as usize)?;
    }
    let (end, used_end) = (at + whole as u64, aligned + len as u64);
    if end > used_end {
        mm.munmap(VirtAddr(used_end), (end - used_end) as usize)?;
    }
    Ok(aligned)
}

/// A program with its interpreter, understood but not mapped.
pub struct Image {
    program: Part,
    interpreter: Option<Part>,
}

/// Where things are after mapping.
pub struct Loaded {
    /// First instruction: the interpreter's if there is one.
    pub start: u64,
    /// The program's own first instruction.
    pub entry: u64,
    /// Address of the program headers.
    pub phdr: u64,
    /// Number of program headers.
    pub phnum: u64,
    /// Where the interpreter was mapped.
    pub base: u64,
    code: (u64, u64),
    data: (u64, u64),
}

impl Image {
    /// Reads the headers of `file`, whose first bytes are `head`, and those of its interpreter.
    pub(super) fn read(file: &Arc<File>, head: &[u8], start: &Start<'_>, caller: &Caller<'_>) -> Result<Image, Errno> {
        let program = Part::read(file, head)?;
        let mut interpreter = None;
        if let Some((at, len)) = program.plan.interp {
            let mut path = Vec::new();
            path.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
            path.resize(len, 0);
            if read_at(file, at, &mut path)? != len {
                return Err(Errno::EIO);
            }
            if path.pop() != Some(0) {
                return Err(Errno::ENOEXEC);
            }
            let path = path.split(|b| *b == 0).next().unwrap_or_default();
            let found = open_exec(start, path, true, caller)?;
            let mut head = [0; HEADER_SIZE + 8 * super::elf::PHDR_SIZE];
            let got = read_at(&found, 0, &mut head)?;
            let head = head.get(..got).unwrap_or_default();
            if got < HEADER_SIZE {
                return Err(Errno::EIO);
            }
            // Only the program itself stays closed to writers.
            found.allow_writers();
            interpreter = Some(Part::read(&found, head).map_err(|e| match e {
                Errno::ENOEXEC => Errno::ELIBBAD,
                e => e,
            })?);
        }
        Ok(Image { program, interpreter })
    }

    /// `cred` may read the program and its interpreter: else nobody gets a copy of its memory.
    pub(super) fn is_readable(&self, cred: &Cred) -> bool {
        let parts = core::iter::once(&self.program).chain(&self.interpreter);
        parts.into_iter().all(|part| part.opened.inode().check(cred, may::READ).is_ok())
    }

    /// The namespace that rules over the new address space: the caller's, or, if he may not read the program, the nearest ancestor in which the
    /// program's owner and group have names.
    pub(super) fn home(&self, cred: &Cred, readable: bool) -> Arc<UserNamespace> {
        let base = self.program.opened.inode().base();
        let mut ns = &cred.user_ns;
        while let Some(up) = ns.parent().filter(|_| !readable && !ns.maps_both(base.uid(), base.gid())) {
            ns = up;
        }
        ns.clone()
    }

    /// The program asks for an executable stack.
    pub(super) fn exec_stack(&self) -> bool {
        self.program.plan.exec_stack
    }

    /// Maps everything.
    pub(super) fn load(&self, mm: &Mm) -> Result<Loaded, Errno> {
        let p = &self.program;
        let base = if self.interpreter.is_some() { Base::Pie } else { Base::Anywhere };
        let bias = p.map(mm, base)?;
        let entry = p.header.entry.wrapping_add(bias);
        let (mut code, mut data, mut end) = ((u64::MAX, 0), (0, 0), 0);
        for s in &p.plan.segments {
            let at = s.vaddr.wrapping_add(bias);
            code.0 = code.0.min(at);
            if s.rights.2 {
                code.1 = code.1.max(at + s.filesz);
            }
            data = (data.0.max(at), data.1.max(at + s.filesz));
            end = end.max(at + s.memsz);
        }
        // A static position-independent program sits among the mappings, which leave no room for a heap.
        let free_standing = p.header.relocatable && self.interpreter.is_none();
        let brk = if free_standing { mm.pie_base() } else { VirtAddr(end.next_multiple_of(PAGE)) };
        mm.set_brk_start(brk);
        let phdr = p.plan.phdr.map_or(0, |at| at.wrapping_add(bias));
        let mut loaded = Loaded { start: entry, entry, phdr, phnum: p.header.phnum.into(), base: 0, code, data };
        if let Some(i) = &self.interpreter {
            loaded.base = i.map(mm, Base::Anywhere)?;
            loaded.start = i.header.entry.wrapping_add(loaded.base);
        }
        Ok(loaded)
    }
}

impl Loaded {
    /// Records what /proc shows.
    pub(super) fn describe(&self, l: &mut Layout) {
        (l.start_code, l.end_code) = self.code;
        (l.start_data, l.end_data) = self.data;
    }
}
