//! The number of ptys of all instances together (`/proc/sys/kernel/pty`; pty(7)).

use abi::Errno;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// There are always fewer than this.
pub static MAX: AtomicU32 = AtomicU32::new(4096);
/// How many of them are kept for instances that were mounted in the first mount namespace.
pub static RESERVE: AtomicU32 = AtomicU32::new(1024);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Ptys there are.
pub fn count() -> u32 {
    COUNT.load(Relaxed)
}

/// One pty; given back when dropped.
pub(crate) struct Share(());

/// One more pty of an instance that `may_use_reserve` or not; ENOSPC.
pub(crate) fn take(may_use_reserve: bool) -> Result<Share, Errno> {
    let kept = if may_use_reserve { 0 } else { RESERVE.load(Relaxed) };
    let limit = MAX.load(Relaxed).saturating_sub(kept);
    let add = |n: u32| n.checked_add(1).filter(|n| *n < limit);
    COUNT.fetch_update(Relaxed, Relaxed, add).map(|_| Share(())).map_err(|_| Errno::ENOSPC)
}

impl Drop for Share {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
    }
}
