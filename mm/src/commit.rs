//! Overcommit: whether memory may be promised to a program (`vm.overcommit_memory`, proc_sys_vm(5)).

use crate::frames::USAGE;
use abi::Errno;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

static MODE: AtomicU8 = AtomicU8::new(0);
static RATIO: AtomicU32 = AtomicU32::new(50);

/// `vm.overcommit_memory`: 0 refuses only obvious excess, 1 never refuses, 2 keeps the sum of promises under the limit.
pub fn mode() -> u8 {
    MODE.load(Relaxed)
}

/// Sets `vm.overcommit_memory`; EINVAL above 2.
pub fn set_mode(mode: u8) -> Result<(), Errno> {
    if mode > 2 {
        return Err(Errno::EINVAL);
    }
    MODE.store(mode, Relaxed);
    Ok(())
}

/// `vm.overcommit_ratio`, in percent of RAM.
pub fn ratio() -> u32 {
    RATIO.load(Relaxed)
}

/// Sets `vm.overcommit_ratio`.
pub fn set_ratio(percent: u32) {
    RATIO.store(percent, Relaxed);
}

/// CommitLimit in pages.
pub(crate) fn limit(total: u64) -> u64 {
    total.saturating_mul(u64::from(ratio())) / 100
}

/// Promises `pages`; ENOMEM when the policy refuses.
pub(crate) fn charge(pages: u64) -> Result<(), Errno> {
    let committed = USAGE.committed.fetch_add(pages as i64, Relaxed).saturating_add(pages as i64);
    let refused = match MODE.load(Relaxed) {
        0 => pages > u64::from(machine::mem::extent().1),
        1 => false,
        _ => committed as u64 > limit(u64::from(machine::mem::extent().1)),
    };
    if refused {
        uncharge(pages);
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

/// Takes a promise back.
pub(crate) fn uncharge(pages: u64) {
    USAGE.committed.fetch_sub(pages as i64, Relaxed);
}
