//! The command line.

use crate::fail::Result;
use crate::{bench, doctor, image, lint, oracle, run, test};
use clap::{Parser, Subcommand};

/// Runs Linux programs on the Ochre kernel in a virtual machine; builds, tests and measures it.
#[derive(Debug, Parser)]
#[command(name = "x", disable_version_flag = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a command of this machine (or of another root file system) in a guest
    Run(Box<run::Options>),
    /// Build the kernel image; its path is the last line printed
    Build,
    /// Test: units on the host, then real programs in guests
    Test(test::Options),
    /// Check formatting, clippy for host and bare metal, floors, unsafe code
    Lint,
    /// Format the sources
    Fmt,
    /// Say what this machine has of what is needed, and what would be installed
    Doctor,
    /// The real Linux to compare with
    #[command(subcommand)]
    Oracle(oracle::Action),
    /// Measure in guest instructions, beside Linux
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Does what was asked; the exit status.
pub fn dispatch(cli: Cli) -> Result<u8> {
    match cli.command {
        Action::Run(options) => run::run(&options),
        Action::Test(options) => test::run(&options),
        Action::Lint => lint::run(),
        Action::Fmt => lint::format(),
        Action::Doctor => Ok(doctor::run()),
        Action::Oracle(action) => oracle::run(&action),
        Action::Build => {
            let images = image::ensure(true)?;
            println!("{}", images.kernel.display());
            Ok(0)
        }
        Action::Bench(what) => bench::run(&what),
    }
}
