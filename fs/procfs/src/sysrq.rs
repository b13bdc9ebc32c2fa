//! /proc/sysrq-trigger: what an administrator may ask of the kernel by one letter (Linux `admin-guide/sysrq.rst`).

use abi::Errno;
use machine::{kinfo, log, power};

/// Writing the file: the first letter counts; after `_` all do.
pub fn trigger(input: &[u8]) -> Result<(), Errno> {
    match input {
        [b'_', all @ ..] => all.iter().for_each(|key| carry_out(*key)),
        [key, ..] => carry_out(*key),
        [] => {}
    }
    Ok(())
}

fn carry_out(key: u8) {
    match key {
        b'b' => power::reboot(),
        // What this is for: to see how the machine goes down.
        b'c' => machine::oops::die(format_args!("sysrq triggered crash")),
        b'o' => power::off(),
        b'0'..=b'9' => log::set_console_level(key - b'0'),
        b'\n' => {}
        _ => kinfo!("sysrq: HELP : loglevel(0-9) reboot(b) crash(c) poweroff(o)"),
    }
}
