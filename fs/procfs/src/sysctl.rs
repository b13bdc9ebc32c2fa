//! `/proc/sys`: settings and limits that are real. proc_sys_kernel(5), proc_sys_vm(5), proc_sys_fs(5).

use crate::file::parse_number;
use crate::root::{Entry, TextEntry};
use crate::text::Text;
use crate::{access, faults, log, sysvipc};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use machine::log::rate;
use machine::sync::Once;
use task::coredump;
use task::ns::{PidNamespace, UtsNamespace, uts};
use task::seccomp::log as seccomp;
use vfs::ns::Namespace;
use vfs::{Cap, Cred};

type Shown = Result<(), Errno>;

macro_rules! fixed {
    ($name:literal, $text:literal) => {
        Entry::constant($name, |out| {
            out.str(concat!($text, "\n"));
            Ok(())
        })
    };
}

/// Something that is kept in an atomic, shown as a number and read by a function.
macro_rules! kept {
    ($name:literal, $value:path, $parse:path) => {
        Entry::setting(
            $name,
            |out| {
                out.int($value.load(core::sync::atomic::Ordering::Relaxed).into()).ch('\n');
                Ok(())
            },
            |input| {
                $value.store($parse(input)?, core::sync::atomic::Ordering::Relaxed);
                Ok(())
            },
        )
    };
}
pub(crate) use kept;

/// A number.
macro_rules! setting {
    ($name:literal, $value:path) => {
        $crate::sysctl::kept!($name, $value, $crate::file::parse_number)
    };
}
pub(crate) use setting;

/// A flag.
macro_rules! switch {
    ($name:literal, $value:path) => {
        $crate::sysctl::kept!($name, $value, $crate::file::parse_switch)
    };
}
pub(crate) use switch;

/// The tree.
pub static ENTRIES: &[Entry] = &[
    Entry::Dir("dev", &[Entry::Dir("tty", &[switch!("legacy_tiocsti", tty::LEGACY_TIOCSTI)])]),
    Entry::Dir("fs", FS),
    Entry::Dir("kernel", KERNEL),
    Entry::Dir("net", &[Entry::Dir("core", &[fixed!("somaxconn", "4096")])]),
    Entry::Dir(
        "user",
        &[Entry::setting_of(
            access::user,
            "max_user_namespaces",
            |out| number(out, reader()?.user_ns.max_made().into()),
            |input| reader()?.user_ns.set_max_made(parse_number(input)?),
        )],
    ),
    Entry::Dir("vm", VM),
];

/// The credentials of the calling task.
fn reader() -> Result<Arc<Cred>, Errno> {
    crate::current().map(|me| me.cred()).ok_or(Errno::EPERM)
}

static KERNEL: &[Entry] = &[
    fixed!("cap_last_cap", "40"),
    fixed!("core_modes", "file\npipe\nsocket"),
    Entry::setting(
        "core_pattern",
        |out| {
            out.bytes(&coredump::pattern()).ch('\n');
            Ok(())
        },
        |input| set_name(input, |_, new| coredump::set_pattern(new)),
    ),
    setting!("core_pipe_limit", coredump::PIPE_LIMIT),
    Entry::setting(
        "core_uses_pid",
        |out| number(out, coredump::USES_PID.load(Relaxed).into()),
        |input| {
            coredump::USES_PID.store(parse_number::<i32>(input)? != 0, Relaxed);
            Ok(())
        },
    ),
    Entry::setting("dmesg_restrict", log::restrict, log::set_restrict),
    Entry::setting("domainname", |out| name(out, 5), |input| set_name(input, UtsNamespace::set_domainname)),
    Entry::setting("hostname", |out| name(out, 1), |input| set_name(input, UtsNamespace::set_hostname)),
    sysvipc::MSG_NEXT_ID,
    sysvipc::MSGMAX,
    sysvipc::MSGMNB,
    sysvipc::MSGMNI,
    fixed!("ngroups_max", "65536"),
    Entry::constant("osrelease", |out| name(out, 2)),
    Entry::constant("ostype", |out| name(out, 0)),
    fixed!("overflowgid", "65534"),
    fixed!("overflowuid", "65534"),
    faults::OOPS_LIMIT,
    fixed!("panic", "0"),
    faults::PANIC_ON_OOPS,
    faults::PANIC_ON_WARN,
    Entry::Text(TextEntry {
        name: "ns_last_pid",
        mode: 0o666,
        show: |out| number(out, pid_ns().last_number() as u64),
        store: Some(set_last_pid),
        judge: Some(access::machine),
    }),
    Entry::setting_of(
        access::pid,
        "pid_max",
        |out| number(out, pid_ns().pid_max() as u64),
        |input| pid_ns().set_pid_max(parse_number(input)?),
    ),
    Entry::setting("printk", log::printk, log::set_printk),
    Entry::setting("printk_devkmsg", log::devkmsg, log::set_devkmsg),
    setting!("printk_ratelimit", rate::INTERVAL_S),
    setting!("printk_ratelimit_burst", rate::BURST),
    Entry::Dir(
        "pty",
        &[
            setting!("max", devpts::limits::MAX),
            setting!("reserve", devpts::limits::RESERVE),
            Entry::constant("nr", |out| number(out, devpts::limits::count().into())),
        ],
    ),
    Entry::Dir("random", RANDOM),
    fixed!("randomize_va_space", "2"),
    Entry::Dir(
        "seccomp",
        &[
            Entry::constant("actions_avail", |out| names(out, seccomp::NAMES.iter().map(|(name, _)| *name))),
            Entry::setting("actions_logged", |out| names(out, seccomp::logged()), seccomp::set_logged),
        ],
    ),
    sysvipc::SEM,
    sysvipc::SEM_NEXT_ID,
    sysvipc::SHM_NEXT_ID,
    sysvipc::SHM_RMID_FORCED,
    sysvipc::SHMALL,
    sysvipc::SHMMAX,
    sysvipc::SHMMNI,
    faults::TAINTED,
    Entry::constant("threads-max", |out| number(out, task::fork::max_tasks() as u64)),
    Entry::constant("version", |out| name(out, 3)),
    faults::WARN_LIMIT,
    Entry::Dir(
        "yama",
        &[Entry::setting(
            "ptrace_scope",
            |out| number(out, task::yama::scope().into()),
            |input| task::yama::set_scope(parse_number(input)?),
        )],
    ),
];

static RANDOM: &[Entry] = &[
    Entry::constant("boot_id", boot_id),
    fixed!("entropy_avail", "256"),
    fixed!("poolsize", "256"),
    Entry::constant("uuid", |out| uuid(out, random_id())),
];

static VM: &[Entry] = &[
    fixed!("max_map_count", "65530"),
    fixed!("mmap_min_addr", "65536"),
    Entry::setting(
        "overcommit_memory",
        |out| number(out, mm::overcommit_mode().into()),
        |input| mm::set_overcommit_mode(parse_number(input)?),
    ),
    Entry::setting(
        "overcommit_ratio",
        |out| number(out, mm::overcommit_ratio().into()),
        |input| {
            mm::set_overcommit_ratio(parse_number(input)?);
            Ok(())
        },
    ),
];

static FS: &[Entry] = &[
    setting!("dir-notify-enable", vfs::dnotify::ENABLED),
    Entry::constant("file-max", |out| number(out, i64::MAX as u64)),
    Entry::Dir(
        "inotify",
        &[
            fixed!("max_queued_events", "16384"),
            fixed!("max_user_instances", "128"),
            fixed!("max_user_watches", "65536"),
        ],
    ),
    Entry::setting(
        "nr_open",
        |out| number(out, vfs::fdtable::nr_open().into()),
        |input| vfs::fdtable::set_nr_open(parse_number(input)?),
    ),
    Entry::Dir("mqueue", sysvipc::MQUEUE),
    fixed!("pipe-max-size", "1048576"),
    fixed!("pipe-user-pages-hard", "0"),
    fixed!("pipe-user-pages-soft", "16384"),
    Entry::setting(
        "suid_dumpable",
        |out| number(out, task::exec::suid_dumpable().into()),
        |input| task::exec::set_suid_dumpable(parse_number(input)?),
    ),
];

/// EPERM unless the writer administrates the machine.
pub fn admin_only() -> Shown {
    if reader()?.capable(Cap::SysAdmin) { Ok(()) } else { Err(Errno::EPERM) }
}

fn number(out: &mut Text, value: u64) -> Shown {
    out.dec(value).ch('\n');
    Ok(())
}

fn names(out: &mut Text, names: impl Iterator<Item = &'static str>) -> Shown {
    for (i, name) in names.enumerate() {
        out.str(if i == 0 { "" } else { " " }).str(name);
    }
    out.ch('\n');
    Ok(())
}

/// The reader's pid namespace.
pub(crate) fn pid_ns() -> Arc<PidNamespace> {
    crate::current().map_or_else(|| PidNamespace::first().clone(), |me| me.pid_ns().clone())
}

/// Needs rights over the namespace, not over the file, which everybody may open.
fn set_last_pid(input: &[u8]) -> Shown {
    let ns = pid_ns();
    let owner = ns.owner();
    let allowed = crate::current().is_some_and(|me| {
        let cred = me.cred();
        cred.capable_in(&owner, Cap::CheckpointRestore) || cred.capable_in(&owner, Cap::SysAdmin)
    });
    if !allowed {
        return Err(Errno::EPERM);
    }
    ns.set_last_number(parse_number(input)?)
}

/// The reader's names of the system.
fn uts() -> Arc<UtsNamespace> {
    let own = crate::current().and_then(|me| me.handles()).map(|h| h.ns.uts.clone());
    own.unwrap_or_else(|| UtsNamespace::first().clone())
}

fn name(out: &mut Text, field: usize) -> Shown {
    let uname = uts().names();
    out.bytes(uname.fields.get(field).map_or(&[], uts::text)).ch('\n');
    Ok(())
}

/// A name up to the first line end.
fn set_name(input: &[u8], set: fn(&UtsNamespace, &[u8]) -> Result<(), Errno>) -> Shown {
    set(&uts(), input.split(|b| matches!(b, b'\n' | 0)).next().unwrap_or_default())
}

/// A random identifier: version 4 of RFC 9562.
fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    crate::fill_random(&mut id);
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    id
}

fn boot_id(out: &mut Text) -> Shown {
    static BOOT: Once<[u8; 16]> = Once::new();
    uuid(out, *BOOT.get_or_init(random_id))
}

fn uuid(out: &mut Text, id: [u8; 16]) -> Shown {
    for (i, byte) in id.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.ch('-');
        }
        out.hex((*byte).into(), 2);
    }
    out.ch('\n');
    Ok(())
}
