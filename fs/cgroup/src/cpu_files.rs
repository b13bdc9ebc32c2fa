//! CPU time.

use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use machine::cpu::CpuId;
use task::cgroup::Cgroup;
use task::cgroup::usage::{Usage, usage};

type Done = Result<(), Errno>;

/// `cpu.stat`.
pub fn stat(group: &Arc<Cgroup>, out: &mut String) -> Done {
    let used = if group.is_root() { whole_machine() } else { usage(group) };
    let us = |ns: u64| ns / 1000;
    writeln!(out, "usage_usec {}", us(used.user_ns + used.system_ns)).map_err(|_| Errno::ENOMEM)?;
    writeln!(out, "user_usec {}", us(used.user_ns)).map_err(|_| Errno::ENOMEM)?;
    writeln!(out, "system_usec {}", us(used.system_ns)).map_err(|_| Errno::ENOMEM)?;
    writeln!(out, "nice_usec {}", us(used.nice_ns)).map_err(|_| Errno::ENOMEM)
}

/// The root's time is that of the machine.
fn whole_machine() -> Usage {
    let mut sum = Usage::default();
    for cpu in 0..machine::cpu::count() {
        if let Some(stats) = sched::cpu_stats(CpuId(cpu as u32)) {
            sum.user_ns += stats.user_ns;
            sum.system_ns += stats.system_ns;
        }
    }
    sum
}
