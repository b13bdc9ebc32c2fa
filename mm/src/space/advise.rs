//! madvise(2).

use super::areas::{Areas, Dead};
use super::vma::{Label, VmFlags, Vma};
use super::{Access, FaultError, Mm, PAGE, SharedMemory, aligned, page_up};
use crate::file::MappedFile;
use abi::Errno;
use abi::mman::Advice;
use alloc::boxed::Box;
use alloc::sync::Arc;
use machine::{USER_MAX, VirtAddr};

/// Work on a file that waits until the address space is unlocked.
enum Later {
    ReadAhead(Arc<dyn MappedFile>, u64, u64),
    Remove(Arc<dyn MappedFile>, u64, u64),
}

impl Mm {
    /// madvise(2). Holes are passed over and reported as ENOMEM at the end.
    pub fn madvise(&self, addr: VirtAddr, len: usize, advice: Advice) -> Result<(), Errno> {
        match advice {
            // Kinds this kernel has no mechanism behind: Linux without the option says the same.
            Advice::Mergeable | Advice::Unmergeable | Advice::Collapse => return Err(Errno::EINVAL),
            Advice::HwPoison | Advice::SoftOffline | Advice::GuardInstall | Advice::GuardRemove => {
                return Err(Errno::EINVAL);
            }
            _ => {}
        }
        if !aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let end = page_up(len as u64).and_then(|n| addr.0.checked_add(n)).ok_or(Errno::EINVAL)?;
        if end == addr.0 {
            return Ok(());
        }
        match advice {
            Advice::PopulateRead => self.prefault(addr.0, end, Access::READ),
            Advice::PopulateWrite => self.prefault(addr.0, end, Access::WRITE),
            Advice::Normal
            | Advice::Random
            | Advice::Sequential
            | Advice::DontFork
            | Advice::DoFork
            | Advice::DontDump
            | Advice::DoDump
            | Advice::WipeOnFork
            | Advice::KeepOnFork
            | Advice::HugePage
            | Advice::NoHugePage => self.advise_flags(addr.0, end.min(USER_MAX), advice),
            _ => self.advise_pages(addr.0, end.min(USER_MAX), advice),
        }
    }

    fn prefault(&self, start: u64, end: u64, access: Access) -> Result<(), Errno> {
        self.populate(start, end, Some(access)).map_err(|e| match e {
            FaultError::MapErr | FaultError::Oom => Errno::ENOMEM,
            FaultError::AccErr => Errno::EINVAL,
            FaultError::BusAdrErr => Errno::EFAULT,
        })
    }

    /// Advice that is remembered in the area. EAGAIN if there would be too many areas; ENOMEM is for holes.
    fn advise_flags(&self, start: u64, end: u64, advice: Advice) -> Result<(), Errno> {
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let (mut at, mut hole) = (start, false);
        while at < end {
            let Some((s, vma)) = areas.first_in(at, end) else { return Err(Errno::ENOMEM) };
            hole |= s > at;
            at = s.max(at);
            let stop = vma.end.min(end);
            let new = advised(vma, advice)?;
            if new != vma.flags {
                let pos = areas.cut(at, stop).map_err(|_| Errno::EAGAIN)?;
                areas.set_flags(pos, new);
                areas.join_around(pos, &mut dead);
            }
            at = stop;
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// PR_SET_VMA_ANON_NAME: names anonymous memory, or takes the name away. EBADF for mappings of files; otherwise as `advise_flags`.
    pub fn label(&self, addr: VirtAddr, len: usize, name: Option<Box<[u8]>>) -> Result<(), Errno> {
        if !aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let end = page_up(len as u64).and_then(|n| addr.0.checked_add(n)).ok_or(Errno::EINVAL)?;
        if end == addr.0 {
            return Ok(());
        }
        let label = name.map(|name| Arc::new(Label::Name(name)));
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let (mut at, mut hole) = (addr.0, false);
        while at < end {
            let Some((s, vma)) = areas.first_in(at, end) else { return Err(Errno::ENOMEM) };
            hole |= s > at;
            at = s.max(at);
            let stop = vma.end.min(end);
            let zeroes = matches!(vma.label.as_deref(), Some(Label::Zeroes(_)));
            if zeroes || !vma.is_anon() && !vma.file().is_some_and(|file| file.as_any().is::<SharedMemory>()) {
                return Err(Errno::EBADF);
            }
            let pos = areas.cut(at, stop).map_err(|_| Errno::EAGAIN)?;
            if let Some(area) = areas.map.at_mut(pos) {
                area.label.clone_from(&label);
            }
            areas.join_around(pos, &mut dead);
            at = stop;
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Advice that acts on pages.
    fn advise_pages(&self, start: u64, end: u64, advice: Advice) -> Result<(), Errno> {
        let (mut at, mut hole) = (start, false);
        while at < end {
            let areas = self.areas.read();
            let Some((s, vma)) = areas.first_in(at, end) else { return Err(Errno::ENOMEM) };
            hole |= s > at;
            at = s.max(at);
            let stop = vma.end.min(end);
            let later = self.advise_part(&areas, s, vma, at, stop, advice)?;
            drop(areas);
            match later {
                Some(Later::ReadAhead(file, first, last)) => {
                    // An error of the file shows when the page is touched.
                    let _ = file.cache().read_ahead(first, last);
                }
                Some(Later::Remove(file, from, to)) => file.cache().punch(from, to.min(file.cache().size()).max(from)),
                None => {}
            }
            at = stop;
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn advise_part(
        &self,
        _areas: &Areas,
        start: u64,
        vma: &Vma,
        at: u64,
        stop: u64,
        advice: Advice,
    ) -> Result<Option<Later>, Errno> {
        let special = !vma.is_anon() && vma.file().is_none();
        let locked = vma.flags.is(VmFlags::LOCKED);
        match advice {
            Advice::WillNeed => {
                let file = vma.file().filter(|f| !f.cache().is_memory()).cloned();
                return Ok(file.map(|f| Later::ReadAhead(f, vma.index(start, at), vma.index(start, stop))));
            }
            Advice::DontNeed if locked || special => return Err(Errno::EINVAL),
            Advice::DontNeedLocked if special => return Err(Errno::EINVAL),
            Advice::DontNeed | Advice::DontNeedLocked => self.zap(at, stop),
            // The contract lets the pages go at any moment; they go now.
            Advice::Free if !vma.is_anon() || locked => return Err(Errno::EINVAL),
            Advice::Free => self.zap(at, stop),
            Advice::Remove => {
                if locked {
                    return Err(Errno::EINVAL);
                }
                let file = vma.file().filter(|f| f.cache().is_memory()).ok_or(Errno::EINVAL)?;
                if !vma.flags.contains(VmFlags::SHARED | VmFlags::MAYWRITE) {
                    return Err(Errno::EACCES);
                }
                let bytes = |va| vma.index(start, va).saturating_mul(PAGE);
                return Ok(Some(Later::Remove(file.clone(), bytes(at), bytes(stop))));
            }
            Advice::Cold | Advice::PageOut => {
                if locked || special {
                    return Err(Errno::EINVAL);
                }
                // Without swap only pages of files can go: dropping the translations makes them idle for reclaim.
                if vma.file().is_some_and(|f| !f.cache().is_memory()) {
                    self.aspace.unmap(VirtAddr(at), (stop - at) / PAGE);
                    self.aspace.commit();
                }
                if let (Advice::PageOut, Some(file)) = (advice, vma.file()) {
                    file.cache().invalidate(vma.index(start, at), vma.index(start, stop));
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(None)
    }
}

/// The flags of an area after advice that is remembered there.
fn advised(vma: &Vma, advice: Advice) -> Result<VmFlags, Errno> {
    let f = vma.flags;
    let reading = VmFlags::SEQ_READ | VmFlags::RAND_READ;
    let special = !vma.is_anon() && vma.file().is_none();
    Ok(match advice {
        Advice::Random => (f - reading) | VmFlags::RAND_READ,
        Advice::Sequential => (f - reading) | VmFlags::SEQ_READ,
        Advice::DontFork => f | VmFlags::DONTCOPY,
        Advice::DoFork if special => return Err(Errno::EINVAL),
        Advice::DoFork => f - VmFlags::DONTCOPY,
        Advice::DontDump => f | VmFlags::DONTDUMP,
        Advice::DoDump if special || f.is(VmFlags::DROPPABLE) => return Err(Errno::EINVAL),
        Advice::DoDump => f - VmFlags::DONTDUMP,
        Advice::WipeOnFork if !vma.is_anon() => return Err(Errno::EINVAL),
        Advice::WipeOnFork => f | VmFlags::WIPEONFORK,
        Advice::KeepOnFork if f.is(VmFlags::DROPPABLE) => return Err(Errno::EINVAL),
        Advice::KeepOnFork => f - VmFlags::WIPEONFORK,
        Advice::HugePage => (f - VmFlags::NOHUGEPAGE) | VmFlags::HUGEPAGE,
        Advice::NoHugePage => (f - VmFlags::HUGEPAGE) | VmFlags::NOHUGEPAGE,
        _ => f - reading,
    })
}
