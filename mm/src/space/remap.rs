//! mremap(2).

use super::areas::{Areas, Dead};
use super::map::choose_remap;
use super::vma::{Object, VmFlags, Vma};
use super::{Mm, PAGE, aligned, page_up};
use abi::Errno;
use abi::mman::MremapFlags;
use machine::{USER_MAX, VirtAddr};

/// The arguments, checked and rounded.
struct Move {
    old: u64,
    old_len: u64,
    new_len: u64,
    flags: MremapFlags,
    to: VirtAddr,
}

impl Mm {
    /// mremap(2). `flags` has no unknown bits. `may_lock`: CAP_IPC_LOCK.
    pub fn mremap(
        &self,
        old: VirtAddr,
        old_len: usize,
        new_len: usize,
        flags: MremapFlags,
        to: VirtAddr,
        may_lock: bool,
    ) -> Result<VirtAddr, Errno> {
        let (fixed, may_move) = (flags.contains(MremapFlags::FIXED), flags.contains(MremapFlags::MAYMOVE));
        let dont_unmap = flags.contains(MremapFlags::DONTUNMAP);
        let old_len = page_up(old_len as u64).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_len as u64).ok_or(Errno::EINVAL)?;
        if !aligned(old) || new_len == 0 || new_len > USER_MAX {
            return Err(Errno::EINVAL);
        }
        if (fixed || dont_unmap) && !may_move || dont_unmap && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        if fixed {
            let target =
                to.0.checked_add(new_len).filter(|end| aligned(to) && *end <= USER_MAX).ok_or(Errno::EINVAL)?;
            if old.0.saturating_add(old_len) > to.0 && target > old.0 {
                return Err(Errno::EINVAL);
            }
        }
        let m = Move { old: old.0, old_len, new_len, flags, to };
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let result = self.remap_locked(&mut areas, &m, may_lock, &mut dead)?;
        let locked = areas.find(result).is_some_and(|(_, v)| v.flags.is(VmFlags::LOCKED));
        drop(areas);
        if locked && new_len > old_len {
            let _ = self.populate(result + old_len, result + new_len, None);
        }
        Ok(VirtAddr(result))
    }

    fn remap_locked(&self, areas: &mut Areas, m: &Move, may_lock: bool, dead: &mut Dead) -> Result<u64, Errno> {
        let (start, vma) = areas.find(m.old).map(|(s, v)| (s, v.clone())).ok_or(Errno::EFAULT)?;
        let stays = !m.flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP);
        // Shrinking in place may span several areas; everything else works on one.
        if stays && m.new_len <= m.old_len && m.old_len != 0 {
            if m.new_len < m.old_len {
                let end = m.old.checked_add(m.old_len).filter(|e| *e <= USER_MAX).ok_or(Errno::EINVAL)?;
                self.clear(areas, m.old + m.new_len, end, dead)?;
            }
            return Ok(m.old);
        }
        if m.old_len == 0 && (vma.is_private() || m.flags.contains(MremapFlags::DONTUNMAP)) {
            return Err(Errno::EINVAL);
        }
        if m.flags.contains(MremapFlags::DONTUNMAP) && vma.flags.is(VmFlags::DONTEXPAND) {
            return Err(Errno::EINVAL);
        }
        if m.old_len > vma.end - m.old {
            return Err(Errno::EFAULT);
        }
        if m.new_len > m.old_len {
            if vma.index(start, m.old).checked_add(m.new_len / PAGE).is_none() {
                return Err(Errno::EINVAL);
            }
            if vma.flags.is(VmFlags::DONTEXPAND) {
                return Err(Errno::EFAULT);
            }
            let (grow, limits) = ((m.new_len - m.old_len) / PAGE, self.limits());
            if vma.flags.is(VmFlags::LOCKED) && !may_lock && areas.locked + grow > limits.memlock / PAGE {
                return Err(Errno::EAGAIN);
            }
            if !areas.may_grow(&limits, vma.flags, grow) {
                return Err(Errno::ENOMEM);
            }
        }
        if stays && m.old_len != 0 && m.old + m.old_len == vma.end && self.grow_in_place(areas, m, &vma, start, dead)? {
            return Ok(m.old);
        }
        if !m.flags.contains(MremapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        self.move_area(areas, m, &vma, start, dead)
    }

    /// Extends the area if there is room behind it.
    fn grow_in_place(
        &self,
        areas: &mut Areas,
        m: &Move,
        vma: &Vma,
        start: u64,
        dead: &mut Dead,
    ) -> Result<bool, Errno> {
        let end = m.old + m.new_len;
        if end > USER_MAX || !areas.is_free(vma.end, end) {
            return Ok(false);
        }
        if vma.flags.is(VmFlags::ACCOUNT) {
            areas.charge((end - vma.end) / PAGE)?;
        }
        let pgoff = if vma.is_anon() { 0 } else { vma.index(start, vma.end) };
        areas.place(
            vma.end,
            Vma { end, pgoff, flags: vma.flags, object: vma.object.clone(), label: vma.label.clone() },
            dead,
        );
        Ok(true)
    }

    /// Moves (or for `old_len` 0 duplicates) the range to another place.
    fn move_area(&self, areas: &mut Areas, m: &Move, vma: &Vma, start: u64, dead: &mut Dead) -> Result<u64, Errno> {
        let fixed = m.flags.contains(MremapFlags::FIXED);
        // Without MREMAP_FIXED the address is a hint, and one only of MREMAP_DONTUNMAP.
        let hint = if fixed || m.flags.contains(MremapFlags::DONTUNMAP) { m.to } else { VirtAddr(0) };
        let to = choose_remap(areas, hint, m.new_len, fixed)?;
        if fixed {
            self.clear(areas, to, to + m.new_len, dead)?;
            if m.new_len < m.old_len {
                self.clear(areas, m.old + m.new_len, m.old + m.old_len, dead)?;
            }
        }
        let moved = m.old_len.min(m.new_len);
        let keeps_old = m.flags.contains(MremapFlags::DONTUNMAP);
        let pages = m.new_len / PAGE;
        // The whole new area is promised first; the old area's promise ends when it is removed.
        if vma.flags.is(VmFlags::ACCOUNT) {
            areas.charge(pages)?;
        }
        let pgoff = if vma.is_anon() { 0 } else { vma.index(start, m.old) };
        let object = match vma.object.as_deref() {
            Some(Object::File { file, .. }) => Some(self.object(file.clone(), to, pgoff, pages, vma.flags)?),
            _ => vma.object.clone(),
        };
        self.move_pages(m.old, to, moved)?;
        areas.place(to, Vma { end: to + m.new_len, pgoff, flags: vma.flags, object, label: vma.label.clone() }, dead);
        if !keeps_old && moved > 0 {
            areas.remove(m.old, m.old + moved, dead)?;
        }
        self.aspace.commit();
        Ok(to)
    }

    /// Private pages and translations of `[from, from + len)` go to `to`.
    fn move_pages(&self, from: u64, to: u64, len: u64) -> Result<(), Errno> {
        if len == 0 {
            return Ok(());
        }
        let delta = (to / PAGE).wrapping_sub(from / PAGE);
        let mut pages = self.pages.lock();
        while let Some((base, leaf)) = pages.take(from / PAGE, (from + len) / PAGE) {
            pages.put_leaf(base, &leaf, delta);
        }
        drop(pages);
        if self.aspace.move_range(VirtAddr(from), VirtAddr(to), len / PAGE).is_err() {
            // No memory for tables: the translations come back by faults.
            self.aspace.unmap(VirtAddr(from), len / PAGE);
            self.aspace.unmap(VirtAddr(to), len / PAGE);
        }
        Ok(())
    }
}
