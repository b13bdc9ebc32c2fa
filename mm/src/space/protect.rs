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
            let Some((s, vma)) = areas.map.at(pos).filter(|(s, _)| *s <= at) else { return Err(Errno::ENOMEM) };
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
                let whole = s == at && vma.end == stop;
                self.protect_one(areas, pos, at, stop, new, whole, dead)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Changes the part `[at, stop)` of the area at `pos`.
    #[allow(clippy::too_many_arguments)]
    fn protect_one(
        &self,
        areas: &mut Areas,
        pos: Pos,
        at: u64,
        stop: u64,
        new: VmFlags,
        whole: bool,
        dead: &mut Dead,
    ) -> Result<(), Errno> {
        let mut new = new;
        let Some(old) = areas.map.at(pos).map(|(_, v)| v.flags) else { return Err(Errno::ENOMEM) };
        let pages = (stop - at) / PAGE;
        let gains_write = new.is(VmFlags::WRITE) && !old.is(VmFlags::WRITE);
        if gains_write && !old.is(VmFlags::SHARED) {
            if !areas.may_grow(&self.data_limit(), VmFlags::WRITE, 0) {
                return Err(Errno::ENOMEM);
            }
            if !old.is(VmFlags::ACCOUNT | VmFlags::NORESERVE) {
                areas.charge(pages)?;
                new |= VmFlags::ACCOUNT;
            }
        }
        let pos = if whole { pos } else { areas.cut(at, stop)? };
        areas.set_flags(pos, new);
        self.narrow(at, pages, old, new);
        areas.join_next(pos, dead);
        if let Some(prev) = areas.map.prev(pos) {
            areas.join_next(prev, dead);
        }
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
