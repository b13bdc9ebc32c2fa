//! Tracing: requests and options of ptrace(2), events, `struct user_regs_struct` and the other structures. Sources:
//! `linux/ptrace.h`, `asm/ptrace-abi.h`, `sys/user.h`, `linux/elf.h`, ptrace(2).
#![allow(missing_docs)] // names are those of the headers above

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const PTRACE_TRACEME: i64 = 0;
pub const PTRACE_PEEKTEXT: i64 = 1;
pub const PTRACE_PEEKDATA: i64 = 2;
pub const PTRACE_PEEKUSR: i64 = 3;
pub const PTRACE_POKETEXT: i64 = 4;
pub const PTRACE_POKEDATA: i64 = 5;
pub const PTRACE_POKEUSR: i64 = 6;
pub const PTRACE_CONT: i64 = 7;
pub const PTRACE_KILL: i64 = 8;
pub const PTRACE_SINGLESTEP: i64 = 9;
pub const PTRACE_GETREGS: i64 = 12;
pub const PTRACE_SETREGS: i64 = 13;
pub const PTRACE_GETFPREGS: i64 = 14;
pub const PTRACE_SETFPREGS: i64 = 15;
pub const PTRACE_ATTACH: i64 = 16;
pub const PTRACE_DETACH: i64 = 17;
pub const PTRACE_OLDSETOPTIONS: i64 = 21;
pub const PTRACE_SYSCALL: i64 = 24;
pub const PTRACE_ARCH_PRCTL: i64 = 30;
pub const PTRACE_SYSEMU: i64 = 31;
pub const PTRACE_SYSEMU_SINGLESTEP: i64 = 32;
pub const PTRACE_SINGLEBLOCK: i64 = 33;
pub const PTRACE_SETOPTIONS: i64 = 0x4200;
pub const PTRACE_GETEVENTMSG: i64 = 0x4201;
pub const PTRACE_GETSIGINFO: i64 = 0x4202;
pub const PTRACE_SETSIGINFO: i64 = 0x4203;
pub const PTRACE_GETREGSET: i64 = 0x4204;
pub const PTRACE_SETREGSET: i64 = 0x4205;
pub const PTRACE_SEIZE: i64 = 0x4206;
pub const PTRACE_INTERRUPT: i64 = 0x4207;
pub const PTRACE_LISTEN: i64 = 0x4208;
pub const PTRACE_PEEKSIGINFO: i64 = 0x4209;
pub const PTRACE_GETSIGMASK: i64 = 0x420a;
pub const PTRACE_SETSIGMASK: i64 = 0x420b;
pub const PTRACE_SECCOMP_GET_FILTER: i64 = 0x420c;
pub const PTRACE_SECCOMP_GET_METADATA: i64 = 0x420d;
pub const PTRACE_GET_SYSCALL_INFO: i64 = 0x420e;
pub const PTRACE_GET_RSEQ_CONFIGURATION: i64 = 0x420f;
pub const PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG: i64 = 0x4210;
pub const PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: i64 = 0x4211;
pub const PTRACE_SET_SYSCALL_INFO: i64 = 0x4212;

bitflags::bitflags! {
    /// `PTRACE_O_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Options: u64 {
        const TRACESYSGOOD = 1;
        const TRACEFORK = 1 << 1;
        const TRACEVFORK = 1 << 2;
        const TRACECLONE = 1 << 3;
        const TRACEEXEC = 1 << 4;
        const TRACEVFORKDONE = 1 << 5;
        const TRACEEXIT = 1 << 6;
        const TRACESECCOMP = 1 << 7;
        const EXITKILL = 1 << 20;
        const SUSPEND_SECCOMP = 1 << 21;
    }
}

/// `PTRACE_EVENT_*` that an option of the same number turns on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Event {
    Fork = 1,
    Vfork = 2,
    Clone = 3,
    Exec = 4,
    VforkDone = 5,
    Exit = 6,
    Seccomp = 7,
}

/// `PTRACE_EVENT_STOP`.
pub const EVENT_STOP: i32 = 128;
/// `PTRACE_EVENTMSG_SYSCALL_ENTRY`.
pub const EVENTMSG_SYSCALL_ENTRY: u64 = 1;
/// `PTRACE_EVENTMSG_SYSCALL_EXIT`.
pub const EVENTMSG_SYSCALL_EXIT: u64 = 2;
/// `PTRACE_PEEKSIGINFO_SHARED`.
pub const PEEKSIGINFO_SHARED: u32 = 1;

/// `struct user_regs_struct`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UserRegs {
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
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// Bytes of `struct user`, and where it has the debug registers.
pub const USER_SIZE: u64 = 912;
pub const USER_DEBUGREG: u64 = 848;

const _: () = assert!(size_of::<UserRegs>() == 27 * 8);

/// Register sets of PTRACE_GETREGSET and of core dumps.
pub const NT_PRSTATUS: u64 = 1;
pub const NT_PRFPREG: u64 = 2;
pub const NT_X86_XSTATE: u64 = 0x202;

/// `struct ptrace_syscall_info` with its union as words.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SyscallInfo {
    pub op: u8,
    pub reserved: u8,
    pub flags: u16,
    pub arch: u32,
    pub instruction_pointer: u64,
    pub stack_pointer: u64,
    /// entry and seccomp: number, six arguments, `ret_data`; exit: result, `is_error` in the low byte.
    pub words: [u64; 8],
}

pub const SYSCALL_INFO_NONE: u8 = 0;
pub const SYSCALL_INFO_ENTRY: u8 = 1;
pub const SYSCALL_INFO_EXIT: u8 = 2;
pub const SYSCALL_INFO_SECCOMP: u8 = 3;

const _: () = assert!(size_of::<SyscallInfo>() == 88);

/// `struct ptrace_peeksiginfo_args`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PeekSigInfo {
    pub off: u64,
    pub flags: u32,
    pub nr: i32,
}

/// `struct ptrace_rseq_configuration`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RseqConfiguration {
    pub pointer: u64,
    pub size: u32,
    pub signature: u32,
    pub flags: u32,
    pub pad: u32,
}

/// `struct ptrace_sud_config`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SudConfig {
    pub mode: u64,
    pub selector: u64,
    pub offset: u64,
    pub len: u64,
}
