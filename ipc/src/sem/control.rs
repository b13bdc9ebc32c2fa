//! semctl(2).

use super::set::{Sem, Set};
use crate::ids::State;
use crate::perm::{self, Who};
use crate::{IpcNamespace, seconds};
use abi::Errno;
use abi::ipc::cmd::{IPC_RMID, IPC_SET, SEM_INFO, SEM_STAT, SEM_STAT_ANY};
use abi::ipc::{IpcPerm, SEMVMX, SemidDs, Seminfo};
use alloc::vec::Vec;
use machine::sync::SpinGuard;

/// Size of an undo entry that Linux tells of; nothing depends on it.
const SEMUSZ: i32 = 20;

/// IPC_INFO and SEM_INFO: limits, for SEM_INFO with what is in use; and the highest index.
pub fn info(ns: &IpcNamespace, cmd: i32) -> (Seminfo, i32) {
    let [semmsl, semmns, semopm, semmni] = ns.limits.sem();
    let (semusz, semaem) =
        if cmd == SEM_INFO { (ns.sem.used() as i32, ns.sems.get() as i32) } else { (SEMUSZ, SEMVMX) };
    let info = Seminfo {
        semmap: 1_024_000_000,
        semmni,
        semmns,
        semmnu: 1_024_000_000,
        semmsl,
        semopm,
        semume: 500,
        semusz,
        semvmx: SEMVMX,
        semaem,
    };
    (info, ns.sem.max_index())
}

/// IPC_STAT, SEM_STAT, SEM_STAT_ANY: the state and the id.
pub fn stat(ns: &IpcNamespace, who: Who<'_>, number: i32, cmd: i32) -> Result<(SemidDs, i32), Errno> {
    let entry = ns.sem.find_for_stat(number, matches!(cmd, SEM_STAT | SEM_STAT_ANY))?;
    let state = entry.lock();
    if cmd != SEM_STAT_ANY {
        state.perm.check(who, perm::READ)?;
    }
    if state.removed {
        return Err(Errno::EIDRM);
    }
    let ds = SemidDs {
        perm: entry.show_perm(&state, &who.cred.user_ns),
        otime: state.body.otime,
        ctime: state.body.ctime,
        nsems: state.body.len() as u64,
        ..SemidDs::default()
    };
    Ok((ds, entry.id()))
}

/// IPC_SET (with `new`) and IPC_RMID.
pub fn control(ns: &IpcNamespace, who: Who<'_>, id: i32, cmd: i32, new: &IpcPerm) -> Result<(), Errno> {
    let entry = ns.sem.find(id)?;
    let mut state = entry.controlled(who)?;
    match cmd {
        IPC_SET => {
            state.perm.set(who, new)?;
            state.body.ctime = seconds();
            Ok(())
        }
        IPC_RMID => {
            state.removed = true;
            state.body.dissolve();
            drop(state);
            ns.sem.remove(&entry);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Looks at the set `id` with read permission. `index`: which semaphore it is about, checked.
fn read<R>(
    ns: &IpcNamespace,
    who: Who<'_>,
    id: i32,
    index: Option<i32>,
    look: impl FnOnce(&Set, usize) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let entry = ns.sem.find(id)?;
    let state = entry.lock();
    state.perm.check(who, perm::READ)?;
    let index = check_index(&state, index.unwrap_or(0))?;
    if state.removed {
        return Err(Errno::EIDRM);
    }
    look(&state.body, index)
}

fn check_index(state: &SpinGuard<'_, State<Set>>, index: i32) -> Result<usize, Errno> {
    usize::try_from(index).ok().filter(|i| *i < state.body.len()).ok_or(Errno::EINVAL)
}

fn sem(set: &Set, index: usize) -> Sem {
    set.sems.get(index).copied().unwrap_or_default()
}

/// GETVAL.
pub fn value(ns: &IpcNamespace, who: Who<'_>, id: i32, index: i32) -> Result<i32, Errno> {
    read(ns, who, id, Some(index), |set, i| Ok(sem(set, i).value))
}

/// GETPID: a global number.
pub fn last_pid(ns: &IpcNamespace, who: Who<'_>, id: i32, index: i32) -> Result<i32, Errno> {
    read(ns, who, id, Some(index), |set, i| Ok(sem(set, i).pid))
}

/// GETNCNT and GETZCNT.
pub fn count(ns: &IpcNamespace, who: Who<'_>, id: i32, index: i32, for_zero: bool) -> Result<i32, Errno> {
    read(ns, who, id, Some(index), |set, i| Ok(set.waiting(i, for_zero) as i32))
}

/// GETALL.
pub fn all_values(ns: &IpcNamespace, who: Who<'_>, id: i32) -> Result<Vec<u16>, Errno> {
    read(ns, who, id, None, |set, _| {
        let mut values = Vec::new();
        values.try_reserve_exact(set.len()).map_err(|_| Errno::ENOMEM)?;
        values.extend(set.sems.iter().map(|s| s.value as u16));
        Ok(values)
    })
}

/// SETVAL.
pub fn set_value(ns: &IpcNamespace, who: Who<'_>, id: i32, index: i32, value: i32) -> Result<(), Errno> {
    if !(0..=SEMVMX).contains(&value) {
        return Err(Errno::ERANGE);
    }
    let entry = ns.sem.find(id)?;
    let mut state = entry.lock();
    let index = check_index(&state, index)?;
    state.perm.check(who, perm::WRITE)?;
    if state.removed {
        return Err(Errno::EIDRM);
    }
    let set = &mut state.body;
    set.forget_undo(Some(index));
    if let Some(sem) = set.sems.get_mut(index) {
        *sem = Sem { value, pid: who.pid };
    }
    set.ctime = seconds();
    set.retry();
    Ok(())
}

/// SETALL. `read` gets the number of values to bring from the caller's memory.
pub fn set_all(
    ns: &IpcNamespace,
    who: Who<'_>,
    id: i32,
    read: impl FnOnce(usize) -> Result<Vec<u16>, Errno>,
) -> Result<(), Errno> {
    let entry = ns.sem.find(id)?;
    let count = {
        let state = entry.lock();
        state.perm.check(who, perm::WRITE)?;
        state.body.len()
    };
    let values = read(count)?;
    if values.iter().any(|v| i32::from(*v) > SEMVMX) {
        return Err(Errno::ERANGE);
    }
    let mut state = entry.live()?;
    let set = &mut state.body;
    for (sem, value) in set.sems.iter_mut().zip(values) {
        *sem = Sem { value: value.into(), pid: who.pid };
    }
    set.forget_undo(None);
    set.ctime = seconds();
    set.retry();
    Ok(())
}
