//! System calls by family: each is one function that takes the caller's [`task::Cx`] and typed arguments, checks them in
//! Linux's order, and hands over to the subsystem that does the work. The table in the kernel crate names them all.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod at;
pub mod attr;
pub mod barrier;
pub mod cred;
pub mod dir;
pub mod event;
pub mod exec;
pub mod file;
pub mod futex;
pub mod handle;
pub mod inotify;
pub mod io;
pub mod ipc;
pub mod kcmp;
mod lock;
pub mod mem;
pub mod misc;
pub mod mount;
pub mod ns;
pub mod path;
pub mod pidfd;
pub mod pipe;
pub mod prctl;
mod prctl_mm;
pub mod process;
pub mod ptrace;
pub mod remote;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod stat;
mod support;
pub mod syslog;
pub mod time;
pub mod x86;
pub mod xattr;
