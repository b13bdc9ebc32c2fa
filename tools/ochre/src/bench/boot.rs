//! What booting costs: guest instructions from kernel entry to the first user instruction, and the least memory that reaches a shell.

use crate::fail::{Context, Result, fail};
use crate::workspace;
use std::process::{Command, Output};

/// The kernel's own message, printed when it enters user mode for the first time.
const MESSAGE: &str = "instructions-from-entry=";

/// Measures both and prints them.
pub fn run() -> Result<u8> {
    let counted = shell(&["--icount", "-v"])?;
    let log = String::from_utf8_lossy(&counted.stderr);
    let Some(count) = log.split(MESSAGE).nth(1).and_then(|rest| rest.split_whitespace().next()) else {
        return fail("the kernel printed no boot count: look at `./x run --icount -v -- true`");
    };
    println!("boot.instructions {count}");
    // Sizes in MiB: `low` is known to fail, `high` to work.
    let (mut low, mut high) = (4, 64);
    if !boots(high)? {
        return fail("does not boot to a shell in 64 MiB");
    }
    while high - low > 1 {
        let middle = (low + high) / 2;
        if boots(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    println!("boot.least_memory {high} MiB");
    Ok(0)
}

fn boots(mib: u32) -> Result<bool> {
    let out = shell(&["--mem", &format!("{mib}M"), "--timeout", "30"])?;
    Ok(out.status.success() && out.stdout == b"shell\n")
}

fn shell(options: &[&str]) -> Result<Output> {
    let x = workspace::root().join("x");
    Command::new(x).arg("run").args(options).args(["--", "sh", "-c", "echo shell"]).output().context("./x run")
}
