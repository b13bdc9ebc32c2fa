//! mlock(2) and its relatives. Without swap a page that was touched stays; locking means touching it now, keeping it from
//! madvise(MADV_DONTNEED), and being counted against RLIMIT_MEMLOCK.

use super::areas::{Areas, Dead};
use super::vma::VmFlags;
use super::{Mm, PAGE, page_up};
use abi::Errno;
use abi::mman::MlockallFlags;
use machine::{USER_MAX, VirtAddr};

const LOCKS: VmFlags = VmFlags::LOCKED.union(VmFlags::LOCKONFAULT);

impl Mm {
    /// mlock(2), mlock2(2). `may_lock`: CAP_IPC_LOCK.
    pub fn mlock(&self, addr: VirtAddr, len: usize, on_fault: bool, may_lock: bool) -> Result<(), Errno> {
        let limit = self.limits().memlock;
        if limit == 0 && !may_lock {
            return Err(Errno::EPERM);
        }
        let (start, end) = range(addr, len)?;
        let mut areas = self.areas.write();
        if !may_lock {
            let wanted = (end - start) / PAGE;
            let have: u64 = locked_in(&areas, start, end);
            if areas.locked.saturating_add(wanted) - have > limit / PAGE {
                return Err(Errno::ENOMEM);
            }
        }
        let flags = if on_fault { LOCKS } else { VmFlags::LOCKED };
        self.set_locks(&mut areas, start, end, flags)?;
        drop(areas);
        if on_fault {
            return Ok(());
        }
        // What cannot be touched (PROT_NONE, beyond the end of a file) is Linux's ENOMEM.
        self.populate_locked(start, end)
    }
    /// munlock(2).
    pub fn munlock(&self, addr: VirtAddr, len: usize) -> Result<(), Errno> {
        let (start, end) = range(addr, len)?;
        self.set_locks(&mut self.areas.write(), start, end, VmFlags::empty())
    }
    /// mlockall(2), the flags checked.
    pub fn mlockall(&self, flags: MlockallFlags, may_lock: bool) -> Result<(), Errno> {
        let limit = self.limits().memlock;
        if limit == 0 && !may_lock {
            return Err(Errno::EPERM);
        }
        let locks = if flags.contains(MlockallFlags::ONFAULT) { LOCKS } else { VmFlags::LOCKED };
        let mut areas = self.areas.write();
        if flags.contains(MlockallFlags::CURRENT) && !may_lock && areas.total > limit / PAGE {
            return Err(Errno::ENOMEM);
        }
        areas.def_flags = if flags.contains(MlockallFlags::FUTURE) { locks } else { VmFlags::empty() };
        if !flags.contains(MlockallFlags::CURRENT) {
            return Ok(());
        }
        set_all(&mut areas, locks);
        drop(areas);
        if locks == VmFlags::LOCKED {
            let mut at = 0;
            while let Some((start, end)) = self.next_area(at) {
                // Linux ignores what cannot be touched here.
                let _ = self.populate(start, end, None);
                at = end;
            }
        }
        Ok(())
    }
    /// munlockall(2).
    pub fn munlockall(&self) {
        let mut areas = self.areas.write();
        areas.def_flags = VmFlags::empty();
        set_all(&mut areas, VmFlags::empty());
    }

    fn next_area(&self, at: u64) -> Option<(u64, u64)> {
        let areas = self.areas.read();
        areas.first_in(at, USER_MAX).map(|(s, v)| (s.max(at), v.end))
    }
    fn populate_locked(&self, start: u64, end: u64) -> Result<(), Errno> {
        self.populate(start, end, None).map_err(|_| Errno::ENOMEM)
    }
    fn set_locks(&self, areas: &mut Areas, start: u64, end: u64, locks: VmFlags) -> Result<(), Errno> {
        let mut dead = Dead::new();
        let mut at = start;
        while at < end {
            let Some((s, vma)) = areas.first_in(at, end).filter(|(s, _)| *s <= at) else { return Err(Errno::ENOMEM) };
            let (stop, flags) = (vma.end.min(end), vma.flags);
            let special = !vma.is_anon() && vma.file().is_none();
            let new = if special { flags } else { (flags - LOCKS) | locks };
            debug_assert!(s <= at);
            if new != flags {
                let pos = areas.cut(at, stop)?;
                areas.set_flags(pos, new);
                areas.join_around(pos, &mut dead);
            }
            at = stop;
        }
        Ok(())
    }
}

/// The pages that `[addr, addr + len)` touches.
fn range(addr: VirtAddr, len: usize) -> Result<(u64, u64), Errno> {
    let start = addr.align_down().0;
    // A length in the last page of all numbers wraps to nothing, as on Linux.
    let len = page_up((len as u64).wrapping_add(addr.offset() as u64)).unwrap_or(0);
    let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
    Ok((start, end))
}

/// Pages of the range that are locked already.
fn locked_in(areas: &Areas, start: u64, end: u64) -> u64 {
    let mut sum = 0;
    let mut at = start;
    while let Some((s, vma)) = areas.first_in(at, end) {
        if vma.flags.is(VmFlags::LOCKED) {
            sum += (vma.end.min(end) - s.max(start)) / PAGE;
        }
        at = vma.end;
    }
    sum
}

fn set_all(areas: &mut Areas, locks: VmFlags) {
    let mut pos = areas.map.first();
    while let Some((_, vma)) = areas.map.at(pos) {
        if vma.is_anon() || vma.file().is_some() {
            let flags = (vma.flags - LOCKS) | locks;
            areas.set_flags(pos, flags);
        }
        pos = areas.map.next(pos);
    }
}
