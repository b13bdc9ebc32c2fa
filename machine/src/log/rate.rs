//! Rate limits: at most so many messages of one kind in so long a time.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// `kernel.printk_ratelimit` in seconds and `kernel.printk_ratelimit_burst`: for messages without a limit of their own.
pub static INTERVAL_S: AtomicU32 = AtomicU32::new(5);
/// See [`INTERVAL_S`].
pub static BURST: AtomicU32 = AtomicU32::new(10);

/// Counts messages of one kind.
pub struct RateLimit {
    since_ns: AtomicU64,
    sent: AtomicU32,
    missed: AtomicU32,
}

impl RateLimit {
    /// Nothing sent yet.
    pub const fn new() -> RateLimit {
        RateLimit { since_ns: AtomicU64::new(0), sent: AtomicU32::new(0), missed: AtomicU32::new(0) }
    }
    /// Whether one more may be sent; `Some(n)` tells how many were not, in the time that has just ended.
    pub fn pass(&self) -> Option<u32> {
        self.pass_at(crate::time::now_ns(), INTERVAL_S.load(Relaxed), BURST.load(Relaxed))
    }
    fn pass_at(&self, now: u64, interval_s: u32, burst: u32) -> Option<u32> {
        if interval_s == 0 {
            return Some(0);
        }
        let since = self.since_ns.load(Relaxed);
        let mut missed = 0;
        if (since == 0 || now.saturating_sub(since) >= u64::from(interval_s) * 1_000_000_000)
            && self.since_ns.compare_exchange(since, now.max(1), Relaxed, Relaxed).is_ok()
        {
            self.sent.store(0, Relaxed);
            missed = self.missed.swap(0, Relaxed);
        }
        if self.sent.fetch_update(Relaxed, Relaxed, |n| (n < burst).then_some(n + 1)).is_ok() {
            return Some(missed);
        }
        self.missed.fetch_add(1, Relaxed);
        None
    }
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_is_counted() {
        let limit = RateLimit::new();
        let sec = 1_000_000_000;
        assert_eq!([1, 2, 3].map(|t| limit.pass_at(t, 5, 2)), [Some(0), Some(0), None]);
        assert_eq!(limit.pass_at(6 * sec, 5, 2), Some(1));
        assert_eq!(limit.pass_at(6 * sec, 0, 2), Some(0));
    }
}
