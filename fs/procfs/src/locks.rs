//! /proc/locks: the locks on files that processes have open (proc_locks(5)).
//!
//! Nobody keeps a list of all locks: the reader looks for them in the descriptor tables. An inode's record locks are shown at the
//! first descriptor that leads to it, a lock of flock(2) at the first one of the open file that holds it.

use crate::text::Text;
use abi::Errno;
use alloc::collections::BTreeSet;
use task::ns::PidNamespace;
use vfs::File;
use vfs::locks::{self, LockOwner};

/// The end of a lock that reaches to the end of the file, whatever that is.
const TO_END: u64 = i64::MAX as u64;

/// What was shown already.
#[derive(Default)]
struct Seen {
    inodes: BTreeSet<(u32, u64)>,
    holders: BTreeSet<usize>,
    lines: u64,
}

/// The file.
pub fn show(out: &mut Text) -> Result<(), Errno> {
    let ns = crate::current().map_or_else(|| PidNamespace::first().clone(), |me| me.pid_ns().clone());
    let mut seen = Seen::default();
    let mut from = 1;
    while let Some((nr, process)) = ns.next_process(from) {
        let Some(next) = nr.checked_add(1) else { break };
        from = next;
        for task in process.threads() {
            let Some(files) = task.files() else { continue };
            let mut fd = 0;
            while let Some((at, file)) = files.next_open(fd) {
                of_file(&file, nr, &ns, &mut seen, out);
                fd = at + 1;
            }
        }
        sched::cond_resched();
    }
    Ok(())
}

/// The locks that `file`, open in the process called `nr`, leads to.
fn of_file(file: &File, nr: i32, ns: &PidNamespace, seen: &mut Seen, out: &mut Text) {
    let (records, whole) = locks::held(file.inode().base());
    if !records.is_empty() && seen.inodes.insert(file.inode().identity()) {
        for lock in &records {
            let (kind, pid) = match lock.owner {
                LockOwner::Table(_) => ("POSIX ", ns.nr_of(lock.pid)),
                LockOwner::Description(_) => ("OFDLCK", -1),
            };
            // Who is in another namespace is not to be seen.
            if pid != 0 {
                line(file, kind, lock.write, pid, (lock.start, lock.end), seen, out);
            }
        }
    }
    let own = LockOwner::of(file);
    if let (Some(lock), LockOwner::Description(at)) = (whole.iter().find(|lock| lock.owner == own), own)
        && seen.holders.insert(at)
    {
        line(file, "FLOCK ", lock.write, nr, (0, TO_END), seen, out);
    }
}

fn line(file: &File, kind: &str, write: bool, pid: i32, (start, end): (u64, u64), seen: &mut Seen, out: &mut Text) {
    seen.lines += 1;
    let (dev, ino) = file.inode().identity();
    out.dec(seen.lines).str(": ").str(kind).str(" ADVISORY  ").str(if write { "WRITE " } else { "READ " });
    out.int(pid.into()).ch(' ').hex(vfs::major(dev).into(), 2).ch(':').hex(vfs::minor(dev).into(), 2);
    out.ch(':').dec(ino).ch(' ').dec(start).ch(' ');
    if end == TO_END {
        out.str("EOF\n");
    } else {
        out.dec(end).ch('\n');
    }
}
