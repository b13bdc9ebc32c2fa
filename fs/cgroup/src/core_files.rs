//! Files that every group has.

use crate::file::Opened;
use crate::parse;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use task::Task;
use task::cgroup::kinds::Kind;
use task::cgroup::member::members;
use task::cgroup::tree::NO_LIMIT;
use task::cgroup::{Cgroup, Controllers, attach, freezer, kill as killer};

type Done = Result<(), Errno>;

fn oom(_: core::fmt::Error) -> Errno {
    Errno::ENOMEM
}

/// `cgroup.type`.
pub fn kind(group: &Arc<Cgroup>, out: &mut String) -> Done {
    out.push_str(match group.kind() {
        Kind::Domain => "domain\n",
        Kind::DomainThreaded => "domain threaded\n",
        Kind::DomainInvalid => "domain invalid\n",
        Kind::Threaded => "threaded\n",
    });
    Ok(())
}

/// Writing `cgroup.type`: a group can only become threaded.
pub fn set_kind(file: &Opened, input: &[u8]) -> Done {
    if parse::strip(input)? != "threaded" {
        return Err(Errno::EINVAL);
    }
    file.group().make_threaded()
}

/// `cgroup.procs`. The processes of a threaded group are those of its domain.
pub fn procs(group: &Arc<Cgroup>, out: &mut String) -> Done {
    if group.is_threaded() {
        return Err(Errno::EOPNOTSUPP);
    }
    list(group, false, out)
}

/// `cgroup.threads`.
pub fn threads(group: &Arc<Cgroup>, out: &mut String) -> Done {
    list(group, true, out)
}

fn list(group: &Arc<Cgroup>, threads: bool, out: &mut String) -> Done {
    let reader = task::current().ok_or(Errno::ESRCH)?;
    let numbers = members(group, threads, reader.pid_ns())?;
    out.try_reserve(numbers.len() * 8).map_err(|_| Errno::ENOMEM)?;
    numbers.iter().try_for_each(|nr| writeln!(out, "{nr}").map_err(oom))
}

/// Writing `cgroup.procs`.
pub fn move_process(file: &Opened, input: &[u8]) -> Done {
    move_task(file, input, true)
}

/// Writing `cgroup.threads`.
pub fn move_thread(file: &Opened, input: &[u8]) -> Done {
    move_task(file, input, false)
}

fn move_task(file: &Opened, input: &[u8], whole: bool) -> Done {
    let number = parse::number::<i32>(input).map_err(|_| Errno::EINVAL)?;
    let task = find(number)?;
    attach::attach(&task, file.group(), whole, file.cred(), file.seen_from())
}

/// The task with this number, 0 for whoever asks.
fn find(number: i32) -> Result<Arc<Task>, Errno> {
    match number {
        0 => task::current().ok_or(Errno::ESRCH),
        1.. => task::current().and_then(|me| me.pid_ns().find_task(number)).ok_or(Errno::ESRCH),
        _ => Err(Errno::EINVAL),
    }
}

fn names(controllers: Controllers, out: &mut String) -> Done {
    for (name, _) in Controllers::NAMES.iter().filter(|(_, c)| controllers.contains(*c)) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(name);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    Ok(())
}

/// `cgroup.controllers`.
pub fn controllers(group: &Arc<Cgroup>, out: &mut String) -> Done {
    names(group.available(), out)
}

/// `cgroup.subtree_control`.
pub fn subtree_control(group: &Arc<Cgroup>, out: &mut String) -> Done {
    names(group.control(), out)
}

/// Writing `cgroup.subtree_control`: words like `+pids` and `-pids`; of several about one controller the last counts.
pub fn set_subtree_control(file: &Opened, input: &[u8]) -> Done {
    let (mut enable, mut disable) = (Controllers::empty(), Controllers::empty());
    for word in parse::strip(input)?.split(' ').filter(|w| !w.is_empty()) {
        let (sign, name) = word.split_at_checked(1).ok_or(Errno::EINVAL)?;
        let controller = Controllers::named(name).ok_or(Errno::EINVAL)?;
        match sign {
            "+" => (enable, disable) = (enable | controller, disable - controller),
            "-" => (enable, disable) = (enable - controller, disable | controller),
            _ => return Err(Errno::EINVAL),
        }
    }
    file.group().change_control(enable, disable)?;
    file.dir().controls_changed();
    Ok(())
}

/// `cgroup.events`.
pub fn events(group: &Arc<Cgroup>, out: &mut String) -> Done {
    let (populated, frozen) = (u8::from(group.is_populated()), u8::from(group.is_frozen()));
    write!(out, "populated {populated}\nfrozen {frozen}\n").map_err(oom)
}

fn limit(value: &AtomicUsize, out: &mut String) -> Done {
    match value.load(Relaxed) {
        NO_LIMIT => out.push_str("max\n"),
        value => writeln!(out, "{value}").map_err(oom)?,
    }
    Ok(())
}

fn set_limit(value: &AtomicUsize, input: &[u8]) -> Done {
    let wanted = match parse::strip(input)? {
        "max" => NO_LIMIT,
        _ => usize::try_from(parse::number::<i32>(input)?).map_err(|_| Errno::ERANGE)?,
    };
    value.store(wanted, Relaxed);
    Ok(())
}

/// `cgroup.max.descendants`.
pub fn max_descendants(group: &Arc<Cgroup>, out: &mut String) -> Done {
    limit(&group.max_descendants, out)
}

/// Writing `cgroup.max.descendants`.
pub fn set_max_descendants(file: &Opened, input: &[u8]) -> Done {
    set_limit(&file.group().max_descendants, input)
}

/// `cgroup.max.depth`.
pub fn max_depth(group: &Arc<Cgroup>, out: &mut String) -> Done {
    limit(&group.max_depth, out)
}

/// Writing `cgroup.max.depth`.
pub fn set_max_depth(file: &Opened, input: &[u8]) -> Done {
    set_limit(&file.group().max_depth, input)
}

/// `cgroup.stat`. Removed groups are gone at once here, so that none is dying.
pub fn stat(group: &Arc<Cgroup>, out: &mut String) -> Done {
    let subtree = group.subtree();
    writeln!(out, "nr_descendants {}", group.descendants()).map_err(oom)?;
    for (name, controller) in Controllers::NAMES {
        let count = match group.available().contains(controller) {
            true => subtree.iter().filter(|g| g.available().contains(controller)).count(),
            false => 0,
        };
        writeln!(out, "nr_subsys_{name} {count}").map_err(oom)?;
    }
    writeln!(out, "nr_dying_descendants 0").map_err(oom)?;
    Controllers::NAMES.iter().try_for_each(|(name, _)| writeln!(out, "nr_dying_subsys_{name} 0").map_err(oom))
}

/// `cgroup.stat.local`.
pub fn stat_local(group: &Arc<Cgroup>, out: &mut String) -> Done {
    writeln!(out, "frozen_usec {}", group.frozen_ns() / 1000).map_err(oom)
}

/// `cgroup.freeze`.
pub fn freeze(group: &Arc<Cgroup>, out: &mut String) -> Done {
    writeln!(out, "{}", u8::from(group.freeze_wanted())).map_err(oom)
}

/// Writing `cgroup.freeze`.
pub fn set_freeze(file: &Opened, input: &[u8]) -> Done {
    match parse::number::<i32>(input)? {
        on @ 0..=1 => freezer::freeze(file.group(), on == 1),
        _ => Err(Errno::ERANGE),
    }
}

/// Writing `cgroup.kill`.
pub fn kill(file: &Opened, input: &[u8]) -> Done {
    match parse::number::<i32>(input)? {
        1 => killer::kill(file.group()),
        _ => Err(Errno::ERANGE),
    }
}
