//! What several families share: extensible structs, rights over other tasks.

use abi::Errno;
use alloc::sync::Arc;
use machine::VirtAddr;
use task::{Cx, Task};
use vfs::{Cap, CapSet};

/// Copies an extensible struct in (openat2(2), "Extensibility"): fields the caller does not know are left as they are in
/// `known`; bytes beyond what the kernel knows must be zero (E2BIG).
pub(crate) fn read_extensible(cx: &Cx, at: VirtAddr, size: usize, known: &mut [u8]) -> Result<(), Errno> {
    let mut checked = known.len();
    while checked < size {
        let mut chunk = [0u8; 64];
        let len = chunk.len().min(size - checked);
        let part = chunk.get_mut(..len).unwrap_or_default();
        cx.mm().read_bytes(VirtAddr(at.0.wrapping_add(checked as u64)), part)?;
        if part.iter().any(|b| *b != 0) {
            return Err(Errno::E2BIG);
        }
        checked += len;
    }
    let len = known.len().min(size);
    cx.mm().read_bytes(at, known.get_mut(..len).unwrap_or_default())
}

/// Whether the caller may look into another task (ptrace(2), "Ptrace access mode checking", with real ids).
pub(crate) fn may_inspect(cx: &Cx, target: &Arc<Task>) -> Result<(), Errno> {
    let (me, it) = (cx.cred(), target.cred());
    let same = [it.uid, it.euid, it.suid].iter().all(|id| *id == me.uid)
        && [it.gid, it.egid, it.sgid].iter().all(|id| *id == me.gid);
    let subset = |a: CapSet, b: CapSet| a.0 & !b.0 == 0;
    let dumpable = target.process().dumpable.load(core::sync::atomic::Ordering::Relaxed) == 1;
    let allowed = same && dumpable && subset(it.cap_permitted, me.cap_permitted);
    if allowed || me.capable(Cap::SysPtrace) { Ok(()) } else { Err(Errno::EPERM) }
}
