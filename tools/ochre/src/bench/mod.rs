//! `./x bench`: guest instructions per kernel operation beside Linux's, and what booting costs.
//!
//! Guest time under `-icount shift=0` is the number of executed guest instructions, so the figures do not depend on the host's speed or
//! load. See `bench/README.md` for what each line measures and for the traps.

mod boot;
mod kbench;
mod plot;
mod profile;
mod table;

use crate::fail::Result;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// Run kbench and compare it with Linux: writes bench/results.md, bench/results.svg and bench/ochre.txt
    Kbench {
        /// Only tests whose names start so (joined by +); nothing is written to bench/
        #[arg(long)]
        only: Option<String>,
        /// Another kernel: its raw figures are printed
        #[arg(long)]
        kernel: Option<std::path::PathBuf>,
        /// Memory in MiB
        #[arg(long, default_value_t = 512)]
        mem: u32,
        /// Exit with failure when a judged line is worse than this ratio
        #[arg(long)]
        fail_above: Option<f64>,
    },
    /// Where the instructions of a test go, by kernel function (samples of the running guest)
    Profile {
        /// Tests whose names start so (joined by +)
        only: String,
        /// How many functions to show
        #[arg(long, default_value_t = 40)]
        top: usize,
    },
    /// Instructions from kernel entry to the first user instruction, and the least memory that boots to a shell
    Boot,
}

/// Runs a benchmark; the exit status.
pub fn run(bench: &Bench) -> Result<u8> {
    match bench {
        Bench::Kbench { only, kernel, mem, fail_above } => {
            kbench::run(only.as_deref(), kernel.as_deref(), *mem, *fail_above)
        }
        Bench::Profile { only, top } => profile::run(only, *top),
        Bench::Boot => boot::run(),
    }
}
