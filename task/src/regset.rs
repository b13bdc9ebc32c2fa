//! Registers in the layouts that tracers and core dumps use: `struct user_regs_struct`, the FXSAVE area, and the XSAVE area with the mask of enabled
//! components in its software-reserved bytes (`linux/elf.h`, NT_PRFPREG and NT_X86_XSTATE).
//!
//! The machine's image is the one of signal frames: the same area with its own software-reserved words and a magic word behind.

use crate::Cx;
use abi::Errno;
use abi::ptrace::UserRegs;
use alloc::vec::Vec;
use machine::segment::Selectors;
use machine::user::{Regs, UserCtx};

/// Bytes of the FXSAVE area.
const FX: usize = 512;
/// Where its software-reserved bytes begin.
const SW: usize = 464;
/// Where a frame's image has the component mask and the size of the XSAVE area.
const FRAME_MASK: usize = SW + 8;
const FRAME_SIZE: usize = SW + 16;
/// The XSAVE header's mask of components that are not in their initial state.
const PRESENT: usize = FX;
/// x87 and SSE.
const FPSSE: u8 = 3;

impl Cx {
    /// The image of a signal frame.
    fn frame_image(&mut self) -> Result<Vec<u8>, Errno> {
        let size = UserCtx::xstate_size();
        let mut image = Vec::new();
        image.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        image.resize(size, 0);
        self.user.xstate(&mut image);
        Ok(image)
    }
}

/// Copies `from` over the beginning of `to`.
fn overlay(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// NT_PRFPREG.
pub struct FpRegs;

impl FpRegs {
    /// Reads it.
    pub fn get(cx: &mut Cx) -> Result<Vec<u8>, Errno> {
        let mut image = cx.frame_image()?;
        image.truncate(FX);
        image.get_mut(SW..).unwrap_or_default().fill(0);
        Ok(image)
    }
    /// Sets it, or its beginning; other components stay.
    pub fn set(cx: &mut Cx, bytes: &[u8]) -> Result<(), Errno> {
        let mut image = cx.frame_image()?;
        overlay(image.get_mut(..SW).unwrap_or_default(), bytes);
        if let Some(present) = image.get_mut(PRESENT) {
            *present |= FPSSE;
        }
        cx.user.set_xstate(Some(&image)).map_err(|_| Errno::EINVAL)
    }
}

/// NT_X86_XSTATE.
pub struct Xstate;

impl Xstate {
    /// Its bytes.
    pub fn size() -> usize {
        match UserCtx::xstate_size() {
            FX => FX,
            with_magic => with_magic - 4,
        }
    }
    /// Reads it.
    pub fn get(cx: &mut Cx) -> Result<Vec<u8>, Errno> {
        let mut image = cx.frame_image()?;
        let mask: [u8; 8] = image.get(FRAME_MASK..FRAME_SIZE).and_then(|b| b.try_into().ok()).unwrap_or_default();
        image.truncate(Xstate::size());
        image.get_mut(SW..FX).unwrap_or_default().fill(0);
        overlay(image.get_mut(SW..FX).unwrap_or_default(), &mask);
        Ok(image)
    }
    /// Sets it; EINVAL for components or bits the CPU does not have.
    pub fn set(cx: &mut Cx, bytes: &[u8]) -> Result<(), Errno> {
        let mut image = cx.frame_image()?;
        overlay(image.get_mut(..SW).unwrap_or_default(), bytes);
        let size = Xstate::size();
        if size > FX {
            let tail = bytes.get(FX..size).ok_or(Errno::EFAULT)?;
            overlay(image.get_mut(FX..).unwrap_or_default(), tail);
        }
        cx.user.set_xstate(Some(&image)).map_err(|_| Errno::EINVAL)
    }
}

/// Registers, segment bases (FS, GS) and selectors in the form that tracers and cores know.
pub fn user_regs(r: &Regs, bases: [u64; 2], s: &Selectors) -> UserRegs {
    UserRegs {
        r15: r.r15,
        r14: r.r14,
        r13: r.r13,
        r12: r.r12,
        rbp: r.rbp,
        rbx: r.rbx,
        r11: r.r11,
        r10: r.r10,
        r9: r.r9,
        r8: r.r8,
        rax: r.rax,
        rcx: r.rcx,
        rdx: r.rdx,
        rsi: r.rsi,
        rdi: r.rdi,
        orig_rax: r.orig_rax,
        rip: r.rip,
        cs: r.cs,
        eflags: r.eflags,
        rsp: r.rsp,
        ss: r.ss,
        fs_base: bases[0],
        gs_base: bases[1],
        ds: s.ds.into(),
        es: s.es.into(),
        fs: s.fs.into(),
        gs: s.gs.into(),
    }
}
