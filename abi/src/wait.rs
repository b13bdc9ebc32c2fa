//! wait4(2) and waitid(2): options, id types, status words. Source: `linux/wait.h`.

bitflags::bitflags! {
    /// Options of wait4(2) and waitid(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct WaitOptions: u32 {
        /// Do not block.
        const NOHANG = 1;
        /// Report stopped children (`WUNTRACED` of wait4).
        const STOPPED = 2;
        /// Report exited children.
        const EXITED = 4;
        /// Report continued children.
        const CONTINUED = 8;
        /// Leave the child waitable.
        const NOWAIT = 0x0100_0000;
        /// Only children of the calling thread.
        const NOTHREAD = 0x2000_0000;
        /// Children of any exit signal.
        const ALL = 0x4000_0000;
        /// Only children whose exit signal is not SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

/// `idtype_t` of waitid(2).
#[allow(missing_docs)]
pub mod id_type {
    pub const ALL: i32 = 0;
    pub const PID: i32 = 1;
    pub const PGID: i32 = 2;
    pub const PIDFD: i32 = 3;
}

/// Status word of a normal exit.
pub const fn exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// Status word of a stopped child.
pub const fn stopped(signal: u8) -> i32 {
    (signal as i32) << 8 | 0x7f
}

/// Status word of a tracee in a stop; the code is a signal and above it an event.
pub const fn stopped_by(code: i32) -> i32 {
    code << 8 | 0x7f
}

/// Status word of a continued child.
pub const CONTINUED: i32 = 0xffff;
