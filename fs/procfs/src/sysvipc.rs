//! `/proc/sysvipc`, the limits of System V IPC in `/proc/sys/kernel`, and `/proc/sys/fs/mqueue` (proc_sysvipc(5),
//! proc_sys_kernel(5), mq_overview(7)).
//!
//! What is shown is the reader's IPC namespace, its process numbers and its user ids.

use crate::access::{self, ipc_namespace as namespace};
use crate::file::{parse_number, parse_numbers};
use crate::root::{Entry, Show, Store, TextEntry};
use crate::text::Text;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use ipc::ids::{Ids, MAX};
use ipc::mqueue::limits::{HARD_MSG, HARD_SIZE, LEAST_MSG, LEAST_SIZE};
use ipc::perm::Perm;
use vfs::user_ns::UserNamespace;

type Shown = Result<(), Errno>;

/// `/proc/sysvipc`.
pub static ENTRIES: &[Entry] = &[Entry::read("msg", msg), Entry::read("sem", sem), Entry::read("shm", shm)];

/// A process number as the reader knows it.
fn nr(global: i32) -> u64 {
    crate::current().map_or(global, |task| task.nr_of(global)) as u64
}

fn user_ns() -> Arc<UserNamespace> {
    crate::current().map_or_else(|| UserNamespace::first().clone(), |task| task.cred().user_ns.clone())
}

fn head(out: &mut Text, key: i32, id: i32, perm: &Perm) {
    signed(out, key.into(), 10).ch(' ');
    signed(out, id.into(), 10).str("  ");
    octal(out, perm.mode, 4).ch(' ');
}

fn owners(out: &mut Text, perm: &Perm, ns: &UserNamespace) {
    for id in [ns.show_uid(perm.uid), ns.show_gid(perm.gid), ns.show_uid(perm.cuid), ns.show_gid(perm.cgid)] {
        out.ch(' ').dec_width(id.into(), 5);
    }
}

fn signed(out: &mut Text, value: i64, width: usize) -> &mut Text {
    let digits = value.unsigned_abs().max(1).ilog10() as usize + 1 + usize::from(value < 0);
    out.pad(' ', width.saturating_sub(digits)).int(value)
}

fn octal(out: &mut Text, value: u32, width: usize) -> &mut Text {
    let digits = (32 - value.leading_zeros() as usize).div_ceil(3).max(1);
    out.pad(' ', width.saturating_sub(digits));
    for place in (0..digits).rev() {
        out.ch(char::from(b'0' + (value >> (3 * place) & 7) as u8));
    }
    out
}

fn shm(out: &mut Text) -> Shown {
    out.str("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime");
    out.str("      dtime      ctime                   rss                  swap\n");
    let (ns, users) = (namespace(), user_ns());
    ns.shm.for_each(|entry| {
        let s = ipc::shm::snapshot(entry);
        head(out, s.key, entry.id(), &s.perm);
        out.dec_width(s.size, 21).ch(' ').dec_width(nr(s.cpid), 5).ch(' ').dec_width(nr(s.lpid), 5).str("  ");
        out.dec_width(s.attached, 5);
        owners(out, &s.perm, &users);
        for time in [s.atime, s.dtime, s.ctime] {
            out.ch(' ').dec_width(time as u64, 10);
        }
        out.ch(' ').dec_width(s.resident * machine::PAGE_SIZE as u64, 21).ch(' ').dec_width(0, 21).ch('\n');
    });
    Ok(())
}

fn sem(out: &mut Text) -> Shown {
    out.str("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    let (ns, users) = (namespace(), user_ns());
    ns.sem.for_each(|entry| {
        let state = entry.lock();
        let (key, perm, count) = (state.key(), state.perm, state.body.len() as u64);
        let (otime, ctime) = (state.body.otime as u64, state.body.ctime as u64);
        drop(state);
        head(out, key, entry.id(), &perm);
        out.dec_width(count, 10);
        owners(out, &perm, &users);
        out.ch(' ').dec_width(otime, 10).ch(' ').dec_width(ctime, 10).ch('\n');
    });
    Ok(())
}

fn msg(out: &mut Text) -> Shown {
    out.str("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid");
    out.str("      stime      rtime      ctime\n");
    let (ns, users) = (namespace(), user_ns());
    ns.msg.for_each(|entry| {
        let s = ipc::msg::snapshot(entry);
        head(out, s.key, entry.id(), &s.perm);
        out.ch(' ').dec_width(s.bytes, 10).ch(' ').dec_width(s.messages, 10);
        out.ch(' ').dec_width(nr(s.lspid), 5).ch(' ').dec_width(nr(s.lrpid), 5);
        owners(out, &s.perm, &users);
        for time in [s.stime, s.rtime, s.ctime] {
            out.ch(' ').dec_width(time as u64, 10);
        }
        out.ch('\n');
    });
    Ok(())
}

/// A limit of the namespace.
const fn limit(name: &'static str, show: Show, store: Store) -> Entry {
    Entry::setting_of(access::ipc, name, show, store)
}

/// The number of the next object.
const fn next_number(name: &'static str, show: Show, store: Store) -> Entry {
    Entry::Text(TextEntry { name, mode: 0o444, show, store: Some(store), judge: Some(access::restore) })
}

/// `kernel.msg_next_id`.
pub const MSG_NEXT_ID: Entry =
    next_number("msg_next_id", |out| next_id(out, &namespace().msg), |i| set_next_id(i, &namespace().msg));
/// `kernel.msgmax`.
pub const MSGMAX: Entry =
    limit("msgmax", |out| int(out, &namespace().limits.msgmax), |i| set(i, &namespace().limits.msgmax, i32::MAX));
/// `kernel.msgmnb`.
pub const MSGMNB: Entry =
    limit("msgmnb", |out| int(out, &namespace().limits.msgmnb), |i| set(i, &namespace().limits.msgmnb, i32::MAX));
/// `kernel.msgmni`.
pub const MSGMNI: Entry =
    limit("msgmni", |out| int(out, &namespace().limits.msgmni), |i| set(i, &namespace().limits.msgmni, MOST));
/// `kernel.sem`.
pub const SEM: Entry = limit("sem", sem_limits, set_sem_limits);
/// `kernel.sem_next_id`.
pub const SEM_NEXT_ID: Entry =
    next_number("sem_next_id", |out| next_id(out, &namespace().sem), |i| set_next_id(i, &namespace().sem));
/// `kernel.shm_next_id`.
pub const SHM_NEXT_ID: Entry =
    next_number("shm_next_id", |out| next_id(out, &namespace().shm), |i| set_next_id(i, &namespace().shm));
/// `kernel.shm_rmid_forced`.
pub const SHM_RMID_FORCED: Entry = limit("shm_rmid_forced", rmid_forced, set_rmid_forced);
/// `kernel.shmall`.
pub const SHMALL: Entry =
    limit("shmall", |out| long(out, &namespace().limits.shmall), |i| set_long(i, &namespace().limits.shmall));
/// `kernel.shmmax`.
pub const SHMMAX: Entry =
    limit("shmmax", |out| long(out, &namespace().limits.shmmax), |i| set_long(i, &namespace().limits.shmmax));
/// `kernel.shmmni`.
pub const SHMMNI: Entry =
    limit("shmmni", |out| int(out, &namespace().limits.shmmni), |i| set(i, &namespace().limits.shmmni, MOST));

/// `/proc/sys/fs/mqueue`.
pub static MQUEUE: &[Entry] = &[
    limit(
        "msg_default",
        |out| int(out, &namespace().mqueue.limits.msg_default),
        |i| set_within(i, &namespace().mqueue.limits.msg_default, LEAST_MSG, HARD_MSG),
    ),
    limit(
        "msg_max",
        |out| int(out, &namespace().mqueue.limits.msg_max),
        |i| set_within(i, &namespace().mqueue.limits.msg_max, LEAST_MSG, HARD_MSG),
    ),
    limit(
        "msgsize_default",
        |out| int(out, &namespace().mqueue.limits.msgsize_default),
        |i| set_within(i, &namespace().mqueue.limits.msgsize_default, LEAST_SIZE, HARD_SIZE),
    ),
    limit(
        "msgsize_max",
        |out| int(out, &namespace().mqueue.limits.msgsize_max),
        |i| set_within(i, &namespace().mqueue.limits.msgsize_max, LEAST_SIZE, HARD_SIZE),
    ),
    limit(
        "queues_max",
        |out| int(out, &namespace().mqueue.limits.queues_max),
        |i| set_within(i, &namespace().mqueue.limits.queues_max, i32::MIN, i32::MAX),
    ),
];

/// Most objects of a kind.
const MOST: i32 = MAX as i32;

fn int(out: &mut Text, value: &AtomicI32) -> Shown {
    out.int(value.load(Relaxed).into()).ch('\n');
    Ok(())
}

fn long(out: &mut Text, value: &AtomicU64) -> Shown {
    out.dec(value.load(Relaxed)).ch('\n');
    Ok(())
}

fn set(input: &[u8], value: &AtomicI32, most: i32) -> Shown {
    set_within(input, value, 0, most)
}

fn set_within(input: &[u8], value: &AtomicI32, least: i32, most: i32) -> Shown {
    let new = parse_number(input).ok().filter(|n| (least..=most).contains(n)).ok_or(Errno::EINVAL)?;
    value.store(new, Relaxed);
    Ok(())
}

fn set_long(input: &[u8], value: &AtomicU64) -> Shown {
    value.store(parse_number(input)?, Relaxed);
    Ok(())
}

fn next_id<S>(out: &mut Text, ids: &Ids<S>) -> Shown {
    out.int(ids.next_id().into()).ch('\n');
    Ok(())
}

fn set_next_id<S>(input: &[u8], ids: &Ids<S>) -> Shown {
    let id: i32 = parse_number(input)?;
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    ids.set_next_id(id);
    Ok(())
}

fn sem_limits(out: &mut Text) -> Shown {
    let [per_set, all, ops, sets] = namespace().limits.sem();
    out.int(per_set.into()).ch('\t').int(all.into()).ch('\t').int(ops.into()).ch('\t').int(sets.into()).ch('\n');
    Ok(())
}

/// Takes up to four numbers; those left out stay as they are.
fn set_sem_limits(input: &[u8]) -> Shown {
    let ns = namespace();
    parse_numbers(input, ns.limits.sem.len(), |at, value| {
        if at == 3 && !(0..=MOST).contains(&value) {
            return Err(Errno::ERANGE);
        }
        ns.limits.sem.get(at).ok_or(Errno::EINVAL)?.store(value, Relaxed);
        Ok(())
    })
}

fn rmid_forced(out: &mut Text) -> Shown {
    out.dec(namespace().limits.shm_rmid_forced.load(Relaxed).into()).ch('\n');
    Ok(())
}

fn set_rmid_forced(input: &[u8]) -> Shown {
    let on: u8 = parse_number(input)?;
    if on > 1 {
        return Err(Errno::EINVAL);
    }
    let ns = namespace();
    ns.limits.shm_rmid_forced.store(on == 1, Relaxed);
    if on == 1 {
        ipc::shm::remove_orphans(&ns);
    }
    Ok(())
}
