//! An address space as a map from page number to frame and rights.

use super::mem::RawFrame;
use crate::addr::{PAGE_SIZE, Pfn, USER_MAX, VirtAddr};
use crate::aspace::{AddressSpace, CopyFault, Mapped, Prot};
use crate::mem::{Frame, OutOfFrames};
use crate::segment::{Descriptor, LDT_ENTRIES};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct RawSpace {
    pages: Mutex<BTreeMap<u64, (RawFrame, Prot)>>,
    local: Mutex<Vec<u64>>,
}

pub fn activate(_space: &Arc<AddressSpace>) {}

pub fn deactivate() {}

impl RawSpace {
    pub fn new() -> Result<RawSpace, OutOfFrames> {
        Ok(RawSpace::default())
    }
    fn pages(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (RawFrame, Prot)>> {
        self.pages.lock().expect("a test thread panicked")
    }
    fn local(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.local.lock().expect("a test thread panicked")
    }
    pub fn set_descriptor(&self, index: usize, d: Descriptor) -> Result<(), OutOfFrames> {
        let mut local = self.local();
        let len = local.len().max(index.min(LDT_ENTRIES - 1) + 1);
        local.resize(len, 0);
        if let Some(slot) = local.get_mut(index) {
            *slot = d.word();
        }
        Ok(())
    }
    pub fn copy_descriptors(&self, from: &RawSpace) -> Result<(), OutOfFrames> {
        self.local().clone_from(&from.local());
        Ok(())
    }
    pub fn descriptor_count(&self) -> usize {
        self.local().len()
    }
    pub fn descriptors(&self, out: &mut [u64]) {
        out.iter_mut().zip(self.local().iter()).for_each(|(to, from)| *to = *from);
    }
    pub fn map(&self, va: VirtAddr, frames: &[Frame], prot: Prot) -> Result<(), OutOfFrames> {
        for (i, f) in (0..).zip(frames) {
            if va.0 + i * (PAGE_SIZE as u64) < USER_MAX {
                self.pages().insert(va.page() + i, (f.raw().clone(), prot));
            }
        }
        Ok(())
    }
    pub fn map_absent(&self, va: VirtAddr, frames: &[Option<Frame>], prot: Prot) -> Result<(), OutOfFrames> {
        for (i, f) in (0..).zip(frames) {
            if let Some(f) = f {
                self.pages().entry(va.page() + i).or_insert_with(|| (f.raw().clone(), prot));
            }
        }
        Ok(())
    }
    pub fn unmap(&self, va: VirtAddr, pages: u64) {
        let mut map = self.pages();
        let gone: Vec<u64> = map.range(va.page()..va.page().saturating_add(pages)).map(|(p, _)| *p).collect();
        for p in gone {
            map.remove(&p);
        }
    }
    pub fn protect(&self, va: VirtAddr, pages: u64, prot: Prot) {
        for (_, e) in self.pages().range_mut(va.page()..va.page() + pages) {
            e.1 = prot;
        }
    }
    pub fn write_protect(&self, va: VirtAddr, pages: u64) {
        for (_, e) in self.pages().range_mut(va.page()..va.page() + pages) {
            e.1.write = false;
        }
    }
    pub fn query(&self, va: VirtAddr) -> Option<(Pfn, Prot)> {
        self.pages().get(&va.page()).map(|(f, p)| (f.pfn(), *p))
    }
    pub fn each_mapped(&self, va: VirtAddr, pages: u64, f: &mut dyn FnMut(Mapped) -> ControlFlow<()>) {
        for (page, (frame, _)) in self.pages().range(va.page()..va.page().saturating_add(pages)) {
            if f(Mapped { page: *page, pfn: frame.pfn(), refs: frame.refs(), accessed: true }).is_break() {
                return;
            }
        }
    }
    pub fn forget_accesses(&self, _va: VirtAddr, _pages: u64) {}
    pub fn move_range(&self, from: VirtAddr, to: VirtAddr, pages: u64) -> Result<(), OutOfFrames> {
        let mut map = self.pages();
        for i in 0..pages {
            if let Some(e) = map.remove(&(from.page() + i)) {
                map.insert(to.page() + i, e);
            }
        }
        Ok(())
    }
    pub fn share_from(&self, src: &RawSpace, va: VirtAddr, pages: u64, read_only: bool) -> Result<(), OutOfFrames> {
        if core::ptr::eq(self, src) {
            return Ok(());
        }
        let mut mine = self.pages();
        for (page, (frame, prot)) in src.pages().range_mut(va.page()..va.page() + pages) {
            prot.write &= !read_only;
            mine.entry(*page).or_insert_with(|| (frame.clone(), *prot));
        }
        Ok(())
    }
    pub fn commit(&self) {}
    pub fn leave(&self) {}
    pub fn destroy(&mut self) {
        self.pages().clear();
    }
    pub fn resident_pages(&self) -> u32 {
        self.pages().len() as u32
    }
    pub fn table_pages(&self) -> u32 {
        1
    }
    /// Calls `f(frame, offset in page, offset in copy, length)` for each page of the range.
    fn each(
        &self,
        va: VirtAddr,
        len: usize,
        write: bool,
        mut f: impl FnMut(&RawFrame, usize, usize, usize),
    ) -> Result<(), CopyFault> {
        let map = self.pages();
        let mut done = 0;
        while done < len {
            let at = VirtAddr(va.0.wrapping_add(done as u64));
            let n = (PAGE_SIZE - at.offset()).min(len - done);
            match map.get(&at.page()) {
                Some((frame, prot)) if prot.write || !write => f(frame, at.offset(), done, n),
                _ => return Err(CopyFault { done, addr: at, write }),
            }
            done += n;
        }
        Ok(())
    }
    pub fn copy_in(&self, va: VirtAddr, buf: &mut [u8]) -> Result<(), CopyFault> {
        self.each(va, buf.len(), false, |f, off, done, n| {
            f.read(off, &mut buf[done..done + n]);
        })
    }
    pub fn copy_out(&self, va: VirtAddr, buf: &[u8]) -> Result<(), CopyFault> {
        self.each(va, buf.len(), true, |f, off, done, n| {
            f.write(off, &buf[done..done + n]);
        })
    }
    pub fn copy_out_frame(&self, va: VirtAddr, frame: &RawFrame, off: usize, len: usize) -> Result<(), CopyFault> {
        let mut bounce = vec![0; len];
        frame.read(off, &mut bounce);
        self.copy_out(va, &bounce)
    }
    pub fn copy_in_frame(&self, va: VirtAddr, frame: &RawFrame, off: usize, len: usize) -> Result<(), CopyFault> {
        let mut bounce = vec![0; len];
        let r = self.copy_in(va, &mut bounce);
        let done = r.map_or_else(|e| e.done, |()| len);
        frame.write(off, &bounce[..done]);
        r
    }
    pub fn zero(&self, va: VirtAddr, len: usize) -> Result<(), CopyFault> {
        self.each(va, len, true, |f, off, _, n| f.zero_range(off, n))
    }
    pub fn copy_in_str(&self, va: VirtAddr, buf: &mut [u8]) -> Result<Option<usize>, CopyFault> {
        for i in 0..buf.len() {
            let at = VirtAddr(va.0.wrapping_add(i as u64));
            self.copy_in(at, &mut buf[i..i + 1]).map_err(|e| CopyFault { done: i, ..e })?;
            if buf[i] == 0 {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }
    pub fn load_u32(&self, va: VirtAddr) -> Result<u32, CopyFault> {
        let mut b = [0; 4];
        self.copy_in(va, &mut b)?;
        Ok(u32::from_ne_bytes(b))
    }
    pub fn cmpxchg_u32(&self, va: VirtAddr, old: u32, new: u32) -> Result<Result<u32, u32>, CopyFault> {
        let mut out = Ok(old);
        self.each(va, 4, true, |f, off, _, _| {
            if let Some(w) = f.atomic_u32(off) {
                out = w.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
            }
        })?;
        Ok(out)
    }
}
