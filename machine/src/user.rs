//! User mode: registers of a thread, entering user mode, and what comes back.

use crate::imp;
use crate::segment::{Selectors, USER_CS, USER_SS};

/// General registers, in the order of Linux's `struct user_regs_struct` (ptrace, core dumps; `sys/user.h`).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Regs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Regs {
    /// Zero but for the selectors, which are every program's.
    pub fn new() -> Regs {
        Regs { cs: USER_CS.into(), ss: USER_SS.into(), ..Regs::default() }
    }
}

/// Why user mode was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A system call: number in `regs.orig_rax`, arguments in rdi, rsi, rdx, r10, r8, r9; `regs.rip` is past the instruction.
    Syscall,
    /// A page fault.
    Fault(Fault),
    /// Another exception: vector number and error code.
    Exception {
        /// x86 vector (0 #DE, 1 #DB, 3 #BP, 4 #OF, 6 #UD, 13 #GP, 16 #MF, 17 #AC, 19 #XM, ...).
        vector: u8,
        /// Error code pushed by the CPU, 0 if none. For #DB the reasons, as in DR6 but with 0 for "no".
        code: u64,
    },
    /// An interrupt was taken and handled; look for signals and rescheduling.
    Interrupt,
}

/// A page fault from user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Faulting address.
    pub addr: u64,
    /// A store.
    pub write: bool,
    /// An instruction fetch.
    pub exec: bool,
    /// The page was present (a rights violation).
    pub present: bool,
}

/// The user-visible CPU state of one thread. Only its own thread runs it.
#[repr(C, align(16))]
pub struct UserCtx {
    /// Puts the end of `regs`, where a CPU may push its trap frame, on a 16-byte boundary.
    _align: u64,
    /// General registers. Any value may be stored: flags are forced to safe ones on entry, a non-canonical `rip` comes back as a fault. Of
    /// other `cs` and `ss` than every program's, [`UserCtx::segments_changed`] must be told.
    pub regs: Regs,
    /// FS base (TLS pointer). The program may change it by itself: call [`UserCtx::sync_bases`] before reading. The selector in FS stays as it is:
    /// see [`UserCtx::load_fs_base`].
    pub fs_base: u64,
    /// GS base; as for `fs_base`.
    pub gs_base: u64,
    pub(crate) fpu: imp::user::FpuState,
}

impl UserCtx {
    /// Registers zero, flags with interrupts on, FPU state initial.
    pub fn new() -> Result<UserCtx, crate::mem::OutOfFrames> {
        Ok(UserCtx { _align: 0, regs: Regs::new(), fs_base: 0, gs_base: 0, fpu: imp::user::FpuState::new()? })
    }
    /// A copy for a child of fork/clone. Must be the current thread's own context.
    pub fn fork(&mut self) -> Result<UserCtx, crate::mem::OutOfFrames> {
        let fpu = self.fpu.fork(&mut self.fs_base, &mut self.gs_base)?;
        Ok(UserCtx { _align: 0, regs: self.regs, fs_base: self.fs_base, gs_base: self.gs_base, fpu })
    }
    /// Resets for a new program (exec).
    pub fn reset(&mut self) {
        self.regs = Regs::new();
        self.fs_base = 0;
        self.gs_base = 0;
        self.fpu.reset();
    }
    /// Runs user code in the CPU's active address space until it comes back. Call with interrupts on.
    #[inline]
    pub fn run(&mut self) -> Exit {
        imp::user::run(self)
    }
    /// Size of the signal-frame image of the extended state: XSAVE area in standard format with Linux's software-reserved
    /// bytes (FP_XSTATE_MAGIC1/2), including the trailing magic word.
    pub fn xstate_size() -> usize {
        imp::user::xstate_size()
    }
    /// The kinds of extended state that are switched, a bit each as in XCR0; x87 and SSE without XSAVE.
    pub fn xstate_mask() -> u64 {
        imp::user::xstate_mask()
    }
    /// Writes that image into `out` (at least `xstate_size()` bytes).
    pub fn xstate(&mut self, out: &mut [u8]) {
        self.fpu.save_image(&mut self.fs_base, &mut self.gs_base, out)
    }
    /// Brings `fs_base` and `gs_base` up to date with what the program has set by instruction.
    pub fn sync_bases(&mut self) {
        self.fpu.switch_out(&mut self.fs_base, &mut self.gs_base)
    }
    /// Sets the FS base and clears the selector in FS.
    pub fn load_fs_base(&mut self, base: u64) {
        let s = self.selectors();
        if s.fs != 0 {
            self.set_selectors(Selectors { fs: 0, ..s });
        }
        self.fs_base = base;
    }
    /// Sets the GS base and clears the selector in GS.
    pub fn load_gs_base(&mut self, base: u64) {
        let s = self.selectors();
        if s.gs != 0 {
            self.set_selectors(Selectors { gs: 0, ..s });
        }
        self.gs_base = base;
    }
    /// The selectors that the program has in its data segment registers. Brings the bases up to date.
    pub fn selectors(&mut self) -> Selectors {
        Selectors::unpack(self.fpu.selectors(&mut self.fs_base, &mut self.gs_base))
    }
    /// Loads selectors; the bases stay. What cannot be loaded when the program runs next is null then.
    pub fn set_selectors(&mut self, s: Selectors) {
        self.fpu.set_selectors(&mut self.fs_base, &mut self.gs_base, s.pack());
    }
    /// Other selectors than before were stored in `regs.cs` or `regs.ss`. What cannot be loaded when the program runs next comes back as
    /// the exception that IRET raises.
    pub fn segments_changed(&mut self) {
        let odd = (self.regs.cs, self.regs.ss) != (USER_CS.into(), USER_SS.into());
        self.fpu.set_need(imp::user::ODD_SEGMENTS, odd);
    }
    /// The running program can have this selector in SS.
    pub fn is_stack_segment(selector: u16) -> bool {
        imp::user::is_stack(selector)
    }
    /// Reading the time-stamp counter is a general protection fault.
    pub fn tsc_faults(&self) -> bool {
        self.fpu.needs & imp::user::NO_TSC != 0
    }
    /// Lets the program read the time-stamp counter, or not.
    pub fn set_tsc_faults(&mut self, on: bool) {
        self.fpu.set_need(imp::user::NO_TSC, on);
    }
    /// Loads state from such an image (validated: reserved bits and MXCSR cannot fault the kernel); `None` image: initial state.
    pub fn set_xstate(&mut self, image: Option<&[u8]>) -> Result<(), BadXstate> {
        self.fpu.load_image(&mut self.fs_base, &mut self.gs_base, image)
    }
}

/// The extended-state image is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadXstate;
