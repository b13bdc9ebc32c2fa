//! Copies between kernel memory and a user space: straight through the user mapping when the space is the active one, page by
//! page through the direct map when it is not.

use super::aspace::RawSpace;
use super::mem::RawFrame;
use super::usercopy::{self, Pair};
use crate::addr::{PAGE_SIZE, USER_MAX, VirtAddr};
use crate::aspace::CopyFault;
use core::sync::atomic::Ordering;

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8;
    fn memset(to: *mut u8, c: i32, n: usize) -> *mut u8;
}

/// Marks a fault address in a result register (so that address 0 differs from "no fault").
const FAULT: u64 = 1 << 63;

/// Refuses a range that leaves user space.
#[inline]
fn check(va: VirtAddr, len: usize, write: bool) -> Result<(), CopyFault> {
    match va.0.checked_add(len as u64) {
        Some(end) if end <= USER_MAX => Ok(()),
        _ => Err(CopyFault { done: 0, addr: VirtAddr(va.0.max(USER_MAX)), write }),
    }
}

#[inline]
fn result(p: Pair, len: usize, write: bool) -> Result<(), CopyFault> {
    if p.a == 0 {
        return Ok(());
    }
    Err(CopyFault { done: len - p.a as usize, addr: VirtAddr(p.d), write })
}

impl RawSpace {
    /// Calls `f(direct-map address, offset in copy, bytes)` for each page of a range of an inactive space.
    #[cold]
    fn each_page(
        &self,
        va: VirtAddr,
        len: usize,
        write: bool,
        mut f: impl FnMut(u64, usize, usize),
    ) -> Result<(), CopyFault> {
        let mut done = 0;
        while done < len {
            let at = VirtAddr(va.0 + done as u64);
            let n = (PAGE_SIZE - at.offset()).min(len - done);
            let Some(frame) = self.frame_at(at, write) else {
                return Err(CopyFault { done, addr: at, write });
            };
            f(frame.address(at.offset()), done, n);
            done += n;
        }
        Ok(())
    }

    #[inline]
    fn load_from(&self, va: VirtAddr, to: *mut u8, len: usize) -> Result<(), CopyFault> {
        check(va, len, false)?;
        if self.is_active() {
            // SAFETY: the caller owns `len` bytes at `to`; the user range was checked.
            return result(unsafe { usercopy::copy(to as u64, va.0, len) }, len, false);
        }
        self.each_page(va, len, false, |from, done, n| {
            // SAFETY: `from` lies in a frame we hold; `done + n <= len`.
            unsafe { memcpy(to.add(done), from as *const u8, n) };
        })
    }

    #[inline]
    fn store_to(&self, va: VirtAddr, from: *const u8, len: usize) -> Result<(), CopyFault> {
        check(va, len, true)?;
        if self.is_active() {
            // SAFETY: the caller owns `len` bytes at `from`; the user range was checked.
            return result(unsafe { usercopy::copy(va.0, from as u64, len) }, len, true);
        }
        self.each_page(va, len, true, |to, done, n| {
            // SAFETY: `to` lies in a frame we hold; `done + n <= len`.
            unsafe { memcpy(to as *mut u8, from.add(done), n) };
        })
    }

    #[inline]
    pub fn copy_in(&self, va: VirtAddr, buf: &mut [u8]) -> Result<(), CopyFault> {
        self.load_from(va, buf.as_mut_ptr(), buf.len())
    }

    #[inline]
    pub fn copy_out(&self, va: VirtAddr, buf: &[u8]) -> Result<(), CopyFault> {
        self.store_to(va, buf.as_ptr(), buf.len())
    }

    pub fn copy_out_frame(&self, va: VirtAddr, frame: &RawFrame, off: usize, len: usize) -> Result<(), CopyFault> {
        let off = off.min(PAGE_SIZE);
        self.store_to(va, frame.address(off) as *const u8, len.min(PAGE_SIZE - off))
    }

    pub fn copy_in_frame(&self, va: VirtAddr, frame: &RawFrame, off: usize, len: usize) -> Result<(), CopyFault> {
        let off = off.min(PAGE_SIZE);
        self.load_from(va, frame.address(off) as *mut u8, len.min(PAGE_SIZE - off))
    }

    pub fn zero(&self, va: VirtAddr, len: usize) -> Result<(), CopyFault> {
        check(va, len, true)?;
        if self.is_active() {
            // SAFETY: the user range was checked.
            return result(unsafe { usercopy::zero(va.0, len) }, len, true);
        }
        self.each_page(va, len, true, |to, _, n| {
            // SAFETY: `to` lies in a frame we hold.
            unsafe { memset(to as *mut u8, 0, n) };
        })
    }

    pub fn copy_in_str(&self, va: VirtAddr, buf: &mut [u8]) -> Result<Option<usize>, CopyFault> {
        if va.0 >= USER_MAX {
            return Err(CopyFault { done: 0, addr: va, write: false });
        }
        let room = buf.len().min((USER_MAX - va.0) as usize);
        if self.is_active() {
            // SAFETY: `room` bytes of ours; the user range was checked.
            let p = unsafe { usercopy::string(buf.as_mut_ptr() as u64, va.0, room) };
            if p.d & FAULT != 0 {
                return Err(CopyFault { done: room - p.a as usize, addr: VirtAddr(p.d & !FAULT), write: false });
            }
            return match p.a {
                u64::MAX if room < buf.len() => Err(CopyFault { done: room, addr: VirtAddr(USER_MAX), write: false }),
                u64::MAX => Ok(None),
                left => Ok(Some(room - left as usize - 1)),
            };
        }
        let mut found = None;
        let mut at = 0;
        while at < room && found.is_none() {
            let page = VirtAddr(va.0 + at as u64);
            let n = (PAGE_SIZE - page.offset()).min(room - at);
            let part = &mut buf[at..at + n];
            self.copy_in(page, part).map_err(|e| CopyFault { done: at, ..e })?;
            found = part.iter().position(|b| *b == 0).map(|i| at + i);
            at += n;
        }
        Ok(found)
    }

    pub fn load_u32(&self, va: VirtAddr) -> Result<u32, CopyFault> {
        let fault = |addr| CopyFault { done: 0, addr, write: false };
        if !va.0.is_multiple_of(4) || va.0 >= USER_MAX {
            return Err(fault(va));
        }
        if self.is_active() {
            // SAFETY: aligned and below the end of user space.
            let p = unsafe { usercopy::load32(va.0) };
            return if p.d == 0 { Ok(p.a as u32) } else { Err(fault(VirtAddr(p.d & !FAULT))) };
        }
        let frame = self.frame_at(va, false).ok_or(fault(va))?;
        frame.atomic_u32(va.offset()).map(|w| w.load(Ordering::Acquire)).ok_or(fault(va))
    }

    pub fn cmpxchg_u32(&self, va: VirtAddr, old: u32, new: u32) -> Result<Result<u32, u32>, CopyFault> {
        let fault = |addr| CopyFault { done: 0, addr, write: true };
        if !va.0.is_multiple_of(4) || va.0 >= USER_MAX {
            return Err(fault(va));
        }
        if self.is_active() {
            // SAFETY: aligned and below the end of user space.
            let p = unsafe { usercopy::cmpxchg32(va.0, old, new) };
            if p.d != 0 {
                return Err(fault(VirtAddr(p.d & !FAULT)));
            }
            let seen = p.a as u32;
            return Ok(if seen == old { Ok(seen) } else { Err(seen) });
        }
        let frame = self.frame_at(va, true).ok_or(fault(va))?;
        let word = frame.atomic_u32(va.offset()).ok_or(fault(va))?;
        Ok(word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire))
    }
}
