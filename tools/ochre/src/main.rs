//! `ochre`: the host command behind `./x`.
//!
//! One module a duty: [`image`] builds the kernel and the guest's first process, [`toolchain`] and
//! [`qemu`] make sure of what that needs, [`initramfs`] packs the guest's boot archive, [`vm`]
//! writes QEMU's command line, [`session`] carries bytes and messages between this process and the
//! guest, [`run`] puts them together. Errors are one line: what was wrong, and what to do.
#![forbid(unsafe_code)]

mod apt;
mod bench;
mod cli;
mod conformance;
mod cpio;
mod doctor;
mod environment;
mod fail;
mod image;
mod initramfs;
mod kmod;
mod lint;
mod linux;
mod oracle;
mod progress;
mod qemu;
mod rootfs;
mod run;
mod serial;
mod session;
mod symbols;
mod terminal;
mod test;
mod toolchain;
mod unpack;
mod vm;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::dispatch(cli::Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("ochre: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
