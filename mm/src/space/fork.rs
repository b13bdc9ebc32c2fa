//! The copy-on-write copy that fork makes.
//!
//! Page-map nodes are copied whole, so that each private page has two owners, and write rights go from the parent's translations.

use super::areas::Areas;
use super::vma::{Object, VmFlags, Vma};
use super::{Mm, PAGE};
use crate::frames;
use abi::Errno;
use alloc::sync::Arc;
use machine::VirtAddr;

impl Mm {
    /// The address space of a forked child.
    pub fn fork(&self) -> Result<Arc<Mm>, Errno> {
        frames::admit().map_err(|_| Errno::ENOMEM)?;
        let areas = self.areas.write();
        let child = Mm::build(Areas::new(), self.pages.lock().share(), self.limits())?;
        child.aspace.copy_descriptors(&self.aspace).map_err(|_| Errno::ENOMEM)?;
        let mut copy = Areas::new();
        copy.charge(areas.committed)?;
        let copied = child.fork_areas(&areas, &mut copy, self);
        // Also after a failure: the parent's translations may have been narrowed.
        self.aspace.commit();
        *child.areas.write() = copy;
        copied?;
        Ok(Arc::new(child))
    }

    /// Copies each area that a child inherits, with its pages' translations. `self` is the child.
    fn fork_areas(&self, from: &Areas, to: &mut Areas, parent: &Mm) -> Result<(), Errno> {
        to.layout = from.layout;
        to.base = from.base;
        to.randomize = from.randomize;
        to.mdwe = if from.mdwe.1 { (false, false) } else { from.mdwe };
        to.reset_hint();
        let mut last: Option<(&Arc<Object>, Arc<Object>)> = None;
        for (start, vma) in from.map.iter() {
            if vma.flags.is(VmFlags::DONTCOPY) {
                if vma.flags.is(VmFlags::ACCOUNT) {
                    to.uncharge(vma.pages(start));
                }
                self.zap(start, vma.end);
                continue;
            }
            let object = match &vma.object {
                None => None,
                Some(object) => match &last {
                    // Areas split from one mapping keep sharing one object.
                    Some((old, new)) if Arc::ptr_eq(old, object) => Some(new.clone()),
                    _ => {
                        let new = self.fork_object(object, start, vma)?;
                        last = Some((object, new.clone()));
                        Some(new)
                    }
                },
            };
            if let Some(Object::File { link, .. }) = object.as_deref() {
                link.extend(vma.pgoff, vma.pgoff.saturating_add(vma.pages(start)));
            }
            let flags = vma.flags - (VmFlags::LOCKED | VmFlags::LOCKONFAULT);
            to.append(start, Vma { end: vma.end, pgoff: vma.pgoff, flags, object, label: vma.label.clone() });
            if vma.flags.is(VmFlags::WIPEONFORK) {
                self.zap(start, vma.end);
            } else if vma.is_private() || vma.file().is_none() {
                self.fork_pages(start, vma, parent)?;
            }
        }
        Ok(())
    }

    fn fork_object(&self, object: &Arc<Object>, start: u64, vma: &Vma) -> Result<Arc<Object>, Errno> {
        match &**object {
            Object::File { file, .. } => self.object(file.clone(), start, vma.pgoff, vma.pages(start), vma.flags),
            Object::Special { .. } => Ok(object.clone()),
        }
    }

    /// The child gets the parent's translations, read-only on both sides: those of private pages, which it is about to touch, and
    /// of program text, which it is about to run. Pages of other files come back by faults.
    fn fork_pages(&self, start: u64, vma: &Vma, parent: &Mm) -> Result<(), Errno> {
        let text = vma.flags.is(VmFlags::EXEC);
        if !text && !self.pages.lock().has_any(start / PAGE, vma.end / PAGE) {
            return Ok(());
        }
        let shared = self.aspace.share_from(&parent.aspace, VirtAddr(start), vma.pages(start), true);
        shared.map_err(|_| Errno::ENOMEM)
    }
}
