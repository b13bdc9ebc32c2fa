//! Access for tracers: what a program may not do with its own memory, its debugger may, as long as nobody else sees it.
//!
//! Pages that the program itself may not reach that way are read and written through their frames, and no translation is made
//! for them: the program's own next access faults as ever. A write to private memory that is not writable gives the program a
//! copy of the page (that is how breakpoints get into program text); shared memory must be writable.

use super::vma::{Object, VmFlags, Vma};
use super::{Mm, PAGE};
use crate::frames;
use machine::mem::Frame;
use machine::{PAGE_SIZE, VirtAddr};

/// How a page is reached.
enum Reach {
    /// As the program would.
    Plainly,
    /// Only through its frame.
    ByFrame,
}

impl Mm {
    /// Copies in for a tracer; returns the bytes copied before a page that cannot be read.
    pub fn read_forced(&self, va: VirtAddr, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let at = VirtAddr(va.0.wrapping_add(done as u64));
            let n = (PAGE_SIZE - at.offset()).min(buf.len() - done);
            let part = buf.get_mut(done..done + n).unwrap_or_default();
            let got = match self.reach(at, VmFlags::RWX, VmFlags::MAYREAD) {
                Some(Reach::Plainly) => self.copy_in(at, part),
                Some(Reach::ByFrame) => self.read_frame(at, part),
                None => 0,
            };
            done += got;
            if got < n {
                break;
            }
        }
        done
    }

    /// Copies out for a tracer; as [`Mm::read_forced`].
    pub fn write_forced(&self, va: VirtAddr, buf: &[u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let at = VirtAddr(va.0.wrapping_add(done as u64));
            let n = (PAGE_SIZE - at.offset()).min(buf.len() - done);
            let part = buf.get(done..done + n).unwrap_or_default();
            let got = match self.reach(at, VmFlags::WRITE, VmFlags::MAYWRITE) {
                Some(Reach::Plainly) => self.copy_out(at, part),
                Some(Reach::ByFrame) => self.write_frame(at, part),
                None => 0,
            };
            done += got;
            if got < n {
                break;
            }
        }
        done
    }

    /// How the page at `va` can be reached when the program needs one of the rights `own` and a tracer the right `may`.
    fn reach(&self, va: VirtAddr, own: VmFlags, may: VmFlags) -> Option<Reach> {
        let areas = self.areas.read();
        let Some((_, vma)) = areas.find(va.0) else {
            // Below a stack that has not grown yet.
            return Some(Reach::Plainly);
        };
        if vma.flags.is(own) {
            return Some(Reach::Plainly);
        }
        let private = vma.is_private() || may == VmFlags::MAYREAD;
        (private && vma.flags.is(may)).then_some(Reach::ByFrame)
    }

    fn read_frame(&self, va: VirtAddr, buf: &mut [u8]) -> usize {
        let areas = self.areas.read();
        let Some((start, vma)) = areas.find(va.0) else { return 0 };
        match self.current(va, start, vma) {
            Some(Some(frame)) => frame.read(va.offset(), buf),
            Some(None) => {
                buf.fill(0);
                buf.len()
            }
            None => 0,
        }
    }

    /// The page at `va`; `Some(None)` for untouched anonymous memory, `None` when there is none.
    fn current(&self, va: VirtAddr, start: u64, vma: &Vma) -> Option<Option<Frame>> {
        if vma.is_private()
            && let Some(frame) = self.pages.lock().get(va.page())
        {
            return Some(Some(frame.clone()));
        }
        let index = vma.index(start, va.0);
        match vma.object.as_deref() {
            None => Some(None),
            Some(Object::Special { frames, .. }) => frames.get(index as usize).cloned().map(Some),
            Some(Object::File { file, .. }) if file.cache().has_index(index) => file.cache().get(index).ok().map(Some),
            Some(Object::File { .. }) => None,
        }
    }

    fn write_frame(&self, va: VirtAddr, buf: &[u8]) -> usize {
        let areas = self.areas.read();
        let Some((start, vma)) = areas.find(va.0) else { return 0 };
        if !vma.is_private() || matches!(vma.object.as_deref(), Some(Object::Special { .. })) {
            return 0;
        }
        loop {
            {
                let pages = self.pages.lock();
                if let Some(frame) = pages.get(va.page()) {
                    let mapped = self.aspace.query(va).is_some_and(|(pfn, _)| pfn == frame.pfn());
                    if frame.refs() == 1 + u32::from(mapped) {
                        return frame.write(va.offset(), buf);
                    }
                }
            }
            // A copy of its own, as its first store would make.
            let Some(seen) = self.current(va, start, vma) else { return 0 };
            let Ok(copy) = frames::alloc() else { return 0 };
            match &seen {
                Some(frame) => copy.copy_from(frame),
                None => copy.zero(),
            }
            let mut pages = self.pages.lock();
            let now = pages.get(va.page()).map(Frame::pfn);
            let same = now.is_none() || now == seen.as_ref().map(Frame::pfn);
            if !same {
                continue;
            }
            let old = pages.insert(va.page(), copy);
            drop(pages);
            self.aspace.unmap(VirtAddr(va.0 & !(PAGE - 1)), 1);
            self.aspace.commit();
            drop((old, seen));
        }
    }
}
