//! The number of ptys of all instances together (`/proc/sys/kernel/pty`; pty(7)).

use abi::Errno;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The most there may be.
pub static MAX: AtomicU32 = AtomicU32::new(4096);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Ptys there are.
pub fn count() -> u32 {
    COUNT.load(Relaxed)
}

/// One pty; given back when dropped.
pub(crate) struct Share(());

pub(crate) fn take() -> Result<Share, Errno> {
    let add = |n: u32| (n < MAX.load(Relaxed)).then(|| n + 1);
    COUNT.fetch_update(Relaxed, Relaxed, add).map(|_| Share(())).map_err(|_| Errno::ENOSPC)
}

impl Drop for Share {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
    }
}
