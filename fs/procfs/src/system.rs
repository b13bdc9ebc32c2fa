//! Files about the machine as a whole: proc_meminfo(5), proc_stat(5), proc_cpuinfo(5) and their neighbours.
//!
//! Only what the kernel really counts is shown; a line that Linux has and this kernel does not know about is left out, except
//! in files with fixed columns, where it is 0.

use crate::interrupts;
use crate::text::Text;
use abi::Errno;
use alloc::format;
use machine::cpu::{self, CpuId};
use mm::frames;
use sched::{cpu_stats, load_average};
use task::ns::{UtsNamespace, uts};
use task::tree;

type Shown = Result<(), Errno>;

/// Nanoseconds in a tick of user space's clock.
const TICK_NS: u64 = 10_000_000;
/// Bits after the point of load averages.
const LOAD_SHIFT: u32 = sched::load::LOAD_SHIFT;

fn pages_to_kib(pages: u64) -> u64 {
    pages * 4
}

fn online() -> impl Iterator<Item = (CpuId, sched::load::CpuStats)> {
    (0..cpu::count() as u32).filter_map(|i| Some((CpuId(i), cpu_stats(CpuId(i))?)))
}

/// /proc/meminfo.
pub fn meminfo(out: &mut Text) -> Shown {
    let s = frames::stats();
    let (heap, stacks, tables) = machine::mem::kernel_pages();
    let file_cache = s.cached.saturating_sub(s.shmem);
    let lines: [(&str, u64); 22] = [
        ("MemTotal", s.total),
        ("MemFree", s.free),
        ("MemAvailable", s.free + file_cache),
        ("Buffers", 0),
        ("Cached", s.cached),
        ("SwapCached", 0),
        ("Active", s.anon + file_cache),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", s.dirty),
        ("Writeback", 0),
        ("AnonPages", s.anon),
        ("Mapped", 0),
        ("Shmem", s.shmem),
        ("KReclaimable", 0),
        ("Slab", u64::from(heap)),
        ("SReclaimable", 0),
        ("SUnreclaim", u64::from(heap)),
        ("KernelStack", u64::from(stacks)),
        ("PageTables", u64::from(tables)),
        ("CommitLimit", s.commit_limit),
    ];
    for (name, pages) in lines {
        line(out, name, pages_to_kib(pages));
    }
    line(out, "Committed_AS", pages_to_kib(s.committed));
    line(out, "VmallocTotal", 34_359_738_367);
    line(out, "VmallocUsed", 0);
    line(out, "VmallocChunk", 0);
    out.str("HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n");
    line(out, "Hugepagesize", 2048);
    line(out, "Hugetlb", 0);
    Ok(())
}

/// /proc/slabinfo (slabinfo(5)): the heap's size classes. Objects in a CPU's cache of free ones count as active.
pub fn slabinfo(out: &mut Text) -> Shown {
    const PAGE: u64 = 4096;
    out.str("slabinfo - version: 2.1\n");
    out.str("# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>");
    out.str(" : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
    for (size, active, slabs) in (0..).map_while(machine::mem::heap_class) {
        let each = PAGE / u64::from(size);
        let name = format!("kmalloc-{size}");
        let total = slabs * each;
        out.str(&format!("{name:<17} {active:>6} {total:>6} {size:>6} {each:>4}    1"));
        out.str(&format!(" : tunables    0    0    0 : slabdata {slabs:>6} {slabs:>6}      0\n"));
    }
    Ok(())
}

/// `Name:` padded, a number of kB in eight columns.
fn line(out: &mut Text, name: &str, kib: u64) {
    out.str(name).ch(':').pad(' ', 15usize.saturating_sub(name.len())).dec_width(kib, 8).str(" kB\n");
}

/// /proc/stat.
pub fn stat(out: &mut Text) -> Shown {
    let (mut user, mut system, mut idle, mut switches) = (0, 0, 0, 0);
    for (_, s) in online() {
        user += s.user_ns;
        system += s.system_ns;
        idle += s.idle_ns;
        switches += s.switches;
    }
    let cpu_line = |out: &mut Text, [user, system, idle]: [u64; 3]| {
        out.dec(user / TICK_NS).str(" 0 ").dec(system / TICK_NS).ch(' ').dec(idle / TICK_NS).str(" 0 0 0 0 0 0\n");
    };
    out.str("cpu  ");
    cpu_line(out, [user, system, idle]);
    for (id, s) in online() {
        out.str("cpu").dec(id.0.into()).ch(' ');
        cpu_line(out, [s.user_ns, s.system_ns, s.idle_ns]);
    }
    interrupts::stat_line(out);
    let boot = sched::clock::realtime_ns().saturating_sub(boottime()) / 1_000_000_000;
    out.str("ctxt ").dec(switches).str("\nbtime ").dec(boot);
    let forks = tree::lock().forks();
    out.str("\nprocesses ").dec(forks).str("\nprocs_running ").dec(sched::load::runnable().max(1) as u64);
    out.str("\nprocs_blocked 0\n");
    Ok(())
}

/// The boot-time clock in the reader's time namespace.
fn boottime() -> u64 {
    machine::time::now_ns().saturating_add_signed(crate::boottime_ahead())
}

/// /proc/uptime.
pub fn uptime(out: &mut Text) -> Shown {
    let idle: u64 = online().map(|(_, s)| s.idle_ns).sum();
    for (ns, end) in [(boottime(), ' '), (idle, '\n')] {
        out.dec(ns / 1_000_000_000).ch('.').dec_zeros(ns / 10_000_000 % 100, 2).ch(end);
    }
    Ok(())
}

/// /proc/loadavg.
pub fn loadavg(out: &mut Text) -> Shown {
    for load in load_average() {
        // Rounded to hundredths, as Linux does.
        let load = load + (1 << LOAD_SHIFT) / 200;
        let hundredths = ((load & ((1 << LOAD_SHIFT) - 1)) * 100) >> LOAD_SHIFT;
        out.dec(load >> LOAD_SHIFT).ch('.').dec_zeros(hundredths, 2).ch(' ');
    }
    let tasks = tree::lock().task_count() as u64;
    let last = crate::current().map_or(0, |me| me.pid_ns().last_number());
    out.dec(sched::load::runnable().max(1) as u64).ch('/').dec(tasks).ch(' ').int(last.into()).ch('\n');
    Ok(())
}

/// /proc/version.
pub fn version(out: &mut Text) -> Shown {
    let name = UtsNamespace::first().names();
    let [sysname, _, release, version, ..] = &name.fields;
    out.bytes(uts::text(sysname)).str(" version ").bytes(uts::text(release));
    out.str(" (ochre@ochre) (rustc) ").bytes(uts::text(version)).ch('\n');
    Ok(())
}

/// /proc/cmdline.
pub fn cmdline(out: &mut Text) -> Shown {
    out.bytes(machine::boot::cmdline().as_bytes()).ch('\n');
    Ok(())
}

/// /proc/cpuinfo.
pub fn cpuinfo(out: &mut Text) -> Shown {
    let info = cpu::info();
    let (family, model, stepping) = info.family_model_stepping;
    let count = cpu::count() as u64;
    let (mhz, khz) = (info.tsc_khz / 1000, info.tsc_khz % 1000);
    for i in 0..count {
        out.str("processor\t: ").dec(i);
        out.str("\nvendor_id\t: ").str(&info.vendor);
        out.str("\ncpu family\t: ").dec(family.into());
        out.str("\nmodel\t\t: ").dec(model.into());
        out.str("\nmodel name\t: ").str(&info.model_name);
        out.str("\nstepping\t: ").dec(stepping.into());
        out.str("\ncpu MHz\t\t: ").dec(mhz).ch('.').dec_zeros(khz, 3);
        out.str("\nphysical id\t: 0\nsiblings\t: ").dec(count);
        out.str("\ncore id\t\t: ").dec(i).str("\ncpu cores\t: ").dec(count);
        out.str("\napicid\t\t: ").dec(i).str("\ninitial apicid\t: ").dec(i);
        out.str("\nfpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\nflags\t\t: ").str(&info.flags);
        // Two cycles a "bogus" loop: twice the clock, as on Linux with a TSC.
        let hundredths = info.tsc_khz * 2 / 10;
        out.str("\nbogomips\t: ").dec(hundredths / 100).ch('.').dec_zeros(hundredths % 100, 2);
        out.str("\nclflush size\t: 64\ncache_alignment\t: 64\n\n");
    }
    Ok(())
}

/// /proc/filesystems.
pub fn filesystems(out: &mut Text) -> Shown {
    vfs::superblock::for_each_fs(|fs| {
        out.str(if fs.nodev() { "nodev\t" } else { "\t" }).str(fs.name()).ch('\n');
    });
    Ok(())
}

/// /proc/devices.
pub fn devices(out: &mut Text) -> Shown {
    out.str("Character devices:\n");
    vfs::devices::for_each_char(|major, name| {
        out.dec_width(major.into(), 3).ch(' ').str(name).ch('\n');
    });
    out.str("\nBlock devices:\n");
    Ok(())
}

/// /proc/partitions: no block devices yet.
pub fn partitions(out: &mut Text) -> Shown {
    out.str("major minor  #blocks  name\n\n");
    Ok(())
}

/// /proc/swaps: no swap.
pub fn swaps(out: &mut Text) -> Shown {
    out.str("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    Ok(())
}

/// /proc/cgroups: all controllers are those of the one hierarchy.
pub fn cgroups(out: &mut Text) -> Shown {
    out.str("#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
    let groups = task::cgroup::root().descendants() as u64 + 1;
    for (name, _) in task::cgroup::Controllers::NAMES {
        out.str(name).str("\t0\t").dec(groups).str("\t1\n");
    }
    Ok(())
}

/// /proc/diskstats: no block devices yet.
pub fn diskstats(_: &mut Text) -> Shown {
    Ok(())
}

/// /proc/execdomains: one, and it is the kernel's.
pub fn execdomains(out: &mut Text) -> Shown {
    out.str("0-0\tLinux           \t[kernel]\n");
    Ok(())
}

/// /proc/vmstat: the figures that are counted.
pub fn vmstat(out: &mut Text) -> Shown {
    let s = frames::stats();
    let rows = [
        ("nr_free_pages", s.free),
        ("nr_anon_pages", s.anon),
        ("nr_file_pages", s.cached),
        ("nr_dirty", s.dirty),
        ("nr_shmem", s.shmem),
    ];
    for (name, pages) in rows {
        out.str(name).ch(' ').dec(pages).ch('\n');
    }
    Ok(())
}

/// /proc/buddyinfo.
pub fn buddyinfo(out: &mut Text) -> Shown {
    out.str("Node 0, zone   Normal ");
    for order in 0..11 {
        out.dec_width(frames::free_blocks(order) as u64, 6).ch(' ');
    }
    out.ch('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(show: fn(&mut Text) -> Shown) -> alloc::string::String {
        let mut out = Text::new();
        show(&mut out).unwrap();
        alloc::string::String::from_utf8(out.finish().unwrap()).unwrap()
    }

    #[test]
    fn meminfo_lines_have_linuxs_columns() {
        let mut out = Text::new();
        line(&mut out, "MemTotal", 1_012_345);
        line(&mut out, "Buffers", 0);
        assert_eq!(out.finish().unwrap(), b"MemTotal:        1012345 kB\nBuffers:               0 kB\n");
    }

    #[test]
    fn tables_of_what_does_not_exist_have_their_heads() {
        assert_eq!(text(partitions), "major minor  #blocks  name\n\n");
        assert_eq!(text(swaps), "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    }
}
