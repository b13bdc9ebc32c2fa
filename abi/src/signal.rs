//! Signals: numbers, sets, `siginfo_t`, `struct sigaction`, `stack_t` and the frame a handler finds on its stack.
//! Sources: `asm-generic/signal.h`, `asm-generic/siginfo.h`, `asm/sigcontext.h`, `asm/ucontext.h`, signal(7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The highest signal number.
pub const NSIG: usize = 64;
/// The first real-time signal.
pub const SIGRTMIN: u8 = 32;

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $value:literal,)*) => {
        #[allow(missing_docs)]
        impl Signal {
            $(pub const $name: Signal = Signal($value);)*
        }
    };
}

signals! {
    HUP = 1, INT = 2, QUIT = 3, ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, USR1 = 10, SEGV = 11,
    USR2 = 12, PIPE = 13, ALRM = 14, TERM = 15, STKFLT = 16, CHLD = 17, CONT = 18, STOP = 19, TSTP = 20, TTIN = 21,
    TTOU = 22, URG = 23, XCPU = 24, XFSZ = 25, VTALRM = 26, PROF = 27, WINCH = 28, IO = 29, PWR = 30, SYS = 31,
}

impl Signal {
    /// The signal with this number, if it is one.
    #[inline]
    pub const fn from_raw(number: i32) -> Option<Signal> {
        if number >= 1 && number <= NSIG as i32 { Some(Signal(number as u8)) } else { None }
    }
    /// Its number.
    #[inline]
    pub const fn number(self) -> u8 {
        self.0
    }
    /// Its bit in a [`SigSet`].
    #[inline]
    pub const fn bit(self) -> u64 {
        1 << ((self.0 - 1) & 63)
    }
    /// Its index in a table of actions.
    #[inline]
    pub const fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1) & (NSIG - 1)
    }
    /// Queued with one entry for each instance.
    #[inline]
    pub const fn is_realtime(self) -> bool {
        self.0 >= SIGRTMIN
    }
}

/// A set of signals (`sigset_t` as the kernel takes it: 8 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// What cannot be blocked, caught or ignored.
    pub const UNBLOCKABLE: SigSet = SigSet(Signal::KILL.bit() | Signal::STOP.bit());
    /// The job-control stops.
    pub const STOPS: SigSet = SigSet(Signal::STOP.bit() | Signal::TSTP.bit() | Signal::TTIN.bit() | Signal::TTOU.bit());
    /// Signals whose default action is to be ignored.
    pub const DEFAULT_IGNORED: SigSet =
        SigSet(Signal::CONT.bit() | Signal::CHLD.bit() | Signal::WINCH.bit() | Signal::URG.bit());
    /// Signals whose default action dumps core.
    pub const DEFAULT_CORE: SigSet = SigSet(
        Signal::QUIT.bit()
            | Signal::ILL.bit()
            | Signal::TRAP.bit()
            | Signal::ABRT.bit()
            | Signal::FPE.bit()
            | Signal::SEGV.bit()
            | Signal::BUS.bit()
            | Signal::SYS.bit()
            | Signal::XCPU.bit()
            | Signal::XFSZ.bit(),
    );
    /// Signals raised by the instruction being run; delivered before all others.
    pub const SYNCHRONOUS: SigSet = SigSet(
        Signal::SEGV.bit()
            | Signal::BUS.bit()
            | Signal::ILL.bit()
            | Signal::TRAP.bit()
            | Signal::FPE.bit()
            | Signal::SYS.bit(),
    );

    /// Whether `sig` is a member.
    #[inline]
    pub const fn has(self, sig: Signal) -> bool {
        self.0 & sig.bit() != 0
    }
    /// The set with `sig` added.
    #[inline]
    pub const fn with(self, sig: Signal) -> SigSet {
        SigSet(self.0 | sig.bit())
    }
    /// The set with `sig` removed.
    #[inline]
    pub const fn without(self, sig: Signal) -> SigSet {
        SigSet(self.0 & !sig.bit())
    }
    /// Members of either.
    #[inline]
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }
    /// Members of both.
    #[inline]
    pub const fn intersect(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }
    /// Members of this but not of `other`.
    #[inline]
    pub const fn minus(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }
    /// No member.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The member with the lowest number.
    #[inline]
    pub const fn first(self) -> Option<Signal> {
        if self.0 == 0 { None } else { Some(Signal(self.0.trailing_zeros() as u8 + 1)) }
    }
}

/// `sa_handler`: default action.
pub const SIG_DFL: u64 = 0;
/// `sa_handler`: ignore.
pub const SIG_IGN: u64 = 1;

bitflags::bitflags! {
    /// `sa_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SaFlags: u64 {
        /// No SIGCHLD when children stop.
        const NOCLDSTOP = 1;
        /// Children do not become zombies.
        const NOCLDWAIT = 2;
        /// The handler takes three arguments.
        const SIGINFO = 4;
        /// Probe: always cleared in the stored flags.
        const UNSUPPORTED = 0x400;
        /// Keep the tag bits in `si_addr`.
        const EXPOSE_TAGBITS = 0x800;
        /// The kernel's own: the action is final, nobody may change it or hear of the signal before it acts.
        const IMMUTABLE = 0x0080_0000;
        /// `sa_restorer` is set.
        const RESTORER = 0x0400_0000;
        /// Run on the alternate stack.
        const ONSTACK = 0x0800_0000;
        /// Restart interrupted calls.
        const RESTART = 0x1000_0000;
        /// Do not block the signal while it is handled.
        const NODEFER = 0x4000_0000;
        /// Back to the default action on delivery.
        const RESETHAND = 0x8000_0000;
    }
}

/// `struct sigaction` as rt_sigaction(2) takes it on x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigAction {
    /// Handler address, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: u64,
    /// [`SaFlags`], unknown bits already removed when stored.
    pub flags: u64,
    /// Return trampoline.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

impl SigAction {
    /// The flags as a typed word.
    #[inline]
    pub const fn flags(&self) -> SaFlags {
        SaFlags::from_bits_truncate(self.flags)
    }
}

/// `siginfo_t` without its unused tail: the kernel fills no more than these 48 of its 128 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigInfo {
    /// `si_signo`.
    pub signo: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// Alignment.
    pub pad: i32,
    /// The union, as four words; the constructors and accessors know the layouts.
    pub words: [u64; 4],
}

/// Bytes of `siginfo_t` in user space.
pub const SIGINFO_SIZE: usize = 128;

/// `si_code` values.
#[allow(missing_docs)]
pub mod si {
    pub const USER: i32 = 0;
    pub const KERNEL: i32 = 0x80;
    pub const QUEUE: i32 = -1;
    pub const TIMER: i32 = -2;
    pub const MESGQ: i32 = -3;
    pub const ASYNCIO: i32 = -4;
    pub const SIGIO: i32 = -5;
    pub const TKILL: i32 = -6;
    pub const DETHREAD: i32 = -7;
    pub const ASYNCNL: i32 = -60;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_INTOVF: i32 = 2;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTOVF: i32 = 4;
    pub const FPE_FLTUND: i32 = 5;
    pub const FPE_FLTRES: i32 = 6;
    pub const FPE_FLTINV: i32 = 7;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const SEGV_PKUERR: i32 = 4;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const BUS_OBJERR: i32 = 3;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const TRAP_BRANCH: i32 = 3;
    pub const TRAP_HWBKPT: i32 = 4;
    pub const SYS_SECCOMP: i32 = 1;
    pub const SYS_USER_DISPATCH: i32 = 2;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_TRAPPED: i32 = 4;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// `AUDIT_ARCH_X86_64` (`linux/audit.h`): how tracers and filters name this machine's calls.
pub const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// What the union of a `siginfo_t` holds, by signal and code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Pid and uid of the sender.
    Sender,
    /// A POSIX timer: number, overrun, value.
    Timer,
    /// A descriptor: band, number.
    Poll,
    /// An address.
    Fault,
    /// An address, and how many of its low bits say nothing (broken memory).
    Broken,
    /// A child: pid, uid, status, times.
    Child,
    /// Pid, uid and a value.
    Queued,
    /// A system call: its address, number and architecture.
    Call,
}

/// Codes that a signal has of its own, from 1.
const fn own_codes(signo: i32) -> i32 {
    match signo {
        4 => 11,
        8 => 15,
        11 => 10,
        7 => 5,
        5 | 17 | 29 => 6,
        31 => 2,
        _ => 0,
    }
}

/// Codes that any signal may have for a descriptor.
const POLL_CODES: i32 = 6;

impl SigInfo {
    /// What the union holds.
    pub const fn layout(&self) -> Layout {
        match self.code {
            si::TIMER => Layout::Timer,
            si::SIGIO => Layout::Poll,
            ..=-1 => Layout::Queued,
            1..si::KERNEL if self.code <= own_codes(self.signo) => match self.signo {
                17 => Layout::Child,
                29 => Layout::Poll,
                31 => Layout::Call,
                7 if self.code >= 4 => Layout::Broken,
                _ => Layout::Fault,
            },
            1..=POLL_CODES => Layout::Poll,
            _ => Layout::Sender,
        }
    }
    /// The code is one that the kernel uses: then there is nothing behind what [`SigInfo`] holds.
    pub const fn is_known(&self) -> bool {
        match self.code {
            si::USER | si::KERNEL | si::ASYNCNL | si::DETHREAD..=-1 => true,
            1.. => self.code <= if own_codes(self.signo) != 0 { own_codes(self.signo) } else { POLL_CODES },
            _ => false,
        }
    }
    const fn with(sig: Signal, code: i32, words: [u64; 4]) -> SigInfo {
        SigInfo { signo: sig.number() as i32, errno: 0, code, pad: 0, words }
    }
    /// Sent by the kernel itself.
    pub const fn kernel(sig: Signal) -> SigInfo {
        SigInfo::with(sig, si::KERNEL, [0; 4])
    }
    /// Sent by kill(2) (`SI_USER`) or tkill(2) (`SI_TKILL`).
    pub const fn user(sig: Signal, code: i32, pid: u32, uid: u32) -> SigInfo {
        SigInfo::with(sig, code, [pair(pid, uid), 0, 0, 0])
    }
    /// Sent with a value: by sigqueue(3), or for a message queue.
    pub const fn queued(sig: Signal, code: i32, pid: u32, uid: u32, value: u64) -> SigInfo {
        SigInfo::with(sig, code, [pair(pid, uid), value, 0, 0])
    }
    /// A child changed state.
    pub const fn child(sig: Signal, code: i32, pid: u32, uid: u32, status: i32, utime: u64, stime: u64) -> SigInfo {
        SigInfo::with(sig, code, [pair(pid, uid), status as u32 as u64, utime, stime])
    }
    /// A fault at `addr`.
    pub const fn fault(sig: Signal, code: i32, addr: u64) -> SigInfo {
        SigInfo::with(sig, code, [addr, 0, 0, 0])
    }
    /// A POSIX timer fired.
    pub const fn timer(sig: Signal, id: i32, overrun: i32, value: u64) -> SigInfo {
        SigInfo::with(sig, si::TIMER, [pair(id as u32, overrun as u32), value, 0, 0])
    }
    /// A system call was not carried out; `at` is where it was made.
    pub const fn syscall(code: i32, at: u64, number: i32) -> SigInfo {
        SigInfo::with(Signal::SYS, code, [at, pair(number as u32, AUDIT_ARCH_X86_64), 0, 0])
    }
    /// I/O is possible on `fd`.
    pub const fn poll(sig: Signal, code: i32, band: u64, fd: i32) -> SigInfo {
        SigInfo::with(sig, code, [band, fd as u32 as u64, 0, 0])
    }
    /// The same with another `si_pid`.
    pub const fn with_pid(mut self, pid: u32) -> SigInfo {
        self.words[0] = pair(pid, self.uid());
        self
    }
    /// It names the user of a process: not a signal of the kernel itself, of a timer, a fault or a descriptor.
    pub const fn names_user(&self) -> bool {
        matches!(self.code, si::USER | si::QUEUE | si::TKILL | si::MESGQ)
            || self.signo == Signal::CHLD.number() as i32 && self.code > 0 && self.code <= 6
    }
    /// The same with another `si_uid`.
    pub const fn with_uid(mut self, uid: u32) -> SigInfo {
        self.words[0] = pair(self.words[0] as u32, uid);
        self
    }
    /// `si_pid`.
    pub const fn pid(&self) -> u32 {
        self.words[0] as u32
    }
    /// `si_uid`.
    pub const fn uid(&self) -> u32 {
        (self.words[0] >> 32) as u32
    }
    /// `si_value`.
    pub const fn value(&self) -> u64 {
        self.words[1]
    }
    /// `si_addr`.
    pub const fn addr(&self) -> u64 {
        self.words[0]
    }
    /// `si_status`.
    pub const fn status(&self) -> i32 {
        self.words[1] as u32 as i32
    }
}

/// `stack_t`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackT {
    /// Lowest address.
    pub sp: u64,
    /// `SS_*`.
    pub flags: i32,
    /// Alignment.
    pub pad: i32,
    /// Bytes.
    pub size: u64,
}

/// `ss_flags`: running on the alternate stack.
pub const SS_ONSTACK: i32 = 1;
/// `ss_flags`: no alternate stack.
pub const SS_DISABLE: i32 = 2;
/// `ss_flags`: disarmed while a handler runs on it.
pub const SS_AUTODISARM: i32 = 1 << 31;
/// Smallest alternate stack sigaltstack(2) takes.
pub const MINSIGSTKSZ: u64 = 2048;

/// `struct sigcontext` of x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SigContext {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub eflags: u64,
    pub cs: u16,
    pub gs: u16,
    pub fs: u16,
    pub ss: u16,
    pub err: u64,
    pub trapno: u64,
    pub oldmask: u64,
    pub cr2: u64,
    /// Address of the extended state, 0 if there is none.
    pub fpstate: u64,
    pub reserved: [u64; 8],
}

/// `uc_flags`: the frame holds extended state in XSAVE form.
pub const UC_FP_XSTATE: u64 = 1;
/// `uc_flags`: `ss` in the context is valid.
pub const UC_SIGCONTEXT_SS: u64 = 2;
/// `uc_flags`: `ss` is to be restored as it is.
pub const UC_STRICT_RESTORE_SS: u64 = 4;

/// `struct ucontext` as the kernel writes it (its signal set is 8 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct UContext {
    pub flags: u64,
    pub link: u64,
    pub stack: StackT,
    pub mcontext: SigContext,
    pub sigmask: SigSet,
}

/// `struct rt_sigframe`: what the handler's stack pointer points at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RtSigFrame {
    /// Return address: `sa_restorer`.
    pub pretcode: u64,
    /// Third argument.
    pub uc: UContext,
    /// Second argument: the filled part of `siginfo_t`.
    pub info: SigInfo,
    /// The rest of `siginfo_t`.
    pub info_tail: [u64; (SIGINFO_SIZE - size_of::<SigInfo>()) / 8],
}

const _: () = assert!(size_of::<SigContext>() == 256 && size_of::<UContext>() == 304);
const _: () = assert!(size_of::<RtSigFrame>() == 440 && size_of::<SigInfo>() == 48);

/// `how` of rt_sigprocmask(2).
#[allow(missing_docs)]
pub mod how {
    pub const BLOCK: i32 = 0;
    pub const UNBLOCK: i32 = 1;
    pub const SETMASK: i32 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_1_to_64_are_no_signals() {
        assert_eq!(Signal::from_raw(0), None);
        assert_eq!(Signal::from_raw(65), None);
        assert_eq!(Signal::from_raw(64).map(Signal::bit), Some(1 << 63));
    }

    #[test]
    fn sets_give_their_lowest_member_first() {
        let set = SigSet::EMPTY.with(Signal::TERM).with(Signal::HUP);
        assert_eq!(set.first(), Some(Signal::HUP));
        assert_eq!(set.without(Signal::HUP).first(), Some(Signal::TERM));
        assert_eq!(SigSet::EMPTY.first(), None);
    }
}
