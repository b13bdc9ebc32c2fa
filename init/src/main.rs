//! `ochre-init`: the first process of a guest started by `./x run`.
//!
//! It is a static program without a C library that runs on Ochre and on real Linux alike. Life of
//! a guest, in the order of the modules:
//!
//! 1. [`params`]: read what to run from `/ochre.params`, which the host put into the initramfs;
//! 2. [`modules`]: load the kernel modules the host packed (a real Linux needs some; Ochre none);
//! 3. [`ports`]: open the virtio-console ports that lead to the host;
//! 4. [`mounts`]: put together the root file system and move into it;
//! 5. [`command`]: start the command with its ids, directory, environment and standard streams;
//! 6. [`pump`]: a second process carries bytes between the command and the ports;
//! 7. process 1 itself only reaps children, hands the command's status to the pump and, when the
//!    pump has delivered everything, powers the machine off.
//!
//! Two processes instead of one with signal handlers: each blocks in exactly one place
//! (`wait4` here, `poll` there), so nothing can be missed between them.
//!
//! `unsafe` is confined to [`sys`], which is the program's whole C-library-free system layer.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;

mod command;
mod modules;
mod mounts;
mod params;
mod ports;
mod pump;
mod sys;

use alloc::format;
use alloc::string::String;
use params::Params;
use ports::Ports;
use sys::{Errno, Fd};

/// Why the guest could not be set up: one line for the host to print.
pub struct Failure(String);

impl Failure {
    fn new(what: &str, errno: Errno) -> Self {
        Failure(format!("{what}: error {}", errno.0))
    }
}

/// What the program does from its first instruction on; it ends with the machine.
fn init() -> ! {
    let mut control = None;
    if let Err(Failure(reason)) = guest(&mut control) {
        let line = format!("F {reason}\n");
        match &control {
            Some(port) => {
                let _ = sys::write_all(port, line.as_bytes());
                // The host answers; without its answer the line could be lost with the machine.
                let mut answer = [0u8; 64];
                let _ = sys::read(port, &mut answer);
            }
            None => {
                if let Ok(console) = sys::open(c"/dev/console", sys::O_RDWR, 0) {
                    let _ = sys::write_all(&console, b"ochre-init: ");
                    let _ = sys::write_all(&console, line.as_bytes());
                }
            }
        }
    }
    sys::power_off()
}

/// Sets the guest up, runs the command and returns when the pump has delivered its last byte.
fn guest(control: &mut Option<Fd>) -> Result<(), Failure> {
    mounts::early();
    let params = Params::read(c"/ochre.params")?;
    modules::load(&params)?;
    let Ports { control: port, stdin, stdout, stderr, tty } = ports::open(&params)?;
    *control = Some(port);
    mounts::root(&params)?;
    let (pid, streams) = command::start(&params)?;

    let (status_read, status_write) = sys::pipe().map_err(|e| Failure::new("pipe", e))?;
    match sys::fork().map_err(|e| Failure::new("fork", e))? {
        0 => {
            drop(status_write);
            let Some(control) = control.take() else { sys::exit(1) };
            let host = pump::HostPorts { control, stdin, stdout, stderr, tty };
            pump::run(host, streams, status_read, pid);
            sys::exit(0)
        }
        pump => {
            drop((control.take(), streams, stdin, stdout, stderr, tty, status_read));
            reap(pid, pump, &status_write);
        }
    }
    Ok(())
}

/// Waits for every child, orphans included, until the pump is done.
fn reap(command: i32, pump: i32, status: &Fd) {
    loop {
        match sys::wait() {
            Ok((pid, code)) if pid == command => {
                let _ = sys::write_all(status, &code.to_le_bytes());
            }
            Ok((pid, _)) if pid == pump => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// On a host target this crate is only checked and unit-tested, never run.
#[cfg(not(target_os = "none"))]
fn main() {
    let _ = init as fn() -> !;
}
