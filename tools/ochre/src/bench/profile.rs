//! A sampling profile of a kbench test: QEMU's monitor is asked for the instruction pointer again and again while the guest runs. Under
//! `-icount` host time is nearly proportional to guest instructions, so the shares are shares of instructions.

use super::kbench::{Guest, compile, pack};
use crate::fail::{Context, Result, fail};
use crate::symbols::Symbols;
use crate::{image, qemu, workspace};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Samples `only` and prints the functions with the most samples.
pub fn run(only: &str, top: usize) -> Result<u8> {
    let bench = workspace::root().join("bench");
    let (qemu, kernel) = (qemu::ensure()?, image::ensure(true)?.kernel);
    let initrd = pack(&compile(&bench.join("kbench.c"))?)?;
    let socket = workspace::state().join("monitor.sock");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let options = format!("clock:tsc,settle:0,scale:50,only:{only}");
    let guest = Guest::start(&qemu, &kernel, &initrd, &options, 512, &["-monitor", &monitor])?;
    while !matches!(guest.line(Duration::from_secs(30)), Ok(Some(line)) if line.starts_with("# clocksource") || line.starts_with("boot.PageTables"))
    {
    }
    let mut samples = sample(&guest, UnixStream::connect(&socket).context("QEMU's monitor")?)?;
    let total: u32 = samples.values().sum();
    if total == 0 {
        return fail("the test ended before a sample was taken");
    }
    let symbols = Symbols::load(&kernel);
    let mut functions: BTreeMap<String, u32> = BTreeMap::new();
    while let Some((address, count)) = samples.pop_first() {
        let name = match address >> 47 {
            0 => "(user)".to_owned(),
            _ => symbols.function(address).unwrap_or_else(|| format!("{address:#x}")),
        };
        *functions.entry(name).or_default() += count;
    }
    let mut order: Vec<_> = functions.into_iter().collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    println!("{total} samples of {only}");
    for (name, count) in order.into_iter().take(top) {
        println!("{:6.2} %  {name}", 100.0 * f64::from(count) / f64::from(total));
    }
    Ok(0)
}

/// Asks until kbench says it is done.
fn sample(guest: &Guest, mut monitor: UnixStream) -> Result<BTreeMap<u64, u32>> {
    let mut replies = BufReader::new(monitor.try_clone().context("monitor")?);
    let mut samples = BTreeMap::new();
    loop {
        match guest.line(Duration::from_millis(1)) {
            Ok(Some(line)) if line.starts_with("# done") => return Ok(samples),
            Err(()) => return Ok(samples),
            _ => {}
        }
        monitor.write_all(b"info registers\n").context("monitor")?;
        let mut line = String::new();
        while replies.read_line(&mut line).context("monitor")? > 0 {
            if let Some(rip) = line.split("RIP=").nth(1).and_then(|r| r.split_whitespace().next()) {
                *samples.entry(u64::from_str_radix(rip, 16).unwrap_or(0)).or_default() += 1;
                break;
            }
            line.clear();
        }
    }
}
