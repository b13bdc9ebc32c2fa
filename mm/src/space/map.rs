//! mmap(2) and munmap(2).

use super::areas::{Areas, Dead, MAX_AREAS, MIN_ADDR};
use super::vma::{Label, Object, VmFlags, Vma};
use super::{Access, Limits, MapRequest, Mm, PAGE, SharedMemory, aligned, page_up};
use crate::file::MappedFile;
use abi::Errno;
use abi::mman::{MapFlags, Prot};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::aspace;
use machine::mem::Frame;
use machine::{USER_MAX, VirtAddr};

/// The bits that name the kind of mapping.
const TYPE: u32 = 0x0f;
const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
const SHARED_VALIDATE: u32 = 3;
const DROPPABLE: u32 = 8;
/// Flags MAP_SHARED_VALIDATE knows.
const KNOWN: MapFlags = MapFlags::SHARED
    .union(MapFlags::PRIVATE)
    .union(MapFlags::FIXED)
    .union(MapFlags::ANONYMOUS)
    .union(MapFlags::DENYWRITE)
    .union(MapFlags::EXECUTABLE)
    .union(MapFlags::GROWSDOWN)
    .union(MapFlags::LOCKED)
    .union(MapFlags::NORESERVE)
    .union(MapFlags::POPULATE)
    .union(MapFlags::NONBLOCK)
    .union(MapFlags::STACK)
    .union(MapFlags::HUGETLB)
    .union(MapFlags::BIT_32);

impl Mm {
    /// mmap(2), the file looked up and the offset checked for alignment by the caller.
    pub fn mmap(&self, req: MapRequest) -> Result<VirtAddr, Errno> {
        if req.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(req.len as u64).ok_or(Errno::ENOMEM)?;
        let pages = len / PAGE;
        let limits = self.limits();
        if req.flags.intersects(MapFlags::LOCKED) && !req.may_lock && limits.memlock == 0 {
            return Err(Errno::EPERM);
        }
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        if areas.map.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let start = choose(&mut areas, &req, len)?;
        let mut flags = VmFlags::from_prot(req.prot) | areas.def_flags;
        if req.flags.intersects(MapFlags::LOCKED) {
            flags |= VmFlags::LOCKED;
        }
        if flags.is(VmFlags::LOCKED) && !req.may_lock && areas.locked.saturating_add(pages) > limits.memlock / PAGE {
            return Err(Errno::EAGAIN);
        }
        flags |= kind(&req)?;
        if areas.mdwe.0 && flags.contains(VmFlags::WRITE | VmFlags::EXEC) {
            return Err(Errno::EACCES);
        }
        let fixed = req.flags.intersects(MapFlags::FIXED);
        self.check_room(&areas, &limits, flags, start, len, fixed)?;
        if fixed {
            self.clear(&mut areas, start, start + len, &mut dead)?;
        }
        let unreserved = req.flags.intersects(MapFlags::NORESERVE) && crate::overcommit_mode() != 2;
        let noreserve = unreserved || flags.is(VmFlags::DROPPABLE);
        let counted = flags & (VmFlags::WRITE | VmFlags::SHARED) == VmFlags::WRITE
            || req.file.is_none() && flags.is(VmFlags::SHARED);
        if noreserve {
            flags |= VmFlags::NORESERVE;
        } else if counted {
            areas.charge(pages)?;
            flags |= VmFlags::ACCOUNT;
        }
        let vma = match self.build_area(&req, start, len, flags) {
            Ok(vma) => vma,
            Err(e) => {
                if flags.is(VmFlags::ACCOUNT) {
                    areas.uncharge(pages);
                }
                return Err(e);
            }
        };
        areas.place(start, vma, &mut dead);
        drop(areas);
        let populate = req.flags & (MapFlags::POPULATE | MapFlags::NONBLOCK) == MapFlags::POPULATE;
        if populate || flags & (VmFlags::LOCKED | VmFlags::LOCKONFAULT) == VmFlags::LOCKED {
            // Like Linux: the mapping stands even if prefaulting fails.
            let _ = self.populate(start, start + len, None);
        }
        Ok(VirtAddr(start))
    }

    /// RLIMIT_AS and RLIMIT_DATA; what a fixed mapping replaces does not count twice.
    fn check_room(
        &self,
        areas: &Areas,
        limits: &Limits,
        flags: VmFlags,
        start: u64,
        len: u64,
        fixed: bool,
    ) -> Result<(), Errno> {
        if areas.may_grow(limits, flags, len / PAGE) {
            return Ok(());
        }
        let mut replaced = 0;
        if fixed {
            for (s, vma) in areas.map.iter().filter(|(s, v)| *s < start + len && v.end > start) {
                replaced += vma.end.min(start + len) - s.max(start);
            }
        }
        if replaced > 0 && areas.may_grow(limits, flags, len.saturating_sub(replaced) / PAGE) {
            return Ok(());
        }
        Err(Errno::ENOMEM)
    }

    fn build_area(&self, req: &MapRequest, start: u64, len: u64, flags: VmFlags) -> Result<Vma, Errno> {
        let (pgoff, object) = match &req.file {
            Some(file) => {
                let pgoff = req.offset / PAGE;
                (pgoff, Some(self.object(file.clone(), start, pgoff, len / PAGE, flags)?))
            }
            None if flags.is(VmFlags::SHARED) => {
                let file: Arc<dyn MappedFile> = SharedMemory::anonymous(len);
                (0, Some(self.object(file, start, 0, len / PAGE, flags)?))
            }
            None => (0, None),
        };
        let label = req.zeroes.clone().filter(|_| object.is_none()).map(|file| Arc::new(Label::Zeroes(file)));
        Ok(Vma { end: start + len, pgoff, flags, object, label })
    }

    /// The object of a file mapping, known to the file's reverse map.
    pub(super) fn object(
        &self,
        file: Arc<dyn MappedFile>,
        start: u64,
        pgoff: u64,
        pages: u64,
        flags: VmFlags,
    ) -> Result<Arc<Object>, Errno> {
        let writer = flags.contains(VmFlags::SHARED | VmFlags::MAYWRITE);
        let link = file.cache().link(&self.aspace, start, pgoff, pages, writer)?;
        file.mapped();
        Ok(Arc::new(Object::File { file, link }))
    }

    /// munmap(2).
    pub fn munmap(&self, addr: VirtAddr, len: usize) -> Result<(), Errno> {
        let len = page_up(len as u64).ok_or(Errno::EINVAL)?;
        if !aligned(addr) || len == 0 || addr.0 > USER_MAX || len > USER_MAX - addr.0 {
            return Err(Errno::EINVAL);
        }
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        self.clear(&mut areas, addr.0, addr.0 + len, &mut dead)
    }

    /// Maps kernel-made pages (vDSO) at `hint` if that is free, else anywhere; returns where.
    pub fn map_special(
        &self,
        hint: VirtAddr,
        name: &'static str,
        frames: Vec<Frame>,
        prot: Prot,
    ) -> Result<VirtAddr, Errno> {
        let len = (frames.len() as u64).saturating_mul(PAGE);
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let free = hint.0 != 0 && aligned(hint) && hint.0.checked_add(len).is_some_and(|e| e <= USER_MAX);
        let start = if free && areas.is_free(hint.0, hint.0 + len) {
            hint.0
        } else {
            areas.place_for(len).ok_or(Errno::ENOMEM)?
        };
        // Data pages change under the program: copies of them have no use.
        let kind = if prot.contains(Prot::EXEC) { VmFlags::MAYEXEC } else { VmFlags::DONTDUMP };
        let may = VmFlags::MAYREAD | kind | VmFlags::DONTEXPAND | VmFlags::SHARED;
        // Mapped at once, because they will be used; if there is no memory for tables, faults do it later.
        let rights = aspace::Prot { write: false, exec: prot.contains(Prot::EXEC) };
        let _ = self.aspace.map(VirtAddr(start), &frames, rights);
        let object = Some(Arc::new(Object::Special { name, frames }));
        let vma = Vma { end: start + len, pgoff: 0, flags: VmFlags::from_prot(prot) | may, object, label: None };
        areas.place(start, vma, &mut dead);
        Ok(VirtAddr(start))
    }

    /// Touches every page of a range as its area would be used (or as `access` says). Stops at the first failure.
    pub(super) fn populate(&self, start: u64, end: u64, access: Option<Access>) -> Result<(), super::FaultError> {
        let mut at = start;
        while at < end {
            let found = self.areas.read().find(at).map(|(_, v)| (v.end, v.flags));
            let Some((stop, flags)) = found else { return Err(super::FaultError::MapErr) };
            let usual = Access { write: flags & (VmFlags::WRITE | VmFlags::SHARED) == VmFlags::WRITE, exec: false };
            while at < stop.min(end) {
                self.fault(VirtAddr(at), access.unwrap_or(usual))?;
                at += PAGE;
                sched::cond_resched();
            }
        }
        Ok(())
    }
}

/// The flags that follow from the kind of mapping; Linux's checks in Linux's order.
fn kind(req: &MapRequest) -> Result<VmFlags, Errno> {
    let may = VmFlags::from_bits_truncate(VmFlags::from_prot(req.max_prot).bits() << 4);
    let kind = req.flags.bits() & TYPE;
    let down = req.flags.intersects(MapFlags::GROWSDOWN);
    let is_file = req.file.is_some() || req.refused.is_some();
    let flags = match (is_file, kind) {
        (true, SHARED_VALIDATE) if !KNOWN.contains(req.flags) => return Err(Errno::EOPNOTSUPP),
        (true, SHARED | SHARED_VALIDATE | PRIVATE) => {
            if let Some(e) = req.refused {
                return Err(e);
            }
            if down {
                return Err(Errno::EINVAL);
            }
            if kind == PRIVATE { VmFlags::empty() } else { VmFlags::SHARED }
        }
        (false, SHARED) if !down => VmFlags::SHARED,
        (false, PRIVATE) if down => VmFlags::GROWSDOWN,
        (false, PRIVATE) => VmFlags::empty(),
        // Memory that may be dropped under pressure is worth neither keeping nor copying. We have room for it so far.
        (false, DROPPABLE) if !down && !req.flags.intersects(MapFlags::LOCKED) => {
            VmFlags::DROPPABLE | VmFlags::WIPEONFORK | VmFlags::DONTDUMP
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok(flags | may)
}

/// Picks the address of a new mapping, or checks the one asked for.
fn choose(areas: &mut Areas, req: &MapRequest, len: u64) -> Result<u64, Errno> {
    if len > USER_MAX {
        return Err(Errno::ENOMEM);
    }
    let addr = req.addr.0;
    if req.flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
        if addr > USER_MAX - len {
            return Err(Errno::ENOMEM);
        }
        if !aligned(req.addr) {
            return Err(Errno::EINVAL);
        }
        if addr < MIN_ADDR && !req.may_map_low {
            return Err(Errno::EPERM);
        }
        if req.flags.intersects(MapFlags::FIXED_NOREPLACE) && areas.first_in(addr, addr + len).is_some() {
            return Err(Errno::EEXIST);
        }
        return Ok(addr);
    }
    let (low, high) = if req.flags.intersects(MapFlags::BIT_32) { (0x4000_0000, 0x8000_0000) } else { (0, USER_MAX) };
    let hint = if addr & !(PAGE - 1) == 0 { 0 } else { page_up(addr).unwrap_or(0).max(MIN_ADDR) };
    if hint != 0 && hint >= low && hint <= high.saturating_sub(len) && areas.is_free(hint, hint + len) {
        return Ok(hint);
    }
    let found = if low == 0 { areas.place_for(len) } else { areas.hole(len, low, high) };
    found.ok_or(Errno::ENOMEM)
}

/// Where mremap moves to: exactly `to` (fixed), else anywhere.
pub(super) fn choose_remap(areas: &mut Areas, to: VirtAddr, len: u64, fixed: bool) -> Result<u64, Errno> {
    if fixed {
        return if to.0 < MIN_ADDR { Err(Errno::EPERM) } else { Ok(to.0) };
    }
    if aligned(to) && to.0 >= MIN_ADDR && to.0 <= USER_MAX - len && areas.is_free(to.0, to.0 + len) {
        return Ok(to.0);
    }
    areas.place_for(len).ok_or(Errno::ENOMEM)
}
