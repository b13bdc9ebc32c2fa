//! CPU time: what was used, and the files of the cpu controller.

use crate::file::Opened;
use crate::parse;
use crate::pids_files::line;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use machine::cpu::CpuId;
use sched::GroupStat;
use task::cgroup::Cgroup;
use task::cgroup::cpu::Max;
use task::cgroup::usage::nice_ns;

type Done = Result<(), Errno>;

fn oom(_: core::fmt::Error) -> Errno {
    Errno::ENOMEM
}

/// `cpu.stat`.
pub fn stat(group: &Arc<Cgroup>, out: &mut String) -> Done {
    let (used, nice) = match group.cpu_stat() {
        Some(used) => (used, nice_ns(group).min(used.user_ns)),
        None => (whole_machine(), 0),
    };
    let rows = [
        ("usage_usec", used.usage_ns / 1000),
        ("user_usec", used.user_ns / 1000),
        ("system_usec", used.usage_ns.saturating_sub(used.user_ns) / 1000),
        ("nice_usec", nice / 1000),
        ("nr_periods", used.periods),
        ("nr_throttled", used.throttled),
        ("throttled_usec", used.throttled_ns / 1000),
        ("nr_bursts", used.bursts),
        ("burst_usec", used.burst_ns / 1000),
    ];
    // The last five are the controller's.
    let shown = if group.has_cpu() { rows.len() } else { 4 };
    rows.iter().take(shown).try_for_each(|(name, value)| writeln!(out, "{name} {value}").map_err(oom))
}

/// The root's time is that of the machine.
fn whole_machine() -> GroupStat {
    let mut sum = GroupStat::default();
    for cpu in 0..machine::cpu::count() {
        if let Some(stats) = sched::cpu_stats(CpuId(cpu as u32)) {
            sum.user_ns += stats.user_ns;
            sum.usage_ns += stats.user_ns + stats.system_ns;
        }
    }
    sum
}

/// `cpu.stat.local`.
pub fn stat_local(group: &Arc<Cgroup>, out: &mut String) -> Done {
    if !group.has_cpu() {
        return Ok(());
    }
    writeln!(out, "throttled_usec {}", group.cpu_stat().map_or(0, |s| s.throttled_ns / 1000)).map_err(oom)
}

/// `cpu.weight`.
pub fn weight(group: &Arc<Cgroup>, out: &mut String) -> Done {
    line(out, group.cpu_weight())
}

/// Writing `cpu.weight`.
pub fn set_weight(file: &Opened, input: &[u8]) -> Done {
    file.group().set_cpu_weight(parse::unsigned(input)?)
}

/// `cpu.weight.nice`.
pub fn weight_nice(group: &Arc<Cgroup>, out: &mut String) -> Done {
    writeln!(out, "{}", group.cpu_weight_nice()).map_err(oom)
}

/// Writing `cpu.weight.nice`.
pub fn set_weight_nice(file: &Opened, input: &[u8]) -> Done {
    file.group().set_cpu_weight_nice(parse::number(input)?)
}

/// `cpu.idle`.
pub fn idle(group: &Arc<Cgroup>, out: &mut String) -> Done {
    line(out, group.cpu_idle().into())
}

/// Writing `cpu.idle`.
pub fn set_idle(file: &Opened, input: &[u8]) -> Done {
    match parse::number(input)? {
        on @ 0..=1 => file.group().set_cpu_idle(on == 1),
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// `cpu.max`.
pub fn max(group: &Arc<Cgroup>, out: &mut String) -> Done {
    let max = group.cpu_max();
    match max.quota_us {
        Some(quota) => write!(out, "{quota}").map_err(oom)?,
        None => out.push_str("max"),
    }
    writeln!(out, " {}", max.period_us).map_err(oom)
}

/// Writing `cpu.max`: a quota or `max`, and the period if it is to change.
pub fn set_max(file: &Opened, input: &[u8]) -> Done {
    let (quota_us, period_us) = parse::max(input)?;
    let now = file.group().cpu_max();
    file.group().set_cpu_max(Max { quota_us, period_us: period_us.unwrap_or(now.period_us), ..now })
}

/// `cpu.max.burst`.
pub fn burst(group: &Arc<Cgroup>, out: &mut String) -> Done {
    line(out, group.cpu_max().burst_us)
}

/// Writing `cpu.max.burst`.
pub fn set_burst(file: &Opened, input: &[u8]) -> Done {
    let burst_us = parse::unsigned(input)?;
    file.group().set_cpu_max(Max { burst_us, ..file.group().cpu_max() })
}
