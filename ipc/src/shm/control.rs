//! shmctl(2).

use super::{Segment, remove_if_unused};
use crate::ids::State;
use crate::perm::{self, Who};
use crate::{IpcNamespace, seconds};
use abi::Errno;
use abi::ipc::cmd::{IPC_RMID, IPC_SET, SHM_STAT, SHM_STAT_ANY};
use abi::ipc::{IpcPerm, SHM_DEST, SHM_LOCKED, ShmInfo, ShmInfo64, ShmidDs};
use alloc::collections::BTreeMap;
use core::sync::atomic::Ordering::Relaxed;
use machine::PAGE_SIZE;
use machine::sync::SpinLock;
use mm::MappedFile;
use vfs::Cap;

/// IPC_INFO: the limits, and the highest index.
pub fn info(ns: &IpcNamespace) -> (ShmInfo64, i32) {
    let most = ns.limits.shmmni.load(Relaxed) as u64;
    let info = ShmInfo64 {
        shmmax: ns.limits.shmmax.load(Relaxed),
        shmmin: 1,
        shmmni: most,
        shmseg: most,
        shmall: ns.limits.shmall.load(Relaxed),
        ..ShmInfo64::default()
    };
    (info, ns.shm.max_index())
}

/// SHM_INFO: what is in use, and the highest index.
pub fn totals(ns: &IpcNamespace) -> (ShmInfo, i32) {
    let mut resident = 0;
    ns.shm.for_each(|entry| resident += entry.lock().body.memory.cache().nr_pages());
    let info = ShmInfo {
        used_ids: ns.shm.used() as i32,
        shm_tot: ns.shm_pages.get(),
        shm_rss: resident,
        ..ShmInfo::default()
    };
    (info, ns.shm.max_index())
}

/// IPC_STAT, SHM_STAT, SHM_STAT_ANY: the state and the id. Process numbers are global.
pub fn stat(ns: &IpcNamespace, who: Who<'_>, number: i32, cmd: i32) -> Result<(ShmidDs, i32), Errno> {
    let entry = ns.shm.find_for_stat(number, matches!(cmd, SHM_STAT | SHM_STAT_ANY))?;
    let state = entry.lock();
    if cmd != SHM_STAT_ANY {
        state.perm.check(who, perm::READ)?;
    }
    if state.removed {
        return Err(Errno::EIDRM);
    }
    let body = &state.body;
    let ds = ShmidDs {
        perm: entry.show_perm(&state, &who.cred.user_ns),
        segsz: body.size,
        atime: body.atime,
        dtime: body.dtime,
        ctime: body.ctime,
        cpid: body.cpid,
        lpid: body.lpid,
        nattch: body.attached,
        ..ShmidDs::default()
    };
    Ok((ds, entry.id()))
}

/// IPC_SET (with `new`) and IPC_RMID.
pub fn control(ns: &IpcNamespace, who: Who<'_>, id: i32, cmd: i32, new: &IpcPerm) -> Result<(), Errno> {
    let entry = ns.shm.find(id)?;
    let mut state = entry.controlled(who)?;
    match cmd {
        IPC_SET => {
            state.perm.set(who, new)?;
            state.body.ctime = seconds();
            Ok(())
        }
        IPC_RMID => {
            state.perm.mode |= SHM_DEST;
            let in_use = state.body.attached > 0;
            drop(state);
            if in_use {
                ns.shm.make_private(&entry);
            }
            // Also when it was in use: its last user may have gone meanwhile.
            remove_if_unused(ns, &entry, false);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Pages each user has locked by SHM_LOCK, against RLIMIT_MEMLOCK.
static LOCKED: SpinLock<BTreeMap<u32, u64>> = SpinLock::new(BTreeMap::new());

/// SHM_LOCK. Pages never leave memory here, so what counts is the limit: `limit` bytes for each user.
pub fn lock(ns: &IpcNamespace, who: Who<'_>, id: i32, limit: u64) -> Result<(), Errno> {
    let entry = ns.shm.find(id)?;
    let mut state = entry.live()?;
    let free = who.capable(Cap::IpcLock);
    if !free && (!state.perm.is_owner(who.cred) || limit == 0) {
        return Err(Errno::EPERM);
    }
    if state.perm.mode & SHM_LOCKED != 0 {
        return Ok(());
    }
    let pages = state.body.pages();
    let mut locked = LOCKED.lock();
    let mine = locked.entry(who.cred.uid).or_insert(0);
    let sum = mine.saturating_add(pages);
    if sum > limit / PAGE_SIZE as u64 && !free {
        return Err(Errno::ENOMEM);
    }
    *mine = sum;
    state.perm.mode |= SHM_LOCKED;
    state.body.locked_by = Some(who.cred.uid);
    Ok(())
}

/// SHM_UNLOCK.
pub fn unlock(ns: &IpcNamespace, who: Who<'_>, id: i32) -> Result<(), Errno> {
    let entry = ns.shm.find(id)?;
    let mut state = entry.live()?;
    if !who.capable(Cap::IpcLock) && !state.perm.is_owner(who.cred) {
        return Err(Errno::EPERM);
    }
    give_back_lock(&mut state);
    Ok(())
}

pub(super) fn give_back_lock(state: &mut State<Segment>) {
    state.perm.mode &= !SHM_LOCKED;
    let Some(uid) = state.body.locked_by.take() else { return };
    let pages = state.body.pages();
    let mut locked = LOCKED.lock();
    let left = locked.get(&uid).map_or(0, |n| n.saturating_sub(pages));
    if left == 0 {
        locked.remove(&uid);
    } else {
        locked.insert(uid, left);
    }
}
