//! The frame a handler runs on, and rt_sigreturn(2). The layout is Linux's on x86-64: extended state on top (64-byte aligned),
//! `struct rt_sigframe` below it so that the handler starts with `rsp % 16 == 8`, as after a call.

use super::altstack;
use crate::Cx;
use abi::Errno;
use abi::signal::*;
use machine::VirtAddr;
use machine::segment::{USER_CS, USER_SS};
use machine::user::{Regs, UserCtx};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// What the psABI lets leaf functions use below the stack pointer.
const RED_ZONE: u64 = 128;
/// Flags a program may set through a frame: AC OF DF TF SF ZF AF PF CF RF.
const SETTABLE_FLAGS: u64 = 0x5_0dd5;
/// DF, RF and TF: clear when a handler starts.
const HANDLER_CLEARS: u64 = 0x1_0500;
/// Bytes of the legacy part of the extended state.
const FX_SIZE: usize = 512;
/// Where the software-reserved words begin in it.
const FX_SW: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;

/// What was on the CPU when a fault was turned into a signal.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Vector.
    pub number: u64,
    /// Error code.
    pub code: u64,
    /// Faulting address of a page fault.
    pub cr2: u64,
}

/// Where the parts of a frame go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The extended state.
    pub fpstate: u64,
    /// `struct rt_sigframe`, the handler's first stack pointer.
    pub frame: u64,
}

/// Chooses the place of a frame for a handler with `flags` that interrupts code with stack pointer `sp`; `None` if the alternate
/// stack is too small or the address space ends.
pub fn place(sp: u64, flags: SaFlags, alt: &StackT, xstate_size: usize) -> Option<Place> {
    let nested = altstack::on_stack(alt, sp);
    let below = sp.wrapping_sub(RED_ZONE);
    let entering = flags.contains(SaFlags::ONSTACK) && alt.size != 0 && !altstack::on_stack(alt, below);
    let top = if entering { alt.sp.wrapping_add(alt.size) } else { below };
    let fpstate = top.checked_sub(xstate_size as u64)? & !63;
    let frame = (fpstate.checked_sub(size_of::<RtSigFrame>() as u64)? & !15).checked_sub(8)?;
    if (nested || entering) && !altstack::contains(alt, frame) {
        return None;
    }
    Some(Place { fpstate, frame })
}

/// Registers as the frame keeps them.
pub fn context(regs: &Regs, mask: SigSet, trap: &Trap, fpstate: u64) -> SigContext {
    SigContext {
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rdi: regs.rdi,
        rsi: regs.rsi,
        rbp: regs.rbp,
        rbx: regs.rbx,
        rdx: regs.rdx,
        rax: regs.rax,
        rcx: regs.rcx,
        rsp: regs.rsp,
        rip: regs.rip,
        eflags: regs.eflags,
        cs: regs.cs as u16,
        gs: 0,
        fs: 0,
        ss: regs.ss as u16,
        err: trap.code,
        trapno: trap.number,
        oldmask: mask.0,
        cr2: trap.cr2,
        fpstate,
        reserved: [0; 8],
    }
}

/// Takes the registers back out of a frame; flags stay ones that a program may have, selectors are of its privilege.
pub fn restore(regs: &mut Regs, c: &SigContext) {
    *regs = Regs {
        r8: c.r8,
        r9: c.r9,
        r10: c.r10,
        r11: c.r11,
        r12: c.r12,
        r13: c.r13,
        r14: c.r14,
        r15: c.r15,
        rdi: c.rdi,
        rsi: c.rsi,
        rbp: c.rbp,
        rbx: c.rbx,
        rdx: c.rdx,
        rax: c.rax,
        rcx: c.rcx,
        rsp: c.rsp,
        rip: c.rip,
        eflags: regs.eflags & !SETTABLE_FLAGS | c.eflags & SETTABLE_FLAGS,
        orig_rax: u64::MAX,
        cs: u64::from(c.cs | 3),
        ss: u64::from(c.ss | 3),
    };
}

fn is_64_bit(regs: &Regs) -> bool {
    regs.cs == USER_CS.into()
}

fn has_usual_segments(regs: &Regs) -> bool {
    is_64_bit(regs) && regs.ss == USER_SS.into()
}

/// A stack segment that cannot be one gives way to every program's.
fn make_stack_valid(user: &mut UserCtx) {
    if !UserCtx::is_stack_segment(user.regs.ss as u16) {
        user.regs.ss = USER_SS.into();
    }
    user.segments_changed();
}

/// Builds the frame for a handler and points the registers at it. EFAULT means the stack cannot take it.
pub(super) fn push(cx: &mut Cx, action: &SigAction, info: &SigInfo, mask: SigSet) -> Result<(), Errno> {
    let flags = action.flags();
    if !flags.contains(SaFlags::RESTORER) {
        return Err(Errno::EFAULT);
    }
    let size = UserCtx::xstate_size();
    let at = place(cx.user.regs.rsp, flags, &cx.signal.altstack, size).ok_or(Errno::EFAULT)?;
    save_xstate(cx, at.fpstate, size)?;
    let alt = cx.signal.altstack;
    let strict = if is_64_bit(&cx.user.regs) { UC_STRICT_RESTORE_SS } else { 0 };
    let frame = RtSigFrame {
        pretcode: action.restorer,
        uc: UContext {
            flags: UC_FP_XSTATE | UC_SIGCONTEXT_SS | strict,
            link: 0,
            stack: alt,
            mcontext: context(&cx.user.regs, mask, &cx.signal.trap, at.fpstate),
            sigmask: mask,
        },
        info: if flags.contains(SaFlags::SIGINFO) { *info } else { SigInfo::default() },
        info_tail: [0; 10],
    };
    cx.mm().write_bytes(VirtAddr(at.frame), frame.as_bytes())?;
    if alt.flags & SS_AUTODISARM != 0 {
        cx.signal.altstack = StackT { flags: SS_DISABLE, ..StackT::default() };
    }
    let regs = &mut cx.user.regs;
    regs.rdi = info.signo as u64;
    regs.rsi = at.frame + core::mem::offset_of!(RtSigFrame, info) as u64;
    regs.rdx = at.frame + core::mem::offset_of!(RtSigFrame, uc) as u64;
    regs.rax = 0;
    regs.rsp = at.frame;
    regs.rip = action.handler;
    regs.eflags &= !HANDLER_CLEARS;
    if !has_usual_segments(regs) {
        regs.cs = USER_CS.into();
        make_stack_valid(&mut cx.user);
    }
    cx.user.set_xstate(None).map_err(|_| Errno::EFAULT)
}

fn save_xstate(cx: &mut Cx, to: u64, size: usize) -> Result<(), Errno> {
    let mut image = core::mem::take(&mut cx.signal.xstate);
    if image.len() < size {
        image.try_reserve_exact(size - image.len()).map_err(|_| Errno::EFAULT)?;
        image.resize(size, 0);
    }
    cx.user.xstate(&mut image);
    let written = cx.mm().write_bytes(VirtAddr(to), image.get(..size).unwrap_or_default());
    cx.signal.xstate = image;
    written
}

/// rt_sigreturn(2): takes everything back out of the frame the stack pointer is at. A frame that cannot be read or used ends
/// in SIGSEGV.
pub fn sigreturn(cx: &mut Cx) -> i64 {
    let at = cx.user.regs.rsp.wrapping_sub(8);
    match pop(cx, at) {
        Ok(()) => cx.user.regs.rax as i64,
        Err(_) => {
            super::force(cx, Signal::SEGV, &SigInfo::kernel(Signal::SEGV));
            0
        }
    }
}

fn pop(cx: &mut Cx, at: u64) -> Result<(), Errno> {
    let mut uc = UContext::new_zeroed();
    let uc_at = at.checked_add(core::mem::offset_of!(RtSigFrame, uc) as u64).ok_or(Errno::EFAULT)?;
    cx.mm().read_bytes(VirtAddr(uc_at), uc.as_mut_bytes())?;
    super::mask::set_blocked(&cx.task, uc.sigmask);
    // Seen from the handler's stack still, which a program that left it in use cannot change; what is refused is left out.
    let (sp, min) = (cx.user.regs.rsp, super::mask::min_altstack());
    let _ = altstack::change(&mut cx.signal.altstack, &uc.stack, sp, min);
    load_xstate(cx, uc.mcontext.fpstate)?;
    restore(&mut cx.user.regs, &uc.mcontext);
    if !has_usual_segments(&cx.user.regs) {
        cx.user.segments_changed();
        if uc.flags & UC_STRICT_RESTORE_SS == 0 && is_64_bit(&cx.user.regs) {
            make_stack_valid(&mut cx.user);
        }
    }
    cx.restart = None;
    Ok(())
}

fn load_xstate(cx: &mut Cx, from: u64) -> Result<(), Errno> {
    if from == 0 {
        return cx.user.set_xstate(None).map_err(|_| Errno::EFAULT);
    }
    let size = UserCtx::xstate_size();
    let mut image = core::mem::take(&mut cx.signal.xstate);
    if image.len() < size {
        image.try_reserve_exact(size - image.len()).map_err(|_| Errno::EFAULT)?;
        image.resize(size, 0);
    }
    let used = read_xstate(cx, from, image.get_mut(..size).unwrap_or_default());
    let Ok(used) = used else {
        cx.signal.xstate = image;
        return Err(Errno::EFAULT);
    };
    let loaded = cx.user.set_xstate(image.get(..used));
    cx.signal.xstate = image;
    loaded.map_err(|_| Errno::EFAULT)
}

/// Reads an image and tells how much of it counts: all, or the legacy part when the rest is not there or not marked as ours.
fn read_xstate(cx: &Cx, from: u64, image: &mut [u8]) -> Result<usize, Errno> {
    let size = image.len();
    let whole = cx.mm().read_bytes(VirtAddr(from), image).is_ok();
    let fx = image.get_mut(..FX_SIZE.min(size)).unwrap_or_default();
    if !whole {
        cx.mm().read_bytes(VirtAddr(from), fx)?;
    }
    if !has_extended_part(fx, size) {
        return Ok(fx.len());
    }
    if !whole {
        return Err(Errno::EFAULT);
    }
    let magic2 = size.checked_sub(4).and_then(|at| u32::read_from_bytes(image.get(at..)?).ok());
    Ok(if magic2 == Some(FP_XSTATE_MAGIC2) { size } else { FX_SIZE.min(size) })
}

/// The legacy part says that as much extended state follows as this machine writes.
fn has_extended_part(fx: &[u8], size: usize) -> bool {
    let word = |at: usize| fx.get(at..at + 4).and_then(|b| u32::read_from_bytes(b).ok());
    word(FX_SW) == Some(FP_XSTATE_MAGIC1) && word(FX_SW + 4) == Some(size as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_the_red_zone_and_align_as_after_a_call() {
        let p = place(0x7000_1234, SaFlags::empty(), &StackT::default(), 832).unwrap();
        assert_eq!((p.fpstate % 64, (p.frame + 8) % 16), (0, 0));
        assert!(p.fpstate + 832 <= 0x7000_1234 - 128 && p.frame + 440 <= p.fpstate);
        assert_eq!(place(1024, SaFlags::empty(), &StackT::default(), 832), None);
    }

    #[test]
    fn the_alternate_stack_is_entered_once_and_must_hold_the_frame() {
        let alt = StackT { sp: 0x10_0000, flags: 0, pad: 0, size: 0x2000 };
        let p = place(0x7000_0000, SaFlags::ONSTACK, &alt, 832).unwrap();
        assert!(p.frame > alt.sp && p.frame < alt.sp + alt.size);
        let nested = place(p.frame, SaFlags::ONSTACK, &alt, 832).unwrap();
        assert!(nested.frame < p.frame && nested.frame > alt.sp);
        assert_eq!(place(0x7000_0000, SaFlags::ONSTACK, &StackT { size: 0x400, ..alt }, 832), None);
        assert_eq!(place(alt.sp + 0x300, SaFlags::ONSTACK, &alt, 832), None);
    }

    #[test]
    fn a_hostile_frame_cannot_set_privileged_flags() {
        let mut regs = Regs { eflags: 0x202, ..Regs::new() };
        let c = SigContext { eflags: !0, cs: 8, ss: 0, rip: 5, ..SigContext::default() };
        restore(&mut regs, &c);
        assert_eq!(regs.eflags, 0x202 | SETTABLE_FLAGS);
        assert_eq!((regs.cs, regs.ss, regs.rip), (11, 3, 5));
    }
}
