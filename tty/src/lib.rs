//! Terminals: line discipline, job control, pseudoterminals, consoles, virtio console ports.
//!
//! [`Tty`] is one terminal: settings, the line discipline ([`ldisc`], pure state), who it controls ([`jobs`]), waiting. Its input comes
//! from a device driver or a pty master ([`pty`]), its output goes there. [`TtyFile`] is an open terminal, [`control`] its
//! ioctls.
//! Sources: termios(3), tty_ioctl(4), ioctl_tty(2), pty(7), POSIX.1-2017 chapter 11.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod console;
mod control;
mod file;
mod io;
pub mod jobs;
pub mod ldisc;
pub mod pty;
mod receive;
pub mod termios;
mod tty;
mod virtio;

pub use control::LEGACY_TIOCSTI;
pub use file::TtyFile;
pub use tty::{Driver, Name, Tty};

/// Sets up the serial line, the console devices and the virtio console ports. Called once at boot.
pub fn init() -> Result<(), abi::Errno> {
    console::init()?;
    virtio::init();
    Ok(())
}
