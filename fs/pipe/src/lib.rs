//! Pipes and FIFOs (pipe(7), fifo(7), pipe(2), fcntl(2) F_SETPIPE_SZ).
//!
//! [`Pipe`] moves bytes between programs through whole page frames, one copy in and one out; [`PipeEnd`] is an open file of
//! one. FIFOs share a [`Pipe`] attached to their inode.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod buffers;
mod end;
mod pipe;
#[cfg(test)]
mod tests;

pub use end::{PipeEnd, create};
pub use pipe::{MAX_SIZE, Pipe};

/// Makes FIFOs openable. Called once at boot.
pub fn init() {
    vfs::devices::register_fifo(end::open_fifo);
}
