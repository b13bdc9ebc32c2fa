//! What user space sees: system-call numbers, errno values, flag words and `#[repr(C)]` structures of the
//! Linux x86-64 ABI. No logic lives here; each module follows one UAPI header, named in its head comment.
#![no_std]
#![forbid(unsafe_code)]

pub mod auxv;
pub mod errno;
pub mod fcntl;
pub mod futex;
pub mod inotify;
pub mod ipc;
pub mod kcmp;
pub mod mman;
pub mod mount;
pub mod personality;
pub mod pidfd;
pub mod poll;
pub mod prctl;
pub mod ptrace;
pub mod resource;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod time;
pub mod timex;
pub mod tty;
pub mod uio;
pub mod wait;
pub mod x86;

pub use errno::Errno;
