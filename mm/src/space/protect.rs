//! mprotect(2).
//!
//! Narrowed rights go from the translations at once; widened ones come back by faults, which is where shared pages, the zero page
//! and dirty marks are looked after.

use super::areas::{Areas, Dead};
use super::vma::VmFlags;
use super::{Mm, PAGE, aligned, page_up};
use abi::Errno;
use abi::mman::Prot;
use machine::{USER_MAX, VirtAddr, aspace};
use sortmap::Pos;

impl Mm {
    /// PR_SET_MDWE: refuses what would be writable and executable, and rights to execute that come late. EPERM for a change of what was set before.
    pub fn refuse_exec_gain(&self, on: bool, not_children: bool) -> Result<(), Errno> {
        let mut areas = self.areas.write();
        if areas.mdwe != (false, false) && areas.mdwe != (on, not_children) {
            return Err(Errno::EPERM);
        }
        areas.mdwe = (on, not_children);
        Ok(())
    }
    /// PR_GET_MDWE: whether that is refused, and whether it is not for children.
    pub fn refuses_exec_gain(&self) -> (bool, bool) {
        self.areas.read().mdwe
    }
    /// mprotect(2). Areas before a hole or a refusal stay changed, as in Linux. `read_is_exec`: what may be read may be executed where that is possible at all
    /// (the personality flag READ_IMPLIES_EXEC).
    pub fn mprotect(&self, addr: VirtAddr, len: usize, prot: Prot, read_is_exec: bool) -> Result<(), Errno> {
        let grows = prot & (Prot::GROWSDOWN | Prot::GROWSUP);
        if grows == Prot::GROWSDOWN | Prot::GROWSUP || !aligned(addr) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end = page_up(len as u64).and_then(|n| addr.0.checked_add(n)).ok_or(Errno::ENOMEM)?;
        if end <= addr.0 {
            return Err(Errno::ENOMEM);
        }
        if !Prot::all().contains(prot) {
            return Err(Errno::EINVAL);
        }
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let mut start = addr.0;
        let first = areas.first_in(start, end).map(|(s, v)| (s, v.flags)).ok_or(Errno::ENOMEM)?;
        if grows == Prot::GROWSDOWN {
            if !first.1.is(VmFlags::GROWSDOWN) {
                return Err(Errno::EINVAL);
            }
            start = first.0;
        } else if grows == Prot::GROWSUP {
            return Err(Errno::EINVAL);
        } else if first.0 > start {
            return Err(Errno::ENOMEM);
        }
        let outcome = self.protect_areas(&mut areas, start, end.min(USER_MAX), (prot, read_is_exec), &mut dead);
        self.aspace.commit();
        outcome.and(if end > USER_MAX { Err(Errno::ENOMEM) } else { Ok(()) })
    }

    fn protect_areas(
        &self,
        areas: &mut Areas,
        start: u64,
        end: u64,
        to: (Prot, bool),
        dead: &mut Dead,
    ) -> Result<(), Errno> {
        let (prot, read_is_exec) = to;
        let mut at = start;
        while at < end {
            let pos = areas.overlap(at);
            let Some((_, vma)) = areas.map.at(pos).filter(|(start, _)| *start <= at) else { return Err(Errno::ENOMEM) };
            let (old, stop) = (vma.flags, vma.end.min(end));
            let mut new = (old - VmFlags::RWX) | VmFlags::from_prot(prot);
            if read_is_exec && prot.contains(Prot::READ) && old.is(VmFlags::MAYEXEC) {
                new |= VmFlags::EXEC;
            }
            if (new & VmFlags::RWX).bits() & !(new.bits() >> 4) != 0 {
                return Err(Errno::EACCES);
            }
            if areas.mdwe.0 && new.is(VmFlags::EXEC) && (new.is(VmFlags::WRITE) || !old.is(VmFlags::EXEC)) {
                return Err(Errno::EACCES);
            }
            if new != old {
                self.protect_one(areas, pos, (at, stop), new, dead)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Changes the part `[at, stop)` of the area at `pos`.
    fn protect_one(
        &self,
        areas: &mut Areas,
        pos: Pos,
        (at, stop): (u64, u64),
        new: VmFlags,
        dead: &mut Dead,
    ) -> Result<(), Errno> {
        let Some((start, vma)) = areas.map.at(pos) else { return Err(Errno::ENOMEM) };
        let (old, whole, pages) = (vma.flags, start == at && vma.end == stop, (stop - at) / PAGE);
        let mut new = new;
        if !new.is(VmFlags::WRITE) {
            if old.is(VmFlags::ACCOUNT) && vma.is_anon() && !self.pages.lock().has_any(start / PAGE, vma.end / PAGE) {
                // What nobody wrote needs no memory while it cannot be written, and is one again with neighbours that never could.
                new -= VmFlags::ACCOUNT;
            }
        } else if !old.is(VmFlags::WRITE | VmFlags::SHARED) {
            if !areas.may_grow(&self.data_limit(), VmFlags::WRITE, 0) {
                return Err(Errno::ENOMEM);
            }
            if !old.is(VmFlags::ACCOUNT | VmFlags::NORESERVE) {
                areas.charge(pages)?;
                new |= VmFlags::ACCOUNT;
            }
        }
        let cut = if whole { Ok(pos) } else { areas.cut(at, stop) };
        // The promise that is over: the area's, or the one just made if nothing changes after all.
        let over = if cut.is_ok() { old - new } else { new - old };
        if over.is(VmFlags::ACCOUNT) {
            areas.uncharge(pages);
        }
        let pos = cut?;
        areas.set_flags(pos, new);
        self.narrow(at, pages, old, new);
        areas.join_around(pos, dead);
        Ok(())
    }

    /// RLIMIT_DATA alone, for a change of rights.
    fn data_limit(&self) -> super::Limits {
        super::Limits { address_space: u64::MAX, ..self.limits() }
    }

    /// Takes the rights that `new` lacks from the translations.
    fn narrow(&self, at: u64, pages: u64, old: VmFlags, new: VmFlags) {
        let lost = old - new;
        if !new.is(VmFlags::RWX) {
            // Nothing is allowed any more, and the machine has no mapping without read rights.
            self.aspace.unmap(VirtAddr(at), pages);
        } else if lost.is(VmFlags::EXEC) || (new - old).is(VmFlags::EXEC) {
            self.aspace.protect(VirtAddr(at), pages, aspace::Prot { write: false, exec: new.is(VmFlags::EXEC) });
        } else if lost.is(VmFlags::WRITE) {
            self.aspace.write_protect(VirtAddr(at), pages);
        }
    }
}
