//! msync(2) and mincore(2).

use super::vma::VmFlags;
use super::{Mm, PAGE, aligned, page_up};
use abi::Errno;
use abi::mman::MsyncFlags;
use machine::{USER_MAX, VirtAddr};

/// Pages reported to a mincore caller at once.
const CHUNK: usize = 256;

impl Mm {
    /// msync(2), the flag bits checked. Holes are passed over and reported as ENOMEM at the end.
    pub fn msync(&self, addr: VirtAddr, len: usize, flags: MsyncFlags) -> Result<(), Errno> {
        if !aligned(addr) || flags.contains(MsyncFlags::ASYNC | MsyncFlags::SYNC) {
            return Err(Errno::EINVAL);
        }
        // A length so near the end of all numbers that it rounds up to 0 is none, as on Linux.
        let len = page_up(len as u64).unwrap_or(0);
        let end = addr.0.checked_add(len).ok_or(Errno::ENOMEM)?;
        let (mut at, mut hole) = (addr.0, false);
        while at < end {
            let areas = self.areas.read();
            let Some((start, vma)) = areas.first_in(at, end) else { return Err(Errno::ENOMEM) };
            hole |= start > at;
            at = start.max(at);
            let stop = vma.end.min(end);
            if flags.contains(MsyncFlags::INVALIDATE) && vma.flags.is(VmFlags::LOCKED) {
                return Err(Errno::EBUSY);
            }
            let sync = flags.contains(MsyncFlags::SYNC) && vma.flags.is(VmFlags::SHARED);
            let file = vma.file().filter(|_| sync).cloned();
            let (first, last) = (vma.index(start, at), vma.index(start, stop));
            drop(areas);
            if let Some(file) = file {
                file.cache().writeback_range(first, last)?;
            }
            at = stop;
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// mincore(2); hands the result bytes to `sink` in pieces, also those before a hole.
    pub fn mincore(
        &self,
        addr: VirtAddr,
        len: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let end = page_up(len as u64).and_then(|n| addr.0.checked_add(n)).filter(|e| *e <= USER_MAX);
        let end = end.ok_or(Errno::ENOMEM)?;
        let mut at = addr.0;
        let mut bytes = [0u8; CHUNK];
        while at < end {
            let n = (((end - at) / PAGE) as usize).min(CHUNK);
            let chunk = bytes.get_mut(..n).unwrap_or_default();
            let mut known = 0;
            let mut result = Ok(());
            for byte in chunk.iter_mut() {
                match self.is_resident(at) {
                    Ok(resident) => *byte = u8::from(resident),
                    Err(e) => {
                        result = Err(e);
                        break;
                    }
                }
                known += 1;
                at += PAGE;
            }
            sink(chunk.get(..known).unwrap_or_default())?;
            result?;
            sched::cond_resched();
        }
        Ok(())
    }

    /// The page is in memory; ENOMEM if nothing is mapped there.
    fn is_resident(&self, va: u64) -> Result<bool, Errno> {
        let areas = self.areas.read();
        let (start, vma) = areas.find(va).ok_or(Errno::ENOMEM)?;
        if vma.is_private() && self.pages.lock().get(va / PAGE).is_some() {
            return Ok(true);
        }
        Ok(match vma.file() {
            // Who may not write the file learns nothing of what others made resident.
            Some(file) => !file.may_observe() || file.cache().contains(vma.index(start, va)),
            None => self.aspace.query(VirtAddr(va)).is_some(),
        })
    }
}
