//! System V shared memory (shmget(2), shmop(2), shmctl(2)).
//!
//! A [`Segment`] owns its pages. Each shmat makes an [`attach::Attachment`], the file behind the mapping, through which the address space
//! tells of every area that comes and goes: fork, exit, exec and munmap(2) keep the count right without knowing of segments. The last
//! area to go removes a segment that is marked for it.

mod attach;
mod control;
mod owner;

pub use attach::{attach, detach};
pub use control::{control, info, lock, stat, totals, unlock};
pub use owner::ShmOwner;

use crate::ids::Entry;
use crate::namespace::Share;
use crate::perm::{Perm, Who};
use crate::{IpcNamespace, seconds};
use abi::Errno;
use abi::ipc::*;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering::Relaxed;
use machine::PAGE_SIZE;
use mm::MappedFile;
use mm::space::{Promise, SharedMemory};

/// Where the size of huge pages is in the flags of shmget.
const HUGE_SHIFT: u32 = 26;

/// A segment.
pub struct Segment {
    size: u64,
    /// The key it was made with; mappings keep showing it.
    shown_key: i32,
    memory: Arc<SharedMemory>,
    _share: Share,
    /// Its place in Committed_AS, unless SHM_NORESERVE.
    _promise: Option<Promise>,
    attached: u64,
    atime: i64,
    dtime: i64,
    ctime: i64,
    cpid: i32,
    lpid: i32,
    /// Gone when the thread that made it has ended.
    owner: Weak<ShmOwner>,
    /// Who locked it (SHM_LOCK).
    locked_by: Option<u32>,
}

impl Segment {
    fn pages(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE as u64)
    }
}

/// shmget(2).
pub fn get(
    ns: &Arc<IpcNamespace>,
    who: Who<'_>,
    owner: &mut Option<Arc<ShmOwner>>,
    key: i32,
    size: u64,
    flags: u32,
) -> Result<i32, Errno> {
    let fits = |s: &Segment| if s.size < size { Err(Errno::EINVAL) } else { Ok(()) };
    let make = || {
        let (max, all) = (ns.limits.shmmax.load(Relaxed), ns.limits.shmall.load(Relaxed));
        if size == 0 || size > max {
            return Err(Errno::EINVAL);
        }
        let pages = size.div_ceil(PAGE_SIZE as u64);
        if size > u64::MAX - PAGE_SIZE as u64 {
            return Err(Errno::ENOSPC);
        }
        let share = ns.shm_pages.take(pages, all)?;
        if flags & SHM_HUGETLB != 0 {
            // Only sizes of pages that the processor has are known, and no such page is ever reserved.
            return Err(match flags >> HUGE_SHIFT & 0x3f {
                0 | 21 | 30 => Errno::ENOMEM,
                _ => Errno::EINVAL,
            });
        }
        if size > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        let counted = flags & SHM_NORESERVE == 0 || mm::overcommit_mode() == 2;
        let promise = if counted { Some(Promise::new(pages)?) } else { None };
        let owner = owner.get_or_insert_with(|| ShmOwner::new(ns));
        Ok(Segment {
            size,
            _share: share,
            shown_key: key,
            memory: SharedMemory::anonymous(size),
            _promise: promise,
            attached: 0,
            atime: 0,
            dtime: 0,
            ctime: seconds(),
            cpid: who.pid,
            lpid: 0,
            owner: Arc::downgrade(owner),
            locked_by: None,
        })
    };
    let max = ns.limits.shmmni.load(Relaxed).max(0) as usize;
    Ok(ns.shm.get((key, flags), who, max, fits, make)?.id())
}

/// A segment as `/proc/sysvipc/shm` shows it.
#[allow(missing_docs)]
pub struct Snapshot {
    pub key: i32,
    pub perm: Perm,
    pub size: u64,
    pub attached: u64,
    pub cpid: i32,
    pub lpid: i32,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    /// Pages in memory.
    pub resident: u64,
}

/// What there is to show of a segment.
pub fn snapshot(entry: &Entry<Segment>) -> Snapshot {
    let state = entry.lock();
    let s = &state.body;
    Snapshot {
        key: state.key(),
        perm: state.perm,
        size: s.size,
        attached: s.attached,
        cpid: s.cpid,
        lpid: s.lpid,
        atime: s.atime,
        dtime: s.dtime,
        ctime: s.ctime,
        resident: s.memory.cache().nr_pages(),
    }
}

/// Removes the segment if nobody uses it and it is marked or orphans are to go; the caller has changed what decides that.
fn remove_if_unused(ns: &IpcNamespace, entry: &Arc<Entry<Segment>>, only_orphan: bool) {
    let mut state = entry.lock();
    let orphans_go = ns.limits.shm_rmid_forced.load(Relaxed);
    let orphan = state.body.owner.strong_count() == 0;
    let goes = if only_orphan { orphans_go && orphan } else { state.perm.mode & SHM_DEST != 0 || orphans_go };
    if state.removed || state.body.attached > 0 || !goes {
        return;
    }
    state.removed = true;
    control::give_back_lock(&mut state);
    drop(state);
    ns.shm.remove(entry);
}

/// Removes segments without users whose creators have ended (kernel.shm_rmid_forced).
pub fn remove_orphans(ns: &IpcNamespace) {
    ns.shm.for_each(|entry| remove_if_unused(ns, entry, true));
}
