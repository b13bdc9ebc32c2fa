//! brk(2).

use super::areas::Dead;
use super::vma::{VmFlags, Vma};
use super::{Mm, page_up};
use machine::{USER_MAX, VirtAddr};

impl Mm {
    /// Moves the end of the heap; returns where it is now: `to`, or the old end if that cannot be.
    pub fn brk(&self, to: VirtAddr) -> VirtAddr {
        let limits = self.limits();
        let mut dead = Dead::new();
        let mut areas = self.areas.write();
        let layout = areas.layout;
        let old = VirtAddr(layout.brk);
        let size = to.0.saturating_sub(layout.start_brk).saturating_add(layout.end_data - layout.start_data);
        let (Some(new_end), Some(old_end)) = (page_up(to.0), page_up(old.0)) else { return old };
        if to.0 < layout.start_brk || size > limits.data || new_end > USER_MAX {
            return old;
        }
        if new_end <= old_end {
            if new_end < old_end && self.clear(&mut areas, new_end, old_end, &mut dead).is_err() {
                return old;
            }
            areas.layout.brk = to.0;
            return to;
        }
        let may = VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYEXEC;
        let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::ACCOUNT | may | areas.def_flags;
        let pages = (new_end - old_end) / super::PAGE;
        let locked_out = flags.is(VmFlags::LOCKED) && areas.locked + pages > limits.memlock / super::PAGE;
        // One page past the end is kept free, so that the heap does not run into a neighbour unnoticed.
        if !areas.is_free(old_end, new_end + super::PAGE)
            || locked_out
            || !areas.may_grow(&limits, flags, pages)
            || areas.charge(pages).is_err()
        {
            return old;
        }
        areas.layout.brk = to.0;
        areas.place(old_end, Vma { end: new_end, pgoff: 0, flags, object: None, label: None }, &mut dead);
        drop(areas);
        if flags & (VmFlags::LOCKED | VmFlags::LOCKONFAULT) == VmFlags::LOCKED {
            let _ = self.populate(old_end, new_end, None);
        }
        to
    }
}
